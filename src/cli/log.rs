//! `hyper-sync log`: the commits that the target was at, or those that a sync would bring.

use std::collections::HashSet;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{CliCommand, Run, status, sync};
use crate::exit::Exit;
use crate::git::history::{self, Between};
use crate::git::{Commit, CommitId};
use crate::report::commit::{CommitDocument, authored_line};
use crate::report::styled::{Style, Styled};
use crate::report::{OutputFormat, paragraphs};
use crate::settings::{LocalEdits, Settings};
use crate::sync::{Options, Passage, Session, SyncMode};
use crate::{Error, SyncError};

/// List the commits the target was at, or those that a sync would bring
///
/// Newest first. Without options from the object store, without the network: the commits that the last syncs led to. `*`
/// marks the one that the target is at.
#[derive(Args)]
pub(super) struct Arguments {
    /// The commits that a sync would bring; this asks the repository
    #[arg(long, visible_alias = "incoming")]
    remote: bool,
    /// At most so many
    #[arg(long, short = 'n', value_name = "NUMBER")]
    max_count: Option<usize>,
    /// Print all at once, also on a terminal
    #[arg(long)]
    no_pager: bool,
}

/// What `--json` prints of a commit.
#[derive(Serialize)]
struct LogEntry<'a> {
    #[serde(flatten)]
    commit: CommitDocument<'a>,
    current: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    commits: Vec<LogEntry<'a>>,
    complete: bool,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        false
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let (mut found, current) = if self.remote {
            incoming(settings, run)?
        } else {
            past(settings, run)?
        };
        let max = self.max_count.unwrap_or(usize::MAX);
        let gaps = if self.remote {
            HashSet::new()
        } else {
            found.gaps()
        };
        let cut = found.commits.len().saturating_sub(max);
        found.commits.truncate(max);
        let is_current = |commit: &Commit| Some(commit.id) == current;
        if run.report.format() == OutputFormat::Json {
            let entry = |commit| LogEntry {
                commit: CommitDocument::from(commit),
                current: is_current(commit),
            };
            run.report.json(&Document {
                commits: found.commits.iter().map(entry).collect(),
                complete: found.is_whole && cut == 0,
            });
            return Ok(Exit::Done);
        }
        if found.commits.is_empty() {
            run.report.message(if self.remote {
                "a sync would bring no commit"
            } else {
                "no commit is known: nothing was synced here"
            });
            return Ok(Exit::Done);
        }
        if !self.no_pager {
            run.report.page(run.env);
        }
        let layout = run.report.layout();
        let mut are_explained = false;
        for commit in &found.commits {
            let mark = if is_current(commit) { "* " } else { "  " };
            let mut line = Styled::new(Style::Strong, mark);
            line.push(authored_line(commit, mark.len(), layout.columns));
            run.report.result(line.plain("\n"));
            if gaps.contains(&commit.id) {
                let text = if are_explained {
                    "  ⋮"
                } else {
                    "  ⋮ commits that are not in the object store"
                };
                are_explained = true;
                let text = paragraphs(Styled::new(Style::Dim, text), 2, &layout);
                run.report.result(text);
            }
        }
        // Where the target was, what is missing is marked at its place.
        let others = (self.remote && !found.is_whole).then(|| "not all are known here".to_owned());
        let cut = (cut > 0).then(|| format!("{cut} more"));
        let rest: Vec<String> = cut.into_iter().chain(others).collect();
        if !rest.is_empty() {
            let text = format!("  {}\n", rest.join("; "));
            run.report.result(Styled::new(Style::Dim, text));
        }
        Ok(Exit::Done)
    }
}

/// The commits of the object store with what is known of their ancestors, and the one that the target is at.
fn past(settings: &Settings, run: &mut Run<'_>) -> Result<(Between, Option<CommitId>), Error> {
    let session = run.watched(settings, |context| Session::begin(context, Duration::ZERO))?;
    status::warn_of_other_owner(session.index().is_some(), settings, run);
    let current = session.index().map(|index| index.point.commit);
    let store = session.store();
    let ids: HashSet<CommitId> = store.commits().into_iter().chain(current).collect();
    let known = |id| store.commit(id).ok().flatten();
    let starts = ids.into_iter().filter_map(known).collect();
    Ok((history::ancestors(starts, known), current))
}

/// The commits that a sync would bring.
fn incoming(settings: &Settings, run: &mut Run<'_>) -> Result<(Between, Option<CommitId>), Error> {
    // A sync proves that the branch moved forward, for which it reads the commits in between.
    let guarded = Options {
        allow_rewind: false,
        ..Options::unguarded(SyncMode::Check)
    };
    // Edits of the target are not what is asked about.
    let settings = &Settings {
        local_edits: LocalEdits::Keep,
        ..settings.clone()
    };
    let outcome = match sync::sync(&guarded, settings, run) {
        Err(Error::Sync(SyncError::Rewind { .. })) => {
            sync::sync(&Options::unguarded(SyncMode::Check), settings, run)?
        }
        outcome => outcome?,
    };
    let found = match outcome.passage {
        Some(Passage::Forward(between)) => between,
        Some(Passage::Back(_)) => Between::none(),
        None if outcome.before.is_some() => Between::none(),
        None => Between {
            is_whole: outcome.commit.parents.is_empty(),
            commits: vec![outcome.commit],
        },
    };
    Ok((found, outcome.before))
}
