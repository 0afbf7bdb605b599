//! Where the flake and the target really are, and how the one reaches the other.
#![expect(
    clippy::disallowed_methods,
    reason = "the host's own flake, outside the target, is read by path"
)]

use std::path::{Path, PathBuf};

use super::error::Error;
use super::session::Session;
use crate::nix::{Flake, Layout};

/// The flake and the target, their paths free of symlinks.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The directory that holds the real `flake.nix`: an installer may have linked it to where it is looked for.
    pub(super) flake: PathBuf,
    /// The target.
    pub(super) target: PathBuf,
    /// What `flake.nix` says, where it can be read.
    pub(super) text: Option<Flake>,
    /// How the flake reaches the target, as far as its text tells.
    pub(super) layout: Option<Layout>,
    /// Whether Nix takes the flake for a part of a git repository, and then sees only what git knows.
    pub(super) in_git: bool,
}

impl Places {
    /// Finds them for a rebuild.
    pub(super) fn of(session: &Session<'_>) -> Result<Self, Error> {
        let flake = &session.request.settings.flake;
        Self::find(flake, session.request.target).ok_or_else(|| Error::FlakeMissing {
            path: flake.join("flake.nix"),
            standing: session.standing(),
        })
    }

    /// Finds them; `None` where there is no flake.
    pub(super) fn find(set_flake: &Path, set_target: &Path) -> Option<Self> {
        let file = std::fs::canonicalize(set_flake.join("flake.nix")).ok()?;
        let flake = file.parent()?.to_owned();
        // A target that is not there has no content to build; that is the build's own error.
        let target = std::fs::canonicalize(set_target).unwrap_or_else(|_| set_target.to_owned());
        let text = std::fs::read_to_string(&file)
            .ok()
            .and_then(|source| Flake::parse(&source).ok());
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
        Some(Self {
            flake,
            target,
            text,
            layout,
            in_git,
        })
    }

    /// Whether the flake lies in the target.
    pub(super) fn is_own(&self) -> bool {
        self.layout == Some(Layout::Own)
    }

    /// The flake as Nix is told it, with `target` where the target's content is.
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

/// A path as part of a URL.
pub(super) fn encoded(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut text = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~+".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}
