//! What a disk holds after a power cut: a model that records every call and keeps what was made durable apart from what
//! was not.
//!
//! A file's content is on the disk as of its last `fsync`; without one the file may have its name and no content. A
//! name is on the disk as of the last `fsync` of its directory, or perhaps later, each directory for itself: no real
//! file system is that unkind, so what survives here survives there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hyper_sync::fs::Call;

use super::world::{self, Node};

type Names = BTreeMap<String, usize>;

/// What a disk holds, directories before what is in them.
pub(crate) type Image = Vec<(PathBuf, Node)>;

#[derive(Debug, Clone)]
enum Inode {
    File { now: Node, durable: Option<Node> },
    Link(Node),
    Directory { now: Names, durable: Names },
}

/// The model.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
}

/// Which names have made it to the disk.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Survive {
    /// Only those that were made durable.
    Durable,
    /// All.
    All,
    /// By a coin for each directory.
    Mixed(u64),
}

impl Disk {
    /// A disk that holds `root` as it is, all of it durable.
    pub(crate) fn of(root: &Path) -> Self {
        let directory = || Inode::Directory {
            now: Names::new(),
            durable: Names::new(),
        };
        let mut disk = Self {
            root: root.to_owned(),
            inodes: vec![directory()],
        };
        for (name, node) in world::read(root) {
            let mut above = 0;
            let parts: Vec<&str> = name.split('/').collect();
            for (depth, part) in parts.iter().enumerate() {
                let last = depth + 1 == parts.len();
                let known = disk.names(above).get(*part).copied();
                above = known.unwrap_or_else(|| {
                    let inode = match &node {
                        Node::Link(_) if last => Inode::Link(node.clone()),
                        Node::Empty => directory(),
                        _ if !last => directory(),
                        _ => Inode::File {
                            now: node.clone(),
                            durable: Some(node.clone()),
                        },
                    };
                    let number = disk.add(inode);
                    disk.names(above).insert((*part).to_owned(), number);
                    number
                });
            }
        }
        for inode in &mut disk.inodes {
            if let Inode::Directory { now, durable } = inode {
                durable.clone_from(now);
            }
        }
        disk
    }

    /// Makes a call that would succeed or do nothing on the real disk. `honest`: whether `fsync` does anything.
    pub(crate) fn make(&mut self, call: &Recorded, honest: bool) {
        let Some((above, name)) = self.place(&call.path) else {
            return;
        };
        let here = self.names(above).get(&name).copied();
        match call.name {
            "create" => {
                let file = Inode::File {
                    now: of_mode(call.mode.unwrap_or(0o600), Vec::new()),
                    durable: None,
                };
                let number = self.add(file);
                self.names(above).insert(name, number);
            }
            "symlink" => {
                let text = call
                    .to
                    .clone()
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes();
                let number = self.add(Inode::Link(Node::Link(text)));
                self.names(above).insert(name, number);
            }
            "mkdir" => {
                let number = self.add(Inode::Directory {
                    now: Names::new(),
                    durable: Names::new(),
                });
                self.names(above).insert(name, number);
            }
            // Somebody else's, who made it durable.
            EDIT => {
                if let Some(Inode::File { now, durable }) =
                    here.map(|number| &mut self.inodes[number])
                {
                    *now = Node::File(call.bytes.clone());
                    *durable = Some(now.clone());
                }
            }
            "write" => {
                if let Some(Inode::File { now, .. }) = here.map(|number| &mut self.inodes[number]) {
                    let bytes = [now.bytes(), &call.bytes].concat();
                    *now = of_mode(mode_of(now), bytes);
                }
            }
            "chmod" => {
                if let Some(Inode::File { now, .. }) = here.map(|number| &mut self.inodes[number]) {
                    *now = of_mode(call.mode.unwrap(), now.bytes().to_vec());
                }
            }
            "fsync" if honest => {
                // The root of the model has no name in it.
                let number = if call.path == self.root {
                    Some(0)
                } else {
                    here
                };
                if let Some(number) = number {
                    if let Inode::File { now, durable } = &mut self.inodes[number] {
                        *durable = Some(now.clone());
                    }
                    self.make_names_durable(number);
                }
            }
            "syncfs" if honest => {
                for inode in &mut self.inodes {
                    match inode {
                        Inode::File { now, durable } => *durable = Some(now.clone()),
                        Inode::Directory { now, durable } => durable.clone_from(now),
                        Inode::Link(_) => {}
                    }
                }
            }
            "unlink" | "rmdir" => {
                let empty = here.is_some_and(|number| match &self.inodes[number] {
                    Inode::Directory { now, .. } => now.is_empty(),
                    _ => true,
                });
                if empty {
                    self.names(above).remove(&name);
                }
            }
            "rename" | "rename_new" | "exchange" | "link" => {
                self.relocate(call, above, &name, here);
            }
            _ => {}
        }
    }

    /// Makes the names in a directory durable. The move of a directory is one step for any file system that is checked:
    /// it is durable in both places with the `fsync` of either.
    fn make_names_durable(&mut self, number: usize) {
        let is_directory =
            |disk: &Self, inode: usize| matches!(disk.inodes[inode], Inode::Directory { .. });
        let Inode::Directory { now, durable } = &mut self.inodes[number] else {
            return;
        };
        let before = std::mem::replace(durable, now.clone());
        let here: Vec<usize> = now.values().copied().collect();
        let came = here.iter().filter(|&&inode| is_directory(self, inode));
        let came: Vec<usize> = came.copied().collect();
        for (other, inode) in self.inodes.iter_mut().enumerate() {
            if let Inode::Directory { durable, .. } = inode
                && other != number
            {
                durable.retain(|_, inode| !came.contains(inode));
            }
        }
        for left in before.into_values() {
            if here.contains(&left) || !is_directory(self, left) {
                continue;
            }
            for inode in &mut self.inodes {
                if let Inode::Directory { now, durable } = inode
                    && let Some((name, _)) = now.iter().find(|(_, inode)| **inode == left)
                {
                    durable.insert(name.clone(), left);
                }
            }
        }
    }

    fn relocate(&mut self, call: &Recorded, above: usize, name: &str, here: Option<usize>) {
        let (Some(here), Some((to_above, to_name))) = (here, self.place(call.to.as_ref().unwrap()))
        else {
            return;
        };
        let there = self.names(to_above).get(&to_name).copied();
        match (call.name, there) {
            ("exchange", Some(there)) => {
                self.names(above).insert(name.to_owned(), there);
                self.names(to_above).insert(to_name, here);
            }
            ("exchange", None) | ("rename_new" | "link", Some(_)) => {}
            ("link", None) => {
                self.names(to_above).insert(to_name, here);
            }
            _ => {
                self.names(above).remove(name);
                self.names(to_above).insert(to_name, here);
            }
        }
    }

    /// What a power cut leaves.
    pub(crate) fn image(&self, survive: Survive) -> Image {
        let mut image = Image::new();
        self.add_directory(0, Path::new(""), survive, &mut image, &mut BTreeSet::new());
        image
    }

    /// `placed`: the directories that are in the image already. Unlike a file, none is in two places.
    fn add_directory(
        &self,
        number: usize,
        at: &Path,
        survive: Survive,
        image: &mut Image,
        placed: &mut BTreeSet<usize>,
    ) {
        let Inode::Directory { now, durable } = &self.inodes[number] else {
            unreachable!()
        };
        let all = match survive {
            Survive::Durable => false,
            Survive::All => true,
            Survive::Mixed(seed) => {
                let mixed = (seed ^ number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                mixed >> 63 == 1
            }
        };
        for (name, &inode) in if all { now } else { durable } {
            let path = at.join(name);
            match &self.inodes[inode] {
                Inode::Directory { .. } => {
                    if placed.insert(inode) {
                        image.push((path.clone(), Node::Empty));
                        self.add_directory(inode, &path, survive, image, placed);
                    }
                }
                Inode::Link(node) => image.push((path, node.clone())),
                Inode::File { durable, .. } => {
                    let empty = Node::Odd(0o600, Vec::new());
                    image.push((path, durable.clone().unwrap_or(empty)));
                }
            }
        }
    }

    fn add(&mut self, inode: Inode) -> usize {
        self.inodes.push(inode);
        self.inodes.len() - 1
    }

    fn names(&mut self, directory: usize) -> &mut Names {
        match &mut self.inodes[directory] {
            Inode::Directory { now, .. } => now,
            other => panic!("{other:?} is not a directory"),
        }
    }

    /// The directory of a path, and its name there.
    fn place(&self, path: &Path) -> Option<(usize, String)> {
        let inside = path.strip_prefix(&self.root).ok()?;
        let mut number = 0;
        for part in inside.parent().unwrap_or(Path::new("")) {
            let Inode::Directory { now, .. } = &self.inodes[number] else {
                return None;
            };
            number = *now.get(part.to_str()?)?;
        }
        let name = inside.file_name().map_or("", |name| name.to_str().unwrap());
        Some((number, name.to_owned()))
    }
}

fn of_mode(mode: u32, bytes: Vec<u8>) -> Node {
    match mode {
        0o644 => Node::File(bytes),
        0o755 => Node::Executable(bytes),
        mode => Node::Odd(mode, bytes),
    }
}

fn mode_of(node: &Node) -> u32 {
    match node {
        Node::Executable(_) => 0o755,
        Node::Odd(mode, _) => *mode,
        Node::File(_) | Node::Link(_) | Node::Empty => 0o644,
    }
}

/// Writes an image as the content of `to`.
pub(crate) fn restore(image: &Image, to: &Path) {
    use std::os::unix::fs::{PermissionsExt, symlink};
    for entry in std::fs::read_dir(to).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    for (name, node) in image {
        let path = to.join(name);
        let mode = match node {
            Node::Link(text) => {
                symlink(std::str::from_utf8(text).unwrap(), &path).unwrap();
                continue;
            }
            Node::Empty => {
                std::fs::create_dir(&path).unwrap();
                let last = name.file_name().unwrap().to_str().unwrap();
                let private = name.starts_with("state") || last.starts_with('.');
                if private { 0o700 } else { 0o755 }
            }
            Node::File(bytes) | Node::Executable(bytes) | Node::Odd(_, bytes) => {
                std::fs::write(&path, bytes).unwrap();
                mode_of(node)
            }
        };
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
}

pub(crate) const EDIT: &str = "an edit";

/// A call, to be made again on the model.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
    to: Option<PathBuf>,
    bytes: Vec<u8>,
    mode: Option<u32>,
}

impl Recorded {
    /// Something to find the place by.
    pub(crate) fn mark(name: &'static str) -> Self {
        Self {
            name,
            path: PathBuf::new(),
            to: None,
            bytes: Vec::new(),
            mode: None,
        }
    }

    /// Somebody's change of a file.
    pub(crate) fn edit(path: PathBuf, content: &str) -> Self {
        Self {
            name: EDIT,
            path,
            to: None,
            bytes: content.into(),
            mode: None,
        }
    }

    /// A directory that somebody makes.
    pub(crate) fn made(path: PathBuf) -> Self {
        Self {
            path,
            ..Self::mark("mkdir")
        }
    }

    pub(crate) fn of(call: &Call<'_>) -> Self {
        Self {
            name: call.name,
            // Without the slash that stands for "itself".
            path: call.path.components().collect(),
            to: call.to.map(Path::to_owned),
            bytes: call.bytes.to_vec(),
            mode: call.mode,
        }
    }
}
