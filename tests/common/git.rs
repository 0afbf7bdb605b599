//! Real git, started in an environment that nothing on the machine can change.
//!
//! No system, user or repository-external configuration is read, no prompt can appear, dates and names are fixed,
//! so an object made here has the same id everywhere.

use std::{
    ffi::OsStr,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    sync::OnceLock,
    thread,
};

/// The name and address in every commit and tag, where a test does not choose another.
pub const IDENTITY: &str = "Fixture Author <author@example.org>";

/// Git of this machine. By its path: a name that is to be looked for in an environment of its own makes the standard
/// library copy the process of all tests (`fork`) instead of starting the program beside it (`posix_spawn`).
pub fn program() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| found_in_path("git"))
}

/// The file that a name in `PATH` stands for.
pub fn found_in_path(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("the tests need `{name}` in PATH"))
}

/// `git` in `dir` with the fixed environment; add arguments and run it with [`output`], [`feed`] or [`succeeds`].
pub fn git(dir: &Path) -> Command {
    let mut command = Command::new(program());
    command.env_clear();
    command.current_dir(dir).envs(environment(dir));
    command
}

/// What a git process may know: also the environment of `git http-backend` behind the forge.
pub fn environment(home: &Path) -> Vec<(&'static str, std::ffi::OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut vars: Vec<(&str, std::ffi::OsString)> = vec![("PATH", path), ("HOME", home.into())];
    for (key, value) in [
        ("GIT_CONFIG_NOSYSTEM", "1"),
        ("GIT_CONFIG_GLOBAL", "/dev/null"),
        ("GIT_TERMINAL_PROMPT", "0"),
        ("GIT_ASKPASS", ""),
        ("GIT_ATTR_NOSYSTEM", "1"),
        ("GIT_AUTHOR_NAME", "Fixture Author"),
        ("GIT_AUTHOR_EMAIL", "author@example.org"),
        ("GIT_AUTHOR_DATE", "1760000000 +0100"),
        ("GIT_COMMITTER_NAME", "Fixture Author"),
        ("GIT_COMMITTER_EMAIL", "author@example.org"),
        ("GIT_COMMITTER_DATE", "1760000000 +0100"),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
    ] {
        vars.push((key, value.into()));
    }
    vars
}

/// Runs to the end whatever the result.
pub fn output(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"))
}

/// Runs, insists on success, returns stdout.
pub fn succeeds(command: &mut Command) -> Vec<u8> {
    let output = output(command);
    check(command, output)
}

/// As [`succeeds`], for one line of text.
pub fn line(command: &mut Command) -> String {
    String::from_utf8(succeeds(command))
        .expect("git printed UTF-8")
        .trim_end()
        .to_owned()
}

/// Runs with `input` on stdin, insists on success, returns stdout.
pub fn feed(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let output = feed_any(command, input);
    check(command, output)
}

/// Runs with `input` on stdin whatever the result. The input is written beside the reading, so neither side can block the other.
pub fn feed_any(command: &mut Command, input: &[u8]) -> Output {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    let mut stdin = child.stdin.take().expect("stdin is piped");
    thread::scope(|scope| {
        // A child that stops reading early is judged by its exit status, not by the broken pipe.
        scope.spawn(move || drop(stdin.write_all(input)));
        child
            .wait_with_output()
            .expect("the child can be waited for")
    })
}

fn check(command: &Command, output: Output) -> Vec<u8> {
    assert!(
        output.status.success(),
        "{command:?} failed with {}:\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// One object as git stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Hex id.
    pub id: String,
    /// `commit`, `tree`, `blob` or `tag`.
    pub kind: String,
    /// The body, without the `<kind> <size>\0` header.
    pub data: Vec<u8>,
}

/// What `git cat-file` says about an object without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Hex id.
    pub id: String,
    /// `commit`, `tree`, `blob` or `tag`.
    pub kind: String,
    /// Bytes of the body.
    pub size: u64,
}

/// One long-lived `git cat-file --batch-command`: reading an object costs a pipe write, not a process.
///
/// It sees objects and refs that were added after it was started.
pub struct CatFile {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl CatFile {
    /// Starts it for the repository at `git_dir`.
    pub fn start(git_dir: &Path) -> Self {
        let mut command = git(git_dir);
        command
            .args([OsStr::new("--git-dir"), git_dir.as_os_str()])
            .args(["cat-file", "--batch-command", "--buffer"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Only what git answers counts; a damaged object is a question some tests ask.
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        Self {
            stdin: child.stdin.take().expect("stdin is piped"),
            stdout: BufReader::new(child.stdout.take().expect("stdout is piped")),
            child,
        }
    }

    /// The object a revision names, or `None` where there is none.
    pub fn object(&mut self, revision: &str) -> Option<Object> {
        self.ask(&format!("contents {revision}\nflush\n"));
        let info = self.header()?;
        let mut data = vec![0; usize::try_from(info.size).expect("a size that fits memory") + 1];
        self.stdout
            .read_exact(&mut data)
            .expect("the announced bytes");
        data.pop();
        Some(Object {
            id: info.id,
            kind: info.kind,
            data,
        })
    }

    /// Kind and size of the object a revision names.
    pub fn info(&mut self, revision: &str) -> Option<Info> {
        self.infos(&[revision]).pop().flatten()
    }

    /// Kinds and sizes of many objects, in one exchange for every few hundred.
    pub fn infos<S: AsRef<str>>(&mut self, revisions: &[S]) -> Vec<Option<Info>> {
        let mut all = Vec::with_capacity(revisions.len());
        // Questions and answers of one chunk must fit the pipes, or both sides would wait for each other.
        for chunk in revisions.chunks(400) {
            let mut questions = String::new();
            for revision in chunk {
                questions.push_str("info ");
                questions.push_str(revision.as_ref());
                questions.push('\n');
            }
            questions.push_str("flush\n");
            self.ask(&questions);
            all.extend(chunk.iter().map(|_| self.header()));
        }
        all
    }

    fn ask(&mut self, question: &str) {
        self.stdin
            .write_all(question.as_bytes())
            .expect("git cat-file is alive");
        self.stdin.flush().expect("git cat-file is alive");
    }

    fn header(&mut self) -> Option<Info> {
        let mut line = String::new();
        self.stdout
            .read_line(&mut line)
            .expect("git cat-file is alive");
        assert!(!line.is_empty(), "git cat-file ended");
        // `<id> <kind> <size>`, or `<what was asked> missing|ambiguous`, which may itself contain spaces.
        let mut words = line.trim_end().splitn(3, ' ');
        let (id, kind, size) = (words.next()?, words.next()?, words.next()?);
        Some(Info {
            id: id.to_owned(),
            kind: kind.to_owned(),
            size: size.parse().ok()?,
        })
    }
}

impl Drop for CatFile {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
