//! What a repository holds, as git prints it.

use std::{fs, path::Path, process::Command};

use super::Repo;
use crate::common::git::{self, CatFile, Info, Object};

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

    /// A self-contained pack with exactly these objects, as `git pack-objects` makes it.
    pub fn pack(&self, ids: &[&str]) -> Vec<u8> {
        let mut command = self.git();
        command.args(["pack-objects", "--stdout", "-q", "--threads=1"]);
        git::feed(&mut command, (ids.join("\n") + "\n").as_bytes())
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
        let mut unpack = Command::new("tar");
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
}
