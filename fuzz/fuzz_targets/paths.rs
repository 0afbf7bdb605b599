//! Rules for paths, compared with git: what git's `verify_path` refuses must be refused here.
//!
//! Paths are divided by NUL. `git update-index --index-info` checks each path with its mode and goes on, naming on its
//! standard error those that it refuses; a path that is always refused marks the end of an input.
#![no_main]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::{LazyLock, Mutex};

use hyper_sync::git::path::{check_leaf, folded, normalised};
use hyper_sync::git::{EntryMode, FileMode, RelPath};
use hyper_sync_fuzz::directory;
use libfuzzer_sys::fuzz_target;

/// After so many inputs git begins with an empty index again.
const INPUTS: u32 = 2000;
/// The blob of an empty file.
const ID: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

static JUDGE: LazyLock<Mutex<Judge>> = LazyLock::new(|| Mutex::new(Judge::start()));

struct Judge {
    git: Child,
    asked: ChildStdin,
    stderr: BufReader<ChildStderr>,
    inputs: u32,
    _repository: tempfile::TempDir,
}

impl Judge {
    fn start() -> Self {
        let repository = directory();
        let command = || {
            let mut git = Command::new("git");
            git.arg("-C").arg(repository.path());
            git.args(["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]);
            git.env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_CONFIG_GLOBAL", "/dev/null");
            git.env("LC_ALL", "C");
            git
        };
        let made = command().args(["init", "-q"]).status();
        assert!(made.expect("git").success());
        let mut git = command()
            .args(["update-index", "-z", "--index-info"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git");
        Self {
            asked: git.stdin.take().expect("a pipe"),
            stderr: BufReader::new(git.stderr.take().expect("a pipe")),
            git,
            inputs: 0,
            _repository: repository,
        }
    }

    /// Gives git paths with their modes; returns what git says about any of them.
    fn refusals(&mut self, paths: &[(&RelPath, &str)]) -> Vec<u8> {
        self.inputs += 1;
        let mut question = Vec::new();
        for (path, mode) in paths {
            question.extend(format!("{mode} {ID} 0\t{path}\0").as_bytes());
        }
        for (path, _) in paths {
            question.extend(format!("0 {} 0\t{path}\0", "0".repeat(40)).as_bytes());
        }
        let end = format!(".git/{}", self.inputs);
        question.extend(format!("100644 {ID} 0\t{end}\0").as_bytes());
        self.asked.write_all(&question).expect("git reads on");
        let end = format!("Ignoring path {end}\n");
        let mut said = Vec::new();
        while !said.ends_with(end.as_bytes()) {
            let read = self
                .stderr
                .read_until(b'\n', &mut said)
                .expect("git's words");
            assert!(read > 0, "git has ended: {}", said.escape_ascii());
        }
        said.truncate(said.len() - end.len());
        said
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.git.kill();
        let _ = self.git.wait();
    }
}

fuzz_target!(|data: &[u8]| {
    let paths: Vec<RelPath> = data
        .split(|&byte| byte == 0)
        .filter_map(|path| {
            let accepted = RelPath::new(path).ok()?;
            check(&accepted, path);
            Some(accepted)
        })
        .collect();
    let mut questions = Vec::new();
    for path in &paths {
        questions.push((path, "100644"));
        if check_leaf(path, EntryMode::File(FileMode::Symlink)).is_ok() {
            questions.push((path, "120000"));
        }
    }
    if questions.is_empty() {
        return;
    }
    let mut judge = JUDGE.lock().expect("one thread");
    if judge.inputs == INPUTS {
        *judge = Judge::start();
    }
    let refusals = judge.refusals(&questions);
    assert!(refusals.is_empty(), "git: {}", refusals.escape_ascii());
});

/// What holds for every path that is accepted.
fn check(path: &RelPath, bytes: &[u8]) {
    assert_eq!(path.as_str().as_bytes(), bytes);
    assert!(!path.as_str().contains(char::is_control));
    let mut joined: Option<RelPath> = None;
    for component in path.components() {
        assert!(!matches!(component, "" | "." | ".."));
        joined = RelPath::join(joined.as_ref(), component.as_bytes()).ok();
        assert!(joined.is_some(), "one by one it is refused: {path:?}");
    }
    assert_eq!(joined.as_ref(), Some(path));
    assert_eq!(
        normalised(&normalised(path.as_str())),
        normalised(path.as_str())
    );
    assert_eq!(folded(&folded(path.as_str())), folded(path.as_str()));
}
