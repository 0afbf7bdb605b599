//! Differences between two states of a file, as `git diff` prints them: `git apply` and `patch` take the output.

use std::fmt::Write as _;

use similar::TextDiff;

use super::escape;
use crate::git::{FileMode, RelPath};

/// Lines around a change, as git shows by default.
const CONTEXT: usize = 3;
/// Where git looks for a NUL to take a file for binary (`FIRST_FEW_BYTES` in its `xdiff-interface.c`).
const PROBE: usize = 8000;

/// One state of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// What it is.
    pub mode: FileMode,
    /// Its content, or a symlink's target.
    pub content: Vec<u8>,
}

/// The difference at a path; empty where there is none.
#[must_use]
pub fn unified(path: &RelPath, old: Option<&Side>, new: Option<&Side>, color: bool) -> String {
    if old == new {
        return String::new();
    }
    let paint = Paint { color };
    let mut text = String::new();
    let mut head = |line: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", paint.head(&escape(line)));
    };
    head(&format!("diff --git a/{path} b/{path}"));
    match (old, new) {
        (None, Some(new)) => head(&format!("new file mode {}", new.mode.as_str())),
        (Some(old), None) => head(&format!("deleted file mode {}", old.mode.as_str())),
        (Some(old), Some(new)) if old.mode != new.mode => {
            head(&format!("old mode {}", old.mode.as_str()));
            head(&format!("new mode {}", new.mode.as_str()));
        }
        _ => {}
    }
    let empty = Vec::new();
    let content = |side: Option<&Side>| side.map_or(empty.clone(), |side| side.content.clone());
    let (before, after) = (content(old), content(new));
    if before == after {
        return text;
    }
    let name = |side: Option<&Side>, prefix: &str| {
        side.map_or("/dev/null".to_owned(), |_| format!("{prefix}/{path}"))
    };
    let (Some(before), Some(after)) = (as_text(&before), as_text(&after)) else {
        head(&format!(
            "Binary files {} and {} differ",
            name(old, "a"),
            name(new, "b")
        ));
        return text;
    };
    head(&format!("--- {}", name(old, "a")));
    head(&format!("+++ {}", name(new, "b")));
    let diff = TextDiff::from_lines(before, after);
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        for line in hunk.to_string().lines() {
            let _ = writeln!(text, "{}", paint.line(&escape(line)));
        }
    }
    text
}

fn as_text(content: &[u8]) -> Option<&str> {
    let probe = &content[..content.len().min(PROBE)];
    if probe.contains(&0) {
        None
    } else {
        std::str::from_utf8(content).ok()
    }
}

struct Paint {
    color: bool,
}

impl Paint {
    fn head(&self, line: &str) -> String {
        self.wrap("1", line)
    }

    fn line(&self, line: &str) -> String {
        match line.as_bytes().first() {
            Some(b'@') => self.wrap("36", line),
            Some(b'+') => self.wrap("32", line),
            Some(b'-') => self.wrap("31", line),
            _ => line.to_owned(),
        }
    }

    fn wrap(&self, code: &str, line: &str) -> String {
        if self.color {
            format!("\u{1b}[{code}m{line}\u{1b}[0m")
        } else {
            line.to_owned()
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
        unified(&RelPath::new(b"dir/file.nix").unwrap(), old, new, false)
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
    fn what_a_file_holds_does_not_reach_the_terminal_as_it_is() {
        let shown = diff(None, Some(&side("\u{1b}[2J\ttab\n")));
        assert!(shown.contains("+\\u{1b}[2J\ttab"), "{shown}");
    }
}
