//! Objects written byte for byte, without the checks of git: how hostile trees are made.

use std::{fs, io::Write};

use sha1::{Digest, Sha1};

use super::{Repo, readable_file};
use crate::common::git;

/// One entry of a raw tree.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The mode as it is written: `100644`, but also `040000` or `100666`.
    pub mode: String,
    /// The name, any bytes.
    pub name: Vec<u8>,
    /// Hex id, of an object that need not exist.
    pub id: String,
}

impl Entry {
    /// An entry of any mode.
    pub fn new(mode: &str, name: impl AsRef<[u8]>, id: &str) -> Self {
        Self {
            mode: mode.to_owned(),
            name: name.as_ref().to_vec(),
            id: id.to_owned(),
        }
    }

    /// A regular file.
    pub fn file(name: impl AsRef<[u8]>, id: &str) -> Self {
        Self::new("100644", name, id)
    }

    /// A directory.
    pub fn tree(name: impl AsRef<[u8]>, id: &str) -> Self {
        Self::new("40000", name, id)
    }

    /// A symbolic link; `id` is the blob with its target.
    pub fn link(name: impl AsRef<[u8]>, id: &str) -> Self {
        Self::new("120000", name, id)
    }
}

impl Repo {
    /// Writes an object with exactly this body and returns its id. Nothing is checked.
    pub fn object(&self, kind: &str, body: &[u8]) -> String {
        let mut content = format!("{kind} {}\0", body.len()).into_bytes();
        content.extend_from_slice(body);
        let id = data_encoding::HEXLOWER.encode(&Sha1::digest(&content));
        let directory = self.path().join("objects").join(&id[..2]);
        let path = directory.join(&id[2..]);
        if !path.exists() {
            fs::create_dir_all(&directory).unwrap();
            let mut file = readable_file(&directory);
            let mut zlib = flate2::write::ZlibEncoder::new(&mut file, flate2::Compression::fast());
            zlib.write_all(&content).unwrap();
            zlib.finish().unwrap();
            file.persist(&path).unwrap();
        }
        id
    }

    /// Writes a blob.
    pub fn blob(&self, content: impl AsRef<[u8]>) -> String {
        self.object("blob", content.as_ref())
    }

    /// Writes a tree with these entries in this order: sorting it, or not, is up to the caller.
    pub fn raw_tree(&self, entries: &[Entry]) -> String {
        let mut body = Vec::new();
        for entry in entries {
            body.extend_from_slice(entry.mode.as_bytes());
            body.push(b' ');
            body.extend_from_slice(&entry.name);
            body.push(0);
            body.extend(
                data_encoding::HEXLOWER_PERMISSIVE
                    .decode(entry.id.as_bytes())
                    .expect("a hex id"),
            );
        }
        self.object("tree", &body)
    }

    /// Writes a commit of any tree, present or not. No ref moves: see [`Repo::update_ref`].
    pub fn commit_tree(&self, tree: &str, parents: &[&str], message: &str) -> String {
        self.object("commit", &self.commit_body(tree, parents, message))
    }

    /// As [`Repo::commit_tree`], with a `gpgsig` header that `sign` makes from the bytes that are signed.
    pub fn signed_commit(
        &self,
        tree: &str,
        parents: &[&str],
        message: &str,
        sign: impl FnOnce(&[u8]) -> String,
    ) -> String {
        let payload = self.commit_body(tree, parents, message);
        let signature = sign(&payload).trim_end().replace('\n', "\n ");
        let header = payload
            .windows(2)
            .position(|w| w == b"\n\n")
            .expect("a message")
            + 1;
        let mut body = payload[..header].to_vec();
        body.extend_from_slice(format!("gpgsig {signature}\n").as_bytes());
        body.extend_from_slice(&payload[header..]);
        self.object("commit", &body)
    }

    /// Makes `tree` the tree of a new commit on the current branch and returns the commit: how a hostile tree is served.
    pub fn commit_raw_tree(&self, tree: &str, message: &str) -> String {
        let tip = self.tip();
        let parents: Vec<&str> = tip.as_deref().into_iter().collect();
        let commit = self.commit_tree(tree, &parents, message);
        let branch = self.state().branch.clone();
        self.update_ref(&branch, &commit);
        commit
    }

    fn commit_body(&self, tree: &str, parents: &[&str], message: &str) -> Vec<u8> {
        let mut state = self.state();
        let when = state.clock;
        state.clock += 60;
        drop(state);
        let mut body = format!("tree {tree}\n");
        for parent in parents {
            body.extend(["parent ", parent, "\n"]);
        }
        let identity = git::IDENTITY;
        let who = format!("{identity} {when} +0100");
        format!("{body}author {who}\ncommitter {who}\n\n{message}\n").into_bytes()
    }
}
