//! Readers of what others wrote that no public function reaches alone, for the targets in `fuzz/`.

pub use crate::source::git::fuzzing::{greeting, translated};
pub use crate::source::github::fuzzing::{commits, listing};
