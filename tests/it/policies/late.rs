//! Edits made while a plan is applied: the program is stopped right after its commit point, and continued later.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::common::snapshot::TreeSnapshot;
use crate::common::world::World;

/// A world whose sync can be stopped by strace between its commit point and its end.
struct LateEdit(World);

impl LateEdit {
    /// A target at the first of two commits.
    fn new() -> Self {
        let world = World::small();
        world.link_tool("strace");
        let world = world.synced();
        world
            .repo
            .write("flake.nix", "{ second = true; }\n")
            .write("new.nix", "{ }\n")
            .write("modules/base.nix", "{ second = true; }\n")
            .remove("scripts/run.sh")
            .commit("second");
        Self(world)
    }

    /// The system call that is the commit point, and its number among the calls of its kind.
    fn commit_point(&self) -> (String, usize) {
        let log = self.0.root().join("renames");
        let trace = "trace=rename,renameat,renameat2";
        let strace = ["strace", "-qq", "-o", log.to_str().unwrap(), "-e", trace];
        let output = self.0.process(&strace, &["sync"]).output();
        assert!(output.unwrap().status.success());
        let log = std::fs::read_to_string(log).unwrap();
        let name = |line: &str| line.split_once('(').map(|(name, _)| name.to_owned());
        let is_it = |line: &&str| line.contains("\"active\"");
        let call = log.lines().find(is_it).and_then(name).unwrap();
        let alike = log
            .lines()
            .filter(|line| name(line).as_ref() == Some(&call));
        let place = 1 + { alike }.position(|line| is_it(&line)).unwrap();
        (call, place)
    }

    /// A sync whose target is edited once it has passed its commit point: its exit code, and what it printed.
    fn edited_meanwhile(&self, args: &[&str], edit: impl FnOnce()) -> (Option<i32>, String) {
        let (call, when) = Self::new().commit_point();
        let log = self.0.root().join("log");
        rustix::fs::mkfifoat(rustix::fs::CWD, &log, 0o600.into()).unwrap();
        let trace = format!("trace={call}");
        let inject = format!("inject={call}:signal=SIGSTOP:when={when}");
        let log = log.to_str().unwrap();
        let strace = ["strace", "-qq", "-o", log, "-e", &trace, "-e", &inject];
        let run = self
            .0
            .process(&strace, &[&["sync"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Pid::from_child(&run);
        let mut lines = BufReader::new(std::fs::File::open(log).unwrap()).lines();
        let stopped = lines.any(|line| line.unwrap().contains("stopped by SIGSTOP"));
        assert!(stopped, "the run has ended");
        edit();
        kill_process_group(group, Signal::CONT).unwrap();
        // Read to its end: a pipe that is full would block the program.
        lines.for_each(drop);
        let output = run.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    fn edit(&self) {
        self.0
            .edit("modules/base.nix", "{ late = true; }\n")
            .edit("scripts/run.sh", "late\n")
            .edit("new.nix", "{ late = 2; }\n")
            .edit("mine.nix", "{ mine = true; }\n");
    }
}

#[test]
fn a_late_edit_is_kept_and_reported_and_the_target_is_the_commit() {
    let world = LateEdit::new();
    let (code, text) = world.edited_meanwhile(&[], || world.edit());
    assert_eq!(code, Some(8), "{text}");
    let kept = world.0.state().join("conflicts/000002");
    for (path, content) in [
        ("modules/base.nix", "{ late = true; }\n"),
        ("scripts/run.sh", "late\n"),
        ("new.nix", "{ late = 2; }\n"),
    ] {
        let place = kept.join(path);
        assert_eq!(std::fs::read_to_string(&place).unwrap(), content);
        let line = format!(
            "`{path}` was edited during the run; the edit is kept in `{}`",
            place.display()
        );
        assert!(text.contains(&line), "{path}: {text}");
    }
    let tree = world.0.target_tree();
    assert!(
        tree.get("mine.nix").is_some(),
        "the update has no file there"
    );
    tree.without(|path| path == "mine.nix")
        .assert_same(&TreeSnapshot::of_commit(&world.0.repo, "main"));
    let status = world.0.run(&["status"]).ok();
    let line = format!("kept      late edits in {}", kept.display());
    assert!(status.stdout.contains(&line), "{}", status.masked());
    let again = world.0.sync(&[]).ok();
    assert!(
        again.stdout.contains(" is up to date ("),
        "{}",
        again.masked()
    );
}

#[test]
fn json_lists_late_edits_by_path() {
    let world = LateEdit::new();
    let (code, text) = world.edited_meanwhile(&["--json"], || world.edit());
    assert_eq!(code, Some(8), "{text}");
    let state: serde_json::Value = serde_json::from_str(&text).unwrap();
    let late = state["late_edits"].as_array().unwrap().iter();
    let mut late: Vec<&str> = late.map(|path| path.as_str().unwrap()).collect();
    late.sort_unstable();
    assert_eq!(late, ["modules/base.nix", "new.nix", "scripts/run.sh"]);
}
