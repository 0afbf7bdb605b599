//! The `.git` of a target that is a git work tree: its commit, and the repository that it is a clone of.
//!
//! Only files are read; no git is run, so neither hooks nor configuration of the clone take part. What is read is not
//! trusted further than git itself would: every object hashes to its id, every read is bounded, and a directory that
//! others may write is not read at all ([`TrustedOwners`], as with git's `safe.directory`).
//!
//! A `.git` directory, and a `.git` file that leads to one (a linked work tree) are read. Shallow and partial clones are,
//! as far as they have the trees of their commit. Not read: a `.git` that is a symlink, reftable, and SHA-256.

use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use crate::fs::{self, Directory, Failure, FileKind, Target, TrustedOwners, content};
use crate::git::id::ObjectKind;
use crate::git::tree::{Bounds, TreeFault, WalkError};
use crate::git::{Commit, CommitId, Oid, RelPath, Tree, TreeId};
use crate::objects::ForeignObjects;
use crate::settings::Env;
use crate::text;

mod config;

pub use config::Origin;

/// Its name in a work tree.
pub const NAME: &str = ".git";
/// Bytes of a file with one name or path: `HEAD`, a ref, `.git`, `commondir`.
const LINE_MAX: u64 = 8 << 10;
/// Bytes of all packed refs: half a million of them.
const PACKED_REFS_MAX: u64 = 64 << 20;
/// Bytes of the configuration of a clone.
const CONFIG_MAX: u64 = 1 << 20;
/// How many symbolic refs follow each other, as in git.
const SYMBOLIC_MAX: usize = 5;

/// The git directory of a work tree, open.
#[derive(Debug)]
pub struct GitDir {
    /// `HEAD` of this work tree.
    own: Directory,
    /// Refs, objects and configuration, where a linked work tree has them elsewhere.
    common: Option<Directory>,
    owners: TrustedOwners,
}

/// What `HEAD` leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit.
    pub commit: CommitId,
    /// The branch, `None` with a detached `HEAD`.
    pub branch: Option<String>,
}

/// Why a `.git` is not used. A run goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Somebody else may have written it.
    #[error("`{}` belongs to user {uid}, or everybody may write it", text::path(.path))]
    Untrusted {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// It is neither a directory nor a file that leads to one.
    #[error("`{}` is not a directory of git", text::path(.0))]
    Malformed(PathBuf),
    /// `HEAD` leads to no commit: nothing was committed, or the format is one that is not read.
    #[error("`{}` leads to no commit", text::path(.0))]
    NoCommit(PathBuf),
    /// The clone does not have an object, or it is damaged.
    #[error("the {kind} {id} is not there, or is damaged", kind = .kind.as_str())]
    Object {
        /// Its kind.
        kind: ObjectKind,
        /// Its id.
        id: Oid,
    },
    /// The tree of its commit has what no target may have.
    #[error(transparent)]
    Tree(#[from] TreeFault),
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] Failure),
    /// The target could not be read.
    #[error(transparent)]
    Target(#[from] fs::Error),
}

/// Whether a target has a `.git` that is not at the commit of its files: then git does not track what is new, and Nix,
/// which asks git, does not see it.
#[must_use]
pub fn is_left(target: &Target, env: &Env, commit: CommitId) -> bool {
    match GitDir::find(target, env) {
        Ok(None) => false,
        Ok(Some(found)) => found.head().map(|head| head.commit).ok() != Some(commit),
        Err(_) => true,
    }
}

impl GitDir {
    /// Opens the `.git` of a target; `None` if it has none.
    pub fn find(target: &Target, env: &Env) -> Result<Option<Self>, Unread> {
        let Some(root) = target.directory(None)? else {
            return Ok(None);
        };
        let owners = TrustedOwners::with_caller(env.caller());
        let malformed = || Unread::Malformed(root.path().join(NAME));
        let own = match root.stat(NAME)?.map(|stat| stat.kind) {
            None => return Ok(None),
            Some(FileKind::Directory) => root.child(NAME)?.ok_or_else(malformed)?,
            Some(FileKind::File) => {
                let line = trusted_line(&root, NAME, owners)?.ok_or_else(malformed)?;
                let path = line.strip_prefix("gitdir: ").ok_or_else(malformed)?;
                Directory::open_following(&root.path().join(path), root.faults().clone())?
            }
            Some(FileKind::Symlink | FileKind::Special) => return Err(malformed()),
        };
        check(&own, owners)?;
        let common = match trusted_line(&own, "commondir", owners)? {
            Some(path) => {
                let path = own.path().join(path);
                let common = Directory::open_following(&path, own.faults().clone())?;
                check(&common, owners)?;
                Some(common)
            }
            None => None,
        };
        Ok(Some(Self {
            own,
            common,
            owners,
        }))
    }

    /// Its commit and branch.
    pub fn head(&self) -> Result<Head, Unread> {
        let no_commit = || Unread::NoCommit(self.own.path().join("HEAD"));
        let mut line = line(&self.own, "HEAD")?.ok_or_else(no_commit)?;
        let mut branch = None;
        for _ in 0..SYMBOLIC_MAX {
            if let Ok(commit) = line.parse() {
                return Ok(Head { commit, branch });
            }
            // Checked as the path of a file of a commit is: it leads to nothing else than a file below the directory.
            let name = { line.strip_prefix("ref: ") }
                .and_then(|name| RelPath::new(name.trim().as_bytes()).ok())
                .filter(|name| name.as_str().starts_with("refs/"))
                .ok_or_else(no_commit)?;
            if branch.is_none() {
                branch = name.as_str().strip_prefix("refs/heads/").map(str::to_owned);
            }
            line = self.reference(&name)?.ok_or_else(no_commit)?;
        }
        Err(no_commit())
    }

    /// One of its commits with its tree, of at most this many entries; both proven.
    pub fn commit(&self, id: CommitId, entries: u64) -> Result<(Commit, Tree), Unread> {
        let objects = self.objects()?;
        let read = |kind, id| {
            let object = objects.read(kind, id);
            object.ok_or(Unread::Object { kind, id })
        };
        let raw = read(ObjectKind::Commit, id.0)?;
        let commit = Commit::verify(id, &raw).map_err(|_| Unread::Object {
            kind: ObjectKind::Commit,
            id: id.0,
        })?;
        let tree = |id: TreeId| read(ObjectKind::Tree, id.0);
        let tree =
            Tree::walk(commit.tree, Bounds { entries }, None, tree).map_err(
                |error| match error {
                    WalkError::Read(error) => error,
                    WalkError::Fault(fault) => fault.into(),
                },
            )?;
        Ok((commit, tree))
    }

    /// The repository that it was cloned from and the branch there, as its configuration has them.
    pub fn origin(&self) -> Result<Option<Origin>, Unread> {
        let branch = self.head().ok().and_then(|head| head.branch);
        let Some((file, _)) = self.common().open_file("config")? else {
            return Ok(None);
        };
        let text =
            content::text(&file, CONFIG_MAX).map_err(|error| self.failure("config", error))?;
        Ok(Origin::find(&text, branch.as_deref()))
    }

    fn common(&self) -> &Directory {
        self.common.as_ref().unwrap_or(&self.own)
    }

    /// All its objects.
    pub(crate) fn objects(&self) -> Result<ForeignObjects, Unread> {
        let common = self.common();
        let objects = common.child("objects")?;
        let objects = objects.ok_or_else(|| Unread::Malformed(common.path().to_owned()))?;
        check(&objects, self.owners)?;
        Ok(ForeignObjects::open(objects, self.owners))
    }

    /// The line of a ref: a commit id or another ref.
    fn reference(&self, name: &RelPath) -> Result<Option<String>, Unread> {
        let mut parts: Vec<&str> = name.as_str().split('/').collect();
        let last = parts.pop().unwrap_or_default();
        let mut directory = None;
        for part in parts {
            let above = directory.as_ref().unwrap_or_else(|| self.common());
            match above.child(part)? {
                Some(child) => directory = Some(child),
                None => return self.packed(name),
            }
        }
        match line(directory.as_ref().unwrap_or_else(|| self.common()), last)? {
            Some(line) => Ok(Some(line)),
            None => self.packed(name),
        }
    }

    /// A ref of `packed-refs`, which has lines of an id and a name (gitrepository-layout(5)).
    fn packed(&self, name: &RelPath) -> Result<Option<String>, Unread> {
        const FILE: &str = "packed-refs";
        let Some((file, _)) = self.common().open_file(FILE)? else {
            return Ok(None);
        };
        for line in BufReader::new(file.take(PACKED_REFS_MAX)).split(b'\n') {
            let line = line.map_err(|error| self.failure(FILE, error))?;
            let found = line.strip_suffix(name.as_str().as_bytes());
            if let Some(id) = found.and_then(|line| line.strip_suffix(b" ")) {
                return Ok(Some(text::decode(id).into_owned()));
            }
        }
        Ok(None)
    }

    fn failure(&self, name: &str, error: io::Error) -> Failure {
        Failure::from_io("read", &self.common().path().join(name), error)
    }
}

/// The only line of a small file.
fn line(directory: &Directory, name: &str) -> Result<Option<String>, Failure> {
    let Some((file, _)) = directory.open_file(name)? else {
        return Ok(None);
    };
    let text = content::text(&file, LINE_MAX);
    let text =
        text.map_err(|error| Failure::from_io("read", &directory.path().join(name), error))?;
    Ok(Some(text.trim_end().to_owned()))
}

/// As [`line`], of a file that leads elsewhere.
fn trusted_line(
    directory: &Directory,
    name: &str,
    owners: TrustedOwners,
) -> Result<Option<String>, Unread> {
    match directory.stat(name)? {
        Some(stat) if !owners.trust(&stat) => Err(Unread::Untrusted {
            path: directory.path().join(name),
            uid: stat.uid,
        }),
        Some(_) => Ok(line(directory, name)?),
        None => Ok(None),
    }
}

fn check(directory: &Directory, owners: TrustedOwners) -> Result<(), Unread> {
    let stat = directory.own_stat()?;
    if owners.trust(&stat) {
        return Ok(());
    }
    Err(Unread::Untrusted {
        path: directory.path().to_owned(),
        uid: stat.uid,
    })
}
