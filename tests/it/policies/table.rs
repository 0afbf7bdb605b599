//! `docs/local-edits.md` as data.

use std::collections::BTreeMap;
use std::fmt;

use crate::common::snapshot::Node;

/// A value of `local_edits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Replace,
    Keep,
    Refuse,
    Merge,
}

/// What is known of the last sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Base,
    Nothing,
}

/// What is at the path of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Nothing,
    File(char),
    Executable(char),
    /// A file that others may write, with the setuid bit.
    Open(char),
    Link(char),
    Socket,
    /// The content of the file `f` in it, and whether that content is in no commit.
    Directory(Option<char>, bool),
}

/// What a cell promises.
pub(super) struct Outcome {
    pub(super) what: What,
    pub(super) before: Before,
}

/// What happens to what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It is still there, or the repository has it.
    Safe,
    /// It can be put back.
    Kept,
    /// It is kept, but there is something else in its place.
    Displaced,
    /// Exit code 8, and nothing is written.
    Stops,
}

pub(super) struct Row {
    pub(super) section: String,
    pub(super) number: usize,
    /// The path in the target.
    pub(super) path: String,
    pub(super) known: Known,
    pub(super) base: What,
    pub(super) local: What,
    pub(super) remote: What,
    /// The cells of the row as written.
    pub(super) cells: Vec<String>,
}

/// Every row of every table.
pub(super) fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut section = "";
    for line in include_str!("../../../docs/local-edits.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading;
        }
        let cells: Vec<String> = line
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .filter(|cell| !cell.is_empty())
            .collect();
        let is_row = line.starts_with("| ") && cells[0] != "last sync";
        if is_row {
            rows.push(Row::new(section, rows.len(), cells));
        }
    }
    rows
}

impl Policy {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Refuse => "refuse",
            Self::Merge => "merge",
        }
    }
}

impl Row {
    fn new(section: &str, number: usize, cells: Vec<String>) -> Self {
        let path = match section {
            "Where a pattern of `protect` matches" => format!("modules/{number}-local.nix"),
            "Where a pattern of `executable` matches" => format!("scripts/{number}.sh"),
            "Where a pattern of `exclude` matches" => format!("var/{number}"),
            _ => format!("plain/{number}"),
        };
        let (known, base) = match cells[0].as_str() {
            "?" => (Known::Nothing, What::Nothing),
            base => (Known::Base, What::of(base)),
        };
        assert_eq!(cells.len(), 7, "{cells:?}");
        Self {
            section: section.to_owned(),
            number,
            path,
            known,
            base,
            local: What::of(&cells[1]),
            remote: What::of(&cells[2]),
            cells,
        }
    }

    pub(super) fn outcome(&self, policy: Policy) -> Outcome {
        let cell = self.cells[3 + policy as usize].as_str();
        let (what, before) = match cell.split_once(' ') {
            None if cell == "stop" => (self.local.clone(), Before::Stops),
            None => (What::of(cell), Before::Safe),
            Some((what, "(kept)")) => (What::of(what), Before::Kept),
            Some((what, "(kept, displaced)")) => (What::of(what), Before::Displaced),
            Some((_, other)) => panic!("`{other}` is not in the legend"),
        };
        Outcome { what, before }
    }

    pub(super) fn stops(&self, policy: Policy) -> bool {
        self.outcome(policy).before == Before::Stops
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: | {} |", self.section, self.cells.join(" | "))
    }
}

impl What {
    fn of(cell: &str) -> Self {
        let mut chars = cell.chars();
        let first = chars.next().unwrap();
        match (first, chars.as_str()) {
            ('-', "") => Self::Nothing,
            ('=', "") => Self::Socket,
            ('0', "/") => Self::Directory(None, false),
            ('+', "/") => Self::Directory(None, true),
            (content, "/") => Self::Directory(Some(content), false),
            (content, "/+") => Self::Directory(Some(content), true),
            (content, "") => Self::File(content),
            (content, "*") => Self::Executable(content),
            (content, "!") => Self::Open(content),
            (content, "@") => Self::Link(content),
            _ => panic!("`{cell}` is not in the legend"),
        }
    }

    /// Everything that is at the path of the row and below. No content is that of another row.
    pub(super) fn nodes(&self, row: &Row) -> BTreeMap<String, Node> {
        let content = |letter: char| {
            let (first, last) = match letter {
                't' => ("1", "3"),
                'u' => ("mine", "3"),
                'v' => ("1", "theirs"),
                'w' => ("mine", "theirs"),
                _ => return format!("{letter}{}", row.number).into_bytes(),
            };
            format!("{first}\n2 {}\n{last}\n", row.number).into_bytes()
        };
        let one = |node| BTreeMap::from([(row.path.clone(), node)]);
        match self {
            Self::Nothing => BTreeMap::new(),
            Self::File(letter) => one(Node::File(0o644, content(*letter))),
            Self::Executable(letter) => one(Node::File(0o755, content(*letter))),
            Self::Open(letter) => one(Node::File(0o4666, content(*letter))),
            Self::Link(letter) => one(Node::Link(content(*letter))),
            Self::Socket => one(Node::Special),
            Self::Directory(file, foreign) => {
                let mut nodes = one(Node::Directory(0o755));
                if let Some(letter) = file {
                    let path = format!("{}/f", row.path);
                    nodes.insert(path, Node::File(0o644, content(*letter)));
                }
                if *foreign {
                    let path = format!("{}/foreign", row.path);
                    nodes.insert(path, Node::File(0o644, content('+')));
                }
                nodes
            }
        }
    }

    /// The path of the file that the row is about.
    pub(super) fn edited_path(&self, row: &Row) -> String {
        match self {
            Self::Directory(..) => format!("{}/f", row.path),
            _ => row.path.clone(),
        }
    }
}
