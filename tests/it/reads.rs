//! What is read: regular files, of a bounded size, without waiting and without following a link out of where they are.
//!
//! A user who may write into a target or beside a host's flake can put an endless file or a FIFO there, and so can a
//! commit. A case that fails hangs this test or fills the machine's memory.

mod sources;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode, mkfifoat};

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

/// What can be in the place of a file, and how it is made.
type Laid = (&'static str, fn(&Path));

const LAID: &[Laid] = &[
    ("a link to a device", |path| {
        symlink("/dev/zero", path).unwrap();
    }),
    ("a FIFO", |path| {
        mkfifoat(CWD, path, Mode::RUSR).unwrap();
    }),
    ("a link to a FIFO in the tree", |path| {
        let pipe = path.with_extension("pipe");
        if !pipe.exists() {
            mkfifoat(CWD, &pipe, Mode::RUSR).unwrap();
        }
        symlink(pipe.file_name().unwrap(), path).unwrap();
    }),
    ("a file without an end to speak of", |path| {
        fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    }),
    ("a directory", |path| fs::create_dir(path).unwrap()),
];

/// Puts something in the place of what is there.
fn lay(path: &Path, (_, lay): Laid) {
    clear(path);
    lay(path);
}

fn clear(path: &Path) {
    match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir(path).unwrap(),
        Ok(_) => fs::remove_file(path).unwrap(),
        Err(_) => {}
    }
}

const FLAKE: &str = "{ outputs = { self }: { nixosConfigurations.vm = { }; }; }\n";

/// A synced target that is a flake itself, with a Nix that must not be started.
fn world() -> (Sandbox, Repo) {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    repo.write("flake.nix", FLAKE)
        .write(
            "flake.lock",
            r#"{"nodes":{"root":{}},"root":"root","version":7}"#,
        )
        .commit("a flake");
    let flake = sandbox.target().display().to_string();
    sandbox.follow(&repo, &format!("[rebuild]\nflake = '{flake}'"));
    let _ = sandbox.run(&["sync"]).ok();
    let started = sandbox.root().join("started").display().to_string();
    for program in ["nix", "nixos-rebuild"] {
        sandbox.tool(program, &format!("echo {program} >> '{started}'; exit 1"));
    }
    (sandbox, repo)
}

#[test]
fn no_file_in_the_target_is_read_without_a_bound() {
    let (sandbox, _repo) = world();
    for name in ["flake.nix", "flake.lock"] {
        let path = sandbox.target().join(name);
        for laid in LAID {
            lay(&path, *laid);
            let case = format!("{} at {name}", laid.0);
            let rebuilt = sandbox.run(&["rebuild"]).code(2);
            let expected = "rebuild::flake_unreadable";
            assert!(
                rebuilt.stderr.contains(expected),
                "{case}: {}",
                rebuilt.masked()
            );
            assert!(!sandbox.root().join("started").exists(), "{case}");

            let validated = sandbox.run(&["validate", "--json"]).json();
            let checks = validated["checks"].as_array().unwrap();
            let status = |id: &str| {
                let check = checks.iter().find(|check| check["id"] == id);
                check.unwrap()["status"].clone()
            };
            let check = if name == "flake.nix" {
                "flake"
            } else {
                "flake-lock"
            };
            assert_eq!(status(check), "failed", "{case}: {validated:#}");

            let report = sandbox.run(&["status", "--json"]).ok().json();
            assert_eq!(report["local_edits"][0]["path"], name, "{case}");
            let _ = sandbox.run(&["diff"]).ok();
            let checked = sandbox.run(&["sync", "--check-only"]);
            assert!(
                [Some(0), Some(8)].contains(&checked.code),
                "{case}: {}",
                checked.masked()
            );
        }
        clear(&path);
        let _ = fs::remove_file(path.with_extension("pipe"));
        let _ = sandbox.run(&["sync"]).ok();
    }
}

#[test]
fn no_file_beside_the_flake_of_a_host_is_read_without_a_bound() {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    let host = sandbox.root().join("host");
    fs::create_dir(&host).unwrap();
    let target = sandbox.target().display().to_string();
    let flake = format!(
        "{{ inputs.tree.url = \"path:{target}\"; outputs = {{ self, tree }}: {{ nixosConfigurations.vm = {{ }}; }}; }}"
    );
    let settings = format!("[rebuild]\nflake = '{}'", host.display());
    sandbox.follow(&repo, &settings);
    let started = sandbox.root().join("started").display().to_string();
    for program in ["nix", "nixos-rebuild"] {
        sandbox.tool(program, &format!("echo {program} >> '{started}'; exit 1"));
    }
    for name in ["flake.nix", "flake.lock"] {
        for laid in LAID {
            fs::write(host.join("flake.nix"), &flake).unwrap();
            lay(&host.join(name), *laid);
            let case = format!("{} at {name}", laid.0);
            // The lock file of the host is read without a rebuild too.
            let synced = sandbox.run(&["sync"]).ok();
            assert!(
                synced.stderr.contains("cannot be read"),
                "{case}: {}",
                synced.masked()
            );
            let rebuilt = sandbox.run(&["rebuild"]).code(2);
            let expected = "rebuild::flake_unreadable";
            assert!(
                rebuilt.stderr.contains(expected),
                "{case}: {}",
                rebuilt.masked()
            );
            let _ = sandbox.run(&["validate"]).code(1);
            assert!(!sandbox.root().join("started").exists(), "{case}");
            clear(&host.join(name));
        }
    }
}

#[test]
fn a_commit_whose_flake_is_a_link_out_of_it_is_refused_from_the_first_sync_on() {
    for target in [
        "/dev/zero",
        "../flake.nix",
        "nothing",
        "modules",
        "flake.nix",
        "other",
    ] {
        let (sandbox, repo) = (Sandbox::new(), Repo::small());
        repo.symlink("other", "/etc/passwd");
        repo.remove("flake.nix").symlink("flake.nix", target);
        repo.commit("a link");
        sandbox.follow(&repo, "");
        for _ in 0..2 {
            let refused = sandbox.run(&["sync"]).code(8);
            let expected = "plan::required_gone";
            assert!(
                refused.stderr.contains(expected),
                "{target}: {}",
                refused.masked()
            );
            assert!(!sandbox.target().exists(), "{target}");
        }
    }
}

#[test]
fn a_flake_may_be_a_link_to_a_file_of_the_tree() {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    repo.write("nix/flake.nix", FLAKE)
        .remove("flake.nix")
        .symlink("flake.nix", "nix/flake.nix")
        .commit("a link");
    let flake = sandbox.target().display().to_string();
    sandbox.follow(
        &repo,
        &format!("[rebuild]\nflake = '{flake}'\nhost = 'other'"),
    );
    let _ = sandbox.run(&["sync"]).ok();
    for program in ["nix", "nixos-rebuild"] {
        sandbox.tool(program, "exit 1");
    }
    // Its hosts were read.
    let rebuilt = sandbox.run(&["rebuild"]).code(2);
    assert!(
        rebuilt.stderr.contains("has no host `other`, it has `vm`"),
        "{}",
        rebuilt.masked()
    );
    let validated = sandbox.run(&["validate"]);
    let expected = "it has no `nixosConfigurations.other`, only `vm`";
    assert!(
        validated.stdout.contains(expected),
        "{}",
        validated.masked()
    );

    let before = sandbox.target_tree();
    repo.remove("flake.nix")
        .symlink("flake.nix", "/dev/zero")
        .commit("elsewhere");
    let refused = sandbox.run(&["sync"]).code(8);
    assert!(
        refused.stderr.contains("plan::required_gone"),
        "{}",
        refused.masked()
    );
    sandbox.target_tree().assert_same(&before);
}

#[test]
fn settings_and_secrets_are_read_without_waiting() {
    let laid = |name: &str, laid: &Laid| {
        let sandbox = Sandbox::new();
        let path = sandbox.root().join(name);
        lay(&path, *laid);
        (sandbox, path)
    };
    for case in LAID {
        let (sandbox, path) = laid("settings", case);
        let path = path.display().to_string();
        let output = sandbox.run(&["sync", "--config", &path]).code(2);
        assert!(
            output.stderr.contains("settings::file_"),
            "{}: {}",
            case.0,
            output.masked()
        );

        let remote = "https://127.0.0.1:1/a/b.git";
        for (name, setting) in [
            ("signers", "trust.signers"),
            ("token", "token_file"),
            ("ca", "ca_file"),
        ] {
            let (sandbox, path) = laid(name, case);
            let repo = Repo::small();
            let repo = repo.path().display().to_string();
            let from = if name == "signers" {
                repo.as_str()
            } else {
                remote
            };
            sandbox.config(&format!(
                "repo = '{from}'\n{setting} = '{}'",
                path.display()
            ));
            let output = sandbox.run(&["sync"]).code(2);
            assert!(
                !sandbox.target().exists(),
                "{} as {name}: {}",
                case.0,
                output.masked()
            );
        }
        let (sandbox, path) = laid("netrc", case);
        sandbox.config(&format!("repo = '{remote}'"));
        let _ = sandbox
            .finish(sandbox.cmd(&["sync"]).env("NETRC", &path))
            .code(2);
    }
}

#[test]
fn a_managed_file_that_was_made_huge_is_an_edit_like_any_other() {
    let (sandbox, repo) = world();
    let path = sandbox.target().join("modules/base.nix");
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(1 << 40)
        .unwrap();
    let report = sandbox.run(&["status", "--json"]).ok().json();
    assert_eq!(report["local_edits"][0]["path"], "modules/base.nix");
    let shown = sandbox.run(&["diff"]).ok();
    let expected = "Binary files a/modules/base.nix and b/modules/base.nix differ\n";
    assert!(shown.stdout.ends_with(expected), "{}", shown.masked());
    let validated = sandbox.run(&["validate"]);
    let expected = "`modules/base.nix` is not as in commit";
    assert!(
        validated.stdout.contains(expected),
        "{}",
        validated.masked()
    );
    let sync = |policy: &str| sandbox.run(&["sync", "--local-edits", policy]);
    for policy in ["keep", "refuse"] {
        let synced = sync(policy).ok();
        let expected = "; 1 file stays as it is: `hyper-sync diff`\n";
        assert!(synced.stdout.ends_with(expected), "{}", synced.masked());
    }
    // `replace` would have to keep it, and it is too large for that.
    let refused = sync("replace").code(9);
    let expected = "apply::no_space";
    assert!(refused.stderr.contains(expected), "{}", refused.masked());

    repo.write("modules/base.nix", "{ new = true; }\n")
        .commit("touched");
    let refused = sync("refuse").code(8);
    assert!(
        refused.stderr.contains("modules/base.nix"),
        "{}",
        refused.masked()
    );
    assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 40);
}
