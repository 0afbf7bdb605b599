//! Paths of a tree, checked before anything else sees them.
//!
//! The rules are those of git (`verify_path`, `fsck`) with every protection on, and stricter where a person or a
//! terminal could be deceived: no control characters, no invisible or direction-changing characters, no backslash,
//! no gaps other than spaces, UTF-8 only. A tree with one bad path is refused as a whole; there is no way to skip an entry.

use std::borrow::{Borrow, Cow};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::EntryMode;
use super::mode::FileMode;
use crate::text::{code_point, is_blank, is_invisible};

/// The longest component Linux file systems take, in bytes (`NAME_MAX`).
const COMPONENT_MAX: usize = 255;
/// The longest path, in bytes (`PATH_MAX`; git's `fsck` warns above it).
const PATH_MAX: usize = 4096;
/// The deepest path, in components. Real trees stay below 20.
const DEPTH_MAX: usize = 64;
/// Names that begin like this are ours, in any case and normal form: the staging area inside the target.
pub const RESERVED_PREFIX: &str = ".hyper-sync";

/// A path relative to the root of a tree: one or more safe components, joined by `/`.
///
/// The only constructors check it, so a value can be handed to the file system as it is. The text is shared: a run has
/// each path in a dozen maps.
#[derive(Clone, Eq)]
pub struct RelPath(Arc<str>);

/// A directory (the root, to begin with) that names are put below, one after the other.
pub(super) struct ParentPath {
    /// Its path with a slash at the end, then the last name.
    text: String,
    directory: usize,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Nothing between two slashes, a leading or a trailing slash, or no path at all.
    #[error("has an empty component")]
    Empty,
    /// `.` or `..`.
    #[error("has a `.` or `..` component")]
    Relative,
    /// `.git` in any spelling that some file system reads as `.git`.
    #[error("names `.git` in one of its spellings")]
    DotGit,
    /// A symlink with a name that git itself reads, such as `.gitmodules`, or below a directory with such a name.
    #[error("is a symlink at or below a name that git reads")]
    SymlinkedGitFile,
    /// NUL, newline, escape or another control character.
    #[error("has the control character {}", code_point(*.0))]
    Control(char),
    /// A character that is not seen or that changes the order of what is seen.
    #[error("has the invisible or direction-changing character {}", code_point(*.0))]
    Invisible(char),
    /// A gap that is not a space.
    #[error("has the blank character {}, which is not the space", code_point(*.0))]
    Blank(char),
    /// A backslash, a separator elsewhere.
    #[error("has a backslash")]
    Backslash,
    /// Not UTF-8, or already mangled to U+FFFD in transit.
    #[error("is not UTF-8")]
    NotUtf8,
    /// A component of more than 255 bytes.
    #[error("has a component of more than {COMPONENT_MAX} bytes")]
    LongComponent,
    /// More than 4096 bytes.
    #[error("is longer than {PATH_MAX} bytes")]
    LongPath,
    /// More than 64 components.
    #[error("is deeper than {DEPTH_MAX} directories")]
    Deep,
    /// A name that hyper-sync uses for itself.
    #[error("begins with `{RESERVED_PREFIX}`, which hyper-sync uses for itself")]
    Reserved,
}

impl RelPath {
    /// Checks a whole path, as written in a listing.
    pub fn new(path: &[u8]) -> Result<Self, PathFault> {
        Self::beginning_with(0, path)
    }

    /// As [`new`](Self::new), of which so many bytes are the beginning of a path that was checked.
    pub(crate) fn beginning_with(checked: usize, path: &[u8]) -> Result<Self, PathFault> {
        let text = std::str::from_utf8(path).map_err(|_| PathFault::NotUtf8)?;
        // The last component of that may be longer here.
        let last = path.iter().take(checked).rposition(|&byte| byte == b'/');
        for component in text[last.map_or(0, |slash| slash + 1)..].split('/') {
            check_component(component)?;
        }
        Self::of(text)
    }

    /// Checks one component, as written in a tree object, and puts it below `parent`.
    pub fn join(parent: Option<&Self>, name: &[u8]) -> Result<Self, PathFault> {
        ParentPath::of(parent).join(name)
    }

    /// Checks the length of a path whose components are checked.
    fn of(path: &str) -> Result<Self, PathFault> {
        if path.len() > PATH_MAX {
            return Err(PathFault::LongPath);
        }
        if path.bytes().filter(|&byte| byte == b'/').count() >= DEPTH_MAX {
            return Err(PathFault::Deep);
        }
        Ok(Self(path.into()))
    }

    /// The whole path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that holds this path, `None` at the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.parent_str().map(|parent| Self(parent.into()))
    }

    /// The directory that holds this path, as text: `None` at the root.
    #[must_use]
    pub fn parent_str(&self) -> Option<&str> {
        self.0.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// The last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The components, top first.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    /// The directories above this path, top first.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        self.ancestors_str().map(|directory| Self(directory.into()))
    }

    /// The directories above this path, as text, top first: the keys to look up in a map by path.
    pub fn ancestors_str(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(at, _)| &self.0[..at])
    }

    /// The directories above any of these paths, each once. Neighbours share theirs, so that it is done soon where the
    /// paths are sorted.
    pub fn above<'p>(paths: impl IntoIterator<Item = &'p Self>) -> BTreeSet<Self> {
        let mut above = BTreeSet::new();
        let mut last = None;
        for path in paths {
            let parent = path.parent_str();
            if parent != last {
                above.extend(path.ancestors());
                last = parent;
            }
        }
        above
    }

    /// Whether this path is `directory` or below it.
    #[must_use]
    pub fn starts_with(&self, directory: &Self) -> bool {
        self.0
            .strip_prefix(&*directory.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl ParentPath {
    pub(super) fn of(directory: Option<&RelPath>) -> Self {
        let mut text = String::new();
        if let Some(directory) = directory {
            text.push_str(directory.as_str());
            text.push('/');
        }
        let directory = text.len();
        Self { text, directory }
    }

    /// As [`RelPath::join`].
    pub(super) fn join(&mut self, name: &[u8]) -> Result<RelPath, PathFault> {
        self.text.truncate(self.directory);
        let name = std::str::from_utf8(name).map_err(|_| PathFault::NotUtf8)?;
        check_component(name)?;
        self.text.push_str(name);
        RelPath::of(&self.text)
    }
}

/// Checks what depends on what the entry is: a symlink must not have a name that git reads. As in git, neither must the
/// directories above it.
pub fn check_leaf(path: &RelPath, mode: EntryMode) -> Result<(), PathFault> {
    if mode == EntryMode::File(FileMode::Symlink) && path.components().any(is_git_file) {
        return Err(PathFault::SymlinkedGitFile);
    }
    Ok(())
}

/// The key under which two paths are the same name on a file system that ignores case and normal form.
#[must_use]
pub fn folded(path: &str) -> Cow<'_, str> {
    use unicode_normalization::UnicodeNormalization;
    // What is ASCII is done without the tables, and most paths of it are their own key.
    match path.is_ascii() {
        true if path.bytes().any(|byte| byte.is_ascii_uppercase()) => {
            path.to_ascii_lowercase().into()
        }
        true => path.into(),
        false => path.nfc().flat_map(char::to_lowercase).nfc().collect(),
    }
}

/// The key under which two paths are the same to a reader and to a normalising file system.
#[must_use]
pub fn normalised(path: &str) -> Cow<'_, str> {
    use unicode_normalization::UnicodeNormalization;
    if path.is_ascii() {
        return path.into();
    }
    path.nfc().collect()
}

fn check_component(name: &str) -> Result<(), PathFault> {
    if is_plain(name) {
        return Ok(());
    }
    // Most names are, and need not be searched for what only others can have.
    let is_ascii = name.is_ascii();
    if !is_ascii && name.contains('\u{fffd}') {
        return Err(PathFault::NotUtf8);
    }
    if let Some(c) = name.chars().find(|c| c.is_control()) {
        return Err(PathFault::Control(c));
    }
    // Before the invisible characters: a `.git` spelt with them is worth its own name in the message.
    let options = gix_validate::path::component::Options {
        protect_windows: false,
        protect_hfs: true,
        protect_ntfs: true,
    };
    gix_validate::path::component(name.into(), None, options).map_err(|error| {
        use gix_validate::path::component::Error;
        match error {
            Error::Empty | Error::PathSeparator => PathFault::Empty,
            Error::Relative => PathFault::Relative,
            _ => PathFault::DotGit,
        }
    })?;
    if name.contains('\\') {
        return Err(PathFault::Backslash);
    }
    if !is_ascii {
        check_visible(name)?;
    }
    if name.len() > COMPONENT_MAX {
        return Err(PathFault::LongComponent);
    }
    let is_reserved = if is_ascii {
        let head = name.get(..RESERVED_PREFIX.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(RESERVED_PREFIX))
    } else {
        folded(name).starts_with(RESERVED_PREFIX)
    };
    if is_reserved {
        return Err(PathFault::Reserved);
    }
    Ok(())
}

/// Whether a name is one of those that no rule can concern, as nearly all are: it begins with a letter, a digit or `_`, and has
/// nothing else but `.`, `-` and `+`.
fn is_plain(name: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.len() <= COMPONENT_MAX && name.as_bytes().first().is_some_and(is_word) && { name.bytes() }
        .all(|byte| is_word(&byte) || matches!(byte, b'.' | b'-' | b'+'))
}

/// Refuses what a reader does not see or takes for a space, in a name or in a link's target.
pub(crate) fn check_visible(text: &str) -> Result<(), PathFault> {
    let deceives = |c: &char| is_invisible(*c) || is_blank(*c);
    match text.chars().find(deceives) {
        Some(c) if is_invisible(c) => Err(PathFault::Invisible(c)),
        Some(c) => Err(PathFault::Blank(c)),
        None => Ok(()),
    }
}

/// Names that git reads as configuration, with the prefix of their NTFS short name (git's `is_ntfs_dot_*`).
const GIT_FILES: [(&str, &str); 4] = [
    ("gitmodules", "gi7eba"),
    ("gitattributes", "gi7d29"),
    ("gitignore", "gi250a"),
    ("mailmap", "maba30"),
];

fn is_git_file(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    GIT_FILES.iter().any(|(file, short)| {
        name.strip_prefix('.')
            .and_then(|rest| rest.strip_prefix(file))
            .is_some_and(is_ntfs_tail)
            || is_ntfs_short_name(&name, &file[..6], short)
    })
}

/// NTFS drops trailing spaces and dots, and reads `:` as the beginning of a stream name.
fn is_ntfs_tail(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '.']);
    rest.is_empty() || rest.starts_with(':')
}

/// `GITMOD~1` to `~4`, then the hashed form such as `GI7EBA~1` with fewer letters as the number grows.
fn is_ntfs_short_name(name: &str, first_six: &str, hashed: &str) -> bool {
    let Some((stem, rest)) = name.split_once('~') else {
        return false;
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, tail) = rest.split_at(digits);
    if number.is_empty() || number.starts_with('0') || !is_ntfs_tail(tail) {
        return false;
    }
    (stem == first_six && matches!(number, "1" | "2" | "3" | "4"))
        || (hashed.starts_with(stem) && stem.len() + 1 + number.len() == 8)
}

impl TryFrom<String> for RelPath {
    type Error = PathFault;

    fn try_from(path: String) -> Result<Self, PathFault> {
        Self::new(path.as_bytes())
    }
}

impl From<RelPath> for String {
    fn from(path: RelPath) -> Self {
        path.as_str().to_owned()
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Checked, and copied once.
impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = RelPath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<RelPath, E> {
                RelPath::new(text.as_bytes()).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

/// Most comparisons of a run are those of a path with itself, in another map: the text of such a one is not read.
impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Ordering::Equal;
        }
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As [`Ord`].
impl PartialEq for RelPath {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for RelPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Borrow<str> for RelPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<std::path::Path> for RelPath {
    fn as_ref(&self) -> &std::path::Path {
        std::path::Path::new(&*self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests;
