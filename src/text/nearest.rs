//! The name that was probably meant by a misspelt one.

/// How alike two names must be, from 0 to 1: of five characters, two may be wrong. Two that are swapped are one mistake.
const NEAR: f64 = 0.6;

/// The most alike of the names that are offered.
#[derive(Debug)]
pub struct Nearest<'a> {
    given: &'a str,
    best: Option<(f64, String)>,
}

impl<'a> Nearest<'a> {
    /// For a name that is not known.
    #[must_use]
    pub fn to(given: &'a str) -> Self {
        Self { given, best: None }
    }

    /// A name that is known. Of two that are equally alike, the first counts.
    pub fn offer(&mut self, name: &str) {
        let nearness = strsim::normalized_damerau_levenshtein(self.given, name);
        let least = self.best.as_ref().map_or(0.0, |(best, _)| *best);
        if nearness >= NEAR && nearness > least {
            self.best = Some((nearness, name.to_owned()));
        }
    }

    /// The name, if one is near enough.
    #[must_use]
    pub fn name(self) -> Option<String> {
        self.best.map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_near_and_another_word_is_not() {
        for (given, expected) in [
            ("mian", Some("main")),
            ("featrue/x", Some("feature/x")),
            ("a", None),
            ("zzz", None),
            ("", None),
        ] {
            let mut near = Nearest::to(given);
            for name in ["develop", "main", "feature/x", "mean"] {
                near.offer(name);
            }
            assert_eq!(near.name().as_deref(), expected, "{given}");
        }
    }
}
