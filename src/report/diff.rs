//! Differences between two states of a file, as `git diff` prints them: `git apply` and `patch` take the output.

use similar::{ChangeTag, TextDiff};

use crate::git::{FileMode, RelPath};
use crate::text::escape;

mod stat;

pub use stat::stat;

/// Lines around a change, as git shows by default.
const CONTEXT: usize = 3;
/// How far git searches for a NUL that marks a file as binary (`FIRST_FEW_BYTES` in its `xdiff-interface.c`).
const PROBE: usize = 8000;

/// One state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub mode: FileMode,
    /// Its content, or a symlink's target.
    pub content: Vec<u8>,
}

impl Side {
    /// A file that is too large to be read: shown as a binary one, as git does beyond `core.bigFileThreshold`.
    #[must_use]
    pub fn large(mode: FileMode) -> Self {
        Self {
            mode,
            content: vec![0],
        }
    }
}

/// The reader of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audience {
    /// A person at a terminal: what a file holds is escaped. A program gets every byte as it is.
    pub terminal: bool,
    /// Whether it is coloured.
    pub color: bool,
}

/// The difference at a path; empty where there is none.
#[must_use]
pub fn unified(path: &RelPath, old: Option<&Side>, new: Option<&Side>, reader: Audience) -> String {
    if let (Some(before), Some(after)) = (old, new)
        && (before.mode == FileMode::Symlink) != (after.mode == FileMode::Symlink)
    {
        // A file does not become a symlink: one goes, the other comes. `git apply` accepts nothing else.
        return unified(path, old, None, reader) + &unified(path, None, new, reader);
    }
    if old == new {
        return String::new();
    }
    let mut text = String::new();
    let mut head = |line: &str| {
        text.push_str(&reader.paint("1", line));
        text.push('\n');
    };
    let name = |prefix: &str| quoted(&format!("{prefix}/{path}"));
    head(&format!("diff --git {} {}", name("a"), name("b")));
    match (old, new) {
        (None, Some(new)) => head(&format!("new file mode {}", new.mode.as_str())),
        (Some(old), None) => head(&format!("deleted file mode {}", old.mode.as_str())),
        (Some(old), Some(new)) if old.mode != new.mode => {
            head(&format!("old mode {}", old.mode.as_str()));
            head(&format!("new mode {}", new.mode.as_str()));
        }
        _ => {}
    }
    let content = |side: Option<&'_ Side>| side.map_or(&[][..], |side| &side.content).to_vec();
    let (before, after) = (content(old), content(new));
    if before == after {
        return text;
    }
    let name = |side: Option<&Side>, prefix| side.map_or("/dev/null".to_owned(), |_| name(prefix));
    let (Some(before), Some(after)) = (as_text(&before), as_text(&after)) else {
        let (before, after) = (name(old, "a"), name(new, "b"));
        head(&format!("Binary files {before} and {after} differ"));
        return text;
    };
    // As git does: `patch` takes what follows a space for a date, unless the name ends with a tab.
    let ended = |name: String| {
        if name.contains(' ') {
            name + "\t"
        } else {
            name
        }
    };
    head(&format!("--- {}", ended(name(old, "a"))));
    head(&format!("+++ {}", ended(name(new, "b"))));
    text + &hunks(before, after, reader)
}

/// How many lines a difference brings and takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineCounts {
    /// Lines that come.
    pub inserted: usize,
    /// Lines that go.
    pub deleted: usize,
}

impl LineCounts {
    /// Of the difference between two sides; `None` if one of them is binary.
    #[must_use]
    pub fn of(old: Option<&Side>, new: Option<&Side>) -> Option<Self> {
        let text = |side: Option<&'_ Side>| match side {
            Some(side) => as_text(&side.content).map(str::to_owned),
            None => Some(String::new()),
        };
        let (before, after) = (text(old)?, text(new)?);
        let before: Vec<&str> = before.split_inclusive('\n').collect();
        let after: Vec<&str> = after.split_inclusive('\n').collect();
        let diff = TextDiff::configure().diff_slices(&before, &after);
        let count = |tag| {
            let changes = diff.iter_all_changes();
            changes.filter(|change| change.tag() == tag).count()
        };
        Some(Self {
            inserted: count(ChangeTag::Insert),
            deleted: count(ChangeTag::Delete),
        })
    }
}

/// The hunks. A line ends with a line feed and nowhere else, so that a carriage return is part of it.
fn hunks(before: &str, after: &str, reader: Audience) -> String {
    let before: Vec<&str> = before.split_inclusive('\n').collect();
    let after: Vec<&str> = after.split_inclusive('\n').collect();
    let diff = TextDiff::configure()
        .newline_terminated(true)
        .diff_slices(&before, &after);
    let mut text = String::new();
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        text.push_str(&reader.paint("36", &hunk.header().to_string()));
        text.push('\n');
        for change in hunk.iter_changes() {
            let (sign, color) = match change.tag() {
                ChangeTag::Delete => ('-', "31"),
                ChangeTag::Insert => ('+', "32"),
                ChangeTag::Equal => (' ', ""),
            };
            let line = change.value();
            let whole = line.strip_suffix('\n');
            text.push_str(&reader.paint(color, &format!("{sign}{}", whole.unwrap_or(line))));
            text.push('\n');
            if whole.is_none() {
                text.push_str("\\ No newline at end of file\n");
            }
        }
    }
    text
}

/// A name as git writes it: in quotes where it has one. Other characters that git quotes are in no path of ours, and
/// letters beyond ASCII it takes as they are.
fn quoted(name: &str) -> String {
    if name.contains('"') {
        format!("\"{}\"", name.replace('"', "\\\""))
    } else {
        name.to_owned()
    }
}

fn as_text(content: &[u8]) -> Option<&str> {
    let probe = &content[..content.len().min(PROBE)];
    if probe.contains(&0) {
        None
    } else {
        std::str::from_utf8(content).ok()
    }
}

impl Audience {
    fn paint(self, code: &str, line: &str) -> String {
        let line = if self.terminal {
            escape(line)
        } else {
            line.into()
        };
        if self.color && !code.is_empty() {
            format!("\u{1b}[{code}m{line}\u{1b}[0m")
        } else {
            line.into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(content: &str) -> Side {
        Side {
            mode: FileMode::Regular,
            content: content.into(),
        }
    }

    fn diff(old: Option<&Side>, new: Option<&Side>) -> String {
        let reader = Audience {
            terminal: true,
            color: false,
        };
        unified(&RelPath::new(b"dir/file.nix").unwrap(), old, new, reader)
    }

    #[test]
    fn reads_like_git_diff() {
        insta::assert_snapshot!(diff(Some(&side("a\nb\nc\n")), Some(&side("a\nB\nc\n"))), @r"
        diff --git a/dir/file.nix b/dir/file.nix
        --- a/dir/file.nix
        +++ b/dir/file.nix
        @@ -1,3 +1,3 @@
         a
        -b
        +B
         c
        ");
        insta::assert_snapshot!(diff(None, Some(&side("a"))), @r"
        diff --git a/dir/file.nix b/dir/file.nix
        new file mode 100644
        --- /dev/null
        +++ b/dir/file.nix
        @@ -0,0 +1 @@
        +a
        \ No newline at end of file
        ");
        let executable = Side {
            mode: FileMode::Executable,
            ..side("a\n")
        };
        insta::assert_snapshot!(diff(Some(&side("a\n")), Some(&executable)), @r"
        diff --git a/dir/file.nix b/dir/file.nix
        old mode 100644
        new mode 100755
        ");
        insta::assert_snapshot!(diff(Some(&side("a\0b")), None), @r"
        diff --git a/dir/file.nix b/dir/file.nix
        deleted file mode 100644
        Binary files a/dir/file.nix and /dev/null differ
        ");
        assert_eq!(diff(Some(&side("a")), Some(&side("a"))), "");
    }

    #[test]
    fn a_program_gets_every_byte_and_a_carriage_return_is_one() {
        let program = Audience {
            terminal: false,
            color: false,
        };
        let path = RelPath::new(b"a \"b\".txt").unwrap();
        let (old, new) = (side("a\r\nb\rc\r\n"), side("a\nb\rc\r\n\u{1b}[1m"));
        assert_eq!(
            unified(&path, Some(&old), Some(&new), program),
            concat!(
                "diff --git \"a/a \\\"b\\\".txt\" \"b/a \\\"b\\\".txt\"\n",
                "--- \"a/a \\\"b\\\".txt\"\t\n+++ \"b/a \\\"b\\\".txt\"\t\n",
                "@@ -1,2 +1,3 @@\n-a\r\n+a\n b\rc\r\n+\u{1b}[1m\n",
                "\\ No newline at end of file\n"
            )
        );
    }

    #[test]
    fn a_file_that_becomes_a_symlink_goes_and_comes() {
        let link = Side {
            mode: FileMode::Symlink,
            content: b"to".to_vec(),
        };
        insta::assert_snapshot!(diff(Some(&side("a\n")), Some(&link)), @r"
        diff --git a/dir/file.nix b/dir/file.nix
        deleted file mode 100644
        --- a/dir/file.nix
        +++ /dev/null
        @@ -1 +0,0 @@
        -a
        diff --git a/dir/file.nix b/dir/file.nix
        new file mode 120000
        --- /dev/null
        +++ b/dir/file.nix
        @@ -0,0 +1 @@
        +to
        \ No newline at end of file
        ");
    }

    #[test]
    fn what_a_file_holds_does_not_reach_the_terminal_as_it_is() {
        let shown = diff(None, Some(&side("\u{1b}[2J\ttab\n")));
        assert!(shown.contains("+\\u{1b}[2J\ttab"), "{shown}");
    }
}
