//! `hyper-sync history`: the updates that can be undone.
//!
//! Runs that changed nothing in the target are not among them, such as those that failed: nothing of them can be undone.
//! `status` shows how runs fail, and the journal has each.

use std::collections::BTreeMap;
use std::fmt;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::status::{self, CommitText};
use super::{CliCommand, Run};
use crate::Error;
use crate::apply::{Transaction, undo};
use crate::exit::Exit;
use crate::git::{CommitId, RelPath};
use crate::rebuild::RebuildRecord;
use crate::report::styled::{Style, Styled};
use crate::report::{Layout, OutputFormat, Verbosity, fact};
use crate::settings::Settings;
use crate::state::{Index, StateDir};
use crate::sync;
use crate::text::{self, When};

/// List the updates that can be undone, newest first
///
/// With the commit that each led to, and the generation of the system that was built from it. `*` marks the update that led
/// to the commit that the target is at.
#[derive(Args)]
pub(super) struct Arguments {
    /// Print all at once, also on a terminal
    #[arg(long)]
    no_pager: bool,
}

/// What `--json` prints of an update.
#[derive(Serialize)]
struct HistoryEntry<'a> {
    id: String,
    time: String,
    kind: UpdateKind,
    current: bool,
    before: Option<CommitId>,
    after: CommitId,
    /// Of the commit that it led to.
    subject: Option<&'a str>,
    repository: Option<&'a str>,
    #[serde(rename = "ref")]
    reference: &'a str,
    /// The newest that was built from that commit.
    generation: Option<u64>,
    changed: usize,
    edits: Vec<&'a RelPath>,
    put_back: usize,
    /// How many of the replaced edits were merged with the commit's change.
    merged: usize,
    #[serde(skip)]
    at: Timestamp,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum UpdateKind {
    /// Brought the first commit.
    First,
    /// Brought a commit.
    Sync,
    /// Brought an earlier commit back.
    Rollback,
    /// Put local edits back.
    Restore,
    /// Wrote files of the same commit again.
    Repair,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    /// The last one first.
    updates: Vec<HistoryEntry<'a>>,
}

/// What is known beside the records of the updates.
#[derive(Default)]
struct Known {
    commits: BTreeMap<CommitId, CommitText>,
    builds: RebuildRecord,
    here: Option<CommitId>,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let state = StateDir::find(&settings.state_dir, &settings.target)?;
        let (kept, damaged) = { state.as_ref() }
            .map(sync::history)
            .transpose()?
            .unwrap_or_default();
        for id in damaged {
            run.report
                .warning(&format!("the record of update {id} is damaged"));
        }
        let known = { state.as_ref() }
            .map(|state| Known::load(&kept, state, settings))
            .transpose()?
            .unwrap_or_default();
        let mut updates = Vec::new();
        for transaction in &kept {
            let is_rollback = match &state {
                Some(state) => undo::is_rollback(state, transaction.id)?,
                None => false,
            };
            updates.push(entry(transaction, is_rollback, &known));
        }
        if let Some(last) = updates.iter_mut().find(|update| update.kind.brings()) {
            last.current = known.here == Some(last.after);
        }
        status::warn_of_other_owner(!updates.is_empty(), settings, run);
        let all = run.report.verbosity() == Verbosity::Verbose;
        match run.report.format() {
            OutputFormat::Json => run.report.json(&Document { updates }),
            OutputFormat::Human if updates.is_empty() => {
                run.report.message("no update is kept yet");
            }
            OutputFormat::Human => {
                if !self.no_pager {
                    run.report.page(run.env);
                }
                let now = Timestamp::now();
                let layout = run.report.layout();
                let mut text = Styled::default();
                for update in &updates {
                    text.push(lines(update, now, all, &layout));
                }
                run.report.result(text);
            }
        }
        Ok(Exit::Done)
    }
}

impl Known {
    fn load(kept: &[Transaction], state: &StateDir, settings: &Settings) -> Result<Self, Error> {
        let ids = kept.iter().map(|update| update.after.commit);
        let index = Index::load(state)?.whole();
        Ok(Self {
            commits: status::known_commits(ids, state, settings),
            builds: RebuildRecord::load(state)?,
            here: index.map(|index| index.point.commit),
        })
    }
}

impl UpdateKind {
    fn of(transaction: &Transaction, is_rollback: bool) -> Self {
        if is_rollback {
            return Self::Rollback;
        }
        if transaction.before.is_none() {
            return Self::First;
        }
        if transaction.moves() {
            return Self::Sync;
        }
        if transaction.changes.iter().any(|change| change.puts_back) {
            return Self::Restore;
        }
        Self::Repair
    }

    /// Whether it brought a commit.
    fn brings(self) -> bool {
        matches!(self, Self::First | Self::Sync | Self::Rollback)
    }
}

impl fmt::Display for UpdateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::First => "first sync",
            Self::Sync => "sync",
            Self::Rollback => "rollback",
            Self::Restore => "restore",
            Self::Repair => "repair",
        })
    }
}

fn entry<'a>(
    transaction: &'a Transaction,
    is_rollback: bool,
    known: &'a Known,
) -> HistoryEntry<'a> {
    let edited = transaction.changes.iter().filter(|change| change.edited);
    let put_back = transaction.changes.iter().filter(|change| change.puts_back);
    let kind = UpdateKind::of(transaction, is_rollback);
    // A sync writes nothing else that no commit has.
    let (put_back, merged) = match (kind, put_back.count()) {
        (UpdateKind::Sync, merged) => (0, merged),
        (_, put_back) => (put_back, 0),
    };
    let after = transaction.after.commit;
    HistoryEntry {
        id: transaction.id.to_string(),
        time: format!("{:.0}", transaction.time),
        kind,
        current: false,
        before: transaction.before.as_ref().map(|point| point.commit),
        after,
        subject: { known.commits.get(&after) }.map(|text| text.subject.as_str()),
        repository: transaction.after.repository.as_deref(),
        reference: &transaction.after.reference,
        generation: known.builds.generation_of(after),
        changed: transaction.changes.len(),
        edits: edited.map(|change| &change.path).collect(),
        put_back,
        merged,
        at: transaction.time,
    }
}

/// How many replaced edits of an update are named, unless everything is to be listed.
const NAMED: usize = 10;

/// An update: its commit in the first line, what it did in the second, and the edits that it replaced.
fn lines(update: &HistoryEntry<'_>, now: Timestamp, all: bool, layout: &Layout) -> Styled {
    let mark = if update.current { '*' } else { ' ' };
    let mut commit = Styled::new(Style::Id, update.after.short());
    if let Some(subject) = update.subject {
        commit.push(format!(" {subject}"));
    }
    let when = When {
        time: update.at,
        now,
        exact: all,
    };
    let mut what = Styled::from(format!("{when}: {}", update.kind));
    if let Some(before) = update.before.filter(|before| *before != update.after) {
        what = what.plain(" from ").with(Style::Id, before.short());
    }
    let files = match update.changed {
        1 => "1 file".to_owned(),
        count => format!("{count} files"),
    };
    let edits = |count: usize, what: &str| match count {
        0 => String::new(),
        1 => format!(", 1 local edit {what}"),
        count => format!(", {count} local edits {what}"),
    };
    let generation = update.generation;
    let generation = generation.map(|number| format!(", generation {number}"));
    let what = what.plain(format!(
        " ({}), {files}{}{}{}{}",
        update.reference,
        edits(update.edits.len() - update.merged, "replaced"),
        edits(update.merged, "merged"),
        edits(update.put_back, "put back"),
        generation.unwrap_or_default(),
    ));
    let name = format!("{mark} {}", update.id);
    let mut text = fact(&name, Style::Strong, commit, layout);
    text.push(fact("", Style::Plain, what, layout));
    let (named, more) = text::first(&update.edits, if all { usize::MAX } else { NAMED });
    for path in named {
        text.push(format!("            {path}\n"));
    }
    if let Some(more) = more {
        text.push(format!("            {more}; `--verbose` names them\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_shows_its_commit_and_generation_and_what_it_replaced() {
        let id = |digit: &str| -> CommitId { digit.repeat(40).parse().unwrap() };
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let path = RelPath::new(b"flake.nix").unwrap();
        let update = HistoryEntry {
            id: "000007".to_owned(),
            time: now.to_string(),
            kind: UpdateKind::Rollback,
            current: true,
            before: Some(id("2")),
            after: id("1"),
            subject: Some("nginx: a site"),
            repository: None,
            reference: "main",
            generation: Some(42),
            changed: 3,
            edits: vec![&path],
            put_back: 2,
            merged: 0,
            at: now - jiff::SignedDuration::from_hours(72),
        };
        insta::assert_snapshot!(lines(&update, now, false, &Layout::default()).text(), @r"
        * 000007  1111111111 nginx: a site
                  3 days ago: rollback from 2222222222 (main), 3 files, 1 local edit replaced, 2 local edits put back, generation 42
                    flake.nix
        ");
    }
}
