//! Commits, branches and tags.

use std::{fs, io::Write};

use super::{Repo, readable_file, stream};
use crate::common::git;

impl Repo {
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
        stream::commit_header(&mut stream, &state.branch, 1, git::IDENTITY, &when, message);
        for (i, parent) in parents.iter().enumerate() {
            stream.extend_from_slice(
                format!("{} {parent}\n", if i == 0 { "from" } else { "merge" }).as_bytes(),
            );
        }
        if let Some(tree) = tree {
            stream::modify(&mut stream, "040000", tree, b"");
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
        // Renamed into place: a server may be reading it. Made elsewhere: in `refs` it would be a ref itself.
        let mut file = readable_file(self.path());
        file.write_all(format!("{id}\n").as_bytes()).unwrap();
        file.persist(&path).unwrap();
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
}
