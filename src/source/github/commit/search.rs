//! The parts of an unsigned commit that the API does not return, found by trying.

use std::iter;

use sha1::{Digest, Sha1};

use crate::git::CommitId;

/// What the message may have lost at its end, the usual first.
const ENDINGS: [&str; 3] = ["\n", "", "\n\n"];
/// What `i18n.commitEncoding` is set to where it is set, and no encoding, which is UTF-8. All others but the last have
/// the first 256 letters of Unicode as bytes.
const ENCODINGS: [Option<&str>; 6] = [
    None,
    Some("ISO-8859-1"),
    Some("iso-8859-1"),
    Some("ISO8859-1"),
    Some("latin1"),
    Some(UTF_8),
];
/// Git itself leaves it out.
const UTF_8: &str = "UTF-8";
/// What a hash costs besides the text, in bytes: its last blocks, and its copy.
const ATTEMPT: u64 = 128;

/// How many bytes are still hashed in search of a commit. A long message costs as much as many short ones.
#[derive(Debug)]
pub(in crate::source::github) struct Budget(u64);

/// A quarter of a second, and five times what all attempts for a message of a hundred bytes take.
impl Default for Budget {
    fn default() -> Self {
        Self(256 << 20)
    }
}

impl Budget {
    #[cfg(feature = "fuzzing")]
    pub(in crate::source::github) fn of(bytes: u64) -> Self {
        Self(bytes)
    }

    /// Takes so many bytes out of it, and what a hash costs besides; `None`: there is no more.
    fn take(&mut self, bytes: usize) -> Option<()> {
        let left = self.0.checked_sub(bytes as u64 + ATTEMPT);
        self.0 = left.unwrap_or_default();
        left.map(drop)
    }
}

/// What is known of a commit's text.
pub(super) struct KnownText<'a> {
    /// All up to the author's time zone.
    pub(super) head: String,
    /// From there up to the committer's.
    pub(super) middle: String,
    /// The message, without what it may have lost at its end.
    pub(super) message: &'a str,
}

/// The text in one encoding and with one ending.
struct Candidate {
    head: Vec<u8>,
    middle: Vec<u8>,
    tail: Vec<u8>,
}

impl KnownText<'_> {
    /// The bytes that hash to the id, if they are found before the budget is used up.
    ///
    /// Plain SHA-1 will do: what is found is proven again.
    pub(super) fn find(&self, id: CommitId, budget: &mut Budget) -> Option<Vec<u8>> {
        let zones = zones();
        let candidates: Vec<Candidate> = self.candidates().collect();
        // Most commits are made where they are written.
        candidates
            .iter()
            .find_map(|candidate| candidate.with_one_zone(id, &zones, budget))
            .or_else(|| {
                candidates
                    .iter()
                    .find_map(|candidate| candidate.with_two_zones(id, &zones, budget))
            })
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate> {
        ENCODINGS.iter().flat_map(move |encoding| {
            ENDINGS.iter().filter_map(move |ending| {
                let encode = |text: &str| match encoding {
                    None | Some(UTF_8) => Some(text.as_bytes().to_vec()),
                    Some(_) => latin1(text),
                };
                let header = encoding.map(|name| format!("\nencoding {name}"));
                Some(Candidate {
                    head: encode(&self.head)?,
                    middle: encode(&self.middle)?,
                    tail: encode(&format!(
                        "{}\n\n{}{ending}",
                        header.unwrap_or_default(),
                        self.message
                    ))?,
                })
            })
        })
    }
}

impl Candidate {
    fn with_one_zone(
        &self,
        id: CommitId,
        zones: &[String],
        budget: &mut Budget,
    ) -> Option<Vec<u8>> {
        let begun = self.begin(budget)?;
        let zone = zones.iter().find(|zone| {
            self.with_author(&begun, zone, budget)
                .is_some_and(|hasher| self.ends_in(id, &hasher, zone, budget))
        })?;
        Some(self.text(zone, zone))
    }

    fn with_two_zones(
        &self,
        id: CommitId,
        zones: &[String],
        budget: &mut Budget,
    ) -> Option<Vec<u8>> {
        let begun = self.begin(budget)?;
        zones.iter().find_map(|author| {
            let hasher = self.with_author(&begun, author, budget)?;
            let committer = zones
                .iter()
                .find(|zone| self.ends_in(id, &hasher, zone, budget))?;
            Some(self.text(author, committer))
        })
    }

    fn begin(&self, budget: &mut Budget) -> Option<Sha1> {
        budget.take(self.head.len())?;
        let zones = 2 * "+0000".len();
        let length = self.head.len() + self.middle.len() + self.tail.len() + zones;
        let begun = Sha1::new().chain_update(format!("commit {length}\0"));
        Some(begun.chain_update(&self.head))
    }

    fn with_author(&self, begun: &Sha1, zone: &str, budget: &mut Budget) -> Option<Sha1> {
        budget.take(self.middle.len())?;
        Some(begun.clone().chain_update(zone).chain_update(&self.middle))
    }

    fn ends_in(&self, id: CommitId, hasher: &Sha1, zone: &str, budget: &mut Budget) -> bool {
        budget.take(self.tail.len()).is_some() && {
            let hasher = hasher.clone().chain_update(zone).chain_update(&self.tail);
            hasher.finalize().as_slice() == id.0.as_bytes()
        }
    }

    fn text(&self, author: &str, committer: &str) -> Vec<u8> {
        let parts: [&[u8]; 5] = [
            &self.head,
            author.as_bytes(),
            &self.middle,
            committer.as_bytes(),
            &self.tail,
        ];
        parts.concat()
    }
}

/// The text in ISO-8859-1, where all of it is there.
fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars()
        .map(|letter| u8::try_from(letter).ok())
        .collect()
}

/// Every quarter of an hour that is or was some country's time; `-0000` means "unknown" in mail.
fn zones() -> Vec<String> {
    const QUARTERS: i32 = 14 * 4;
    let zone = |quarter: i32| {
        let sign = if quarter < 0 { '-' } else { '+' };
        let minutes = quarter.abs() * 15;
        format!("{sign}{:02}{:02}", minutes / 60, minutes % 60)
    };
    // Whole hours near Greenwich first.
    let mut quarters: Vec<i32> = (-QUARTERS..=QUARTERS).collect();
    quarters.sort_by_key(|quarter| (quarter % 4 != 0, quarter.abs()));
    quarters
        .into_iter()
        .map(zone)
        .chain(iter::once("-0000".to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;
    use crate::git::id::ObjectKind;

    fn known<'a>(name: &str, message: &'a str) -> KnownText<'a> {
        KnownText {
            head: format!("tree {}\nauthor {name} <a@b> 1 ", "1".repeat(40)),
            middle: format!("\ncommitter {name} <a@b> 2 "),
            message,
        }
    }

    #[test]
    fn a_commit_in_another_encoding_is_found_by_its_bytes() {
        let head = format!("tree {}\nauthor J\u{fc}rg <a@b> 1 +0100", "1".repeat(40));
        let text = format!(
            "{head}\ncommitter J\u{fc}rg <a@b> 2 +0200\nencoding latin1\n\nGr\u{fc}\u{df}e\n"
        );
        let raw = latin1(&text).unwrap();
        let id = CommitId(Oid::of(ObjectKind::Commit, &raw).unwrap());
        let found = known("J\u{fc}rg", "Gr\u{fc}\u{df}e").find(id, &mut Budget::default());
        assert_eq!(found, Some(raw));
        assert_eq!(latin1("\u{2014}"), None);
    }

    #[test]
    fn a_search_ends_for_a_text_of_any_length() {
        let nothing = CommitId(Oid::of(ObjectKind::Commit, b"nothing").unwrap());
        let long = "x".repeat(1 << 20);
        for (name, message) in [("A", long.as_str()), (long.as_str(), "message")] {
            let mut budget = Budget(8 << 20);
            assert_eq!(known(name, message).find(nothing, &mut budget), None);
            assert_eq!(budget.take(0), None, "it was used up");
        }
        // All attempts for a short one fit.
        let mut budget = Budget::default();
        assert_eq!(known("A", "message").find(nothing, &mut budget), None);
        assert!(budget.take(0).is_some());
    }
}
