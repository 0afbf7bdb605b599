//! What monitoring reads: a file for the textfile collector of Prometheus's node exporter.
//!
//! The sync and the rebuild may be two processes (the two units of the NixOS module), and either rewrites the whole
//! file. So nothing is read back from it: what a single run cannot determine is kept in `metrics` in the state directory,
//! everything else is in the state anyway, and the last writer writes all of it. The lock is held meanwhile.
//!
//! Without the setting `metrics_file` none of this happens. A run that finds another one active leaves both files
//! alone, because the other one will write them; one that could not read its settings has no path to write to. An
//! alert on the age of the last success sees either.

use std::fmt::Write as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::git::CommitId;
use crate::objects;
use crate::rebuild::{Durations, FailureClass, Machine, Quarantine, Reboot, RebuildRecord};
use crate::source::Traffic;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{Error, Index, StateDir, SyncState, publish};
use crate::state::{Suspended, Unreached};
use crate::sync::Hold;
use crate::text;

const NAME: &str = "metrics";
const FORMAT: SealedFormat = SealedFormat {
    kind: "metrics",
    version: 1,
};

/// What can end well or badly by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The target is brought to the commit.
    Sync,
    /// The system is built from the target.
    Rebuild,
}

/// What a run has done so far.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    begun: Vec<Stage>,
    traffic: Traffic,
    resolved: Option<CommitId>,
}

impl Progress {
    /// A stage begins; the one before has ended well.
    pub fn begin(&mut self, stage: Stage) {
        self.begun.push(stage);
    }

    /// The stage that was begun last does not count as begun.
    pub fn leave_out_last(&mut self) {
        self.begun.pop();
    }

    /// Whether a stage was begun.
    #[must_use]
    pub fn has_begun(&self, stage: Stage) -> bool {
        self.begun.contains(&stage)
    }

    /// The repository's reference is at this commit.
    pub fn resolved(&mut self, commit: CommitId) {
        self.resolved = Some(commit);
    }

    /// What a sync has moved over the network.
    pub fn moved(&mut self, traffic: Traffic) {
        self.traffic = traffic;
    }
}

/// What is written beyond what the state directory has.
#[derive(Debug, Clone)]
pub struct RunMetrics<'a> {
    /// The directory that is kept equal to a commit: the label that distinguishes two of them.
    pub target: &'a Path,
    /// What was done.
    pub progress: &'a Progress,
    /// How it ended.
    pub exit: Exit,
    /// What is in the target, where that is known.
    pub index: Option<&'a Index>,
    /// How many files are not as they were written, where that could be found out.
    pub local_edits: Option<u64>,
    /// Whether the target is rebuilt at all.
    pub rebuilds: bool,
    /// The largest object that is read from the store, in bytes.
    pub largest: u64,
}

/// Counts a run that has ended, and writes the file. The caller holds the lock.
pub fn write(path: &Path, state: &StateDir, run: &RunMetrics<'_>) -> Result<(), Error> {
    let mut tally = Tally::load(state)?;
    tally.count(run.progress, run.exit, Timestamp::now().as_second());
    tally.save(state)?;
    let hold = Hold::load(state)?;
    let here = run.index.map(|index| index.point.commit);
    let left = hold.iter().flat_map(|hold| &hold.commits);
    let quarantined = Quarantine::load(state)?.current(here.into_iter().chain(left.copied()));
    let rebuilds = RebuildRecord::load(state)?;
    let commit = here.and_then(|here| objects::commit(state.path(), here, run.largest));
    let known = MetricsInput {
        commit_time: commit.map(|commit| commit.time),
        durations: rebuilds.last.map(|last| last.durations),
        last: SyncState::load(state)?,
        held: hold.is_some(),
        quarantined: quarantined.iter().map(|entry| entry.class).collect(),
        suspended: Suspended::active(state, Timestamp::now())?,
        pending: rebuilds.pending.is_some(),
        reboot: Reboot::load(state)?
            .filter(|reboot| reboot.is_pending(&Machine::here()))
            .map(|reboot| reboot.since),
        unreached: Unreached::load(state)?.map_or(0, |record| record.count),
        tally,
    };
    publish(
        path,
        render(&families(&known, run)).as_bytes(),
        state.faults(),
    )
}

/// What is counted over many runs. A file that is lost or damaged begins at zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    sync: Ends,
    rebuild: Ends,
    received: u64,
    requests: u64,
    /// Where the repository's reference was, when it was last resolved. Older versions did not write this.
    #[serde(default)]
    remote: Option<CommitId>,
}

/// How a stage has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Ends {
    /// Seconds since 1970.
    last_success: Option<i64>,
    /// Of the last run; `None`: there was none.
    exit: Option<u8>,
    /// Since the last success.
    failures: u32,
}

impl Tally {
    fn load(state: &StateDir) -> Result<Self, Error> {
        let found = sealed::read(state.directory(), NAME, FORMAT)?;
        Ok(found.whole().unwrap_or_default())
    }

    fn save(&self, state: &StateDir) -> Result<(), Error> {
        sealed::write(state.directory(), NAME, FORMAT, self)
    }

    fn count(&mut self, progress: &Progress, exit: Exit, now: i64) {
        let last = progress.begun.len().saturating_sub(1);
        for (number, stage) in progress.begun.iter().enumerate() {
            // Only the stage that a run ends in can have failed.
            let exit = if number == last { exit } else { Exit::Done };
            self.of(*stage).count(exit, now);
        }
        self.received = self.received.saturating_add(progress.traffic.received);
        self.requests = self.requests.saturating_add(progress.traffic.requests);
        self.remote = progress.resolved.or(self.remote);
    }

    fn of(&mut self, stage: Stage) -> &mut Ends {
        match stage {
            Stage::Sync => &mut self.sync,
            Stage::Rebuild => &mut self.rebuild,
        }
    }
}

impl Ends {
    fn count(&mut self, exit: Exit, now: i64) {
        self.exit = Some(exit.code());
        if exit == Exit::Done {
            self.last_success = Some(now);
            self.failures = 0;
        } else {
            self.failures = self.failures.saturating_add(1);
        }
    }
}

/// Everything that is written beyond the run.
struct MetricsInput {
    last: Option<SyncState>,
    held: bool,
    quarantined: Vec<FailureClass>,
    suspended: Option<Suspended>,
    pending: bool,
    /// Since when a reboot is needed.
    reboot: Option<Timestamp>,
    unreached: u32,
    /// When the target's commit was committed, where the store has it; seconds since 1970.
    commit_time: Option<i64>,
    /// Of the last rebuild.
    durations: Option<Durations>,
    tally: Tally,
}

fn families(known: &MetricsInput, run: &RunMetrics<'_>) -> Vec<Family> {
    let mut families = vec![info(run)];
    families.extend(stages(&known.tally, run));
    families.extend(traffic(&known.tally, run));
    families.extend(standing(known, run));
    families.push(quarantined(known, run));
    families.push(durations(known, run));
    families
}

/// What is not a number, in labels.
fn info(run: &RunMetrics<'_>) -> Family {
    let sample = run.index.map(|index| Sample {
        labels: vec![
            of(run),
            (
                "repository",
                index.point.repository.clone().unwrap_or_default(),
            ),
            ("ref", index.point.reference.clone()),
            ("commit", index.point.commit.to_string()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ],
        value: 1,
    });
    gauge(
        "hyper_sync_info",
        "The commit that the target is at; always 1.",
        sample,
    )
}

/// How each stage has ended.
fn stages(tally: &Tally, run: &RunMetrics<'_>) -> [Family; 3] {
    let stages = [("sync", &tally.sync), ("rebuild", &tally.rebuild)];
    let stages = &stages[..if run.rebuilds { 2 } else { 1 }];
    let each = |name, help, value: fn(&Ends) -> Option<i64>| {
        let samples = stages.iter().filter_map(|(stage, ends)| {
            Some(Sample {
                labels: vec![of(run), ("stage", (*stage).to_owned())],
                value: value(ends)?,
            })
        });
        gauge(name, help, samples)
    };
    [
        each(
            "hyper_sync_last_success_timestamp_seconds",
            "When a stage last ended well, also with nothing to do.",
            |ends| ends.last_success,
        ),
        each(
            "hyper_sync_last_exit_code",
            "The exit code of a stage's last run.",
            |ends| ends.exit.map(i64::from),
        ),
        each(
            "hyper_sync_consecutive_failures",
            "How often a stage has failed since it last ended well.",
            |ends| ends.exit.map(|_| i64::from(ends.failures)),
        ),
    ]
}

/// What has moved over the network.
fn traffic(tally: &Tally, run: &RunMetrics<'_>) -> [Family; 2] {
    let counter = |name, help, value| Family {
        name,
        kind: MetricKind::Counter,
        help,
        samples: vec![one(run, whole(value))],
    };
    [
        counter(
            "hyper_sync_received_bytes_total",
            "Bytes received by syncs that ended well.",
            tally.received,
        ),
        counter(
            "hyper_sync_requests_total",
            "Requests sent by syncs that ended well.",
            tally.requests,
        ),
    ]
}

/// How the target stands.
fn standing(known: &MetricsInput, run: &RunMetrics<'_>) -> [Family; 11] {
    let until = known.suspended.as_ref().and_then(Suspended::until);
    let change = known.last.as_ref().map(|last| last.last_sync.timestamp);
    let state =
        |name, help, value: Option<i64>| gauge(name, help, value.map(|value| one(run, value)));
    let here = run.index.map(|index| index.point.commit);
    let behind = known.tally.remote.map(|remote| here != Some(remote));
    [
        state(
            "hyper_sync_behind",
            "Whether the repository was at another commit than the target, when it was last reached.",
            behind.map(i64::from),
        ),
        state(
            "hyper_sync_commit_timestamp_seconds",
            "When the commit of the target was committed.",
            known.commit_time,
        ),
        state(
            "hyper_sync_unreached_syncs",
            "Syncs that did not reach the repository since the last that ended well.",
            Some(known.unreached.into()),
        ),
        state(
            "hyper_sync_last_change_timestamp_seconds",
            "When the target last came to another commit or was brought back to it.",
            change.map(Timestamp::as_second),
        ),
        state(
            "hyper_sync_local_edits",
            "Files of the target that are not as they were written.",
            run.local_edits.map(whole),
        ),
        state(
            "hyper_sync_rebuild_pending",
            "Whether a rebuild still is to be done.",
            run.rebuilds.then_some(known.pending.into()),
        ),
        state(
            "hyper_sync_reboot_pending",
            "Whether the boot default needs a reboot to run.",
            run.rebuilds.then_some(known.reboot.is_some().into()),
        ),
        state(
            "hyper_sync_reboot_pending_since_timestamp_seconds",
            "Since when it does.",
            known.reboot.map(Timestamp::as_second),
        ),
        state(
            "hyper_sync_held",
            "Whether a rollback keeps the target from a commit.",
            Some(known.held.into()),
        ),
        state(
            "hyper_sync_suspended",
            "Whether the runs of the timer do nothing because somebody suspended them.",
            Some(known.suspended.is_some().into()),
        ),
        state(
            "hyper_sync_suspended_until_timestamp_seconds",
            "When the suspension ends by itself.",
            until.map(Timestamp::as_second),
        ),
    ]
}

/// The builds that failed and are not tried now.
fn quarantined(known: &MetricsInput, run: &RunMetrics<'_>) -> Family {
    let samples = FailureClass::ALL.map(|class| {
        let entries = known.quarantined.iter().filter(|known| **known == class);
        Sample {
            labels: vec![of(run), ("class", class.as_str().to_owned())],
            value: whole(entries.count() as u64),
        }
    });
    gauge(
        "hyper_sync_quarantined",
        "Builds that failed, by the stage in which they did: of the target's commit, of held ones, and of one that the gate refused.",
        samples,
    )
}

/// How long the parts of the last rebuild took.
fn durations(known: &MetricsInput, run: &RunMetrics<'_>) -> Family {
    let durations = known.durations.unwrap_or_default();
    let parts = [
        ("evaluation", durations.evaluation_ms),
        ("build", durations.build_ms),
        ("activation", durations.activation_ms),
    ];
    let samples = parts.into_iter().filter_map(|(part, milliseconds)| {
        Some(Sample {
            labels: vec![of(run), ("part", part.to_owned())],
            value: whole(milliseconds?.div_ceil(1000)),
        })
    });
    gauge(
        "hyper_sync_rebuild_duration_seconds",
        "How long the parts of the last rebuild took, rounded up.",
        samples,
    )
}

fn gauge(
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = Sample>,
) -> Family {
    Family {
        name,
        kind: MetricKind::Gauge,
        help,
        samples: samples.into_iter().collect(),
    }
}

fn one(run: &RunMetrics<'_>, value: i64) -> Sample {
    Sample {
        labels: vec![of(run)],
        value,
    }
}

/// The label that every sample has.
fn of(run: &RunMetrics<'_>) -> (&'static str, String) {
    ("target", text::path(run.target))
}

fn whole(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a family's value does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetricKind {
    /// It may go up and down.
    Gauge,
    /// It only grows, until the state is lost.
    Counter,
}

/// All samples of one name.
#[derive(Debug, Clone)]
struct Family {
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
    samples: Vec<Sample>,
}

/// One value.
#[derive(Debug, Clone)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: i64,
}

/// Renders the families in the text format of Prometheus, version 0.0.4; values are whole numbers. Families without a
/// sample are left out.
fn render(families: &[Family]) -> String {
    let mut output = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let name = family.name;
        let kind = match family.kind {
            MetricKind::Gauge => "gauge",
            MetricKind::Counter => "counter",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(output, "# HELP {name} {}", escape(family.help, false));
        let _ = writeln!(output, "# TYPE {name} {kind}");
        for Sample { labels, value } in &family.samples {
            let labels: Vec<String> = labels
                .iter()
                .map(|(name, value)| format!("{name}=\"{}\"", escape(&text::path(value), true)))
                .collect();
            let _ = writeln!(output, "{name}{{{}}} {value}", labels.join(","));
        }
    }
    output
}

/// A help text has no quotes around it, and an escaped quote there would be read as two characters.
fn escape(text: &str, quoted: bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            '"' if quoted => escaped.push_str("\\\""),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(stages: &[Stage]) -> Progress {
        Progress {
            begun: stages.to_vec(),
            traffic: Traffic::default(),
            resolved: None,
        }
    }

    #[test]
    fn only_the_stage_a_run_ends_in_has_failed() {
        let mut tally = Tally::default();
        tally.count(&run(&[Stage::Sync, Stage::Rebuild]), Exit::Rebuild, 5);
        tally.count(&run(&[Stage::Sync, Stage::Rebuild]), Exit::Rebuild, 6);
        assert_eq!(
            (
                tally.sync.exit,
                tally.sync.last_success,
                tally.sync.failures
            ),
            (Some(0), Some(6), 0)
        );
        assert_eq!(
            (
                tally.rebuild.exit,
                tally.rebuild.last_success,
                tally.rebuild.failures
            ),
            (Some(11), None, 2)
        );
        tally.count(&run(&[Stage::Sync]), Exit::Network, 7);
        assert_eq!((tally.sync.last_success, tally.sync.failures), (Some(6), 1));
        assert_eq!(tally.rebuild.failures, 2, "it was not run");
        tally.count(&run(&[Stage::Rebuild]), Exit::Done, 8);
        assert_eq!((tally.rebuild.exit, tally.rebuild.failures), (Some(0), 0));
    }

    #[test]
    fn a_run_without_a_stage_counts_nothing() {
        let mut tally = Tally::default();
        tally.count(&run(&[]), Exit::Failure, 5);
        assert_eq!(tally, Tally::default());
    }

    fn family(samples: Vec<Sample>) -> Family {
        Family {
            name: "a_total",
            kind: MetricKind::Counter,
            help: "A \"b\" \\ c\nd",
            samples,
        }
    }

    #[test]
    fn labels_and_help_are_escaped_each_in_its_way() {
        let sample = Sample {
            labels: vec![
                ("ref", "a\"b\\c\nd".to_owned()),
                ("commit", String::new()),
                ("repository", "größe/\u{7f}".to_owned()),
            ],
            value: -1,
        };
        assert_eq!(
            render(&[family(vec![sample])]),
            "# HELP a_total A \"b\" \\\\ c\\nd\n\
             # TYPE a_total counter\n\
             a_total{ref=\"a\\\"b\\\\c\\\\nd\",commit=\"\",repository=\"größe/\\\\u{7f}\"} -1\n"
        );
    }

    #[test]
    fn a_family_without_samples_is_left_out() {
        assert_eq!(render(&[family(Vec::new())]), "");
    }
}
