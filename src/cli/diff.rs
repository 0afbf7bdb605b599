//! `hyper-sync diff`: local edits against the last commit, or what a sync would change.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueHint};
use serde::Serialize;

use super::place::{self, TargetPath};
use super::{CliCommand, Run, status, sync};
use crate::Error;
use crate::exit::Exit;
use crate::git::id::ObjectKind;
use crate::git::{BlobId, CommitId, File, FileMode, RelPath};
use crate::plan::{self, Conflict, MassDelete};
use crate::report::OutputFormat;
use crate::report::diff::{Audience, LineCounts, Side, stat, unified};
use crate::scan::{Local, Scanner};
use crate::settings::{Overrides, Settings};
use crate::sync::{FirstBase, Options, Session, StateNote, SyncMode, never_ours};

/// Show local edits as a diff, or what a sync would change
///
/// Without options: from the last synced commit to the files as they are. The output is that of `git diff`, and
/// `git apply` takes it where it does not go to a terminal; binary files are named only.
#[derive(Args)]
pub(super) struct Arguments {
    /// From the files as they are to what a sync would make of them
    #[arg(long)]
    remote: bool,
    /// With `--remote`: a sync of this branch, tag or commit [default: the one that is followed]
    #[arg(long = "ref", value_name = "BRANCH|TAG|COMMIT", requires = "remote", value_hint = ValueHint::Other)]
    reference: Option<OsString>,
    /// How many lines of each file differ, instead of the lines
    #[arg(long)]
    stat: bool,
    /// Print all at once, also on a terminal
    #[arg(long)]
    no_pager: bool,
    /// Only these paths in the target, and what is below them
    #[arg(value_name = "PATH", value_parser = place::parse, value_hint = ValueHint::Other)]
    paths: Vec<TargetPath>,
}

/// What `--json` prints of a path.
#[derive(Serialize)]
struct DiffEntry {
    path: RelPath,
    old_mode: Option<FileMode>,
    new_mode: Option<FileMode>,
    insertions: Option<usize>,
    deletions: Option<usize>,
    diff: String,
}

impl DiffEntry {
    fn lines(&self) -> Option<LineCounts> {
        let (inserted, deleted) = self.insertions.zip(self.deletions)?;
        Some(LineCounts { inserted, deleted })
    }
}

/// What a sync would change.
struct AfterSync {
    /// The file at each path.
    files: BTreeMap<RelPath, Option<File>>,
    /// The contents of merged edits.
    merged: BTreeMap<BlobId, Vec<u8>>,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document {
    /// The commit from which the differences lead to the files; `None` with `--remote`, and where it is not known.
    base: Option<CommitId>,
    files: Vec<DiffEntry>,
}

impl CliCommand for Arguments {
    fn overrides(&self, global: Overrides) -> Overrides {
        global.with("ref", "--ref", self.reference.as_ref())
    }

    fn may_change(&self) -> bool {
        false
    }

    /// Exit code 0 whether or not there are differences, as `git diff`.
    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let only = place::resolve(&self.paths, &settings.target, run.env)?;
        let wanted = if self.remote {
            Some(after_sync(settings, run)?)
        } else {
            None
        };
        let session = run.watched(settings, |context| Session::begin(context, Duration::ZERO))?;
        if wanted.is_none() {
            status::warn_of_other_owner(session.index().is_some(), settings, run);
        }
        let scanner = session.scanner(false);
        let is_json = run.report.format() == OutputFormat::Json;
        let reader = Audience {
            terminal: !is_json && run.report.out_is_terminal(),
            color: !is_json && run.report.color_out(),
        };
        let mut entries = Vec::new();
        let first = match (&wanted, session.index()) {
            (None, None) => before_first_sync(&session, settings, run),
            _ => None,
        };
        let seen = Seen {
            session: &session,
            scanner: &scanner,
            first: first.as_ref(),
            settings,
        };
        let (differences, changing) = seen.differences(wanted.as_ref())?;
        for path in changing {
            let text = format!("`{path}` is being written right now, and is left out");
            run.report.warning(&text);
        }
        for (path, old, new) in differences {
            if !only.is_empty() && !only.iter().any(|only| path.starts_with(only)) {
                continue;
            }
            let diff = unified(&path, old.as_ref(), new.as_ref(), reader);
            let mode = |side: &Option<Side>| side.as_ref().map(|side| side.mode);
            let lines = LineCounts::of(old.as_ref(), new.as_ref());
            entries.push(DiffEntry {
                old_mode: mode(&old),
                new_mode: mode(&new),
                insertions: lines.map(|lines| lines.inserted),
                deletions: lines.map(|lines| lines.deleted),
                path,
                diff,
            });
        }
        let ours = seen.base();
        let is_known = wanted.is_some() || session.index().is_some();
        for requested in only.iter().filter(|_| is_known) {
            let is_below = |path: &RelPath| path.starts_with(requested);
            if !ours.keys().any(is_below) && !entries.iter().any(|entry| is_below(&entry.path)) {
                let text = format!("`{requested}` is not managed: no sync has written it");
                run.report.note(&text);
            }
        }
        if !self.no_pager {
            run.report.page(run.env);
        }
        if is_json {
            let last = session.index().map(|index| index.point.commit);
            let base = last.or(first.as_ref().map(|first| first.commit));
            run.report.json(&Document {
                base: base.filter(|_| wanted.is_none()),
                files: entries,
            });
        } else if self.stat {
            let files = entries.iter().filter(|entry| !entry.diff.is_empty());
            let files: Vec<_> = files.map(|entry| (&entry.path, entry.lines())).collect();
            let columns = run.report.columns();
            run.report.result(stat(&files, columns));
        } else {
            for entry in &entries {
                run.report.data(&entry.diff);
            }
        }
        Ok(Exit::Done)
    }
}

type Difference = (RelPath, Option<Side>, Option<Side>);

/// What the differences are taken from.
struct Seen<'a> {
    session: &'a Session,
    scanner: &'a Scanner<'a>,
    /// The commit of the target's files before the first sync.
    first: Option<&'a FirstBase>,
    settings: &'a Settings,
}

impl Seen<'_> {
    /// The files as the last commit has them.
    fn base(&self) -> Cow<'_, BTreeMap<RelPath, File>> {
        match (self.session.index(), self.first) {
            (Some(index), _) => Cow::Borrowed(&*index.files),
            (None, Some(first)) => Cow::Borrowed(&*first.files),
            (None, None) => Cow::default(),
        }
    }

    /// The differences, and the paths of files that changed while they were inspected.
    ///
    /// Without `wanted`: from the last commit to the current files. With it: from these to the result of a sync.
    fn differences(
        &self,
        wanted: Option<&AfterSync>,
    ) -> Result<(Vec<Difference>, Vec<RelPath>), Error> {
        let committed = |path: &RelPath, file: &File| {
            let merged = wanted.and_then(|wanted| wanted.merged.get(&file.id));
            let content = { merged.cloned() }
                .or_else(|| self.session.store().read(ObjectKind::Blob, file.id.0));
            let content = content.or_else(|| self.first?.content(file.id));
            let content =
                content.ok_or_else(|| crate::SyncError::ContentGone { path: path.clone() })?;
            Ok::<_, Error>(Side {
                mode: file.mode,
                content,
            })
        };
        let here = |path: &RelPath, local: Option<&Local>| {
            let local = local?;
            if let Local::File {
                executable,
                id: None,
                stat,
            } = local
            {
                let mode = FileMode::of_file(*executable);
                if stat.size > self.settings.limits.blob {
                    return Some(Some(Side::large(mode)));
                }
                let content = self.scanner.read_edited(path, stat);
                return Some(content.map(|content| Side { mode, content }));
            }
            let File { mode, id } = local.file()?;
            let content = self.scanner.read(path, id);
            Some(content.map(|content| Side { mode, content }))
        };
        let mut found = Vec::new();
        let mut changing = Vec::new();
        if let Some(wanted) = wanted {
            let local = self.scanner.inspect(wanted.files.keys())?;
            for (path, file) in &wanted.files {
                let after = file
                    .as_ref()
                    .map(|file| committed(path, file))
                    .transpose()?;
                match here(path, local.get(path)) {
                    Some(None) => changing.push(path.clone()),
                    now => found.push((path.clone(), now.flatten(), after)),
                }
            }
        } else {
            let mut base = self.base().into_owned();
            let mut edits = self.scanner.edits(&base, &self.settings.executable)?;
            // A file that was here before and was kept differs from the commit too; a missing one is not a difference.
            let others = never_ours(self.session, self.settings);
            let here_before = self
                .scanner
                .edits(&others, &self.settings.executable)?
                .into_iter();
            edits.extend(here_before.filter(|(_, local)| *local != Local::Missing));
            base.extend(others);
            for (path, now) in edits {
                match here(&path, Some(&now)) {
                    Some(None) => changing.push(path),
                    now => {
                        let before = base.get(&path).map(|file| committed(&path, file));
                        found.push((path, before.transpose()?, now.flatten()));
                    }
                }
            }
        }
        Ok((found, changing))
    }
}

/// The commit that edits are shown against before the first sync, as a sync would find it; says which that is.
fn before_first_sync(
    session: &Session,
    settings: &Settings,
    run: &mut Run<'_>,
) -> Option<FirstBase> {
    match FirstBase::of_work_tree(session.target(), settings, run.env) {
        Ok(Some(first)) => {
            run.report.note(&format!(
                "nothing was synced here yet: these are the edits since {}, the commit of `.git`; `hyper-sync diff --remote` shows what a sync would change",
                first.commit.short()
            ));
            Some(first)
        }
        Ok(None) => {
            run.report.note("nothing was synced here yet, so no edits are known; `hyper-sync diff --remote` shows what a sync would change");
            None
        }
        Err(cause) => {
            run.report.warning(&format!("nothing was synced here yet, and the commit of `.git` is not known, so no edits are: {cause}"));
            None
        }
    }
}

/// Warns if a sync would be refused, or would leave the target where a rollback led.
///
/// That costs a second look at the repository: what is refused comes before what would change.
fn warn_of_refusal(settings: &Settings, run: &mut Run<'_>) -> Result<(), Error> {
    let options = Options {
        allow_rewind: false,
        allow_other_repo: false,
        mass_delete: MassDelete::Refuse,
        resume: false,
        ..Options::unguarded(SyncMode::Check)
    };
    match sync::sync(&options, settings, run) {
        Ok(outcome) => {
            let held = |note: &StateNote| matches!(note, StateNote::Held(_));
            if outcome.notes.iter().any(held) {
                run.report.warning("a sync would leave the target as it is: the commit is held after a rollback; `hyper-sync sync --resume` takes it");
            }
        }
        Err(error @ (Error::Sync(_) | Error::Plan(_))) => {
            run.report.warning(&format!("a sync would stop: {error}"));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The file that a sync would leave at each path that it would change, including paths where local edits would stop it.
fn after_sync(settings: &Settings, run: &mut Run<'_>) -> Result<AfterSync, Error> {
    warn_of_refusal(settings, run)?;
    let options = Options::unguarded(SyncMode::DryRun);
    let outcome = sync::sync(&options, settings, run)?;
    let changes = outcome.plan.operations().iter();
    let mut files: BTreeMap<RelPath, Option<File>> = changes
        .map(|operation| (operation.path.clone(), operation.after))
        .collect();
    if let Some(plan::Error::Conflicts { conflicts, attempt }) = &outcome.refused {
        for Conflict { path, problem } in conflicts {
            let problem_text = problem.describe(attempt);
            let text = format!("a sync would stop: `{path}`: {problem_text}");
            run.report.warning(&text);
            if problem.is_edit() {
                files.insert(path.clone(), outcome.plan.index().get(path).copied());
            }
        }
    }
    Ok(AfterSync {
        files,
        merged: outcome.merged,
    })
}
