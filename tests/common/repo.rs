//! A bare repository made by real git, and a builder that fills it.
//!
//! Files are staged with [`Repo::write`] and its siblings and become a commit with [`Repo::commit`], which costs one
//! `git fast-import`; there is no work tree. Objects that git itself refuses to make (trees with hostile names, a
//! commit without its tree) are written raw with [`Repo::object`]. Names, dates and the order of everything are fixed:
//! the same calls give the same ids in every run.

mod commits;
mod history;
mod raw;
mod read;
mod stream;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use tempfile::TempDir;

pub use self::{history::History, raw::Entry, read::Row};
use super::git::{self, CatFile, Info, Object};

/// The first commit's date: a fixed moment, because ids depend on it.
const EPOCH: i64 = 1_760_000_000;

/// A bare repository in its own temporary directory. Cloning gives another handle of the same repository.
#[derive(Clone)]
pub struct Repo {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    state: Mutex<State>,
    objects: Mutex<Option<CatFile>>,
    /// Removed with the last handle.
    _directory: TempDir,
}

struct State {
    /// Where the next commit goes: `refs/heads/…`.
    branch: String,
    /// `git fast-import` file commands.
    staged: Vec<u8>,
    /// Seconds since 1970 of the next commit.
    clock: i64,
}

impl Repo {
    /// An empty bare repository whose default branch is `main`.
    pub fn new() -> Self {
        static TEMPLATE: OnceLock<Vec<(PathBuf, Vec<u8>)>> = OnceLock::new();
        let directory = temporary();
        let path = directory.path().join("repo.git");
        // `git init` once a process, then copies of the three files it makes.
        let files = TEMPLATE.get_or_init(|| {
            let template = temporary();
            git::succeeds(git::git(template.path()).args([
                "init",
                "--quiet",
                "--bare",
                "--template=",
                "-b",
                "main",
                ".",
            ]));
            ["HEAD", "config"]
                .map(|name| (name.into(), fs::read(template.path().join(name)).unwrap()))
                .to_vec()
        });
        for sub in ["objects/info", "objects/pack", "refs/heads", "refs/tags"] {
            fs::create_dir_all(path.join(sub)).unwrap();
        }
        for (name, content) in files {
            fs::write(path.join(name), content).unwrap();
        }
        Self::at(directory, path)
    }

    /// A repository with one commit of a few files, for tests to which the content does not matter.
    pub fn small() -> Self {
        let repo = Self::new();
        repo.write("flake.nix", "{ outputs = _: { }; }\n")
            .write("modules/base.nix", "{ ... }: { }\n")
            .write_exec("scripts/run.sh", "#!/bin/sh\necho run\n")
            .commit("start");
        repo
    }

    /// A repository with the first `commits` commits of the standard [`History`], from a copy made once a process.
    pub fn with_history(commits: usize) -> Self {
        History::of(commits).repo()
    }

    fn at(directory: TempDir, path: PathBuf) -> Self {
        let state = State {
            branch: "refs/heads/main".into(),
            staged: Vec::new(),
            clock: EPOCH,
        };
        Self {
            inner: Arc::new(Inner {
                path,
                state: Mutex::new(state),
                objects: Mutex::new(None),
                _directory: directory,
            }),
        }
    }

    /// The bare repository, usable as a source by path.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// The repository as a `file://` source.
    pub fn file_url(&self) -> String {
        format!("file://{}", self.path().display())
    }

    /// Real git on this repository.
    pub fn git(&self) -> std::process::Command {
        let mut command = git::git(self.path());
        command.arg("--git-dir").arg(self.path());
        command
    }

    /// Stages a file.
    pub fn write(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        self.stage("100644", path.as_ref(), content.as_ref())
    }

    /// Stages an executable file.
    pub fn write_exec(&self, path: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        self.stage("100755", path.as_ref(), content.as_ref())
    }

    /// Stages a symbolic link.
    pub fn symlink(&self, path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> &Self {
        self.stage("120000", path.as_ref(), target.as_ref())
    }

    /// Stages a submodule entry; nothing of it is ever fetched, so any 40 hex digits do.
    pub fn gitlink(&self, path: impl AsRef<[u8]>, id: &str) -> &Self {
        self.stage_id("160000", id, path.as_ref())
    }

    /// Stages the deletion of a file or of a whole directory.
    pub fn remove(&self, path: impl AsRef<[u8]>) -> &Self {
        let mut state = self.state();
        state.staged.extend_from_slice(b"D ");
        stream::quote(path.as_ref(), &mut state.staged);
        state.staged.push(b'\n');
        drop(state);
        self
    }

    /// Stages a rename of a file or of a whole directory.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> &Self {
        let mut state = self.state();
        state.staged.extend_from_slice(b"R ");
        stream::quote(from.as_ref(), &mut state.staged);
        state.staged.push(b' ');
        stream::quote(to.as_ref(), &mut state.staged);
        state.staged.push(b'\n');
        drop(state);
        self
    }

    /// Stages the content of `path` at the tip under another mode.
    pub fn chmod(&self, path: &str, mode: &str) -> &Self {
        let tip = self.tip().expect("a commit to change");
        let id = self.id(&format!("{tip}:{path}"));
        self.stage_id(mode, &id, path.as_bytes())
    }

    fn stage(&self, mode: &str, path: &[u8], content: &[u8]) -> &Self {
        stream::modify_inline(&mut self.state().staged, mode, path, content);
        self
    }

    fn stage_id(&self, mode: &str, id: &str, path: &[u8]) -> &Self {
        stream::modify(&mut self.state().staged, mode, id, path);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().expect("no writer panicked")
    }
}

fn temporary() -> TempDir {
    tempfile::Builder::new()
        .prefix("hyper-sync-test-")
        .tempdir()
        .expect("a temporary directory")
}

/// A new file that a server with another user may read, to be renamed to its place.
fn readable_file(directory: &Path) -> tempfile::NamedTempFile {
    tempfile::Builder::new()
        .permissions(fs::Permissions::from_mode(0o644))
        .tempfile_in(directory)
        .unwrap()
}
