//! A commit in one line.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use textwrap::core::display_width;

use super::styled::{Style, Styled, cut};
use crate::git::{Commit, CommitId};
use crate::text::{self, When};

/// The most columns of a subject.
const SUBJECT: usize = 72;
/// A narrower terminal has no room for authors.
const AUTHOR_FROM: usize = 70;
/// The most columns of an author.
const AUTHOR: usize = 16;
/// A subject is not cut below this, however narrow the terminal is.
const SUBJECT_LEAST: usize = 10;

/// What `--json` prints of a commit.
#[derive(Serialize)]
pub struct CommitDocument<'a> {
    id: CommitId,
    subject: &'a str,
    author: &'a str,
    committed_at: Option<Timestamp>,
}

impl<'a> From<&'a Commit> for CommitDocument<'a> {
    fn from(commit: &'a Commit) -> Self {
        Self {
            id: commit.id,
            subject: &commit.subject,
            author: &commit.author,
            committed_at: Timestamp::from_second(commit.time).ok(),
        }
    }
}

/// A commit: its id, its subject, and when it was made. `indentation` is how many columns stand before it, `columns` what
/// the terminal has.
///
/// A terminal gets how long ago that is, in a column of its own; anything else, which may be read later, the day.
#[must_use]
pub fn commit_line(commit: &Commit, indentation: usize, columns: Option<usize>) -> Styled {
    line(commit, "", indentation, columns)
}

/// As [`commit_line`], with the author before the time, where there is room.
#[must_use]
pub fn authored_line(commit: &Commit, indentation: usize, columns: Option<usize>) -> Styled {
    let has_room = columns.is_none_or(|columns| columns >= AUTHOR_FROM);
    let author = if has_room {
        cut(&text::words(&commit.author), AUTHOR) + ", "
    } else {
        String::new()
    };
    line(commit, &author, indentation, columns)
}

fn line(commit: &Commit, author: &str, indentation: usize, columns: Option<usize>) -> Styled {
    let time = Timestamp::from_second(commit.time).ok();
    let time = time.map(|time| {
        if columns.is_some() {
            let (now, exact) = (Timestamp::now(), false);
            When { time, now, exact }.to_string()
        } else {
            let day = time.to_zoned(TimeZone::UTC);
            day.strftime("%Y-%m-%d").to_string()
        }
    });
    let time = author.to_owned() + &time.unwrap_or_default();
    let id = commit.id.short();
    let room = columns.map_or(SUBJECT, |columns| {
        // The last column stays free: some terminals wrap a line that fills it.
        let taken = indentation + id.len() + 2 + 2 + display_width(&time) + 1;
        columns.saturating_sub(taken).clamp(SUBJECT_LEAST, SUBJECT)
    });
    let subject = Styled::from(cut(&text::words(&commit.subject), room));
    let gap = columns.map_or(0, |_| room.saturating_sub(subject.columns()));
    let mut line = Styled::new(Style::Id, id).plain("  ");
    line.push(subject);
    line.plain(" ".repeat(gap + 2)).with(Style::Dim, time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{Oid, TreeId};
    use crate::report::RepeatedOptions;

    #[test]
    fn a_line_fits_the_terminal() {
        let id = "5f80624878".repeat(4).parse::<Oid>().unwrap();
        let commit = Commit {
            id: CommitId(id),
            tree: TreeId(id),
            parents: Vec::new(),
            time: 1_700_000_000,
            author: "A".to_owned(),
            subject: "network: name the interfaces by their place on the board".to_owned(),
        };
        let line = |columns| commit_line(&commit, 2, columns);
        let text = |columns| line(columns).render(false, &RepeatedOptions::default());
        assert_eq!(
            text(None),
            "5f80624878  network: name the interfaces by their place on the board  2023-11-14"
        );
        for columns in [40, 80, 120] {
            assert!(line(Some(columns)).columns() + 2 < columns, "{columns}");
        }
        for columns in [40, 69, 70, 120] {
            let line = authored_line(&commit, 2, Some(columns));
            assert!(line.columns() + 2 < columns, "{columns}");
        }
        assert!(text(Some(40)).contains("5f80624878  network: na…  "));
        assert!(text(Some(10)).contains("5f80624878  network:…  "));
    }
}
