//! A directory as a value: every path with its kind, permission bits and bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    os::unix::{ffi::OsStrExt, fs::PermissionsExt},
    path::Path,
};

use super::repo::Repo;

/// What is at one path.
#[derive(Clone, PartialEq, Eq)]
pub enum Node {
    /// A directory and its permission bits.
    Directory(u32),
    /// A regular file, its permission bits and content.
    File(u32, Vec<u8>),
    /// A symbolic link and its target.
    Link(Vec<u8>),
    /// Socket, pipe or device.
    Special,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(mode) => write!(f, "directory {mode:03o}"),
            Self::File(mode, bytes) => {
                let start: String = bytes
                    .iter()
                    .take(60)
                    .flat_map(|b| b.escape_ascii())
                    .map(char::from)
                    .collect();
                write!(f, "file {mode:03o}, {} bytes, `{start}`", bytes.len())
            }
            Self::Link(target) => write!(f, "link to `{}`", target.escape_ascii()),
            Self::Special => write!(f, "special file"),
        }
    }
}

/// The content of a directory, for comparison with another or with a commit.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TreeSnapshot {
    nodes: BTreeMap<Vec<u8>, Node>,
}

impl TreeSnapshot {
    /// Everything under `directory`, the directory itself left out. A directory that does not exist is empty.
    pub fn of(directory: &Path) -> Self {
        let mut snapshot = Self::default();
        if directory.exists() {
            snapshot.walk(directory, &mut Vec::new());
        }
        snapshot
    }

    /// What a checkout of `revision` must look like to the byte: files 644 or 755, directories 755, no submodules.
    pub fn of_commit(repo: &Repo, revision: &str) -> Self {
        let mut snapshot = Self::default();
        for row in repo.ls_tree(revision) {
            let node = match row.mode.as_str() {
                "160000" => continue,
                "120000" => Node::Link(repo.cat(&row.id)),
                "100755" => Node::File(0o755, repo.cat(&row.id)),
                _ => Node::File(0o644, repo.cat(&row.id)),
            };
            for (i, _) in row.path.iter().enumerate().filter(|(_, b)| **b == b'/') {
                snapshot
                    .nodes
                    .entry(row.path[..i].to_vec())
                    .or_insert(Node::Directory(0o755));
            }
            snapshot.nodes.insert(row.path, node);
        }
        snapshot
    }

    fn walk(&mut self, directory: &Path, prefix: &mut Vec<u8>) {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let length = prefix.len();
            prefix.extend_from_slice(entry.file_name().as_bytes());
            let meta = entry.path().symlink_metadata().unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            let node = if meta.is_symlink() {
                Node::Link(
                    fs::read_link(entry.path())
                        .unwrap()
                        .as_os_str()
                        .as_bytes()
                        .to_vec(),
                )
            } else if meta.is_dir() {
                Node::Directory(mode)
            } else if meta.is_file() {
                Node::File(mode, fs::read(entry.path()).unwrap())
            } else {
                Node::Special
            };
            self.nodes.insert(prefix.clone(), node);
            if meta.is_dir() {
                prefix.push(b'/');
                self.walk(&entry.path(), prefix);
            }
            prefix.truncate(length);
        }
    }

    /// The same without the paths for which `drop` holds, nor what is below them.
    #[must_use]
    pub fn without(mut self, drop: impl Fn(&str) -> bool) -> Self {
        let gone: BTreeSet<Vec<u8>> = self
            .nodes
            .keys()
            .filter(|path| drop(&String::from_utf8_lossy(path)))
            .cloned()
            .collect();
        self.nodes.retain(|path, _| {
            !gone.contains(path)
                && !gone.iter().any(|g| {
                    path.strip_prefix(g.as_slice())
                        .is_some_and(|r| r[0] == b'/')
                })
        });
        self
    }

    /// The same without the mode of directories and with only the x bit of files: what git knows of modes.
    #[must_use]
    pub fn git_modes(mut self) -> Self {
        for node in self.nodes.values_mut() {
            match node {
                Node::Directory(mode) => *mode = 0o755,
                Node::File(mode, _) => *mode = if *mode & 0o100 == 0 { 0o644 } else { 0o755 },
                Node::Link(_) | Node::Special => {}
            }
        }
        self
    }

    /// What is at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path.as_bytes())
    }

    /// Every path with what is there.
    pub fn nodes(&self) -> &BTreeMap<Vec<u8>, Node> {
        &self.nodes
    }

    /// The paths of everything that is not a directory.
    pub fn files(&self) -> Vec<String> {
        let files = self
            .nodes
            .iter()
            .filter(|(_, node)| !matches!(node, Node::Directory(_)));
        files
            .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
            .collect()
    }

    /// Nothing there at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// One line for every path at which the two differ; empty when they are equal.
    pub fn difference(&self, other: &Self) -> Vec<String> {
        let paths: BTreeSet<&Vec<u8>> = self.nodes.keys().chain(other.nodes.keys()).collect();
        let show =
            |node: Option<&Node>| node.map_or("nothing".to_owned(), |node| format!("{node:?}"));
        paths
            .into_iter()
            .filter(|path| self.nodes.get(*path) != other.nodes.get(*path))
            .map(|path| {
                let (left, right) = (self.nodes.get(path), other.nodes.get(path));
                format!("{}: {} / {}", path.escape_ascii(), show(left), show(right))
            })
            .collect()
    }

    /// Fails with the differing paths.
    #[track_caller]
    pub fn assert_same(&self, other: &Self) {
        let difference = self.difference(other);
        assert!(
            difference.is_empty(),
            "the trees differ (left / right):\n{}",
            difference.join("\n")
        );
    }
}

impl fmt::Debug for TreeSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, node) in &self.nodes {
            writeln!(f, "{}: {node:?}", path.escape_ascii())?;
        }
        Ok(())
    }
}
