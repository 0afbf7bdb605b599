//! The console lines of the README and of the documents by task, run as they are written.
//!
//! Each section is run in a world of its own: a machine that follows a branch and has had an update, with stand-ins for
//! what changes a real machine. Names that the documents use as examples stand for places of that world.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::read;
use crate::common::env::Sandbox;
use crate::common::git;
use crate::common::repo::Repo;

/// A file of the target that was edited, and that the update has replaced.
const EDITED: &str = "README.md";

/// What a section of a document expects to find.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Machine {
    /// It follows a branch: two updates, and an edit that the second one has replaced.
    Following,
    /// Its target is a clone that is one commit behind, and nothing was synced.
    Clone,
}

struct World {
    sandbox: Sandbox,
    repo: Repo,
}

impl World {
    fn new(machine: Machine) -> Self {
        let world = Self {
            sandbox: Sandbox::new(),
            repo: Repo::new(),
        };
        let (sandbox, repo) = (&world.sandbox, &world.repo);
        repo.write(
            "flake.nix",
            "{ outputs = _: { nixosConfigurations.web1 = { }; }; }\n",
        )
        .write(
            "flake.lock",
            r#"{"nodes":{"root":{}},"root":"root","version":7}"#,
        )
        .write("configuration.nix", "{ }\n")
        .write("hosts/web1/default.nix", "{ }\n")
        .write(EDITED, "one\n")
        .commit("start");
        repo.tag("v1.0");
        // An argument that only `nixos-rebuild` has: nothing else is called to build.
        sandbox.follow(
            repo,
            "local_edits = 'replace'\n[rebuild]\nhost = 'web1'\nextra_args = ['--sudo']",
        );
        for tool in [
            "sh",
            "cat",
            "cp",
            "install",
            "mv",
            "jq",
            "ssh-keygen",
            "mkdir",
        ] {
            sandbox.link_tool(tool);
        }
        let binary = env!("CARGO_BIN_EXE_hyper-sync");
        sandbox
            .tool("hyper-sync", &format!("exec '{binary}' \"$@\""))
            .tool("sudo", "exec \"$@\"")
            .tool(
                "cargo",
                &format!("[ \"$1\" != run ] || {{ shift 3; exec '{binary}' \"$@\"; }}"),
            );
        // One host, which builds.
        sandbox.tool(
            "nix",
            "case $* in\n\
             *attrNames*) echo '[\"web1\"]';;\n\
             *drvPath) echo /nix/store/web1.drv;;\n\
             *--print-out-paths*) echo /nix/store/web1;;\n\
             esac",
        );
        for tool in ["nixos-rebuild", "systemctl", "journalctl", "gh"] {
            sandbox.tool(tool, "exit 0");
        }
        let target = sandbox.target();
        match machine {
            Machine::Following => {
                let _ = sandbox.run(&["sync"]).ok();
                sandbox.edit(EDITED, "mine\n");
            }
            Machine::Clone => {
                let mut clone = git::git(sandbox.root());
                git::succeeds(clone.arg("clone").arg("-q").arg(repo.path()).arg(&target));
                sandbox.edit("hardware-configuration.nix", "{ }\n");
            }
        }
        repo.write(EDITED, "two\n").commit("update");
        if machine == Machine::Following {
            let _ = sandbox.run(&["sync"]).ok();
        }
        repo.branch("feature").checkout("feature");
        repo.write("configuration.nix", "{ feature = true; }\n")
            .commit("feature");
        repo.checkout("main");
        let mut clone = git::git(sandbox.root());
        git::succeeds(clone.args(["clone", "-q"]).arg(repo.path()).arg("work"));
        world
    }

    /// A line with the places of this world in it.
    fn placed(&self, line: &str) -> String {
        let root = self.sandbox.root().display().to_string();
        let shown = |path: PathBuf| path.display().to_string();
        let repo = shown(self.repo.path().to_owned());
        let state = shown(self.sandbox.state());
        let places = [
            ("/etc/hyper-sync/config.toml", format!("{root}/config.toml")),
            ("/etc/nixos", shown(self.sandbox.target())),
            ("https://git.example.org/infra/machines.git", repo.clone()),
            ("you/your-config", repo),
            ("/srv/machines", format!("{root}/machines")),
            ("/usr/local/bin", format!("{root}/installed")),
            (
                "/var/lib/hypervisor/cache/sync-state.json",
                format!("{state}/sync-state.json"),
            ),
            ("/var/lib/hyper-sync", state),
            (" /root/", format!(" {root}/home/")),
            (
                "target/release/hyper-sync",
                env!("CARGO_BIN_EXE_hyper-sync").to_owned(),
            ),
        ];
        places
            .into_iter()
            .fold(line.to_owned(), |line, (name, place)| {
                line.replace(name, &place)
            })
    }

    /// Runs a line in a clone of the repository.
    fn run(&self, line: &str) -> (Option<i32>, String) {
        let mut command: Command = self.sandbox.process(&["sh", "-c", &self.placed(line)], &[]);
        // Each target has a state directory of its own.
        let other = ["/srv/machines", "./demo", "./checked"];
        if let Some(other) = other.iter().find(|other| line.contains(*other)) {
            let name = other.rsplit('/').next().unwrap();
            command.env(
                "HYPER_SYNC_STATE_DIR",
                self.sandbox.root().join(format!("state-{name}")),
            );
        }
        command
            .current_dir(self.sandbox.root().join("work"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in git::environment(&self.sandbox.home()) {
            if name.starts_with("GIT_") {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().unwrap();
        // A command that reads nothing may have ended.
        let _ = child.stdin.take().unwrap().write_all(b"token\n");
        let output = child.wait_with_output().unwrap();
        let printed = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&printed).into_owned(),
        )
    }
}

/// The sections of a document that have console lines, each with its lines.
fn sections(text: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    let mut is_console = false;
    for line in text.lines() {
        if !is_console && line.starts_with('#') {
            sections.push((line.trim_start_matches('#').trim().to_owned(), Vec::new()));
        } else if let Some(kind) = line.strip_prefix("```") {
            is_console = kind == "console";
        } else if let (true, Some(command), Some((_, lines))) =
            (is_console, line.strip_prefix("$ "), sections.last_mut())
        {
            lines.push(command.to_owned());
        }
    }
    sections.retain(|(_, lines)| !lines.is_empty());
    sections
}

/// Runs the console lines of a document, and returns how many there are.
fn run(document: &str, machine: Machine) -> usize {
    let mut count = 0;
    for (section, lines) in sections(&read(document)) {
        // Its commands are this test suite.
        if section == "Development" {
            continue;
        }
        let world = World::new(machine);
        for line in lines {
            let (code, printed) = world.run(&line);
            // A sandbox is not the machine that the checks want.
            let expected: &[i32] = if line.contains("hyper-sync validate") {
                &[0, 1, 2]
            } else {
                &[0]
            };
            assert!(
                code.is_some_and(|code| expected.contains(&code)),
                "{document}, {section}: `{line}` ended with {code:?}:\n{printed}"
            );
            count += 1;
        }
    }
    count
}

/// A directory becomes a target in a few commands.
#[test]
fn adoption_takes_few_commands() {
    let sections = sections(&read("docs/adopting.md"));
    for (section, most) in [
        ("A clone in /etc/nixos", 2),
        ("Your own configuration, and a repository with hosts", 4),
    ] {
        let found = sections.iter().find(|(name, _)| name == section);
        let (_, lines) = found.unwrap_or_else(|| panic!("no section `{section}`"));
        assert!(lines.len() <= most, "{section}: {lines:?}");
    }
}

/// Makes a test for each document.
macro_rules! documents {
    ($($name:ident: $document:literal, $machine:ident, $least:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let count = run($document, Machine::$machine);
                assert!(count >= $least, "only {count} lines were run");
            }
        )*

        #[test]
        fn every_document_with_console_lines_is_run() {
            let run = [$($document),*];
            for document in super::documents() {
                let is_run = run.contains(&document.as_str());
                // Of the development of hyper-sync itself.
                let is_left_out = matches!(document.as_str(), "CONTRIBUTING.md" | "SECURITY.md");
                let has_lines = !sections(&read(&document)).is_empty();
                assert_eq!(is_run, has_lines && !is_left_out, "{document}");
            }
        }
    };
}

documents! {
    the_readme: "README.md", Following, 5;
    adopting: "docs/adopting.md", Clone, 4;
    ci: "docs/ci.md", Following, 2;
    feature_branches: "docs/feature-branches.md", Following, 4;
    follow_a_branch: "docs/follow-a-branch.md", Following, 8;
    from_the_scripts: "docs/from-the-scripts.md", Following, 5;
    going_back: "docs/going-back.md", Following, 7;
    how_it_works: "docs/how-it-works.md", Following, 4;
    json: "docs/json.md", Following, 8;
    private_repositories: "docs/private-repositories.md", Following, 4;
    safe_updates: "docs/safe-updates.md", Following, 2;
    without_nixos: "docs/without-nixos.md", Following, 2;
}
