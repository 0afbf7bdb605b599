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
    pub(super) fn find(session: &Session<'_>) -> Result<Self, Error> {
        let file = session.request.settings.flake.join("flake.nix");
        let missing = || Error::FlakeMissing {
            path: file.clone(),
            standing: session.standing(),
        };
        let real = std::fs::canonicalize(&file).map_err(|_| missing())?;
        let flake = real.parent().ok_or_else(missing)?.to_owned();
        // A target that is not there has no content to build; that is the build's own error.
        let target = std::fs::canonicalize(session.request.target)
            .unwrap_or_else(|_| session.request.target.to_owned());
        let text = std::fs::read_to_string(&real)
            .ok()
            .and_then(|source| Flake::parse(&source).ok());
        let layout = if flake.starts_with(&target) {
            Some(Layout::Own)
        } else {
            // The text may name the real paths or those that are set.
            text.as_ref().and_then(|text| {
                let request = session.request;
                Layout::of(text, &flake, &target)
                    .or_else(|| Layout::of(text, &request.settings.flake, request.target))
            })
        };
        let in_git = flake.ancestors().any(|path| path.join(".git").exists());
        Ok(Self {
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
