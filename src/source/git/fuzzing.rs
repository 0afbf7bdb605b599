//! See [`crate::fuzzing`].

use std::io::{self, Read as _};

use super::answer::{self, Greeting};
use super::connection::Capabilities;
use super::request;
use super::version_0::{Preamble, Translation};

/// Reads what a server sends before any command; whether it offers filters. What it lists in version 0 can be read as
/// the answer of version 2.
pub fn greeting(bytes: &[u8]) -> Option<bool> {
    match answer::greeting(bytes).ok()? {
        Greeting::Version2(lines) => Some(Capabilities::of(&lines).filters),
        Greeting::Older(older) => {
            let listed = older.translate(&request::ls_refs(&["refs/"]));
            if let Ok(Some(Translation::Answered(listing))) = listed {
                assert!(answer::refs(listing.as_slice(), |_| true).is_ok());
            }
            Some(older.capabilities().filters)
        }
    }
}

/// Reads an answer to a fetch of version 0 as one of version 2, to its end.
pub fn translated(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for preamble in Preamble::ALL {
        preamble.translate(bytes).read_to_end(&mut all)?;
    }
    Ok(all)
}
