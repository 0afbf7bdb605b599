//! See [`crate::fuzzing`].

use super::answer;
use super::connection::Capabilities;

/// Reads what a server tells of itself; whether it offers filters.
pub fn capabilities(bytes: &[u8]) -> Option<bool> {
    let lines = answer::capabilities(bytes).ok()??;
    Some(Capabilities::of(&lines).filters)
}
