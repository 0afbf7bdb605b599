//! How runs end, counted.

use std::collections::BTreeMap;
use std::fmt;

use hyper_sync::exit::Exit;
use hyper_sync::source::Error;

/// How often each outcome came.
#[derive(Default)]
pub(crate) struct Counts(BTreeMap<String, usize>);

impl Counts {
    pub(crate) fn note(&mut self, outcome: impl Into<String>) {
        *self.0.entry(outcome.into()).or_default() += 1;
    }

    #[allow(
        dead_code,
        reason = "the small choice in `cargo test` has one kind alone"
    )]
    pub(crate) fn add(&mut self, other: Self) {
        for (outcome, count) in other.0 {
            *self.0.entry(outcome).or_default() += count;
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// How often an honest commit was accepted.
    pub(crate) fn taken(&self) -> usize {
        self.0.get("taken").copied().unwrap_or_default()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.total())?;
        for (outcome, count) in &self.0 {
            write!(f, ", {count} {outcome}")?;
        }
        Ok(())
    }
}

/// The class of an error that a remote caused; its message must be short and printable.
///
/// 2 is a repository of another hash or version, an empty one, or a name that is not there; 3 to 7 are faults of the
/// remote.
#[track_caller]
pub(crate) fn class(error: Error, case: &str) -> String {
    let text = error.to_string();
    assert!(
        text.chars().count() < 2000,
        "{case}: {} characters",
        text.len()
    );
    assert!(
        text.chars().all(|c| !c.is_control()),
        "{case}: {}",
        text.escape_debug()
    );
    let error = hyper_sync::Error::from(error);
    let exit = Exit::from(&error);
    assert!(
        matches!(
            exit,
            Exit::Configuration
                | Exit::Network
                | Exit::Authentication
                | Exit::RateLimited
                | Exit::Verification
                | Exit::UnsafeTree
        ),
        "{case}: {exit:?}: {error:?}"
    );
    format!("exit {}", exit.code())
}
