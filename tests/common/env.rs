//! The real binary in a world of its own.
//!
//! Nothing of the machine reaches it: an empty environment, a temporary home, target and state directory, and a `PATH`
//! with git and what a test puts there. What it printed comes back with the changing parts (paths, ports, ids,
//! durations) replaced, ready for an inline snapshot.

use std::{
    cell::RefCell,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use assert_cmd::Command;
use tempfile::TempDir;

use super::{forge::Forge, git, repo::Repo, snapshot::TreeSnapshot};

/// The binary; empty in an example, to which Cargo gives no path of it.
fn binary() -> &'static str {
    option_env!("CARGO_BIN_EXE_hyper-sync").unwrap_or_default()
}

/// A home, a target and a state directory, and the binary that works on them.
pub struct Sandbox {
    root: TempDir,
    /// Text to replace in output, with its replacement: the longest first.
    masks: RefCell<Vec<(String, String)>>,
}

impl Sandbox {
    /// A fresh world: the target does not exist yet, `PATH` has only git.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("hyper-sync-test-")
            .tempdir()
            .unwrap();
        for directory in ["home", "bin", "tmp"] {
            fs::create_dir(root.path().join(directory)).unwrap();
        }
        let sandbox = Self {
            root,
            masks: RefCell::default(),
        };
        sandbox.link_tool("git");
        sandbox.config("");
        for name in ["home", "target", "state", "bin", "tmp", "config.toml"] {
            sandbox.mask(
                &sandbox.path(name).display().to_string(),
                &format!("[{name}]"),
            );
        }
        sandbox.mask(&sandbox.root.path().display().to_string(), "[root]");
        sandbox
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// `HOME` of the binary.
    pub fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// The directory to keep equal to a commit.
    pub fn target(&self) -> PathBuf {
        self.path("target")
    }

    /// The state directory, given by `HYPER_SYNC_STATE_DIR`.
    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The directory that everything else is in, for files of the test itself.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Writes the configuration file: the only one that is read, whatever the machine has in `/etc`.
    pub fn config(&self, toml: &str) -> &Self {
        fs::write(self.path("config.toml"), toml).unwrap();
        self
    }

    /// Writes a configuration file that names this repository, with these settings besides; it is printed as `[repo]`.
    pub fn follow(&self, repo: &Repo, settings: &str) -> &Self {
        let path = repo.path().display().to_string();
        self.config(&format!("repo = '{path}'\n{settings}"))
            .mask(&path, "[repo]")
    }

    /// Writes a file of the target, as its owner would: parent directories are made.
    pub fn edit(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.target().join(path);
        fs::create_dir_all(path.parent().expect("a file has a directory")).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// What the target looks like.
    pub fn target_tree(&self) -> TreeSnapshot {
        TreeSnapshot::of(&self.target())
    }

    /// Makes a program of the machine visible to the binary.
    pub fn link_tool(&self, name: &str) -> &Self {
        symlink(git::found_in_path(name), self.path("bin").join(name)).unwrap();
        self
    }

    /// Puts a shell script in `PATH` as a program. It has shell builtins only, unless more is linked.
    pub fn tool(&self, name: &str, script: &str) -> &Self {
        let (source, path) = (self.path("script"), self.path("bin").join(name));
        fs::write(&source, format!("#!/bin/sh\n{script}\n")).unwrap();
        // Copied by another process: a child that some thread starts now would inherit our handle for writing, and
        // the kernel refuses to run a file that is open for writing ("text file busy").
        git::succeeds(std::process::Command::new("cp").args([&source, &path]));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// Puts an `ssh` in `PATH` that runs `git-upload-pack` here, whatever the host. As a real server it knows the
    /// protocol version only if the client sends it (`-o SendEnv=GIT_PROTOCOL`). See [`Sandbox::ssh_calls`].
    pub fn fake_ssh(&self) -> &Self {
        let log = self.path("ssh.log");
        self.tool(
            "ssh",
            &format!(
                r#"
echo "$*" >> '{}'
case "$*" in *SendEnv=GIT_PROTOCOL*) ;; *) unset GIT_PROTOCOL ;; esac
eval "command=\${{$#}}"
case "$command" in
  "git-upload-pack "*) eval "exec git ${{command#git-}}" ;;
  *) echo "no such command: $command" >&2; exit 127 ;;
esac"#,
                log.display()
            ),
        )
    }

    /// The arguments of every call of the `ssh` made by [`Sandbox::fake_ssh`], one line each.
    pub fn ssh_calls(&self) -> Vec<String> {
        let log = fs::read_to_string(self.path("ssh.log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    /// Makes the last update one of long ago.
    pub fn age(&self) {
        let path = self.state().join("sync-state.json");
        let text = fs::read_to_string(&path).unwrap();
        let mut state: serde_json::Value = serde_json::from_str(&text).unwrap();
        state["last_sync"]["timestamp"] = "2020-01-01T00:00:00Z".into();
        fs::write(&path, state.to_string()).unwrap();
    }

    /// From now on `text` is printed as `[name]` in masked output.
    pub fn mask(&self, text: &str, name: &str) -> &Self {
        let mut masks = self.masks.borrow_mut();
        masks.push((text.to_owned(), name.to_owned()));
        masks.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        drop(masks);
        self
    }

    /// Masks a commit's id, and the short forms of it, as `[name]`.
    pub fn mask_id(&self, id: &str, name: &str) -> &Self {
        for length in [40, 16, 12, 10, 9, 8, 7] {
            self.mask(&id[..length], &format!("[{name}]"));
        }
        self
    }

    /// Masks a forge's address as `[forge]`.
    pub fn mask_forge(&self, forge: &Forge) -> &Self {
        self.mask(&forge.host(), "[forge]")
    }

    /// The binary with this world as its environment; more can be added before it runs.
    pub fn cmd(&self, args: &[&str]) -> Command {
        Command::from_std(self.process(&[], args))
    }

    /// As [`Sandbox::cmd`], to be started and watched, by a wrapper with its arguments if there is one.
    pub fn process(&self, wrapper: &[&str], args: &[&str]) -> std::process::Command {
        let words = [wrapper, &[binary()], args].concat();
        // What is a path already stays it.
        let program = self.path("bin").join(words[0]);
        let mut command = std::process::Command::new(program);
        command
            .args(&words[1..])
            .env_clear()
            .current_dir(self.home())
            .env("PATH", self.path("bin"))
            .env("HOME", self.home())
            .env("TMPDIR", self.path("tmp"))
            .env("HYPER_SYNC_CONFIG", self.path("config.toml"))
            .env("HYPER_SYNC_STATE_DIR", self.state())
            .env("HYPER_SYNC_TARGET", self.target())
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C.UTF-8")
            .env("COLUMNS", "100")
            .env("TZ", "UTC");
        command
    }

    /// Runs the binary to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.finish(&mut self.cmd(args))
    }

    /// Runs a command made by [`Sandbox::cmd`] to its end.
    pub fn finish(&self, command: &mut Command) -> Output {
        let output = command.output().expect("the binary can be started");
        Output {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("stdout is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("stderr is UTF-8"),
            masks: self.masks.borrow().clone(),
        }
    }
}

/// What a run printed, and how it ended.
#[must_use = "a run whose result is not checked proves nothing"]
pub struct Output {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output as it was.
    pub stdout: String,
    /// Standard error as it was.
    pub stderr: String,
    masks: Vec<(String, String)>,
}

impl Output {
    /// Code, stdout and stderr in one text with the changing parts masked: for `insta::assert_snapshot!`.
    pub fn masked(&self) -> String {
        let code = self
            .code
            .map_or("signal".to_owned(), |code| code.to_string());
        let mut text = format!("exit: {code}\n");
        for (name, stream) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !stream.is_empty() {
                text.extend(["--- ", name, "\n", &self.mask(stream)]);
            }
        }
        text
    }

    /// Standard output, masked.
    pub fn out(&self) -> String {
        self.mask(&self.stdout)
    }

    /// Standard error, masked.
    pub fn err(&self) -> String {
        self.mask(&self.stderr)
    }

    /// Standard output as JSON, as its schema describes it.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let document = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("no JSON ({e}):\n{}", self.masked()));
        super::schema::check(&document);
        document
    }

    /// Insists on an exit code.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.code, Some(expected), "{}", self.masked());
        self
    }

    /// Insists on exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    fn mask(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (from, to) in &self.masks {
            text = text.replace(from, to);
        }
        // Whether a second has passed is chance.
        let text = text.replace("just now", "0 s ago");
        mask_traffic(&mask_durations(&mask_dates(&mask_ids(&text))))
    }
}

/// Every run of 40 hex digits that is left becomes `[id]`.
fn mask_ids(text: &str) -> String {
    replace_words(
        text,
        |c| c.is_ascii_hexdigit(),
        |word| (word.len() == 40).then(|| "[id]".to_owned()),
    )
}

/// `2026-11-24T07:22:57Z` becomes `[date]`.
fn mask_dates(text: &str) -> String {
    replace_words(
        text,
        |c| c.is_ascii_alphanumeric() || c == ':' || c == '-',
        |word| {
            let (date, colon) = match word.strip_suffix(':') {
                Some(date) => (date, ":"),
                None => (word, ""),
            };
            let is_date = date.len() == 20 && date.ends_with('Z') && date.as_bytes()[10] == b'T';
            is_date.then(|| format!("[date]{colon}"))
        },
    )
}

/// `772 B received` becomes `[bytes] received`: how git cuts its answer into packets differs from run to run.
fn mask_traffic(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.split('\n') {
        lines.push(match line.split_once(" received in ") {
            Some((before, after)) => {
                let kept = before.rsplit_once(", ").map_or("", |(kept, _)| kept);
                format!("{kept}, [bytes] received in {after}")
            }
            None => line.to_owned(),
        });
    }
    lines.join("\n")
}

/// `0.19 s`, `12 ms` and `3 min` become `[time]`, and `2 days ago` becomes `[time] ago`.
fn mask_durations(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let before = rest[..start].chars().next_back();
        masked.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, after) = rest.split_at(length);
        let unit = after.strip_prefix(' ').unwrap_or(after);
        let word = unit
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(unit.len());
        let glued = before.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '-');
        let (name, next) = unit.split_at(word);
        let is_age = next.starts_with(" ago") && ["h", "days", "months", "years"].contains(&name);
        if !glued && (is_age || ["ms", "s", "µs", "min"].contains(&name)) {
            masked.push_str("[time]");
            rest = next;
        } else {
            masked.push_str(number);
            rest = after;
        }
    }
    masked + rest
}

fn replace_words(
    text: &str,
    part: impl Fn(char) -> bool,
    replace: impl Fn(&str) -> Option<String>,
) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(&part) {
        masked.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        masked.push_str(&replace(word).unwrap_or_else(|| word.to_owned()));
        rest = after;
    }
    masked + rest
}
