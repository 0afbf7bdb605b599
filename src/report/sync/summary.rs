//! The summary of a sync, for a person: where the target went, by which commits, what changed, and what to do next.

use std::path::Path;

use super::word;
use crate::git::Commit;
use crate::plan::{Conflict, Kept, Operation, Plan};
use crate::report::commit::commit_line;
use crate::report::styled::{Style, Styled};
use crate::report::{Layout, Report, Verbosity, paragraphs};
use crate::scan::Local;
use crate::signature::Signer;
use crate::source::{RefKind, Route};
use crate::sync::{Outcome, Passage, StateNote, SyncMode};
use crate::text::{self, Amount};

/// How many commits are named.
const COMMITS: usize = 5;
/// Printed where commits between the two are not known, so that they are neither counted nor all named.
const NOT_ALL: &str = "  not all commits in between are known here\n";
/// How many files are named, where the reader has not asked for all of them.
const FILES: usize = 10;

/// What is printed, and for whom.
pub(super) struct Summary<'a> {
    outcome: &'a Outcome,
    target: &'a Path,
    layout: Layout,
    is_verbose: bool,
    /// Whether the new tree waits for a rebuild by hand.
    rebuild_is_left: bool,
}

impl<'a> Summary<'a> {
    pub(super) fn new(
        outcome: &'a Outcome,
        target: &'a Path,
        rebuild_is_left: bool,
        report: &Report,
    ) -> Self {
        Self {
            outcome,
            target,
            layout: report.layout(),
            is_verbose: report.verbosity() == Verbosity::Verbose,
            rebuild_is_left,
        }
    }

    /// All of it.
    pub(super) fn text(&self) -> Styled {
        let mut text = if self.outcome.does_nothing() {
            self.up_to_date()
        } else {
            let mut text = self.heading();
            text.push(self.commits());
            text.push(self.files());
            text.push(self.counts());
            text.push(self.withheld());
            text
        };
        text.push(self.proof());
        if self.is_verbose {
            text.push(format!("  {}\n", self.cost()));
        }
        text.push(self.next());
        paragraphs(text, 2, &self.layout)
    }

    /// Where the run did nothing, in one line.
    fn up_to_date(&self) -> Styled {
        let outcome = self.outcome;
        let is_held = |note: &StateNote| matches!(note, StateNote::Held(_));
        let reference = text::words(&outcome.point.reference);
        let (is, reference) = match outcome.kind {
            _ if outcome.notes.iter().any(is_held) => ("stays", String::new()),
            RefKind::Branch | RefKind::Tag => ("is up to date", format!(", {reference}")),
            RefKind::Commit => ("is at this commit", String::new()),
        };
        let kept = outcome.plan.kept();
        let kept = match kept.len() {
            0 => String::new(),
            1 => format!("; 1 file stays as it is{}", not_here(kept)),
            count => format!("; {count} files stay as they are{}", not_here(kept)),
        };
        Styled::new(Style::Strong, text::path(self.target))
            .plain(format!(" {is} ("))
            .with(Style::Id, outcome.commit.id.short())
            .plain(format!("{reference}){kept}\n"))
    }

    /// The target, from which commit to which, and of what.
    fn heading(&self) -> Styled {
        let Outcome { commit, point, .. } = self.outcome;
        let mut way = Styled::new(Style::Strong, text::path(self.target)).plain("  ");
        if let Some(before) = self.outcome.before.filter(|before| *before != commit.id) {
            way.push(Styled::new(Style::Id, before.short()).plain(" -> "));
        }
        way.push(Styled::new(Style::Id, commit.id.short()));
        let reference = match self.outcome.kind {
            RefKind::Commit => "a commit".to_owned(),
            RefKind::Branch | RefKind::Tag => text::words(&point.reference),
        };
        let repository = { point.repository.iter() }.map(|repository| format!(" of {repository}"));
        let of = reference + &repository.collect::<String>() + &self.distance();
        let fits = |columns| way.columns() + 2 + Styled::from(&of).columns() <= columns;
        let gap = if self.layout.columns.is_none_or(fits) {
            "  "
        } else {
            "\n  "
        };
        way.plain(format!("{gap}{of}\n"))
    }

    /// How many commits it went, where that is known.
    fn distance(&self) -> String {
        let (back, between) = match &self.outcome.passage {
            Some(Passage::Forward(between)) => ("", between),
            Some(Passage::Back(between)) => ("back by ", between),
            None => return String::new(),
        };
        match between.commits.len() {
            _ if !between.is_whole => String::new(),
            1 => format!(", {back}1 commit"),
            count => format!(", {back}{count} commits"),
        }
    }

    /// The commits that came, or the one that it is at now.
    fn commits(&self) -> Styled {
        let now = [self.outcome.commit.clone()];
        let (known, are_all): (&[Commit], bool) = match &self.outcome.passage {
            Some(Passage::Forward(between)) => (&between.commits, between.is_whole),
            Some(Passage::Back(_)) | None => (&now, true),
        };
        let listed = if self.is_verbose { usize::MAX } else { COMMITS };
        let (shown, more) = text::first(known, listed);
        let mut lines = Styled::default();
        for commit in &shown {
            lines.push(Styled::from("  "));
            lines.push(commit_line(commit, 2, self.layout.columns));
            lines.push("\n");
        }
        if more.is_some() {
            let count = known.len() - shown.len();
            let how = match self.outcome.mode {
                SyncMode::Apply => "",
                SyncMode::DryRun | SyncMode::Check => ": `hyper-sync log --remote`",
            };
            let known = if are_all { "" } else { " are known here" };
            lines.push(format!("  {count} more{known}{how}\n"));
        }
        if !are_all {
            lines.push(NOT_ALL);
        }
        lines
    }

    /// The files, where they are few or all are wanted.
    fn files(&self) -> Styled {
        let operations = self.outcome.plan.operations();
        let conflicts = self.outcome.plan.conflicts();
        let are_all_wanted = self.is_verbose || self.outcome.mode == SyncMode::DryRun;
        let mut lines = Styled::default();
        if are_all_wanted || operations.len() + conflicts.len() <= FILES {
            for operation in operations {
                let change = Change::of(operation, &self.outcome.plan);
                let (sign, style) = change.sign();
                lines.push(
                    Styled::from("  ")
                        .with(style, format!("{sign} {}", operation.path))
                        .plain("\n"),
                );
            }
            for Conflict { path, .. } in conflicts {
                let conflict = Styled::new(Style::Warning, format!("! {path}"));
                lines.push("  ");
                lines.push(conflict.plain("\n"));
            }
        }
        lines
    }

    /// How many files are new, changed and deleted.
    fn counts(&self) -> Styled {
        let plan = &self.outcome.plan;
        let mut line = Styled::default();
        for change in Change::ALL {
            let operations = plan.operations().iter();
            let count = operations
                .filter(|it| Change::of(it, plan) == change)
                .count();
            if count > 0 {
                let (sign, style) = change.sign();
                line.push("  ");
                line.push(Styled::new(
                    style,
                    format!("{sign}{count} {}", change.word()),
                ));
            }
        }
        match plan.conflicts().len() {
            0 if plan.operations().is_empty() => line.push("  no file was changed"),
            0 => {}
            count => {
                line.push("  ");
                line.push(Styled::new(Style::Warning, format!("!{count} in conflict")));
            }
        }
        line.plain("\n")
    }

    /// What of the commit is not in the target.
    fn withheld(&self) -> Styled {
        let kept = self.outcome.plan.kept().iter();
        let withheld: Vec<&Kept> = kept.filter(|kept| kept.withheld).collect();
        match withheld.as_slice() {
            [] => Styled::default(),
            [kept] => format!(
                "  1 file does not have the commit's version: `hyper-sync diff {}`\n",
                word(&kept.path)
            )
            .into(),
            many => format!(
                "  {} files do not have the commit's version: `hyper-sync diff`\n",
                many.len()
            )
            .into(),
        }
    }

    /// The signer, where a signature was required; and that only the forge joins the commit and what was brought.
    fn proof(&self) -> Styled {
        let mut lines = Styled::default();
        if !self.outcome.proven {
            let text =
                "  not proven: whether these are the files of this commit, only the forge says\n";
            lines.push(Styled::new(Style::Warning, text));
        }
        if let Some(Signer { name, key }) = &self.outcome.signer {
            lines.push(format!("  signed by {name} ({key})\n"));
        }
        lines
    }

    /// What to do next.
    fn next(&self) -> &'static str {
        match self.outcome.mode {
            SyncMode::Apply if self.rebuild_is_left => "  not rebuilt yet: `hyper-sync rebuild`\n",
            SyncMode::DryRun if !self.outcome.does_nothing() => "  nothing was written\n",
            SyncMode::Check if !self.outcome.does_nothing() => {
                "  nothing was written; `hyper-sync diff --remote` shows what would change\n"
            }
            SyncMode::Apply | SyncMode::DryRun | SyncMode::Check => "",
        }
    }

    /// What it took, and what the whole tree would have taken.
    fn cost(&self) -> String {
        let Outcome { traffic, plan, .. } = self.outcome;
        let whole = match self.outcome.tree_size {
            Some(size) if !plan.operations().is_empty() => {
                format!("; the whole tree is {}", Amount::Bytes(size))
            }
            _ => String::new(),
        };
        let whole = format!("{whole}; {} files checked", plan.counts().checked);
        let time = format!("{:.2} s", self.outcome.duration.as_secs_f64());
        let requests = match traffic.requests {
            0 => return format!("without the network, in {time}{whole}"),
            1 => "1 request".to_owned(),
            count => format!("{count} requests"),
        };
        let by = match self.outcome.route {
            Route::Store => String::new(),
            route => format!(" by {route}"),
        };
        let received = Amount::Bytes(traffic.received);
        format!("{requests}{by}, {received} received in {time}{whole}")
    }
}

/// That of these files, some do not have the commit's version, and how to see that.
fn not_here(kept: &[Kept]) -> &'static str {
    if kept.iter().any(|kept| kept.withheld) {
        ", without the commit's version: `hyper-sync diff`"
    } else {
        ": `hyper-sync diff`"
    }
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    New,
    Changed,
    Merged,
    Deleted,
}

impl Change {
    const ALL: [Self; 4] = [Self::New, Self::Changed, Self::Merged, Self::Deleted];

    pub(super) fn of(operation: &Operation, plan: &Plan) -> Self {
        match (&operation.before, &operation.after) {
            _ if plan.merges(&operation.path) => Self::Merged,
            (_, None) => Self::Deleted,
            (Local::Missing, Some(_)) => Self::New,
            (_, Some(_)) => Self::Changed,
        }
    }

    /// Its word in JSON.
    pub(super) fn action(self) -> &'static str {
        match self {
            Self::New => "create",
            Self::Changed => "replace",
            Self::Merged => "merge",
            Self::Deleted => "delete",
        }
    }

    fn sign(self) -> (char, Style) {
        match self {
            Self::New => ('+', Style::Added),
            Self::Changed | Self::Merged => ('~', Style::Changed),
            Self::Deleted => ('-', Style::Deleted),
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::Merged => "merged",
            Self::Deleted => "deleted",
        }
    }
}
