//! The configuration file: found, read, and taken apart into keys with their places.
//!
//! Its text is kept with everything that could be a secret masked: an error shows the lines around its place, and
//! people put tokens where they do not belong.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use miette::NamedSource;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Env, Error, Origin, redact};
use crate::text;
use crate::vetted::{self, FileRequirements, UntrustedReason};

/// The path of the file.
pub const DEFAULT_FILE: &str = "/etc/hyper-sync/config.toml";
/// Far above what a person writes, far below what memory minds.
const SIZE_MAX: u64 = 1 << 20;

/// A configuration file, read.
#[derive(Clone)]
pub struct ConfigFile {
    path: PathBuf,
    text: String,
    masked: Arc<NamedSource<String>>,
}

/// A key: its value and the place of its name.
pub(super) struct KeyEntry<'file> {
    /// The parts of its name.
    pub(super) path: Vec<String>,
    pub(super) at: Range<usize>,
    pub(super) value: Spanned<DeValue<'file>>,
}

/// The keys of a file by their names with the section, `rebuild.action`.
pub(super) type KeyTable<'file> = BTreeMap<String, KeyEntry<'file>>;

impl ConfigFile {
    /// The file a run uses: `--config`, else `HYPER_SYNC_CONFIG`, else [`DEFAULT_FILE`] where it exists.
    pub fn find(flag: Option<&Path>, env: &Env) -> Result<Option<Self>, Error> {
        if let Some(path) = flag {
            return Self::read(path, env, Origin::Flag("--config")).map(Some);
        }
        if let Some(path) = env.get("HYPER_SYNC_CONFIG") {
            let asked_by = Origin::Environment("HYPER_SYNC_CONFIG".to_owned());
            return Self::read(Path::new(path), env, asked_by).map(Some);
        }
        match Self::read(Path::new(DEFAULT_FILE), env, Origin::Default) {
            Err(Error::FileMissing { .. }) => Ok(None),
            read => read.map(Some),
        }
    }

    /// Reads a file; a relative path starts from the working directory.
    pub fn read(path: &Path, env: &Env, asked_by: Origin) -> Result<Self, Error> {
        let path = env
            .current_dir()
            .map_or_else(|| path.to_owned(), |directory| directory.join(path));
        let bytes = match vetted::read(&path, &FileRequirements::anyone(SIZE_MAX)) {
            Ok(bytes) => bytes,
            Err(UntrustedReason::Absent) => return Err(Error::FileMissing { path, asked_by }),
            Err(UntrustedReason::TooLarge(_)) => {
                let why = "it is longer than 1 MiB";
                return Err(Error::FileNotText { path, why });
            }
            Err(UntrustedReason::Io(source)) => return Err(Error::FileUnreadable { path, source }),
            Err(refusal) => {
                let source = std::io::Error::other(refusal.to_string());
                return Err(Error::FileUnreadable { path, source });
            }
        };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Self::new(path, text)),
            Err(_) => Err(Error::FileNotText {
                path,
                why: "it is not UTF-8",
            }),
        }
    }

    /// A file that has been read already.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, content: impl Into<String>) -> Self {
        let (path, content) = (path.into(), content.into());
        let masked = NamedSource::new(text::path(&path), redact::mask(&content));
        Self {
            path,
            text: content,
            masked: Arc::new(masked),
        }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes its text apart.
    pub(super) fn keys(&self) -> Result<KeyTable<'_>, Error> {
        match DeTable::parse(&self.text) {
            Ok(table) => {
                let mut keys = KeyTable::new();
                flatten(&[], table.into_inner(), &mut keys);
                Ok(keys)
            }
            Err(error) => {
                let at = error.span().unwrap_or_default();
                Err(Error::Syntax {
                    origin: self.origin(&at),
                    message: error.message().to_owned(),
                    text: self.source(),
                    at: at.into(),
                })
            }
        }
    }

    /// The line of a place.
    pub(super) fn origin(&self, at: &Range<usize>) -> Origin {
        let before = self.text.as_bytes().iter().take(at.start);
        Origin::File {
            path: self.path.clone(),
            line: 1 + before.filter(|byte| **byte == b'\n').count(),
        }
    }

    /// The masked text, for an error to point into.
    pub(super) fn source(&self) -> Arc<NamedSource<String>> {
        self.masked.clone()
    }
}

/// An empty section stays as a key of its own, so that an unknown one is found too.
fn flatten<'file>(above: &[String], table: DeTable<'file>, keys: &mut KeyTable<'file>) {
    for (key, mut value) in table {
        let path = [above, &[key.get_ref().to_string()]].concat();
        match value.get_mut() {
            DeValue::Table(section) if !section.is_empty() => {
                flatten(&path, std::mem::take(section), keys);
            }
            _ => {
                let at = key.span();
                keys.insert(path.join("."), KeyEntry { path, at, value });
            }
        }
    }
}
