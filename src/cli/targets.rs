//! `hyper-sync targets`: the targets that this user has synced.

use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::args::Global;
use crate::Error;
use crate::exit::Exit;
use crate::git::CommitId;
use crate::lock::RunLock;
use crate::report::styled::{Style, Styled};
use crate::report::table::{Align, table};
use crate::report::{Layout, OutputFormat, Report, Verbosity, fact};
use crate::settings::{
    ConfigFile, Env, KnownTarget, Records as _, Settings, known_targets, state_home,
};
use crate::state::{FollowedRepo, Index, StateDir, StateRecords};
use crate::text::{self, When};

/// List the targets that this user has synced
///
/// A command that names no target means the one that it is run in, or the only one there is.
#[derive(Args)]
pub(super) struct Arguments {}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    /// The directories whose state directories are listed.
    searched: Vec<PathBuf>,
    targets: Vec<Entry>,
}

/// A target, as far as its state is known.
#[derive(Serialize)]
struct Entry {
    target: PathBuf,
    state_dir: PathBuf,
    repo: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    commit: Option<CommitId>,
    last_run: Option<Timestamp>,
}

impl Arguments {
    /// Lists them.
    pub(super) fn run(global: &Global, env: &Env, report: &mut Report) -> Result<Exit, Error> {
        let Known { known, searched } = known(global, env)?;
        let mut targets = Vec::new();
        for known in known {
            match entry(&known) {
                Ok(entry) => targets.push(entry),
                Err(error) => report.warning(&format!(
                    "the state of `{}` cannot be read: {}",
                    text::path(&known.record.target),
                    text::with_causes(&error)
                )),
            }
        }
        match report.format() {
            OutputFormat::Json => report.json(&Document { searched, targets }),
            OutputFormat::Human if targets.is_empty() => report.message(&format!(
                "no target is known yet: nothing in {}",
                places(&searched)
            )),
            OutputFormat::Human => {
                let exact = report.verbosity() == Verbosity::Verbose;
                let (now, layout) = (Timestamp::now(), report.layout());
                report.result(text(&targets, now, exact, &layout));
                report.detail(&format!("searched: {}", places(&searched)));
            }
        }
        Ok(Exit::Done)
    }
}

/// Directories in words.
fn places(searched: &[PathBuf]) -> String {
    let names = searched
        .iter()
        .map(|path| format!("`{}`", text::path(path)));
    text::list(names)
}

/// The known targets, and where they were searched.
pub(super) struct Known {
    pub(super) known: Vec<KnownTarget>,
    searched: Vec<PathBuf>,
}

/// All known targets, and that of a state directory that is given.
pub(super) fn known(global: &Global, env: &Env) -> Result<Known, Error> {
    let file = ConfigFile::find(global.config.as_deref(), env)?;
    let given = Settings::given_state_dir(&global.overrides(), env, file.as_ref())?;
    let searched = { state_home(env).into_iter() }.chain(given.clone());
    let searched = searched.collect();
    let mut known = known_targets(env, &StateRecords);
    if let Some(state_dir) = given
        && !known.iter().any(|known| known.state_dir == state_dir)
        && let Some(record) = StateRecords.read(&state_dir)
    {
        known.push(KnownTarget { state_dir, record });
    }
    Ok(Known { known, searched })
}

fn entry(known: &KnownTarget) -> Result<Entry, Error> {
    let mut entry = Entry {
        target: known.record.target.clone(),
        state_dir: known.state_dir.clone(),
        repo: None,
        reference: None,
        commit: None,
        last_run: None,
    };
    if let Some(state) = StateDir::find(&known.state_dir, &known.record.target)? {
        entry.repo = FollowedRepo::load(&state)?.map(|repo| repo.to_string());
        if let Some(index) = Index::load(&state)?.whole() {
            entry.reference = Some(index.point.reference);
            entry.commit = Some(index.point.commit);
        }
        entry.last_run = RunLock::last(&state)?.map(|run| run.since);
    }
    Ok(entry)
}

/// One line for each target, in columns; where the terminal is too narrow for them, a line for each fact.
fn text(targets: &[Entry], now: Timestamp, exact: bool, layout: &Layout) -> Styled {
    let table = in_columns(targets, now, exact);
    let fits = |columns| table.lines().all(|line| line.chars().count() <= columns);
    if layout.columns.is_none_or(fits) {
        return table.into();
    }
    let mut text = Styled::default();
    for (number, entry) in targets.iter().enumerate() {
        if number > 0 {
            text.push("\n");
        }
        let [target, repository, branch, commit, last_run] = cells(entry, now, exact);
        text.push(fact(
            "target",
            Style::Dim,
            Styled::new(Style::Strong, target),
            layout,
        ));
        let follows = format!("{branch} of {repository}");
        text.push(fact("follows", Style::Dim, follows, layout));
        text.push(fact(
            "commit",
            Style::Dim,
            Styled::new(Style::Id, commit),
            layout,
        ));
        text.push(fact("last run", Style::Dim, last_run, layout));
    }
    text
}

fn in_columns(targets: &[Entry], now: Timestamp, exact: bool) -> String {
    let columns = ["TARGET", "REPOSITORY", "BRANCH", "COMMIT", "LAST RUN"];
    table(
        columns.map(|name| (name, Align::Left)),
        { targets.iter() }.map(|entry| cells(entry, now, exact)),
    )
}

fn cells(entry: &Entry, now: Timestamp, exact: bool) -> [String; 5] {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let when = |time| When { time, now, exact }.to_string();
    [
        text::path(&entry.target),
        or_none(entry.repo.clone()),
        or_none(entry.reference.as_ref().map(text::name)),
        or_none(entry.commit.as_ref().map(CommitId::short)),
        or_none(entry.last_run.map(when)),
    ]
}
