//! The status as text: a line for each fact, its name first.

use jiff::Timestamp;

use super::{BehindText, Document, Edit};
use crate::cli::rebuild::TIMER;
use crate::git::CommitId;
use crate::rebuild::{
    self, FailureClass, QuarantineEntry, Reboot, RebootStage, RebuildStatus, TrialStage,
};
use crate::report::styled::{Style, Styled};
use crate::report::sync::because;
use crate::report::{Layout, fact};
use crate::text::{self, When};

/// Printed for a commit whose bytes are not in the store, or have another tree.
const UNPROVEN: &str = "none: whether the files are those of this commit is not proven; the next sync by git proves or replaces them";

/// Printed where git does not track what the target has.
const GIT_LEFT: &str = "`.git` is not at this commit, and hides new files from `nixos-rebuild --flake`; `hyper-sync sync --adopt` moves it away";

/// Printed where a target has files, and nothing says which commit they are of.
const EDITS_UNKNOWN: &str =
    "unknown before the first sync; `hyper-sync diff --remote` shows what that would change";

/// The status as text. `exact`: also times, in the zone of this machine, and all files.
pub(super) fn render(document: &Document, now: Timestamp, exact: bool, layout: &Layout) -> Styled {
    let mut lines = OutputLines {
        text: Styled::default(),
        now,
        exact,
        layout,
    };
    lines.add("target", text::path(&document.target));
    lines.commit(document);
    lines.runs(document);
    lines.systems(document);
    lines.waits(document);
    lines.files(document);
    lines.text
}

struct OutputLines<'a> {
    text: Styled,
    now: Timestamp,
    exact: bool,
    layout: &'a Layout,
}

impl OutputLines<'_> {
    fn add(&mut self, name: &str, value: impl Into<Styled>) {
        let style = match name {
            "FAILING" | "failed" | "unreached" => Style::Bad,
            "proof" | "git" | "suspended" | "held" => Style::Warning,
            _ => Style::Dim,
        };
        self.text.push(fact(name, style, value, self.layout));
    }

    fn when(&self, time: Timestamp) -> When {
        When {
            time,
            now: self.now,
            exact: self.exact,
        }
    }

    /// Which commit the target is at, since when.
    fn commit(&mut self, document: &Document) {
        let Some(id) = &document.commit else {
            return match &document.last_sync {
                None => self.add("commit", "none yet: nothing was synced here"),
                Some(last) => self.add(
                    "commit",
                    format!(
                        "unknown: the index is lost, and the next sync makes it anew; the last one brought {} ({} of {})",
                        last.last_sync.commit_sha.short(),
                        last.last_sync.reference,
                        last.repository
                    ),
                ),
            };
        };
        self.add("commit", commit_text(document, id));
        let last = document.last_sync.as_ref();
        let last = last.filter(|last| last.last_sync.commit_sha == *id);
        if let Some(last) = last {
            let synced = &last.last_sync.reference;
            let name = document.configured_ref.as_ref().unwrap_or(synced);
            let repository = &last.repository;
            let other = document.synced_otherwise().map(|synced| {
                let synced = match synced.parse::<CommitId>() {
                    Ok(id) => id.short(),
                    Err(_) => format!("`{}`", text::name(synced)),
                };
                format!("; the last sync brought {synced}")
            });
            let other = other.unwrap_or_default();
            self.add("follows", format!("{name} of {repository}{other}"));
            if let Some(read_from) = &last.read_from {
                let read_from = text::words(read_from);
                self.add(
                    "read from",
                    format!("{read_from}: the repository has moved"),
                );
            }
        }
        let committed = document.commits.get(id).and_then(|text| text.committed_at);
        let committed = committed.map(|time| format!("committed {}", self.when(time)));
        let changed = last.map(|last| {
            let files = match last.stats.changed {
                1 => "1 file".to_owned(),
                count => format!("{count} files"),
            };
            format!("{}, {files}", self.when(last.last_sync.timestamp))
        });
        let times: Vec<String> = changed.into_iter().chain(committed).collect();
        if !times.is_empty() {
            self.add("changed", times.join("; "));
        }
        if let Some(behind) = &document.behind {
            let is_one = document.behind_synced.is_none();
            self.add("behind", behind_text(behind, is_one));
        }
        if let Some(behind) = &document.behind_synced {
            self.add("", behind_text(behind, false));
        }
        if document.proven == Some(false) {
            self.add("proof", UNPROVEN);
        }
        if document.git_left {
            self.add("git", GIT_LEFT);
        }
    }

    /// When it was last run, how runs end, and when the next one begins.
    fn runs(&mut self, document: &Document) {
        if let Some(time) = document.last_run.at {
            let interrupted = if document.last_run.interrupted {
                ", interrupted"
            } else {
                ""
            };
            self.add("last run", format!("{}{interrupted}", self.when(time)));
        }
        let failed = &document.last_run.failed;
        for (stage, failure) in [("sync", &failed.sync), ("rebuild", &failed.rebuild)] {
            let Some(failure) = failure else { continue };
            let (exit, message) = (failure.exit, &failure.message);
            let (since, last) = (self.when(failure.since), self.when(failure.last));
            let runs = match failure.count {
                1 => last.to_string(),
                count => format!("{count} times in a row, first {since}, last {last}"),
            };
            self.add(
                "FAILING",
                format!("{stage}, {runs} (exit code {exit}): {message}"),
            );
        }
        if let Some(record) = &document.unreached {
            let (since, count, cause) = (self.when(record.since), record.count, &record.cause);
            self.add(
                "unreached",
                format!("first {since}, syncs: {count}, the last one: {cause}"),
            );
        }
        if document.active {
            self.add("active", "a run is under way");
        } else if document.unfinished {
            self.add(
                "active",
                "a run was interrupted; the next one finishes it, without the network",
            );
        }
        if let Some(time) = document.next_run {
            let when = self.when(time);
            self.add("next run", format!("{when}, by `{TIMER}`"));
        }
    }

    /// The built, the running and the booted system, and the boot default; nothing where no system is known.
    fn systems(&mut self, document: &Document) {
        let systems = &document.systems;
        let is_nixos = systems.current.is_some();
        if is_nixos || document.built_commit.is_some() {
            let built = document.built_commit.as_ref();
            let text = built.map(|id| system_text(document, id));
            let nothing = match (&document.commit, &document.pending_rebuild) {
                (Some(_), None) => "nothing yet; `hyper-sync rebuild` does it",
                _ => "nothing yet",
            };
            self.add("built", text.unwrap_or_else(|| nothing.into()));
        }
        if !is_nixos {
            return;
        }
        for (name, commit) in [
            ("running", &document.running_commit),
            ("booted", &document.booted_commit),
            ("next boot", &document.boot_commit),
        ] {
            let text = commit.as_ref().map(|id| system_text(document, id));
            self.add(
                name,
                text.unwrap_or_else(|| "a system of unknown commit".into()),
            );
        }
        let generation = document.boot_generation;
        let generation = generation.map(|number| format!("generation {number}"));
        let waits = systems.profile != systems.current;
        let waits = waits.then(|| "a reboot makes it the running system".to_owned());
        let more: Vec<String> = generation.into_iter().chain(waits).collect();
        if !more.is_empty() {
            self.add("", more.join("; "));
        }
    }

    /// The pending rebuild, the hold and other open states.
    fn waits(&mut self, document: &Document) {
        if let Some(trial) = &document.trial {
            let until = trial.until;
            self.add(
                "trial",
                match trial.stage {
                    TrialStage::Running | TrialStage::Confirming => {
                        format!("the running system has until {until:.0} to pass its health checks")
                    }
                    TrialStage::Reverting => {
                        format!(
                            "the former system is activated again, at the latest from {until:.0} on"
                        )
                    }
                    TrialStage::Reverted => {
                        "the former system runs again, and the next run takes the tree back"
                            .to_owned()
                    }
                },
            );
        }
        if let Some(pending) = &document.pending_rebuild {
            let last = document.last_rebuild.as_ref();
            let failed = match last {
                Some(last) if last.status == RebuildStatus::Failed => {
                    format!("; the last one failed {}", self.when(last.at))
                }
                Some(last) if last.status == RebuildStatus::Reverted => {
                    format!("; the last one was reverted {}", self.when(last.at))
                }
                _ => String::new(),
            };
            let (action, left) = (&pending.action, self.when(pending.since));
            self.add(
                "rebuild",
                format!("pending: {action}, left {left}{failed}; `hyper-sync rebuild` does it"),
            );
        }
        if let Some(state) = &document.half_state {
            let is_of_activation = |entry: &QuarantineEntry| {
                matches!(entry.class, FailureClass::Activation | FailureClass::Health)
            };
            let next = state.next(document.quarantined.iter().any(is_of_activation));
            self.add("system", format!("{state}; {next}"));
        }
        if let Some(reboot) = &document.reboot {
            self.add("reboot", reboot_text(reboot));
        }
        for failed in &document.quarantined {
            let commit = failed.commit.as_ref().map(|id| named(document, id));
            let commit = commit.unwrap_or_else(|| "no commit".into());
            let place = if failed.before_update {
                ", not in the target"
            } else {
                ""
            };
            self.add("failed", commit.plain(format!("{place}: {failed}")));
        }
        if let Some(suspended) = &document.suspended {
            self.add(
                "suspended",
                format!("{suspended}; `hyper-sync resume` ends that"),
            );
        }
        for held in &document.held {
            self.add(
                "held",
                named(document, held).plain(format!(
                    ": it was rolled back from; the next commit ends that, or `{}`",
                    document.resume_command
                )),
            );
        }
    }

    /// Files that are not as in the commit.
    fn files(&mut self, document: &Document) {
        for place in &document.late_edits {
            let place = text::path(place);
            self.add(
                "kept",
                format!("late edits in {place}, until you remove it"),
            );
        }
        let last = document.last_sync.iter();
        for notice in last.flat_map(|last| &last.notices) {
            self.add("notice", notice);
        }
        for kept in &document.kept {
            self.add("kept", format!("{}: {}", kept.path, because(kept)));
        }
        match document.local_edits.as_deref() {
            None if document.commit.is_none() => self.add("edits", EDITS_UNKNOWN),
            None => self.add("edits", "unknown: the target cannot be read"),
            Some([]) => self.add("edits", format!("none{}", since(document))),
            Some(edits) => {
                self.add("edits", format!("{}{}", edits.len(), since(document)));
                let listed = if self.exact { usize::MAX } else { text::LISTED };
                let (listed, more) = text::first(edits, listed);
                for Edit { path, edit } in listed {
                    let edit = Styled::new(edit_style(edit), format!("{edit:<9}"));
                    self.add("", edit.plain(path.to_string()));
                }
                if let Some(more) = more {
                    self.add("", format!("{more}; `--verbose` names them"));
                }
            }
        }
    }
}

/// The commit that edits are against, where no sync has brought it.
fn since(document: &Document) -> String {
    let base = document.base.filter(|_| document.commit.is_none());
    base.map(|base| format!(" since {}, the commit of `.git`", base.short()))
        .unwrap_or_default()
}

/// The style of a local edit, as in the summary of a sync.
fn edit_style(edit: &str) -> Style {
    if edit == "missing" {
        Style::Deleted
    } else {
        Style::Changed
    }
}

/// How far the target is behind. `is_one`: there is one reference, which needs no name.
fn behind_text(behind: &BehindText, is_one: bool) -> Styled {
    let name = text::name(&behind.reference);
    let Some(commit) = &behind.commit else {
        return format!("`{name}`: the repository does not have it any more").into();
    };
    let (begin, place) = if is_one {
        (String::new(), "the repository is")
    } else {
        (format!("`{name}`: "), "it is")
    };
    let at = |before: &str| {
        Styled::from(format!("{begin}{before}{place} at ")).with(Style::Id, commit.short())
    };
    match (behind.commits, behind.lacks) {
        (Some(0), _) => format!("{begin}not, {place} at this commit").into(),
        (Some(count), _) => at(&format!("by {}; ", commits(count))),
        (None, Some(count)) => at("not, ").plain(format!(
            ", and this commit is {} ahead of that",
            commits(count)
        )),
        (None, None) if behind.descends == Some(false) => {
            at("").plain(", which does not descend from this commit")
        }
        (None, None) => at(""),
    }
}

fn commits(count: u64) -> String {
    match count {
        1 => "1 commit".to_owned(),
        count => format!("{count} commits"),
    }
}

/// A commit, with its subject where the store has it.
fn commit_text(document: &Document, id: &CommitId) -> Styled {
    let short = Styled::new(Style::Id, id.short());
    match document.commits.get(id) {
        Some(text) => short.plain(format!(" {}", text.subject)),
        None => short,
    }
}

/// A commit at the beginning of a line about it.
fn named(document: &Document, id: &CommitId) -> Styled {
    let short = Styled::new(Style::Id, id.short());
    match document.commits.get(id) {
        Some(text) => short.plain(format!(" ({})", text.subject)),
        None => short,
    }
}

/// The commit of a system, without its subject if that is printed above.
fn system_text(document: &Document, id: &CommitId) -> Styled {
    if document.commit.as_ref() == Some(id) {
        return Styled::new(Style::Id, id.short());
    }
    commit_text(document, id)
}

/// A reboot that is waited for, or what became of it.
fn reboot_text(reboot: &Reboot) -> String {
    let stage = match (reboot.stage, &reboot.waits_for) {
        (RebootStage::Waiting, Some(waits_for)) => format!("it waits {}", text::words(waits_for)),
        (RebootStage::Waiting, None) => String::new(),
        (RebootStage::Rebooting, _) => "it is scheduled".to_owned(),
        (RebootStage::Missed, _) => {
            "the machine came up with another system, and is not rebooted again for it".to_owned()
        }
        (RebootStage::Checking, _) => {
            return "the system that was booted has not passed its health checks yet".to_owned();
        }
        (RebootStage::Failed | RebootStage::Reverting, _) => {
            return "the system that was booted failed its trial; a reboot starts the former one"
                .to_owned();
        }
        (RebootStage::Reverted, _) => {
            return "the former system runs again, and the next run reverts the target".to_owned();
        }
    };
    let reason = if reboot.changes.is_empty() {
        format!(
            "the boot default runs from the next boot on, since {:.0}",
            reboot.since
        )
    } else {
        let changes = rebuild::reboot_changes(&reboot.changes);
        format!(
            "needed since {:.0}, because these change: {changes}",
            reboot.since
        )
    };
    if stage.is_empty() {
        return reason;
    }
    format!("{reason}; {stage}")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::cli::status::CommitText;
    use crate::rebuild::{Pending, Systems};

    const NOW: Timestamp = Timestamp::constant(1_795_953_600, 0);

    fn id(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    /// A NixOS machine that runs the commit before, and boots that of its target next.
    fn waiting_for_a_reboot() -> Document {
        let text = |subject: &str, days: i64| CommitText {
            subject: subject.to_owned(),
            committed_at: Some(NOW - SignedDuration::from_hours(24 * days)),
        };
        let system = |name: &str| Some(name.into());
        Document {
            target: "/etc/nixos".into(),
            commit: Some(id("2")),
            proven: Some(true),
            local_edits: Some(Vec::new()),
            built_commit: Some(id("2")),
            running_commit: Some(id("1")),
            booted_commit: None,
            boot_commit: Some(id("2")),
            boot_generation: Some(42),
            commits: [
                (id("1"), text("nginx: a site", 9)),
                (id("2"), text("kernel: 6.18", 2)),
            ]
            .into(),
            next_run: Some(NOW + SignedDuration::from_mins(12)),
            systems: Systems {
                current: system("/nix/store/1"),
                booted: system("/nix/store/0"),
                profile: system("/nix/store/2"),
            },
            ..Document::default()
        }
    }

    #[test]
    fn a_machine_that_waits_for_a_reboot_says_so() {
        insta::assert_snapshot!(render(&waiting_for_a_reboot(), NOW, false, &Layout::default()).text(), @r"
        target    /etc/nixos
        commit    2222222222 kernel: 6.18
        changed   committed 2 days ago
        next run  in 12 min, by `hyper-sync.timer`
        built     2222222222
        running   1111111111 nginx: a site
        booted    a system of unknown commit
        next boot 2222222222
                  generation 42; a reboot makes it the running system
        edits     none
        ");
    }

    #[test]
    fn on_a_narrow_terminal_no_line_is_longer() {
        for columns in [40, 80, 120] {
            let layout = Layout {
                columns: Some(columns),
                ..Layout::default()
            };
            let text = render(&waiting_for_a_reboot(), NOW, true, &layout).text();
            let longest = text.lines().map(str::len).max();
            assert!(longest.is_some_and(|longest| longest <= columns), "{text}");
        }
    }

    #[test]
    fn away_from_nixos_no_system_is_shown() {
        let document = Document {
            systems: Systems::default(),
            built_commit: None,
            ..waiting_for_a_reboot()
        };
        let text = render(&document, NOW, false, &Layout::default()).text();
        for name in ["built", "running", "booted", "next boot", "generation"] {
            assert!(!text.contains(name), "{text}");
        }
    }

    #[test]
    fn a_pending_rebuild_shows_since_when_and_what_does_it() {
        let document = Document {
            pending_rebuild: Some(Pending {
                commit: Some(id("2")),
                action: "switch".to_owned(),
                since: NOW - SignedDuration::from_mins(5),
                begun: false,
                activation: None,
            }),
            ..waiting_for_a_reboot()
        };
        let text = render(&document, NOW, false, &Layout::default()).text();
        assert!(
            text.contains(
                "\nrebuild   pending: switch, left 5 min ago; `hyper-sync rebuild` does it\n"
            ),
            "{text}"
        );
    }
}
