//! The section `[hooks]`: what gets the report of a run.

use super::layers::Layers;
use super::value::{Argument, CheckUrl};

/// What gets the report of a run.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// A program and its arguments, run after a change; none if empty.
    pub changed: Vec<String>,
    /// A program and its arguments, run after a failure; none if empty.
    pub failed: Vec<String>,
    /// An address that the report of either is sent to.
    pub url: Option<String>,
}

impl Hooks {
    /// Whether there is any.
    #[must_use]
    pub fn is_set(&self) -> bool {
        !self.changed.is_empty() || !self.failed.is_empty() || self.url.is_some()
    }
}

/// Looks the section up.
pub(super) fn resolve(layers: &mut Layers<'_>) -> Hooks {
    let mut program = |name| {
        let words = layers.value::<Vec<Argument>>(name, Vec::new());
        words.into_iter().map(|word| word.0).collect()
    };
    Hooks {
        changed: program("hooks.changed"),
        failed: program("hooks.failed"),
        url: layers.optional("hooks.url", None).map(|CheckUrl(url)| url),
    }
}
