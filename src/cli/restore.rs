//! `hyper-sync restore`: local edits that an update has replaced.

use clap::{Args, ValueHint};

use super::place::{self, TargetPath};
use super::protect::{Protected, protect};
use super::{CliCommand, Run};
use crate::Error;
use crate::exit::Exit;
use crate::git::RelPath;
use crate::report::{OutputFormat, sync as render};
use crate::settings::{LocalEdits, Settings};
use crate::sync::{self, Options, Restored, SyncMode};

/// Put local edits back that an update has replaced
#[derive(Args)]
pub(super) struct Arguments {
    /// The files, or directories that hold them; relative to the target, or to the working directory if it is in the
    /// target. `.` means all of them
    #[arg(
        value_name = "PATH",
        required = true,
        value_parser = place::parse,
        value_hint = ValueHint::Other
    )]
    paths: Vec<TargetPath>,
    /// Let these edits stay in the next syncs: add the paths to `protect` in the configuration file
    #[arg(long)]
    protect: bool,
}

impl CliCommand for Arguments {
    fn may_change(&self) -> bool {
        true
    }

    fn run(&self, settings: &Settings, run: &mut Run<'_>) -> Result<Exit, Error> {
        let paths = place::resolve(&self.paths, &settings.target, run.env)?;
        let options = Options::unguarded(SyncMode::Apply);
        super::status::warn_of_other_owner(true, settings, run);
        let Restored {
            paths,
            displaced,
            applied,
            notes,
        } = run.watched(settings, |context| sync::restore(context, &options, &paths))?;
        for note in &notes {
            run.report.warning(&render::about(note));
        }
        let notices = notes.iter().map(render::about);
        let notices: Vec<String> = notices
            .map(|notice| run.report.with_options(&notice).into_owned())
            .collect();
        render::late(run.report, &applied);
        let protected = { self.protect }.then(|| protect(&paths, settings, run));
        match run.report.format() {
            OutputFormat::Json => run.report.json(&serde_json::json!({
                "restored": paths,
                "displaced": displaced,
                "late_edits": applied.late.iter().map(|late| &late.path).collect::<Vec<_>>(),
                "transaction": applied.id.map(|id| id.to_string()),
                "written": applied.written,
                "notices": notices,
                "protected": protected.as_ref().map(|protected| serde_json::json!({
                    "patterns": protected.patterns,
                    "set": protected.is_set,
                })),
            })),
            OutputFormat::Human => {
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
                let is_replaced =
                    settings.local_edits == LocalEdits::Replace && protected.is_none();
                if is_replaced && paths.iter().any(is_taken) {
                    run.report.note(
                        "the next sync replaces it again, because `local_edits` is \"replace\"; with `--protect` it stays",
                    );
                }
            }
        }
        Ok(if applied.late.is_empty() {
            protected.as_ref().map_or(Exit::Done, Protected::exit)
        } else {
            Exit::Conflict
        })
    }
}
