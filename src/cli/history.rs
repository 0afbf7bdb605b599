//! `hyper-sync history`: the updates that can be undone.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;

use super::{CliCommand, Run};
use crate::Error;
use crate::apply::Transaction;
use crate::exit::Exit;
use crate::git::{CommitId, RelPath};
use crate::report::{OutputFormat, Verbosity};
use crate::settings::Settings;
use crate::state::StateDir;
use crate::sync;
use crate::text;

/// List the updates that can be undone, newest first
#[derive(Args)]
pub(super) struct Arguments {}

/// What `--json` prints of an update.
#[derive(Serialize)]
struct HistoryEntry<'a> {
    id: String,
    time: String,
    before: Option<CommitId>,
    after: CommitId,
    repository: Option<&'a str>,
    #[serde(rename = "ref")]
    reference: &'a str,
    changed: usize,
    edits: Vec<&'a RelPath>,
    put_back: usize,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    /// The last one first.
    updates: Vec<HistoryEntry<'a>>,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let state = StateDir::find(&settings.state_dir, &settings.target)?;
        let (kept, damaged) = state
            .as_ref()
            .map(sync::history)
            .transpose()?
            .unwrap_or_default();
        for id in damaged {
            run.report
                .warning(&format!("the record of update {id} is damaged"));
        }
        let updates: Vec<HistoryEntry<'_>> = kept.iter().map(update).collect();
        super::status::warn_of_other_owner(!updates.is_empty(), settings, run);
        let all = run.report.verbosity() == Verbosity::Verbose;
        match run.report.format() {
            OutputFormat::Json => run.report.json(&Document { updates }),
            OutputFormat::Human if updates.is_empty() => run.report.note("no update is kept yet"),
            OutputFormat::Human => run.report.result(
                &updates
                    .iter()
                    .map(|update| line(update, all))
                    .collect::<String>(),
            ),
        }
        Ok(Exit::Done)
    }
}

fn update(transaction: &Transaction) -> HistoryEntry<'_> {
    let edited = transaction.changes.iter().filter(|change| change.edited);
    let put_back = transaction.changes.iter().filter(|change| change.puts_back);
    HistoryEntry {
        id: transaction.id.to_string(),
        time: format!("{:.0}", transaction.time),
        before: transaction.before.as_ref().map(|point| point.commit),
        after: transaction.after.commit,
        repository: transaction.after.repository.as_deref(),
        reference: &transaction.after.reference,
        changed: transaction.changes.len(),
        edits: edited.map(|change| &change.path).collect(),
        put_back: put_back.count(),
    }
}

/// How many replaced edits of an update are named, unless everything is to be listed.
const NAMED: usize = 10;

fn line(update: &HistoryEntry<'_>, all: bool) -> String {
    let moved = match &update.before {
        Some(before) if *before == update.after => format!("at {}", update.after.short()),
        Some(before) => format!("{} -> {}", before.short(), update.after.short()),
        None => format!("nothing -> {}", update.after.short()),
    };
    let edits = |count: usize, what: &str| match count {
        0 => String::new(),
        1 => format!(", 1 local edit {what}"),
        count => format!(", {count} local edits {what}"),
    };
    let files = if update.changed == 1 { "file" } else { "files" };
    let mut text = format!(
        "{}  {}  {moved} ({})  {} {files}{}{}\n",
        update.id,
        update.time,
        update.reference,
        update.changed,
        edits(update.edits.len(), "replaced"),
        edits(update.put_back, "put back"),
    );
    let (named, more) = text::first(&update.edits, if all { usize::MAX } else { NAMED });
    for path in named {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        {path}");
    }
    if let Some(more) = more {
        let _ = writeln!(text, "        {more}; `--verbose` names them");
    }
    text
}
