//! Where the flake and the target really are, and how the one reaches the other.
//!
//! The host's own flake may be anything: laid by whoever may write there, or linked to where it really is. It is looked
//! for with all links followed, as Nix does; what is found is read below the directory it is in, if it is a regular file
//! of the size of one. That of the target must lie in the target.
#![expect(
    clippy::disallowed_methods,
    reason = "links of the administrator on the way to the flake are followed; nothing is opened by that"
)]

use std::io;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, percent_encode};

use super::error::Error;
use super::session::RebuildContext;
use crate::fs::{Directory, Faults, content};
use crate::nix::{Flake, Layout};

const FLAKE: &str = "flake.nix";
pub(super) const LOCK: &str = "flake.lock";
/// No flake, and no lock file of one, comes near it.
pub(super) const TEXT_MAX: u64 = 16 << 20;

/// The flake and the target, their paths free of symlinks.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The directory that holds the real `flake.nix`: an installer may have linked it to where it is looked for.
    pub(super) flake: PathBuf,
    /// The target.
    pub(super) target: PathBuf,
    /// What `flake.nix` says, where it can be read.
    pub(super) text: Option<Flake>,
    /// How the flake reaches the target, as far as its text shows.
    pub(super) layout: Option<Layout>,
    /// Whether Nix takes the flake for a part of a git repository, and then sees only what git knows.
    pub(super) in_git: bool,
}

impl Places {
    /// Finds them for a rebuild.
    pub(super) fn of(session: &RebuildContext<'_>) -> Result<Self, Error> {
        let flake = &session.request.settings.flake;
        Self::find(flake, session.request.target).map_err(|why| match why {
            NoFlake::Missing => Error::FlakeMissing {
                path: flake.join(FLAKE),
                standing: session.standing(),
            },
            NoFlake::Unreadable { name, cause } => Error::FlakeUnreadable {
                path: flake.join(name),
                cause,
                standing: session.standing(),
            },
        })
    }

    /// Finds them.
    pub(super) fn find(set_flake: &Path, set_target: &Path) -> Result<Self, NoFlake> {
        let refuse = |cause| NoFlake::Unreadable { name: FLAKE, cause };
        let file = match std::fs::canonicalize(set_flake.join(FLAKE)) {
            Ok(file) => file,
            Err(error) if is_missing(&error) => return Err(NoFlake::Missing),
            Err(error) => return Err(refuse(error.to_string())),
        };
        let flake = file.parent().unwrap_or(&file).to_owned();
        // A target that is not there has no content to build; that is the build's own error.
        let target = std::fs::canonicalize(set_target).unwrap_or_else(|_| set_target.to_owned());
        let is_in_target =
            std::fs::canonicalize(set_flake).is_ok_and(|set| set.starts_with(&target));
        if is_in_target && !file.starts_with(&target) {
            return Err(refuse("it leads out of the target".to_owned()));
        }
        let source = read(&file).map_err(refuse)?;
        let source = source.ok_or(NoFlake::Missing)?;
        let text = Flake::parse(&source).ok();
        let layout = if flake.starts_with(&target) {
            Some(Layout::Own)
        } else {
            // The text may name the real paths or those that are set.
            text.as_ref().and_then(|text| {
                Layout::of(text, &flake, &target)
                    .or_else(|| Layout::of(text, set_flake, set_target))
            })
        };
        let in_git = flake.ancestors().any(|path| path.join(".git").exists());
        let places = Self {
            flake,
            target,
            text,
            layout,
            in_git,
        };
        // Nix would read it at once, and wait for ever at a FIFO.
        places
            .lock()
            .map_err(|cause| NoFlake::Unreadable { name: LOCK, cause })?;
        Ok(places)
    }

    /// The text of the lock file beside the flake; `None` where there is none.
    pub(super) fn lock(&self) -> Result<Option<String>, String> {
        match std::fs::canonicalize(self.flake.join(LOCK)) {
            Ok(file) if self.is_own() && !file.starts_with(&self.target) => {
                Err("it leads out of the target".to_owned())
            }
            Ok(file) => read(&file),
            // A link to nothing, too.
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Whether the flake lies in the target.
    pub(super) fn is_own(&self) -> bool {
        self.layout == Some(Layout::Own)
    }

    /// The flake as Nix is given it, with `target` where the target's content is.
    pub(super) fn reference(&self, target: &Path) -> String {
        if let Ok(inside) = self.flake.strip_prefix(&self.target)
            && self.is_own()
        {
            let directory = if inside.as_os_str().is_empty() {
                String::new()
            } else {
                format!("?dir={}", encoded(inside))
            };
            return format!("path:{}{directory}", encoded(target));
        }
        if self.in_git {
            return self.flake.display().to_string();
        }
        format!("path:{}", encoded(&self.flake))
    }
}

/// Why there is no flake to build from.
#[derive(Debug)]
pub(super) enum NoFlake {
    /// None is there.
    Missing,
    /// It, or its lock file, is not to be read.
    Unreadable { name: &'static str, cause: String },
}

/// The text of a file at a path without symlinks; `None` where nothing is there.
fn read(path: &Path) -> Result<Option<String>, String> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("it is a directory".to_owned());
    };
    let directory = Directory::open(directory, Faults::default());
    let directory = directory.map_err(|failure| failure.source.to_string())?;
    let opened = directory.open_file(name);
    match opened.map_err(|failure| failure.source.to_string())? {
        Some((file, _)) => content::text(&file, TEXT_MAX)
            .map(Some)
            .map_err(|error| error.to_string()),
        None if directory.stat(name).is_ok_and(|stat| stat.is_none()) => Ok(None),
        None => Err("it is not a regular file".to_owned()),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

/// What is escaped in a path that is part of a URL: all but what RFC 3986 reserves nowhere, the slash between names, and
/// the plus, which Nix leaves as it is.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+');

/// A path as part of a URL.
pub(super) fn encoded(path: &Path) -> PercentEncode<'_> {
    percent_encode(path.as_os_str().as_encoded_bytes(), ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_has_no_character_with_a_meaning_of_its_own() {
        let encode = |path: &str| encoded(Path::new(path)).to_string();
        assert_eq!(encode("/etc/a-b_c.d~e+f/1"), "/etc/a-b_c.d~e+f/1");
        assert_eq!(
            encode("/a b?c#d&e%20:@=\u{fc}"),
            "/a%20b%3Fc%23d%26e%2520%3A%40%3D%C3%BC"
        );
    }
}
