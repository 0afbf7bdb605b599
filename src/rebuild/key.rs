//! What a build depends on, as one hash: with the same key, the same system would come out.
#![expect(
    clippy::disallowed_methods,
    reason = "the host's own flake, outside the target, is read by path"
)]

use sha2::{Digest, Sha256};

use super::error::Error;
use super::session::Session;

/// The key of this build; `None` where the tree is at no known commit.
pub(super) fn of(session: &Session<'_>, host: &str) -> Option<String> {
    let request = session.request;
    let commit = request.commit?;
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    part(commit.to_string().as_bytes());
    part(host.as_bytes());
    for arg in &request.settings.extra_args {
        part(arg.as_bytes());
    }
    for name in ["flake.nix", "flake.lock"] {
        // A file that is not there is told from an empty one by the build itself, which makes it.
        part(&std::fs::read(request.settings.flake.join(name)).unwrap_or_default());
    }
    Some(data_encoding::HEXLOWER.encode(&hash.finalize()))
}

/// Whether there is a flake at all.
pub(super) fn flake(session: &Session<'_>) -> Result<(), Error> {
    let path = session.request.settings.flake.join("flake.nix");
    if std::fs::metadata(&path).is_ok_and(|found| found.is_file()) {
        return Ok(());
    }
    Err(Error::FlakeMissing {
        path,
        standing: session.standing(),
    })
}
