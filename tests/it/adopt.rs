//! The first sync of a directory that has files: a git work tree, and one whose commit is named.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::common::git::{git, succeeds};
use crate::common::repo::Repo;
use crate::common::world::World;

/// Ten commits, each of which changes ten of thirty files; `edited.nix` is changed by the last one.
fn history() -> Repo {
    let repo = Repo::small();
    for commit in 0..10 {
        for file in 0..10 {
            let file = (commit * 7 + file) % 30;
            repo.write(
                format!("modules/{file}.nix"),
                format!("{{ n = {commit}; }}\n"),
            );
        }
        repo.write("gone.nix", "{ }\n");
        repo.write(
            "edited.nix",
            format!("{{ by = \"commit\"; n = {}; }}\n", commit / 9),
        );
        if commit == 9 {
            repo.remove("gone.nix");
        }
        repo.commit(&format!("commit {commit}"));
    }
    repo
}

/// A world whose target is a clone of `repo` made by these arguments, `behind` commits back.
fn cloned(repo: &Repo, behind: usize, arguments: &[&str]) -> World {
    let world = World::local(repo);
    clone(&world, arguments);
    at(
        &world,
        &["reset", "-q", "--hard", &format!("HEAD~{behind}")],
    );
    world
}

fn clone(world: &World, arguments: &[&str]) {
    let url = format!("file://{}", world.repo.path().display());
    let target = world.target();
    let command = &mut git(world.root());
    succeeds(
        command
            .args(["clone", "-q"])
            .args(arguments)
            .arg(url)
            .arg(target),
    );
}

/// Runs git in the target.
fn at(world: &World, arguments: &[&str]) {
    succeeds(git(&world.target()).args(arguments));
}

/// The edited files that stop a sync, because the commit changes them.
#[track_caller]
fn conflicts(world: &World) -> Vec<String> {
    let refused = world.sync(&["--json"]).code(8).json();
    let conflicts = refused["error"]["conflicts"].as_array().unwrap();
    let edited = conflicts
        .iter()
        .filter(|conflict| conflict["problem"] == "it was edited here, and the commit changes it");
    let paths = edited.map(|conflict| conflict["path"].as_str().unwrap());
    paths.map(str::to_owned).collect()
}

/// The commit of the target's `.git`, and `main` of the repository, are printed as `[head]` and `[main]`.
fn masked(world: &World) {
    let head = succeeds(git(&world.target()).args(["rev-parse", "HEAD"]));
    world.mask_id(String::from_utf8(head).unwrap().trim(), "head");
    world.mask_id(&world.repo.id("main"), "main");
}

#[test]
fn a_clone_ten_commits_behind_with_one_edit_has_one_conflict() {
    let world = cloned(&history(), 10, &[]);
    world.edit("edited.nix", "mine\n").edit("own.nix", "mine\n");
    assert_eq!(
        conflicts(&world),
        [] as [&str; 0],
        "it is new in the commit, and is not ours"
    );
    let world = cloned(&history(), 9, &[]);
    world.edit("edited.nix", "mine\n").edit("own.nix", "mine\n");
    assert_eq!(conflicts(&world), ["edited.nix"]);
}

#[test]
fn only_what_differs_from_head_and_from_the_commit_conflicts() {
    let world = cloned(&history(), 1, &[]);
    world.edit("edited.nix", "mine\n").edit("own.nix", "mine\n");
    world.edit("flake.nix", "mine, and the commit does not change it\n");
    assert_eq!(conflicts(&world), ["edited.nix"]);
    let _ = world.sync(&["--local-edits", "replace"]).ok();
    assert_eq!(world.read("own.nix"), "mine\n");
    assert!(
        !world.target().join("gone.nix").exists(),
        "the commit deletes it"
    );
    fs::remove_dir_all(world.target().join(".git")).unwrap();
    fs::remove_file(world.target().join("own.nix")).unwrap();
    world.assert_at("main");
}

/// Arguments of `git clone`, and what is done in the clone then.
type Kind = (
    &'static str,
    &'static [&'static str],
    &'static [&'static [&'static str]],
);

/// Every kind of clone that git makes is brought to the commit without a conflict.
#[test]
fn clones_of_every_kind_are_read() {
    let repo = history();
    let kinds: [Kind; 8] = [
        ("packed", &[], &[]),
        ("shallow", &["--depth", "4"], &[]),
        ("partial", &["--filter=blob:none"], &[]),
        ("shared", &["--shared"], &[]),
        ("packed refs", &[], &[&["pack-refs", "--all"]]),
        ("detached", &[], &[&["checkout", "-q", "--detach"]]),
        ("gc", &[], &[&["gc", "-q"]]),
        (
            "loose",
            &[],
            &[&["commit", "-q", "--allow-empty", "-m", "a loose commit"]],
        ),
    ];
    for (kind, arguments, then) in kinds {
        // By its path, because `--shared` wants one; a shallow clone wants an address.
        let world = World::local(&repo);
        let path = repo.path().display().to_string();
        let url = if kind == "shared" {
            path
        } else {
            format!("file://{path}")
        };
        let arguments = [&["clone", "-q"], arguments, &[&url]].concat();
        let target = world.target();
        succeeds(git(world.root()).args(arguments).arg(&target));
        at(&world, &["reset", "-q", "--hard", "HEAD~2"]);
        for command in then {
            at(&world, command);
        }
        let args: &[&str] = if kind == "loose" {
            &["--allow-rewind"]
        } else {
            &[]
        };
        let output = world.sync(args).ok();
        assert!(
            output.stderr.contains("is a git work tree at"),
            "{kind}: {}",
            output.stderr
        );
        fs::remove_dir_all(target.join(".git")).unwrap();
        world.assert_at("main");
    }
}

/// Its `.git` is a file that leads to the repository that it belongs to.
#[test]
fn a_linked_work_tree_is_read() {
    let world = World::local(&history());
    let path = world.repo.path().display().to_string();
    let target = world.target();
    succeeds(git(world.root()).args(["clone", "-q", &path, "clone"]));
    let clone = world.root().join("clone");
    succeeds(
        git(&clone)
            .args(["worktree", "add", "-q", "-b", "host"])
            .arg(&target)
            .arg("HEAD~3"),
    );
    masked(&world);
    insta::assert_snapshot!(world.sync(&["--adopt"]).masked());
    assert!(!target.join(".git").exists());
    world.assert_at("main");
}

/// What cannot be used is named, and the first sync goes on as without it.
#[test]
fn a_git_directory_that_is_not_used_is_named() {
    type Break = fn(&World);
    let cases: [(&str, Break); 9] = [
        ("everybody may write it", |world| {
            let mode = fs::Permissions::from_mode(0o777);
            fs::set_permissions(world.target().join(".git"), mode).unwrap();
        }),
        ("not a directory of git", |world| {
            let from = world.target().join(".git");
            let to = world.root().join("elsewhere");
            fs::rename(&from, &to).unwrap();
            symlink(&to, &from).unwrap();
        }),
        ("not a directory of git", |world| {
            fs::remove_dir_all(world.target().join(".git")).unwrap();
            world.edit(".git", "no path of git\n");
        }),
        ("leads to no commit", |world| {
            world.edit(".git/HEAD", "ref: refs/../../secret\n");
        }),
        ("leads to no commit", |world| {
            world.edit(".git/HEAD", "ref: refs/heads/main\n");
            world.edit(".git/refs/heads/main", "ref: refs/heads/main\n");
        }),
        ("leads to no commit", |world| {
            world.edit(".git/HEAD", "ref: refs/heads/none\n");
        }),
        ("is not there, or is damaged", |world| {
            world.edit(".git/HEAD", format!("{}\n", "a".repeat(40)));
        }),
        ("is not there, or is damaged", |world| {
            fs::remove_dir_all(world.target().join(".git/objects/pack")).unwrap();
        }),
        ("is not there, or is damaged", |world| {
            // A FIFO in place of the index would wait for its writer.
            let packs = world.target().join(".git/objects/pack");
            for entry in fs::read_dir(&packs).unwrap() {
                let path = entry.unwrap().path();
                fs::remove_file(&path).unwrap();
                succeeds(std::process::Command::new("mkfifo").arg(&path));
            }
        }),
    ];
    for (cause, damage) in cases {
        let world = cloned(&history(), 2, &[]);
        damage(&world);
        let output = world.sync(&["--local-edits", "keep"]).ok();
        assert!(output.stderr.contains(cause), "{cause}: {}", output.stderr);
        assert!(output.stderr.contains("--base"), "{}", output.stderr);
    }
}

/// Bytes that are not what their id says do not decide what is edited.
#[test]
fn an_object_with_other_bytes_is_damaged() {
    let world = cloned(&history(), 2, &[]);
    at(&world, &["commit", "-q", "--allow-empty", "-m", "loose"]);
    let head = succeeds(git(&world.target()).args(["rev-parse", "HEAD"]));
    let head = String::from_utf8(head).unwrap();
    let other = succeeds(git(&world.target()).args(["commit-tree", "-m", "other", "HEAD^{tree}"]));
    let other = String::from_utf8(other).unwrap();
    let file = |id: &str| {
        let (first, rest) = id.trim().split_at(2);
        world.target().join(".git/objects").join(first).join(rest)
    };
    fs::remove_file(file(&head)).unwrap();
    fs::copy(file(&other), file(&head)).unwrap();
    let output = world.sync(&["--local-edits", "keep"]).ok();
    assert!(
        output.stderr.contains("is not there, or is damaged"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_clone_with_commits_that_the_repository_lacks_is_refused() {
    let world = cloned(&history(), 2, &[]);
    world.edit("own.nix", "mine\n");
    at(&world, &["add", "own.nix"]);
    at(&world, &["commit", "-q", "-m", "mine"]);
    masked(&world);
    insta::assert_snapshot!(world.sync(&[]).masked());
    assert_eq!(world.read("own.nix"), "mine\n");
    // Another branch than the one that the work tree is at is no continuation of it.
    world.repo.branch("other");
    let _ = world.sync(&["--ref", "other", "--dry-run"]).ok();
    let _ = world.sync(&["--allow-rewind"]).ok();
    assert!(!world.target().join("own.nix").exists());
}

/// Job (a): what is left of the clone is named until it is adopted.
#[test]
fn a_left_git_directory_is_named_and_adopted() {
    let world = cloned(&history(), 1, &[]);
    masked(&world);
    insta::assert_snapshot!("left", world.sync(&[]).masked());
    let checks = world.run(&["validate", "--json"]).json();
    let check = |checks: &serde_json::Value| {
        let all = checks["checks"].as_array().unwrap();
        all.iter().find(|check| check["id"] == "git-dir").unwrap()["status"].clone()
    };
    assert_eq!(check(&checks), "warned");
    // Only a run that changes something says it again.
    assert_eq!(world.sync(&[]).ok().stderr, "");
    insta::assert_snapshot!("adopted", world.sync(&["--adopt"]).masked());
    assert_eq!(check(&world.run(&["validate", "--json"]).json()), "passed");
    world.assert_at("main");
    let parked = world.state().join("parked/1.git");
    let log = succeeds(
        git(world.root())
            .arg("--git-dir")
            .arg(&parked)
            .args(["log", "--oneline"]),
    );
    assert_eq!(String::from_utf8(log).unwrap().lines().count(), 10);
    assert_eq!(
        world.sync(&["--adopt"]).ok().stderr,
        "",
        "there is none any more"
    );
    // Nothing else has it.
    let target = world.target().display().to_string();
    let refused = world.run(&["forget", &target]).code(8);
    assert!(
        refused.stderr.contains("parked/1.git"),
        "{}",
        refused.stderr
    );
    fs::create_dir(world.target().join(".git")).unwrap();
    let _ = world.sync(&["--adopt"]).ok();
    assert!(world.state().join("parked/2.git").is_dir());
    fs::rename(&parked, world.target().join(".git")).unwrap();
    at(&world, &["add", "-A"]);
}

/// A work tree that is pulled by hand is at the commit of the target, so git sees all of it.
#[test]
fn a_git_directory_at_the_commit_is_not_in_the_way() {
    let world = cloned(&history(), 0, &[]);
    let output = world.sync(&[]).ok();
    assert!(!output.stderr.contains("--adopt"), "{}", output.stderr);
}

#[test]
fn a_preview_adopts_nothing() {
    let world = cloned(&history(), 1, &[]);
    let _ = world.sync(&["--adopt", "--dry-run"]).ok();
    assert!(world.target().join(".git").is_dir());
    world.edit("edited.nix", "mine");
    let _ = world.sync(&["--adopt"]).code(8);
    assert!(
        world.target().join(".git").is_dir(),
        "a sync that is refused"
    );
}

#[test]
fn a_base_says_what_a_directory_without_git_has() {
    let world = cloned(&history(), 1, &[]);
    fs::remove_dir_all(world.target().join(".git")).unwrap();
    world.edit("edited.nix", "mine\n");
    let base = world.repo.id("main~1");
    let without = world.sync(&["--dry-run"]).code(8);
    assert!(
        without
            .stderr
            .contains("11 files here were not written by a sync"),
        "{}",
        without.stderr
    );
    let with = world.sync(&["--base", &base]).code(8);
    assert!(
        with.stderr
            .contains("1 file was edited here and is changed by the commit"),
        "{}",
        with.stderr
    );
    let _ = world
        .sync(&["--base", &base, "--local-edits", "replace"])
        .ok();
    world.assert_at("main");
    masked_base(&world, &base);
    insta::assert_snapshot!(world.sync(&["--base", &base]).masked());
    let unknown = World::local(&world.repo);
    for name in ["v9", &"a".repeat(40)] {
        let refused = unknown.sync(&["--base", name]).code(64);
        assert!(
            refused.stderr.contains("which `--base` names"),
            "{}",
            refused.stderr
        );
    }
}

fn masked_base(world: &World, base: &str) {
    world
        .mask_id(base, "base")
        .mask_id(&world.repo.id("main"), "main");
}

/// Job (b): the host of the repository has another hardware configuration.
#[test]
fn a_hardware_configuration_that_the_host_does_not_use_is_warned_of() {
    let repo = Repo::small();
    repo.write(
        "flake.nix",
        "{ outputs = _: { nixosConfigurations.web1 = { }; }; }\n",
    )
    .write("hosts/web1/default.nix", "{ }\n")
    .write(
        "hosts/web1/hardware-configuration.nix",
        "{ theirs = true; }\n",
    )
    .commit("hosts");
    let world = World::local(&repo);
    world.edit("hardware-configuration.nix", "{ mine = true; }\n");
    let dry = world.sync(&["--dry-run"]).ok();
    let warning = "`hosts/web1/hardware-configuration.nix` is another one";
    assert!(dry.stderr.contains(warning), "{}", dry.stderr);
    assert!(world.sync(&[]).ok().stderr.contains(warning));
    let found = world.run(&["validate"]);
    assert!(
        found.stdout.contains(warning) || found.stderr.contains(warning),
        "{}{}",
        found.stdout,
        found.stderr
    );
    fs::copy(
        world.target().join("hardware-configuration.nix"),
        world.target().join("hosts/web1/hardware-configuration.nix"),
    )
    .unwrap();
    let found = world.run(&["validate"]);
    assert!(!found.stdout.contains("another one"), "{}", found.stdout);
}

/// Job (b), to its end: the warning comes before anything is built, and does not stop what somebody wants.
#[test]
fn after_init_the_whole_update_warns_and_rebuilds() {
    let world = without_configuration(&["web1", "web2"]);
    world
        .repo
        .write(
            "hosts/web1/hardware-configuration.nix",
            "{ theirs = true; }\n",
        )
        .commit("hosts");
    world.edit("hardware-configuration.nix", "{ mine = true; }\n");
    // `nixos-rebuild` builds and activates, because of the argument.
    let section = "[rebuild]\nhost = 'web1'\nextra_args = ['--sudo']\n";
    let log = world.root().join("rebuilt");
    world.tool("nix", "exit 1");
    world.tool(
        "nixos-rebuild",
        &format!("echo \"$*\" >>'{}'", log.display()),
    );

    let _ = world.run(&["init"]).ok();
    let path = world.root().join("config.toml");
    let file = fs::read_to_string(&path).unwrap();
    let (settings, _) = file.split_once("[rebuild]\n").unwrap();
    fs::write(&path, format!("{settings}{section}")).unwrap();
    let update = world.run(&["--adopt"]).ok();
    let warning = "`hosts/web1/hardware-configuration.nix` is another one";
    assert!(update.stderr.contains(warning), "{}", update.stderr);
    assert_eq!(
        world.read("hosts/web1/hardware-configuration.nix"),
        "{ theirs = true; }\n"
    );
    assert_eq!(
        world.read("hardware-configuration.nix"),
        "{ mine = true; }\n"
    );
    let rebuilt = fs::read_to_string(log).expect(&update.stderr);
    assert!(rebuilt.starts_with("switch --flake "), "{rebuilt}");
    assert!(rebuilt.contains("#web1"), "{rebuilt}");
}

/// A clone of a repository with these hosts, and no configuration file.
fn without_configuration(hosts: &[&str]) -> World {
    let repo = Repo::small();
    let hosts: Vec<String> = { hosts.iter() }
        .map(|host| format!("\"{host}\" = {{ }};"))
        .collect();
    let hosts = hosts.join(" ");
    repo.write(
        "flake.nix",
        format!("{{ outputs = _: {{ nixosConfigurations = {{ {hosts}}}; }}; }}\n"),
    )
    .commit("hosts");
    let world = World::local(&repo);
    clone(&world, &[]);
    fs::remove_file(world.root().join("config.toml")).unwrap();
    world
}

#[test]
fn init_writes_what_it_finds_of_a_clone() {
    let world = without_configuration(&["web1", "web2"]);
    at(
        &world,
        &["checkout", "-q", "-b", "mine", "--track", "origin/main"],
    );
    let url = "https://me:secret@git.example.org/infra/machines.git";
    at(&world, &["remote", "set-url", "origin", url]);
    insta::assert_snapshot!("init", world.run(&["init"]).masked());
    let file = fs::read_to_string(world.root().join("config.toml")).unwrap();
    let shown = file.replace(world.target().to_str().unwrap(), "[target]");
    insta::assert_snapshot!("init_file", shown);
    assert!(
        world
            .run(&["config", "check"])
            .ok()
            .stderr
            .contains("is valid")
    );
    // What it wrote is not replaced unasked.
    insta::assert_snapshot!("init_again", world.run(&["init"]).masked());
    assert_eq!(world.run(&["init", "--print"]).ok().stdout, file);
    let _ = world
        .run(&["init", "--force", "--repo", "you/config", "--ref", "v1"])
        .ok();
    let shown = world.run(&["config", "show"]).ok().stdout;
    for line in ["repo = \"you/config\"", "ref = \"v1\""] {
        assert!(shown.contains(line), "{shown}");
    }
}

/// The whole way of a clone: two commands, and it follows the branch.
#[test]
fn a_clone_follows_its_branch_after_init_and_a_sync() {
    let world = without_configuration(&["web1"]);
    let document = world.run(&["init", "--json"]).ok().json();
    let address = format!("file://{}", world.repo.path().display());
    let path = world.repo.path().display().to_string();
    assert!(
        [address, path].contains(&document["repo"].as_str().unwrap().to_owned()),
        "{document}"
    );
    assert_eq!(document["ref"], "main");
    assert_eq!(
        document["host"],
        serde_json::Value::Null,
        "the only one needs no setting"
    );
    world.repo.write("new.nix", "{ }\n").commit("next");
    let _ = world.sync(&["--adopt"]).ok();
    world.assert_at("main");
}

/// As git writes the origin of a clone that was made from `../repo`.
#[test]
fn init_writes_a_relative_origin_without_detours() {
    let world = without_configuration(&["web1"]);
    let path = world.repo.path().display().to_string();
    let (above, name) = path.rsplit_once('/').unwrap();
    for origin in [
        format!("{above}/other/../{name}"),
        format!("../../../../../../../..{path}"),
    ] {
        at(&world, &["remote", "set-url", "origin", &origin]);
        assert_eq!(world.json(&["init", "--force"])["repo"], *path, "{origin}");
    }
}

/// Each value that the settings take.
#[test]
fn init_explains_settings_with_all_their_values() {
    let world = without_configuration(&["web1"]);
    let text = world.run(&["init", "--print"]).ok().stdout;
    let file = text.replace("\n# ", " ");
    for setting in ["local_edits", "rebuild.action"] {
        let explained = world.run(&["config", "explain", setting]).ok().stdout;
        let takes = { explained.lines() }.find_map(|line| line.trim().strip_prefix("takes"));
        let values: Vec<&str> = takes.unwrap().split('`').skip(1).step_by(2).collect();
        assert!(values.len() > 3, "{explained}");
        for value in values {
            assert!(file.contains(&format!("`{value}`")), "{value}: {text}");
        }
    }
    let mut comments = text.lines().skip(1).filter(|line| line.starts_with("# "));
    assert!(comments.all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn init_chooses_the_host_with_the_name_of_this_machine() {
    let name = rustix::system::uname();
    let name = name.nodename().to_str().unwrap().split('.').next().unwrap();
    let world = without_configuration(&[name, "other-host"]);
    assert_eq!(world.json(&["init"])["host"], name);
    let _ = world.run(&["config", "check"]).ok();
}

#[test]
fn init_without_a_clone_leaves_the_repository_to_be_set() {
    let world = without_configuration(&["web1"]);
    fs::remove_dir_all(world.target().join(".git")).unwrap();
    let output = world.run(&["init"]).ok();
    assert!(output.stderr.contains("set `repo`"), "{}", output.stderr);
    let _ = world.run(&["config", "check"]).ok();
    // Nor is an address that no sync could read.
    let world = without_configuration(&["web1"]);
    at(&world, &["remote", "set-url", "origin", "ext::sh -c id"]);
    let document = world.json(&["init"]);
    assert_eq!(document["repo"], serde_json::Value::Null);
}

const MINE: &str = "{ n = 1; }\n# mine\n# 2\n# 3\n";

/// Two commits, of which the second changes the last line of a file; and the arguments of a clone at the first.
fn two_commits() -> Repo {
    let repo = Repo::small();
    let text = |first: &str, last: &str| format!("{{ n = {first}; }}\n# 1\n# 2\n# {last}\n");
    repo.write("edited.nix", text("1", "3")).commit("first");
    repo.write("edited.nix", text("1", "theirs"))
        .write("new.nix", "{ }\n")
        .commit("second");
    repo
}

/// Removes an object from the `.git` of the target.
fn lose(world: &World, object: &str) {
    let git_dir = world.target().join(".git");
    let packs = git_dir.join("objects/pack");
    let aside = world.root().join("aside");
    fs::rename(&packs, &aside).unwrap();
    for pack in fs::read_dir(&aside).unwrap() {
        let pack = pack.unwrap().path();
        if pack.extension().is_some_and(|end| end == "pack") {
            let input = fs::File::open(pack).unwrap();
            succeeds(
                git(&world.target())
                    .args(["unpack-objects", "-q"])
                    .stdin(input),
            );
        }
    }
    let id = succeeds(git(&world.target()).args(["rev-parse", object]));
    let id = String::from_utf8(id).unwrap();
    let (begin, rest) = id.trim().split_at(2);
    fs::remove_file(git_dir.join(format!("objects/{begin}/{rest}"))).unwrap();
}

/// By the blob of its own `.git` and, where that has none or there is no `.git`, by that of the repository.
#[test]
fn an_edit_from_before_the_first_sync_is_merged() {
    for kind in ["whole", "packed", "lost", "partial", "no .git"] {
        let repo = two_commits();
        let arguments: &[&str] = match kind {
            "partial" => &["--filter=blob:none"],
            _ => &[],
        };
        let world = cloned(&repo, 1, arguments);
        world.edit("edited.nix", "{ n = 2; }\n# 1\n# 2\n# 3\n");
        let first = repo.id("main~1");
        match kind {
            "packed" => at(&world, &["repack", "-qad"]),
            "lost" => lose(&world, "HEAD:edited.nix"),
            "no .git" => fs::remove_dir_all(world.target().join(".git")).unwrap(),
            _ => {}
        }
        let base: &[&str] = match kind {
            "no .git" => &["--base", &first],
            _ => &[],
        };
        let merge = [&["--local-edits", "merge"][..], base].concat();
        let preview = world.sync(&[&merge[..], &["--dry-run"]].concat()).ok();
        assert!(
            preview.stdout.contains("~1 merged"),
            "{kind}: {}",
            preview.masked()
        );
        let _ = world.sync(&merge).ok();
        let merged = "{ n = 2; }\n# 1\n# 2\n# theirs\n";
        assert_eq!(world.read("edited.nix"), merged, "{kind}");
        // Also after the edit was kept first, without the `.git` of then.
        let world = cloned(&repo, 1, arguments);
        world.edit("edited.nix", "{ n = 2; }\n# 1\n# 2\n# 3\n");
        let base: &[&str] = match kind {
            "no .git" => {
                fs::remove_dir_all(world.target().join(".git")).unwrap();
                &["--base", &first]
            }
            _ => &["--adopt"],
        };
        let _ = world
            .sync(&[&["--local-edits", "keep"][..], base].concat())
            .ok();
        let _ = world.sync(&["--local-edits", "merge"]).ok();
        assert_eq!(world.read("edited.nix"), merged, "{kind}, kept first");
    }
}

/// What the repository and `.git` both do not have is named, and nothing else stops.
#[test]
fn an_edit_whose_base_is_nowhere_is_not_merged() {
    let world = cloned(&two_commits(), 1, &[]);
    world.edit("own.nix", "{ }\n").edit("edited.nix", MINE);
    at(&world, &["add", "."]);
    at(&world, &["commit", "-q", "-m", "not pushed"]);
    world.edit("edited.nix", "{ n = 1; }\n# mine\n# 2\n# 3, too\n");
    lose(&world, "HEAD:edited.nix");
    let refused = world
        .sync(&["--local-edits", "merge", "--allow-rewind"])
        .code(8);
    assert!(
        refused
            .stderr
            .contains("what it was before the edit is not here"),
        "{}",
        refused.masked()
    );
}

#[test]
fn the_edits_of_a_clone_are_shown_before_the_first_sync() {
    let repo = two_commits();
    let world = cloned(&repo, 1, &[]);
    let first = repo.id("main~1");
    world.mask_id(&first, "first");
    let status = world.run(&["status"]).ok();
    let unedited = "edits     none since [first], the commit of `.git`\n";
    assert!(status.masked().contains(unedited), "{}", status.masked());
    world.edit("edited.nix", MINE).edit("own.nix", "{ }\n");
    fs::remove_file(world.target().join("modules/base.nix")).unwrap();
    // With and without a state directory, and after a sync that was refused.
    for run in 0..3 {
        if run == 1 {
            let _ = world.sync(&["--local-edits", "refuse"]).code(8);
        }
        let diff = world.run(&["diff"]).ok();
        let note = "note: nothing was synced here yet: these are the edits since [first], the commit of `.git`; `hyper-sync diff --remote` shows what a sync would change\n";
        assert_eq!(diff.err(), note, "{run}");
        let by_git = succeeds(git(&world.target()).args(["diff", "--no-color", "HEAD"]));
        let by_git = String::from_utf8(by_git).unwrap();
        let by_git = by_git.lines().filter(|line| !line.starts_with("index "));
        assert_eq!(
            diff.stdout.lines().collect::<Vec<_>>(),
            by_git.collect::<Vec<_>>()
        );
        let json = world.json(&["diff"]);
        assert_eq!(json["base"], first.as_str());
        let status = world.json(&["status"]);
        assert_eq!(status["base"], first.as_str());
        assert_eq!(
            status["local_edits"],
            serde_json::json!([
                {"path": "edited.nix", "edit": "edited"},
                {"path": "modules/base.nix", "edit": "missing"},
            ])
        );
        let text = world.run(&["status"]).ok().masked();
        let count = "edits     2 since [first], the commit of `.git`\n";
        assert!(text.contains(count), "{text}");
    }
    let only = world.run(&["diff", "edited.nix"]).ok();
    assert!(only.stdout.contains("+# mine\n"), "{}", only.masked());
    let _ = world.sync(&["--local-edits", "keep"]).ok();
    let status = world.json(&["status"]);
    assert_eq!(
        (&status["base"], &status["commit"]),
        (&status["commit"], &status["base"])
    );
}

#[test]
fn without_git_no_edit_is_known_before_the_first_sync() {
    let world = World::local(&two_commits());
    let edits = |world: &World| {
        let text = world.run(&["status"]).ok().stdout;
        let line = text.lines().find(|line| line.starts_with("edits"));
        (line.unwrap().to_owned(), world.json(&["status"]))
    };
    let (line, json) = edits(&world);
    assert_eq!(line, "edits     none", "there is no file");
    assert_eq!(json["local_edits"], serde_json::json!([]));
    world.edit("edited.nix", MINE);
    let unknown = "edits     unknown before the first sync; `hyper-sync diff --remote` shows what that would change";
    let (line, json) = edits(&world);
    assert_eq!(line, unknown);
    assert_eq!(json["local_edits"], serde_json::Value::Null);
    let diff = world.run(&["diff", "edited.nix"]).ok();
    let note = "note: nothing was synced here yet, so no edits are known; `hyper-sync diff --remote` shows what a sync would change\n";
    assert_eq!((diff.stdout.as_str(), diff.stderr.as_str()), ("", note));
    // A `.git` that says nothing.
    fs::create_dir(world.target().join(".git")).unwrap();
    assert_eq!(edits(&world).0, unknown);
    let diff = world.run(&["diff"]).ok();
    assert!(
        diff.stderr.starts_with(
            "warning: nothing was synced here yet, and the commit of `.git` is not known"
        ),
        "{}",
        diff.masked()
    );
}

#[test]
fn the_commits_since_that_of_a_clone_are_listed() {
    let repo = history();
    let world = cloned(&repo, 3, &[]);
    let log = world.json(&["log", "--remote"]);
    assert_eq!(log["commits"].as_array().unwrap().len(), 3);
    assert_eq!(log["complete"], true);
    let sync = world.sync(&["--json"]).ok().json();
    assert_eq!(sync["commits"][2]["subject"], "commit 7");
    let world = cloned(&repo, 3, &[]);
    let sync = world.sync(&[]).ok();
    assert!(sync.stdout.contains(", 3 commits\n"), "{}", sync.masked());
}
