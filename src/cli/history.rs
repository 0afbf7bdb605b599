//! `hyper-sync history`, `rollback` and `restore`: what past updates replaced, and the way back.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Run, args, place};
use crate::Error;
use crate::apply::Transaction;
use crate::exit::Exit;
use crate::git::{CommitId, RelPath};
use crate::report::{Format, Verbosity, sync as told};
use crate::settings::{LocalEdits, Settings};
use crate::state::StateDir;
use crate::sync::{self, Mode, Options, Restored};

/// What `--json` prints of an update.
#[derive(Serialize)]
struct Update<'a> {
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

/// Lists the updates that are kept.
pub(super) fn list(settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
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
    let updates: Vec<Update<'_>> = kept.iter().map(update).collect();
    if updates.is_empty() {
        super::status::warn_of_other_owner(settings, run);
    }
    let all = run.report.verbosity() == Verbosity::Verbose;
    match run.report.format() {
        Format::Json => run.report.json(&updates),
        Format::Human if updates.is_empty() => run.report.note("no update is kept yet"),
        Format::Human => run.report.result(
            &updates
                .iter()
                .map(|update| line(update, all))
                .collect::<String>(),
        ),
    }
    Ok(Exit::Done)
}

fn update(transaction: &Transaction) -> Update<'_> {
    let edited = transaction.changes.iter().filter(|change| change.edited);
    let put_back = transaction.changes.iter().filter(|change| change.puts_back);
    Update {
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

/// How many replaced edits of an update are named, unless everything is to be told.
const NAMED: usize = 10;

fn line(update: &Update<'_>, all: bool) -> String {
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
    let named = if all { usize::MAX } else { NAMED };
    for path in update.edits.iter().take(named) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "        {path}");
    }
    let more = update.edits.len().saturating_sub(named);
    if more > 0 {
        let _ = writeln!(text, "        and {more} more; `--verbose` names them");
    }
    text
}

/// Goes back.
pub(super) fn rollback(
    args: &args::Rollback,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Exit, Error> {
    let options = Options::unguarded(if args.dry_run {
        Mode::DryRun
    } else {
        Mode::Apply
    });
    let outcome = run.watched(settings, |context| {
        sync::rollback(context, &options, &args.back)
    })?;
    match run.report.format() {
        Format::Json => run.report.json(&told::Document::from(&outcome)),
        Format::Human => {
            told::human(run.report, &outcome);
            if let Some(left) = outcome
                .before
                .filter(|left| *left != outcome.commit.id && !args.dry_run)
            {
                run.report.note(&format!(
                    "{} is held until the branch moves on or `--resume`; `hyper-sync rebuild` builds what is here now",
                    left.short()
                ));
            }
        }
    }
    Ok(super::sync::late(&outcome))
}

/// Puts edits back.
pub(super) fn restore(
    args: &args::Restore,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Result<Exit, Error> {
    let paths = place::resolve(&args.paths, &settings.target)?;
    let options = Options::unguarded(Mode::Apply);
    let Restored {
        paths,
        displaced,
        applied,
    } = run.watched(settings, |context| sync::restore(context, &options, &paths))?;
    told::late(run.report, &applied);
    match run.report.format() {
        Format::Json => run.report.json(&serde_json::json!({
            "restored": paths,
            "displaced": displaced,
            "late_edits": applied.late.iter().map(|late| &late.path).collect::<Vec<_>>(),
            "transaction": applied.id.map(|id| id.to_string()),
            "written": applied.written,
        })),
        Format::Human => {
            let is_late = |path: &RelPath| applied.late.iter().any(|late| late.path == *path);
            for path in paths.iter().filter(|path| !is_late(path)) {
                let swapped = if displaced.contains(path) {
                    "; the one that was there is kept, and the same command swaps them again"
                } else {
                    ""
                };
                let text = format!("the local edit of `{path}` is back{swapped}\n");
                run.report.text(&text);
            }
            let is_taken = |path: &RelPath| !settings.protect.matches(path);
            if settings.local_edits == LocalEdits::Replace && paths.iter().any(is_taken) {
                run.report.note(
                    "the next sync replaces it again, for `local_edits` is \"replace\"; what `protect` lists stays",
                );
            }
        }
    }
    Ok(if applied.late.is_empty() {
        Exit::Done
    } else {
        Exit::Conflict
    })
}
