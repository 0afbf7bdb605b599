//! A bare repository made by real git, and a builder that fills it.
//!
//! Files are staged with [`Repo::write`] and its siblings and become a commit with [`Repo::commit`], which costs one
//! `git fast-import`; there is no work tree. Objects that git itself refuses to make (trees with hostile names, a
//! commit without its tree) are written raw with [`Repo::object`]. Names, dates and the order of everything are fixed:
//! the same calls give the same ids in every run.

mod history;
mod raw;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use tempfile::TempDir;

pub use self::{history::History, raw::Entry};
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

/// One line of `git ls-tree -r`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Six octal digits, as git prints them: `100644`, `100755`, `120000`, `160000`.
    pub mode: String,
    /// `blob` or `commit`.
    pub kind: String,
    /// Hex id.
    pub id: String,
    /// The path, as bytes.
    pub path: Vec<u8>,
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

    // ---- staging ----

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
        history::quote(path.as_ref(), &mut state.staged);
        state.staged.push(b'\n');
        drop(state);
        self
    }

    /// Stages a rename of a file or of a whole directory.
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> &Self {
        let mut state = self.state();
        state.staged.extend_from_slice(b"R ");
        history::quote(from.as_ref(), &mut state.staged);
        state.staged.push(b' ');
        history::quote(to.as_ref(), &mut state.staged);
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
        history::modify_inline(&mut self.state().staged, mode, path, content);
        self
    }

    fn stage_id(&self, mode: &str, id: &str, path: &[u8]) -> &Self {
        history::modify(&mut self.state().staged, mode, id, path);
        self
    }

    // ---- commits and refs ----

    /// Commits what is staged on the current branch and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        let parents: Vec<String> = self.tip().into_iter().collect();
        self.import(message, &parents, None)
    }

    /// Commits what is staged with other parents than the tip: a merge, or a new root with none. The tree starts as
    /// the first parent's.
    pub fn commit_onto(&self, message: &str, parents: &[&str]) -> String {
        let parents: Vec<String> = parents
            .iter()
            .map(|p| self.id(&format!("{p}^{{commit}}")))
            .collect();
        self.import(message, &parents, None)
    }

    /// Replaces the tip by a commit with the same parents, what is staged applied to its tree: a force push.
    pub fn amend(&self, message: &str) -> String {
        let tip = self.tip().expect("a commit to amend");
        let tree = self.id(&format!("{tip}^{{tree}}"));
        let parents = self.parents(&tip);
        self.import(message, &parents, Some(&tree))
    }

    fn import(&self, message: &str, parents: &[String], tree: Option<&str>) -> String {
        let mut state = self.state();
        let mut stream = Vec::new();
        let when = format!("{} +0100", state.clock);
        history::commit_header(&mut stream, &state.branch, 1, git::IDENTITY, &when, message);
        for (i, parent) in parents.iter().enumerate() {
            stream.extend_from_slice(
                format!("{} {parent}\n", if i == 0 { "from" } else { "merge" }).as_bytes(),
            );
        }
        if let Some(tree) = tree {
            history::modify(&mut stream, "040000", tree, b"");
        }
        stream.append(&mut state.staged);
        stream.extend_from_slice(b"\nget-mark :1\n");
        state.clock += 60;
        drop(state);
        self.fast_import(&stream)
            .pop()
            .expect("one mark was asked for")
    }

    /// Runs a `git fast-import` stream and returns the ids it prints for every `get-mark`.
    pub fn fast_import(&self, stream: &[u8]) -> Vec<String> {
        // Small imports stay packs too: unpacking them would cost one more process for every commit.
        let printed = git::feed(
            self.git().args([
                "-c",
                "fastimport.unpackLimit=1",
                "fast-import",
                "--quiet",
                "--force",
            ]),
            stream,
        );
        String::from_utf8(printed)
            .expect("hex ids")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Creates (or moves) a branch at the tip of the current one; the current branch stays.
    pub fn branch(&self, name: &str) -> &Self {
        let tip = self.tip().expect("a commit to branch from");
        self.update_ref(&format!("refs/heads/{name}"), &tip)
    }

    /// Following commits go to this branch. The repository's default branch stays `main`.
    pub fn checkout(&self, name: &str) -> &Self {
        self.state().branch = format!("refs/heads/{name}");
        self
    }

    /// Creates (or moves) a lightweight tag at the tip.
    pub fn tag(&self, name: &str) -> &Self {
        let tip = self.tip().expect("a commit to tag");
        self.update_ref(&format!("refs/tags/{name}"), &tip)
    }

    /// Creates an annotated tag at the tip and returns the id of the tag object.
    pub fn annotated_tag(&self, name: &str) -> String {
        let tip = self.tip().expect("a commit to tag");
        self.annotated_tag_of(name, &tip)
    }

    /// Creates an annotated tag of any object, another tag included, and returns the id of the tag object.
    pub fn annotated_tag_of(&self, name: &str, target: &str) -> String {
        let info = self
            .info(target)
            .unwrap_or_else(|| panic!("no object {target}"));
        let when = self.state().clock;
        let body = format!(
            "object {}\ntype {}\ntag {name}\ntagger {} {when} +0100\n\ntag {name}\n",
            info.id,
            info.kind,
            git::IDENTITY
        );
        let id = self.object("tag", body.as_bytes());
        self.update_ref(&format!("refs/tags/{name}"), &id);
        id
    }

    /// Sets a ref to an id; no check of either.
    pub fn update_ref(&self, name: &str, id: &str) -> &Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a ref has a directory")).unwrap();
        // Renamed into place: a server may be reading it.
        let temporary = path.with_extension("new");
        fs::write(&temporary, format!("{id}\n")).unwrap();
        fs::rename(&temporary, &path).unwrap();
        self
    }

    /// Deletes a ref.
    pub fn delete_ref(&self, name: &str) -> &Self {
        git::succeeds(self.git().args(["update-ref", "-d", name]));
        self
    }

    /// Points `HEAD`, the default branch of the remote, at another branch.
    pub fn set_default_branch(&self, name: &str) -> &Self {
        fs::write(
            self.path().join("HEAD"),
            format!("ref: refs/heads/{name}\n"),
        )
        .unwrap();
        self
    }

    /// The commit the current branch is at.
    pub fn tip(&self) -> Option<String> {
        let branch = self.state().branch.clone();
        match fs::read_to_string(self.path().join(&branch)) {
            Ok(id) => Some(id.trim_end().to_owned()),
            Err(_) => self.info(&branch).map(|info| info.id),
        }
    }

    // ---- reading ----

    /// The id a revision expression names.
    pub fn id(&self, revision: &str) -> String {
        self.info(revision)
            .unwrap_or_else(|| panic!("no object {revision}"))
            .id
    }

    /// Id, kind and size of what a revision expression names.
    pub fn info(&self, revision: &str) -> Option<Info> {
        self.objects(|objects| objects.info(revision))
    }

    /// The object a revision expression names.
    pub fn object_of(&self, revision: &str) -> Option<Object> {
        self.objects(|objects| objects.object(revision))
    }

    /// The bytes of an object.
    pub fn cat(&self, revision: &str) -> Vec<u8> {
        self.object_of(revision)
            .unwrap_or_else(|| panic!("no object {revision}"))
            .data
    }

    /// The ids of a commit's parents.
    pub fn parents(&self, commit: &str) -> Vec<String> {
        let raw = String::from_utf8_lossy(&self.cat(&format!("{commit}^{{commit}}"))).into_owned();
        let header = raw.split("\n\n").next().unwrap_or_default();
        header
            .lines()
            .filter_map(|line| line.strip_prefix("parent "))
            .map(str::to_owned)
            .collect()
    }

    /// Every file, link and submodule of a revision, as `git ls-tree -r -z` prints them.
    pub fn ls_tree(&self, revision: &str) -> Vec<Row> {
        let printed =
            git::succeeds(
                self.git()
                    .args(["ls-tree", "-r", "-z", "--full-tree", revision]),
            );
        printed
            .split(|b| *b == 0)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let tab = line
                    .iter()
                    .position(|b| *b == b'\t')
                    .expect("a tab before the path");
                let head = std::str::from_utf8(&line[..tab]).expect("ASCII before the path");
                let mut words = head.split(' ').map(str::to_owned);
                let mut word = || words.next().expect("mode, kind, id");
                Row {
                    mode: word(),
                    kind: word(),
                    id: word(),
                    path: line[tab + 1..].to_vec(),
                }
            })
            .collect()
    }

    /// Unpacks `git archive` of a revision into `directory` with the modes of the tree. Its `.gitattributes` apply, so
    /// a tree with `export-ignore`, `eol` or `ident` is better compared with `TreeSnapshot::of_commit`.
    pub fn archive(&self, revision: &str, directory: &Path) {
        let tar = git::succeeds(self.git().args([
            "-c",
            "tar.umask=022",
            "archive",
            "--format=tar",
            revision,
        ]));
        fs::create_dir_all(directory).unwrap();
        let mut unpack = std::process::Command::new("tar");
        unpack
            .arg("-C")
            .arg(directory)
            .args(["-x", "-p", "--no-same-owner"]);
        git::feed(&mut unpack, &tar);
    }

    /// The repository's long-lived reader.
    pub fn objects<T>(&self, read: impl FnOnce(&mut CatFile) -> T) -> T {
        let mut guard = self.inner.objects.lock().expect("no reader panicked");
        read(guard.get_or_insert_with(|| CatFile::start(self.path())))
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
