//! A target, a state directory and commits as plain values.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use hyper_sync::apply::{self, Applied, Content, ContentError, Error, Recovered, Update};
use hyper_sync::fs::{Call, Faults, Outcome, Target};
use hyper_sync::git::id::ObjectKind;
use hyper_sync::git::{BlobId, CommitId, File, FileMode, Oid, RelPath, TreeId};
use hyper_sync::patterns::Patterns;
use hyper_sync::plan::{self, MassDelete, Policy};
use hyper_sync::scan::{Belief, Scanner};
use hyper_sync::settings::LocalEdits;
use hyper_sync::state::{Damage, Found, Index, StateDir, SyncPoint};

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Node {
    File(Vec<u8>),
    Executable(Vec<u8>),
    Link(Vec<u8>),
    /// A directory with nothing in it.
    Empty,
    /// A regular file with another mode than ours.
    Odd(u32, Vec<u8>),
}

/// Files by path.
pub(crate) type Tree = BTreeMap<String, Node>;

pub(crate) fn file(content: &str) -> Node {
    Node::File(content.into())
}

pub(crate) fn executable(content: &str) -> Node {
    Node::Executable(content.into())
}

pub(crate) fn link(text: &str) -> Node {
    Node::Link(text.into())
}

/// A tree of plain files whose content is given with the path.
pub(crate) fn tree<const N: usize>(nodes: [(&str, Node); N]) -> Tree {
    nodes
        .into_iter()
        .map(|(path, node)| (path.to_owned(), node))
        .collect()
}

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text.as_bytes()).unwrap()
}

pub(crate) fn id(content: &[u8]) -> BlobId {
    BlobId(Oid::of(ObjectKind::Blob, content).unwrap())
}

impl Node {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(bytes)
            | Self::Executable(bytes)
            | Self::Link(bytes)
            | Self::Odd(_, bytes) => bytes,
            Self::Empty => b"",
        }
    }

    fn as_file(&self) -> File {
        File {
            mode: match self {
                Self::Executable(_) => FileMode::Executable,
                Self::Link(_) => FileMode::Symlink,
                _ => FileMode::Regular,
            },
            id: id(self.bytes()),
        }
    }
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error(transparent)]
    Plan(#[from] plan::Error),
    #[error(transparent)]
    Apply(#[from] Error),
}

impl From<hyper_sync::state::Error> for Failed {
    fn from(error: hyper_sync::state::Error) -> Self {
        Self::Apply(error.into())
    }
}

/// The contents of all commits.
#[derive(Debug, Default)]
pub(crate) struct Store(pub(crate) Mutex<HashMap<BlobId, Vec<u8>>>);

#[derive(Debug, thiserror::Error)]
#[error("not here")]
struct NotHere;

impl Content for Store {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        let store = self.0.lock().unwrap();
        store.get(&id).cloned().ok_or_else(|| NotHere.into())
    }
}

impl Store {
    pub(crate) fn add(&self, tree: &Tree) {
        let mut store = self.0.lock().unwrap();
        for node in tree.values() {
            store.insert(id(node.bytes()), node.bytes().to_vec());
        }
    }
}

/// What a run goes by besides the commit.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) faults: Faults,
    pub(crate) local_edits: LocalEdits,
    pub(crate) interrupt: Arc<AtomicBool>,
    /// Local edits that are put back on top of the commit, as a rollback does.
    pub(crate) put_back: Tree,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            faults: Faults::default(),
            local_edits: LocalEdits::Replace,
            interrupt: Arc::default(),
            put_back: Tree::new(),
        }
    }
}

impl Run {
    pub(crate) fn with(hook: impl Fn(&Call<'_>) -> Outcome + Send + Sync + 'static) -> Self {
        Self {
            faults: Faults::new(hook),
            ..Self::default()
        }
    }

    /// Calls `act` before the first call for which `when` holds.
    pub(crate) fn meanwhile(
        when: impl Fn(&Call<'_>) -> bool + Send + Sync + 'static,
        act: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let done = AtomicBool::new(false);
        Self::with(move |call| {
            if when(call) && !done.swap(true, Ordering::Relaxed) {
                act();
            }
            Outcome::Proceed
        })
    }

    pub(crate) fn counting() -> (Self, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&count);
        let run = Self::with(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            Outcome::Proceed
        });
        (run, count)
    }
}

/// A target and its state without a binary and without a repository: commits are values, and each call of the file
/// system can be made to fail.
pub(crate) struct LibraryTarget {
    _directory: tempfile::TempDir,
    root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) store: Store,
}

impl LibraryTarget {
    /// An empty target. In memory where that can be had: these tests make thousands of files durable.
    pub(crate) fn new() -> Self {
        let world = Self::without_target();
        fs::create_dir(&world.target).unwrap();
        world
    }

    pub(crate) fn without_target() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm")
            .or_else(|_| tempfile::tempdir())
            .unwrap();
        let root = directory.path().canonicalize().unwrap();
        Self {
            _directory: directory,
            target: root.join("target"),
            state: root.join("state"),
            store: Store::default(),
            root,
        }
    }

    /// What holds the target and the state directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A target that was brought to `old`, then changed to what `edit` makes of it.
    pub(crate) fn at(old: &Tree, edit: impl FnOnce(&Self)) -> Self {
        let world = Self::new();
        world.sync(old, &Run::default()).unwrap();
        edit(&world);
        world
    }

    pub(crate) fn write(&self, path: &str, node: &Node) {
        let path = self.target.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.symlink_metadata().is_ok() && !path.is_dir() {
            fs::remove_file(&path).unwrap();
        }
        let plain = |bytes: &[u8], mode| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        match node {
            Node::File(bytes) => plain(bytes, 0o644),
            Node::Executable(bytes) => plain(bytes, 0o755),
            Node::Odd(mode, bytes) => plain(bytes, *mode),
            Node::Link(text) => {
                symlink(std::str::from_utf8(text).unwrap(), &path).unwrap();
            }
            Node::Empty => fs::create_dir_all(&path).unwrap(),
        }
    }

    /// Writes a file over what is there, as a careless editor might; not where a file is in the place of a
    /// directory above it.
    pub(crate) fn put(&self, path: &str, node: &Node) {
        let blocked = Path::new(path).ancestors().skip(1).any(|above| {
            let metadata = self.target.join(above).symlink_metadata();
            metadata.is_ok_and(|metadata| !metadata.is_dir())
        });
        if !blocked && !self.target.join(path).is_dir() {
            self.write(path, node);
        }
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.target.join(path);
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// Everything that is in the target.
    pub(crate) fn read(&self) -> Tree {
        read(&self.target)
    }

    /// Everything that is in the target, but for what a run has left of its own.
    pub(crate) fn read_without_staging(&self) -> Tree {
        let mut tree = self.read();
        tree.retain(|name, _| !name.starts_with(".hyper-sync"));
        tree
    }

    pub(crate) fn open_target(&self) -> Target {
        Target::open_or_absent(&self.target).unwrap()
    }

    pub(crate) fn open_state(&self) -> StateDir {
        StateDir::open(&self.state).unwrap()
    }

    /// Recovers, looks, plans and applies, as a run does.
    pub(crate) fn sync(&self, remote: &Tree, run: &Run) -> Result<Applied, Error> {
        self.try_sync(remote, run).unwrap()
    }

    /// As [`sync`](Self::sync); `None` where the plan refuses.
    pub(crate) fn try_sync(&self, remote: &Tree, run: &Run) -> Option<Result<Applied, Error>> {
        self.store.add(remote);
        match self.sync_from(remote, run, &self.store) {
            Err(Failed::Plan(_)) => None,
            Err(Failed::Apply(error)) => Some(Err(error)),
            Ok(applied) => Some(Ok(applied)),
        }
    }

    /// As [`sync`](Self::sync), with contents from somewhere else.
    pub(crate) fn sync_from(
        &self,
        remote: &Tree,
        run: &Run,
        content: &dyn Content,
    ) -> Result<Applied, Failed> {
        let target = &self.open_target().with_faults(run.faults.clone());
        let state = &self.open_state().with_faults(run.faults.clone())?;
        apply::recover(target, state, content)?;
        let wanted: BTreeMap<RelPath, File> = remote
            .iter()
            .map(|(name, node)| (path(name), node.as_file()))
            .collect();
        let index = match Index::load(state)? {
            Found::Whole(index) => Some(index),
            Found::Absent => None,
            Found::Damaged(_) => {
                Index::set_aside(state)?;
                None
            }
        };
        let base = index.as_ref().map(|index| BTreeMap::clone(&index.files));
        let base = base.unwrap_or_default();
        let looked_at = i64::try_from(jiff::Timestamp::now().as_nanosecond()).ok();
        let scanner = Scanner::new(target, index.as_ref(), Belief::Unchanged);
        let put_back: BTreeMap<RelPath, File> = run
            .put_back
            .iter()
            .map(|(name, node)| (path(name), node.as_file()))
            .collect();
        let paths: BTreeSet<&RelPath> = base
            .keys()
            .chain(wanted.keys())
            .chain(put_back.keys())
            .collect();
        let local = scanner.survey(paths).unwrap();
        let policy = Policy {
            local_edits: run.local_edits,
            protect: patterns(),
            exclude: patterns(),
            executable: patterns(),
            require: Vec::new(),
            mass_delete: MassDelete::Allow,
        };
        let mut plan = plan::plan(&base, &local, &wanted.into(), &policy)?;
        if !plan.conflicts().is_empty() {
            return Err(Failed::Plan(plan::Error::Conflicts {
                conflicts: plan.conflicts().to_vec(),
                attempt: plan::Attempt {
                    command: "hyper-sync sync".to_owned(),
                    back_to: None,
                },
            }));
        }
        plan.put_back(&put_back, &base, &base, &local);
        let update = Update {
            plan: &plan,
            local: &local,
            looked_at,
            before: index.as_ref(),
            after: point(remote),
            directories: Arc::default(),
            rolls_back: false,
        };
        Ok(apply::apply(
            target,
            state,
            &update,
            content,
            &run.interrupt,
            &|_, _| (),
        )?)
    }

    pub(crate) fn recover(&self) -> Result<Option<Recovered>, Error> {
        self.recover_from(&self.store)
    }

    /// As [`recover`](Self::recover), with contents from somewhere else.
    pub(crate) fn recover_from(&self, content: &dyn Content) -> Result<Option<Recovered>, Error> {
        apply::recover(&self.open_target(), &self.open_state(), content)
    }

    pub(crate) fn index(&self) -> Option<Index> {
        self.load_index().unwrap()
    }

    pub(crate) fn load_index(&self) -> Result<Option<Index>, Damage> {
        match Index::load(&self.open_state()).unwrap() {
            Found::Whole(index) => Ok(Some(index)),
            Found::Absent => Ok(None),
            Found::Damaged(damage) => Err(damage),
        }
    }

    /// Every content that is kept anywhere: in the target, in `undo`, in `conflicts`.
    pub(crate) fn contents(&self) -> BTreeSet<Vec<u8>> {
        let kept = ["undo", "conflicts"].map(|name| read(&self.state.join(name)));
        let trees = kept.into_iter().chain([self.read()]);
        trees
            .flat_map(BTreeMap::into_values)
            .map(|node| node.bytes().to_vec())
            .collect()
    }

    /// Fails if an update has left anything that belongs to it alone.
    pub(crate) fn assert_tidy(&self) {
        for name in self.read().keys() {
            assert!(
                !name.contains(".hyper-sync"),
                "{name} is left in the target"
            );
        }
        for name in read(&self.state).keys() {
            let left = name.starts_with("tx/")
                || [".tmp", ".part", ".hyper-sync"]
                    .iter()
                    .any(|part| name.contains(part));
            assert!(!left, "{name} is left in the state directory");
        }
    }
}

/// What a commit's id is in these tests.
pub(crate) fn commit(tree: &Tree) -> CommitId {
    let mut all = Vec::new();
    for (path, node) in tree {
        let kind = match node {
            Node::File(_) => "file",
            Node::Executable(_) => "executable",
            Node::Link(_) => "link",
            Node::Empty => "empty",
            Node::Odd(mode, _) => &format!("{mode:o}"),
        };
        let bytes = node.bytes();
        all.extend_from_slice(format!("{path}\0{kind} {}\0", bytes.len()).as_bytes());
        all.extend_from_slice(bytes);
    }
    CommitId(id(&all).0)
}

/// Where an update to a commit of these tests leads.
pub(crate) fn point(tree: &Tree) -> SyncPoint {
    SyncPoint {
        commit: commit(tree),
        tree: TreeId(commit(tree).0),
        reference: "main".to_owned(),
        repository: None,
    }
}

fn patterns() -> Patterns {
    Patterns::new::<&str>(&[]).unwrap()
}

pub(crate) fn read(root: &Path) -> Tree {
    fn walk(root: &Path, directory: &Path, tree: &mut Tree) {
        let entries: Vec<PathBuf> = match fs::read_dir(directory) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => return,
        };
        let name = |path: &Path| {
            let relative = path.strip_prefix(root).unwrap();
            relative.to_str().unwrap().to_owned()
        };
        if entries.is_empty() && directory != root {
            tree.insert(name(directory), Node::Empty);
        }
        for path in entries {
            let metadata = path.symlink_metadata().unwrap();
            let node = if metadata.is_dir() {
                walk(root, &path, tree);
                continue;
            } else if metadata.is_symlink() {
                Node::Link(
                    fs::read_link(&path)
                        .unwrap()
                        .into_os_string()
                        .into_encoded_bytes(),
                )
            } else if !metadata.is_file() {
                Node::Odd(metadata.permissions().mode(), Vec::new())
            } else {
                let bytes = fs::read(&path).unwrap();
                match metadata.permissions().mode() & 0o7777 {
                    0o644 => Node::File(bytes),
                    0o755 => Node::Executable(bytes),
                    mode => Node::Odd(mode, bytes),
                }
            };
            tree.insert(name(&path), node);
        }
    }
    let mut tree = Tree::new();
    walk(root, root, &mut tree);
    tree
}
