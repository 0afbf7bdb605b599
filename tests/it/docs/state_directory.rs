//! The table of the state directory in `src/state.rs`, held against state directories that runs have left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Stdio;

use hyper_sync::settings::Action as Rebuild;

use super::{read, rows};
use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::snapshot::{Node, TreeSnapshot};
use crate::common::world::{World, flake_repo};
use crate::rebuild::world::FakeSystem;

/// The tables: of what stays, and of what an unfinished run leaves.
fn tables() -> [Vec<Vec<String>>; 2] {
    let source = read("src/state.rs");
    let documentation: String = source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .flat_map(|line| [line.strip_prefix(' ').unwrap_or(line), "\n"])
        .collect();
    [
        rows(&documentation, "| name | format | what |"),
        rows(&documentation, "| name | what |"),
    ]
}

/// Whether a path of a state directory is what a row names. A row that ends in `/` stands for all below, too.
fn is_named(row: &str, path: &str) -> bool {
    let below = row.strip_suffix('/');
    let row: Vec<&str> = below.unwrap_or(row).split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    let long_enough = if below.is_some() {
        path.len() >= row.len()
    } else {
        path.len() == row.len()
    };
    long_enough && row.iter().zip(&path).all(|(row, part)| is_part(row, part))
}

/// Whether what a row names lies below a path.
fn is_above(row: &str, path: &str) -> bool {
    let length = path.split('/').count();
    let above: Vec<&str> = row.trim_end_matches('/').split('/').collect();
    above.len() > length && is_named(&above[..length].join("/"), path)
}

fn is_part(row: &str, part: &str) -> bool {
    let Some((before, rest)) = row.split_once('<') else {
        return row == part;
    };
    let (kind, after) = rest.split_once('>').unwrap();
    let Some(part) = part.strip_prefix(before) else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (1..=part.len())
        .filter(|end| part.is_char_boundary(*end))
        .any(|end| {
            let (word, rest) = part.split_at(end);
            let fits = match kind {
                "id" => word.len() == 6 && digits(word),
                "number" => digits(word),
                "object" => word.len() == 40 && hex(word),
                "hash" => word.len() == 16 && hex(word),
                "name" | "random" => true,
                other => panic!("what `<{other}>` stands for is not known here"),
            };
            fits && is_part(after, rest)
        })
}

/// What was found in the state directories, against the tables.
#[derive(Default)]
struct Found {
    rows: BTreeSet<String>,
}

impl Found {
    /// Every path of a state directory has a row, and a sealed file is of the kind and version that the row says.
    #[track_caller]
    fn inspect(&mut self, state: &Path, is_unfinished: bool) {
        let [stays, unfinished] = tables();
        let snapshot = TreeSnapshot::of(state);
        for (path, node) in snapshot.nodes() {
            let path = std::str::from_utf8(path).unwrap();
            let row = |table: &[Vec<String>]| {
                let named = table.iter().find(|row| is_named(&row[0], path));
                named.cloned()
            };
            if matches!(node, Node::Directory(_)) && stays.iter().any(|row| is_above(&row[0], path))
            {
                continue;
            }
            let found = row(&stays).or_else(|| row(&unfinished).filter(|_| is_unfinished));
            let found = found.unwrap_or_else(|| panic!("`{path}` is in no table of src/state.rs"));
            if let Some(format) = found[1].strip_prefix("sealed, ") {
                let text = std::fs::read(state.join(path)).unwrap();
                let text = String::from_utf8_lossy(&text);
                let first = format!("hyper-sync {format} ");
                assert!(text.starts_with(&first), "`{path}` begins with {text:.60}");
                assert_fields(format.split(' ').next().unwrap(), &text);
            }
            self.rows.insert(found[0].clone());
        }
    }

    /// Every row was found.
    fn assert_complete(&self) {
        let [stays, unfinished] = tables();
        let rows = stays.iter().chain(&unfinished).map(|row| row[0].clone());
        let missing: Vec<String> = rows.filter(|row| !self.rows.contains(row)).collect();
        assert!(missing.is_empty(), "nothing wrote {missing:?}");
    }
}

/// A machine that follows a repository over http by a name that it had before, and whose flake is the target.
fn world() -> World {
    let repo = flake_repo();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
    let before = forge.git_url().replace("acme/machines", "acme/before");
    let world = World::at(&repo, Some(forge), &format!("repo = '{before}'"));
    let root = world.root().display();
    let settings = format!("local_edits = 'replace'\nmetrics_file = '{root}/metrics/m.prom'");
    world.set_flake(&settings, "action = 'build'");
    let lock = r#"{"nodes":{"root":{}},"root":"root","version":7}"#;
    world
        .tool(
            "nix",
            &format!(
                "case \"$1 $2\" in\n\
                 build*) ln -sfn /nix/store/system \"$4\"; echo /nix/store/system;;\n\
                 'flake lock') for flake in \"$@\"; do :; done; echo '{lock}' > \"${{flake#path:}}/flake.lock\";;\n\
                 *) echo '{{}}';;\n\
                 esac"
            ),
        )
        .tool("nixos-rebuild", "exit 1")
        .link_tool("ln")
        .link_tool("strace");
    world
}

fn commit(world: &World, number: usize) {
    world
        .repo
        .write("modules/base.nix", format!("{{ number = {number}; }}\n"))
        .write(format!("modules/new-{number}.nix"), "{ }\n")
        .commit("next");
}

/// Runs a command under `strace`, killed at a rename where one is given; the renames it came to, by their kind.
fn renames(world: &World, args: &[&str], kill: Option<(&str, usize)>) -> Vec<String> {
    let inject = kill.map(|(call, when)| format!("inject={call}:signal=SIGKILL:when={when}"));
    let inject: Vec<&str> = inject.iter().map(String::as_str).collect();
    let lines = traced(world, args, "rename,renameat,renameat2", &inject);
    let call = |(_, call): &(String, String)| Some(call.split_once('(')?.0.trim().to_owned());
    lines.iter().filter_map(call).collect()
}

/// Runs a command under `strace` with these injections; the calls that were traced, each with its thread before it.
fn traced(world: &World, args: &[&str], calls: &str, inject: &[&str]) -> Vec<(String, String)> {
    let log = world.root().join("calls");
    let trace = format!("trace={calls}");
    let mut strace = vec!["strace", "-qq", "-f", "-o", log.to_str().unwrap()];
    strace.extend(["-e", &trace, "-e", "signal=none"]);
    strace.extend(inject.iter().flat_map(|inject| ["-e", inject]));
    let mut run = world.process(&strace, args);
    run.stdout(Stdio::null()).stderr(Stdio::null());
    let _ = run.status().unwrap();
    let log = std::fs::read_to_string(log).unwrap();
    let call = |line: &str| {
        let (thread, call) = line.split_once(' ')?;
        Some((thread.to_owned(), call.trim_start().to_owned()))
    };
    log.lines().filter_map(call).collect()
}

#[test]
fn the_table_names_all_that_is_in_the_state_directory_and_nothing_else() {
    let parts: [fn(&mut Found); 9] = [
        without_changes,
        killed_in_an_update,
        killed_in_the_rebuild,
        killed_in_suspend,
        every_command,
        by_api_and_ssh,
        killed_in_a_trial,
        before_a_reboot,
        killed_in_adoption,
    ];
    let found: Vec<Found> = std::thread::scope(|scope| {
        let parts = parts.map(|part| {
            scope.spawn(move || {
                let mut found = Found::default();
                part(&mut found);
                found
            })
        });
        parts.map(|part| part.join().unwrap()).into()
    });
    let rows = found.into_iter().flat_map(|found| found.rows).collect();
    Found { rows }.assert_complete();
}

fn without_changes(found: &mut Found) {
    let world = World::small().synced();
    let _ = world.sync(&[]).ok();
    found.inspect(&world.state(), false);
}

fn every_command(found: &mut Found) {
    let world = world();
    let state = world.state();
    for args in [
        &["validate", "--quick"][..],
        &["sync", "--dry-run"],
        &["sync"],
        &["rebuild"],
    ] {
        let _ = world.run(args);
        found.inspect(&state, false);
    }
    world.edit("modules/base.nix", "{ mine = true; }\n");
    commit(&world, 2);
    for args in [
        &["diff"][..],
        &["diff", "--remote"],
        &[],
        &["status"],
        &["history"],
        &["suspend", "--for", "1h", "--reason", "a migration"],
        &["restore", "modules/base.nix"],
        &["rollback"],
        &["sync"],
        &["sync", "--resume", "--force-full"],
    ] {
        let _ = world.run(args).ok();
        found.inspect(&state, false);
    }
    let _ = world.tool("nix", "exit 1").run(&["rebuild"]).code(11);
    found.inspect(&state, false);
    let page = Action::status_with(200, "content-type", "text/html", "<title>Welcome</title>");
    let _ = world.forge().fault(When::any(), page);
    let _ = world.sync(&[]).code(3);
    found.inspect(&state, false);
    world.forge().clear_faults();
    std::fs::write(state.join("index"), "damaged").unwrap();
    let _ = world.sync(&[]).ok();
    found.inspect(&state, true);
}

fn by_api_and_ssh(found: &mut Found) {
    let world = world();
    let (name, api) = (world.forge().owner_name(), world.forge().api_url());
    let by_api = ["--repo", &name, "--api-url", &api, "--transport", "api"];
    let ssh = Sandbox::new();
    let address = format!("ssh://git@host.example{}", world.repo.path().display());
    for number in 2..4 {
        let _ = world.run(&[&["sync"], &by_api[..]].concat()).ok();
        found.inspect(&world.state(), false);
        let _ = ssh.fake_ssh().run(&["sync", "--repo", &address]).ok();
        found.inspect(&ssh.state(), false);
        commit(&world, number);
    }
}

/// Every call that gives a file its name, of each kind of call, in the run that `prepare` has made ready.
fn kill_at_each_rename(
    args: &[&str],
    prepare: impl Fn() -> World,
    mut inspect: impl FnMut(&World),
) {
    let calls = renames(&prepare(), args, None);
    assert!(!calls.is_empty());
    let mut count = BTreeMap::new();
    for call in &calls {
        *count.entry(call.as_str()).or_insert(0) += 1;
    }
    for (call, count) in count {
        for when in 1..=count {
            let world = prepare();
            renames(&world, args, Some((call, when)));
            inspect(&world);
        }
    }
}

/// With the journal and its copy damaged after that: what was displaced is kept in `conflicts`.
fn killed_in_an_update(found: &mut Found) {
    let prepare = || {
        let world = world();
        let _ = world.sync(&[]).ok();
        world.edit("modules/base.nix", "{ mine = true; }\n");
        commit(&world, 2);
        // Written again, by the next sync.
        std::fs::remove_file(world.state().join("git-base")).unwrap();
        world
    };
    kill_at_each_rename(&["sync"], prepare, |world| {
        let state = world.state();
        found.inspect(&state, true);
        let active = state.join("tx/active");
        if active.exists() {
            std::fs::write(&active, "damaged").unwrap();
            let _ = std::fs::remove_dir_all(state.join("undo/000002.part"));
            let _ = world.sync(&[]).ok();
            found.inspect(&state, true);
        }
    });
}

fn killed_in_the_rebuild(found: &mut Found) {
    let prepare = || {
        let world = world();
        let _ = world.sync(&[]).ok();
        world
    };
    kill_at_each_rename(&["rebuild"], prepare, |world| {
        found.inspect(&world.state(), true);
    });
}

fn killed_in_suspend(found: &mut Found) {
    kill_at_each_rename(&["suspend"], world, |world| {
        found.inspect(&world.state(), true);
    });
}

/// Killed while `.git` is copied, because it cannot be renamed into the state directory.
fn killed_in_adoption(found: &mut Found) {
    let world = || {
        let world = world();
        world.edit(".git/HEAD", "ref: refs/heads/main\n");
        world.edit(".git/refs/heads/main", "");
        world
    };
    let args = ["sync", "--adopt"];
    // Calls are counted by threads.
    let at = |calls: &[(String, String)], name: &str, what: &str| {
        let is_it = |call: &str| call.starts_with(name) && call.contains(what);
        let found = calls.iter().rposition(|(_, call)| is_it(call));
        let found = found.unwrap_or_else(|| panic!("no {what} in {calls:?}"));
        let thread = &calls[found].0;
        let before = calls[..=found].iter();
        let same = before.filter(|(other, call)| other == thread && call.starts_with(name));
        same.count()
    };
    let calls = traced(&world(), &args, "renameat2", &[]);
    let other = format!(
        "inject=renameat2:error=EXDEV:when={}",
        at(&calls, "renameat2(", "\".git\"")
    );
    let copied = world();
    let calls = traced(&copied, &args, "renameat2,mkdirat", &[&other]);
    found.inspect(&copied.state(), false);
    let kill = format!(
        "inject=mkdirat:signal=SIGKILL:when={}",
        at(&calls, "mkdirat(", "\"refs\"")
    );
    let killed = world();
    traced(&killed, &args, "renameat2,mkdirat", &[&other, &kill]);
    found.inspect(&killed.state(), true);
    let _ = killed.run(&args).ok();
    found.inspect(&killed.state(), false);
}

fn killed_in_a_trial(found: &mut Found) {
    let system = FakeSystem::pinned().with_systemd();
    system.script("nixos-rebuild", "exit 1");
    system.revert_command();
    system.script("check", "exit 1");
    let switch = system.request(Rebuild::Switch).on_trial();
    switch.stopped_in_pause().run().unwrap_err();
    found.inspect(&system.state_dir(), false);
}

fn before_a_reboot(found: &mut Found) {
    let system = FakeSystem::pinned().with_systemd();
    system.script("nixos-rebuild", "exit 1");
    system.revert_command();
    system.part("new", "kernel", "2");
    let unit = system.request(Rebuild::Switch).reboots().on_trial();
    unit.run().unwrap();
    found.inspect(&system.state_dir(), false);
}

/// A row without its links, which lead to names of the code.
fn without_links(row: &str) -> String {
    let mut text = row.replace(['[', ']'], "");
    while let Some(at) = text.find("`(crate::") {
        let end = at + text[at..].find(')').unwrap();
        text.replace_range(at + 1..=end, "");
    }
    text
}

#[test]
fn the_architecture_has_the_same_tables() {
    let architecture = read("docs/architecture.md");
    let source = read("src/state.rs");
    let rows = source.lines().filter(|line| line.starts_with("//! | `"));
    let rows: Vec<String> = rows.map(|row| without_links(&row[4..])).collect();
    let first = architecture.find(&rows[0]);
    let first = first.unwrap_or_else(|| panic!("docs/architecture.md should have {}", rows[0]));
    let there = architecture[first..]
        .lines()
        .filter(|line| line.starts_with("| `"));
    let there: Vec<&str> = there.take(rows.len()).collect();
    assert_eq!(
        there, rows,
        "docs/architecture.md has the tables of src/state.rs"
    );
}

/// Every field of a sealed file is in the table of formats.
fn assert_fields(kind: &str, sealed: &str) {
    let architecture = read("docs/architecture.md");
    let formats = rows(&architecture, "| format | fields |");
    let row = formats.iter().find(|row| row[0] == kind);
    let row = row.unwrap_or_else(|| panic!("docs/architecture.md lacks the format {kind}"));
    let (_, body) = sealed.split_once('\n').unwrap();
    // The first value: that of the index is followed by bytes.
    let mut values = serde_json::Deserializer::from_str(body).into_iter::<serde_json::Value>();
    let first = values.next().unwrap().unwrap();
    let mut found: Vec<&str> = first
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    let mut listed: Vec<&str> = row[1].split(", ").collect();
    found.sort_unstable();
    listed.sort_unstable();
    assert_eq!(found, listed, "fields of {kind}");
}
