//! Local edits under each policy, through the real binary: every row of `docs/local-edits.md`.
//!
//! The rows are one tree: each has a path of its own, so that one run of a policy tests all of its cells but those that
//! stop it. These have a run each, on a branch that changes nothing else. That no byte is lost with any trees and
//! wherever a run dies is tested in `kill.rs`.

mod late;
mod losses;
mod sequences;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use crate::common::env::Output;
use crate::common::repo::Repo;
use crate::common::snapshot::{Node, TreeSnapshot};
use crate::common::world::World;
use table::{Before, Known, Policy, Row, What, rows};

/// A world with the settings that the paths of the rows need, whose syncs have the policy as an option.
struct PolicyRun {
    world: World,
    policy: Policy,
}

impl PolicyRun {
    fn new(policy: Policy) -> Self {
        let repo = Repo::new();
        repo.write("flake.nix", "{ }");
        let world = World::local(&repo).with(
            r#"
            protect = ["modules/*-local.nix"]
            executable = ["scripts/**/*.sh"]
            exclude = ["/var/"]
            "#,
        );
        Self { world, policy }
    }

    fn sync(&self, args: &[&str]) -> Output {
        let policy = ["--local-edits", self.policy.word()];
        self.world.sync(&[&policy, args].concat())
    }

    /// Stages in the repository what the commit has at the path of a row, in place of `was`.
    fn stage(&self, row: &Row, was: &What, what: &What) {
        if was != what {
            self.world.repo.remove(&row.path);
            for (path, node) in what.nodes(row) {
                match node {
                    Node::File(0o755, content) => self.world.repo.write_exec(path, content),
                    Node::File(_, content) => self.world.repo.write(path, content),
                    Node::Link(to) => self.world.repo.symlink(path, to),
                    Node::Directory(_) | Node::Special => continue,
                };
            }
        }
    }

    /// What is at the path of a row.
    fn at(&self, row: &Row) -> BTreeMap<String, Node> {
        at(&self.world.target_tree(), row)
    }

    /// Makes the path of a row what its column `here` says; does nothing where it is so already.
    fn edit(&self, row: &Row) {
        let wanted = row.local.nodes(row);
        if self.at(row) != wanted {
            let target = self.world.target();
            remove(&target.join(&row.path));
            for (path, node) in wanted {
                write(&target.join(path), &node);
            }
        }
    }

    /// The local edits that the newest update has replaced.
    fn replaced(&self) -> BTreeSet<String> {
        let history = self.world.json(&["history"])["updates"].clone();
        let edits = history[0]["edits"].as_array().unwrap().iter();
        edits
            .map(|path| path.as_str().unwrap().to_owned())
            .collect()
    }
}

fn at(tree: &TreeSnapshot, row: &Row) -> BTreeMap<String, Node> {
    let nodes = tree.nodes().iter();
    nodes
        .map(|(path, node)| (String::from_utf8_lossy(path).into_owned(), node.clone()))
        .filter(|(path, _)| {
            let rest = path.strip_prefix(&row.path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
        .collect()
}

fn remove(path: &std::path::Path) {
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(path).unwrap(),
        Ok(_) => std::fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

fn write(path: &std::path::Path, node: &Node) {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mode = match node {
        Node::Directory(mode) => {
            std::fs::create_dir(path).unwrap();
            *mode
        }
        Node::File(mode, content) => {
            std::fs::write(path, content).unwrap();
            *mode
        }
        Node::Link(to) => {
            return std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(to), path).unwrap();
        }
        Node::Special => {
            let _ = std::os::unix::net::UnixListener::bind(path).unwrap();
            return;
        }
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// All cells of a policy that do not stop: one commit, one update.
fn proves_the_cells_that_go_through(policy: Policy, known: Known) {
    let rows = rows();
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.known == known && !row.stops(policy))
        .collect();
    let run = PolicyRun::new(policy);
    for row in &rows {
        run.stage(row, &What::Nothing, &row.base);
    }
    if known == Known::Base {
        run.world.repo.commit("base");
        let _ = run.sync(&[]).ok();
    }
    for row in &rows {
        run.stage(row, &row.base, &row.remote);
    }
    run.world.repo.commit("remote");
    for row in &rows {
        run.edit(row);
    }

    // Without it only the first ones are named.
    let output = run.sync(&["--verbose"]).ok();
    let after = run.world.target_tree();
    let mut wrong = Vec::new();
    let mut kept = BTreeMap::new();
    for row in &rows {
        let outcome = row.outcome(policy);
        let found = at(&after, row);
        if found != outcome.what.nodes(row) {
            wrong.push(format!("{row}: {found:?}"));
        }
        if matches!(outcome.before, Before::Kept | Before::Displaced) {
            kept.insert(row.local.edited_path(row), *row);
        }
    }
    let replaced = run.replaced();
    for path in replaced.symmetric_difference(&kept.keys().cloned().collect()) {
        wrong.push(format!("{path} was kept: {}", replaced.contains(path)));
    }
    for path in kept.keys() {
        let named = format!("`hyper-sync restore {path}` puts it back");
        if !output.stderr.contains(&named) {
            wrong.push(format!("{path} is not named"));
        }
    }
    let again = run.sync(&[]).ok();
    assert!(
        again.stdout.contains(" is up to date ("),
        "{}",
        again.masked()
    );
    run.world.target_tree().assert_same(&after);

    let (safe, displaced): (BTreeMap<_, _>, BTreeMap<_, _>) = kept
        .into_iter()
        .partition(|(_, row)| row.outcome(policy).before == Before::Kept);
    if !safe.is_empty() {
        let paths: Vec<&str> = safe.keys().map(String::as_str).collect();
        let _ = run.world.run(&[&["restore"], &paths[..]].concat()).ok();
    }
    for row in safe.values() {
        let found = run.at(row);
        if found != row.local.nodes(row) {
            wrong.push(format!("{row}: {found:?} restored"));
        }
    }
    for (path, row) in displaced {
        let output = run.world.run(&["restore", &path]).code(8);
        let kept = output
            .stderr
            .split('`')
            .find(|word| word.contains("/undo/"));
        let Node::File(_, edit) = row.local.nodes(row).remove(&path).unwrap() else {
            panic!("{row}");
        };
        assert_eq!(std::fs::read(kept.unwrap()).unwrap(), edit, "{row}");
        assert_eq!(run.at(row), row.outcome(policy).what.nodes(row), "{row}");
    }
    assert!(wrong.is_empty(), "{policy:?}:\n{}", wrong.join("\n"));
}

/// The cells of a policy that stop: a run each, without any other conflict.
fn proves_the_cells_that_stop(policy: Policy, known: Known) {
    let rows = rows();
    let rows: Vec<&Row> = rows
        .iter()
        .filter(|row| row.known == known && row.stops(policy))
        .collect();
    let run = PolicyRun::new(policy);
    for row in &rows {
        run.stage(row, &What::Nothing, &row.base);
    }
    run.world.repo.commit("base");
    if known == Known::Base {
        let _ = run.sync(&[]).ok();
    }
    for row in rows {
        let branch = format!("row-{}", row.number);
        run.world.repo.branch(&branch).checkout(&branch);
        run.stage(row, &row.base, &row.remote);
        run.world.repo.commit(&branch);
        run.world.repo.checkout("main");
        run.edit(row);
        let before = run.world.target_tree();
        let stopped = run.sync(&["--ref", &branch]).code(8);
        let named: Vec<&str> = stopped
            .stderr
            .lines()
            .skip_while(|line| !line.starts_with("error: "))
            .skip(1)
            .take_while(|line| line.starts_with("  "))
            .collect();
        assert!(
            !named.is_empty() && named.iter().all(|line| line.contains(&row.path)),
            "{row}: {}",
            stopped.masked()
        );
        run.world.target_tree().assert_same(&before);
        let target = run.world.target();
        remove(&target.join(&row.path));
        for (path, node) in row.base.nodes(row) {
            write(&target.join(path), &node);
        }
    }
}

#[test]
fn replace_takes_the_commit_and_keeps_every_edit() {
    proves_the_cells_that_go_through(Policy::Replace, Known::Base);
    proves_the_cells_that_go_through(Policy::Replace, Known::Nothing);
}

#[test]
fn keep_leaves_every_edit_where_it_is() {
    proves_the_cells_that_go_through(Policy::Keep, Known::Base);
    proves_the_cells_that_go_through(Policy::Keep, Known::Nothing);
}

#[test]
fn refuse_leaves_edits_that_the_update_does_not_change() {
    proves_the_cells_that_go_through(Policy::Refuse, Known::Base);
    proves_the_cells_that_go_through(Policy::Refuse, Known::Nothing);
}

#[test]
fn merge_takes_both_changes_and_keeps_the_edit_as_it_was() {
    proves_the_cells_that_go_through(Policy::Merge, Known::Base);
    proves_the_cells_that_go_through(Policy::Merge, Known::Nothing);
}

#[test]
fn merge_stops_where_it_cannot_take_both_changes() {
    proves_the_cells_that_stop(Policy::Merge, Known::Base);
    proves_the_cells_that_stop(Policy::Merge, Known::Nothing);
}

#[test]
fn replace_refuses_to_displace_what_it_cannot_keep() {
    proves_the_cells_that_stop(Policy::Replace, Known::Base);
    proves_the_cells_that_stop(Policy::Replace, Known::Nothing);
}

#[test]
fn refuse_stops_where_the_update_changes_an_edited_file() {
    proves_the_cells_that_stop(Policy::Refuse, Known::Base);
    proves_the_cells_that_stop(Policy::Refuse, Known::Nothing);
}

#[test]
fn the_tables_have_each_case_once() {
    let rows = rows();
    let stops = |policy| rows.iter().filter(|row| row.stops(policy)).count();
    assert!(rows.len() * 4 > 400, "{} cells", rows.len() * 4);
    assert_eq!(stops(Policy::Keep), 0, "`keep` never stops an update");
    let cells: BTreeSet<_> = rows
        .iter()
        .map(|row| (&row.section, &row.cells[..3]))
        .collect();
    assert_eq!(cells.len(), rows.len(), "a row is there twice");
}

/// Files that were there before, and that the first sync kept: the commit does not touch them as long as it has the same.
#[test]
fn adopted_files_do_not_stop_a_sync_that_does_not_touch_them() {
    let world = World::small();
    world.edit("modules/base.nix", "{ mine = true; }\n");
    let _ = world.sync(&["--local-edits", "keep"]).ok();
    let again = world.sync(&["--local-edits", "refuse"]).ok();
    assert!(
        again.out().ends_with(
            "; 1 file stays as it is, without the commit's version: `hyper-sync diff`\n"
        ),
        "{}",
        again.masked()
    );
    world.repo.write("new.nix", "{ }\n").commit("elsewhere");
    let _ = world.sync(&["--local-edits", "refuse"]).ok();
    world
        .repo
        .write("modules/base.nix", "{ theirs = true; }\n")
        .commit("there");
    let _ = world.sync(&["--local-edits", "refuse"]).code(8);
    assert_eq!(world.read("modules/base.nix"), "{ mine = true; }\n");
}
