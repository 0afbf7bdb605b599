//! Builds that failed, so that the units do not repeat them at every tick: `quarantine` in the state directory.
//!
//! A build is identified by its key ([`super::key`]: tree, host, host flake with its lock file, arguments), or by
//! commit and host if it has no key. A failed evaluation or build is tried again after a pause, because its cause may
//! be outside of the tree; the pause doubles with each try. A failed activation or health check is not tried again by
//! itself, because each try may disturb the machine. A newer commit has another key, so it is tried at once. A build
//! before an update (`rebuild.gate`) has the key that the build after the update would have.
//!
//! Limits: a lost or damaged file costs one more try of each build. A failure that may pass by itself (network, memory,
//! space, a stop by a signal) is not recorded.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::ErrorKind;
use super::output;
use crate::git::CommitId;
use crate::process::End;
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, StateDir};
use crate::text;

/// The file's name in the state directory.
const FILE: &str = "quarantine";
const FORMAT: SealedFormat = SealedFormat {
    kind: "quarantine",
    version: 1,
};
/// How many failed builds are kept; the branch is at one of the last few.
const ENTRIES: usize = 16;
/// The pause after the first failed evaluation or build.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// The longest pause.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_hours(24);

/// The stage in which a build failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Nix could not evaluate the configuration.
    Evaluation,
    /// A derivation of the system was not built.
    Build,
    /// The system was refused or its activation failed.
    Activation,
    /// The health checks failed after the activation.
    Health,
}

/// A failed build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineEntry {
    /// The commit the tree was at.
    pub commit: Option<CommitId>,
    /// The host it was for.
    pub host: String,
    /// What the build depends on, if that is known.
    pub key: Option<String>,
    /// The stage in which the last try failed.
    pub class: FailureClass,
    /// Why the last try failed.
    #[serde(serialize_with = "text::as_words")]
    pub reason: String,
    /// When the first try failed.
    pub since: Timestamp,
    /// How many tries failed.
    pub tries: u32,
    /// When it is tried again; `None` if it is not tried again by itself.
    pub next: Option<Timestamp>,
    /// Whether it failed before the update (`rebuild.gate`), so that the target stays at another commit. Older versions
    /// did not write this.
    #[serde(default)]
    pub before_update: bool,
}

/// The content of `quarantine`: the failed builds, the last one first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// The failed builds.
    pub entries: Vec<QuarantineEntry>,
}

/// What identifies a build.
#[derive(Debug, Clone, Copy)]
pub(super) struct BuildId<'a> {
    pub(super) commit: Option<CommitId>,
    pub(super) host: &'a str,
    pub(super) key: Option<&'a str>,
}

impl FailureClass {
    /// Every class.
    pub const ALL: [Self; 4] = [
        Self::Evaluation,
        Self::Build,
        Self::Activation,
        Self::Health,
    ];

    /// The class of an error, if it would be repeated by another try of the same build.
    pub(super) fn of(error: &ErrorKind) -> Option<Self> {
        match error {
            ErrorKind::Build { end, tail } if was_stopped(*end) || output::may_pass(tail) => None,
            ErrorKind::Build { tail, .. } if output::is_builder_failure(tail) => Some(Self::Build),
            ErrorKind::Build { .. } | ErrorKind::LeftOut { .. } | ErrorKind::OtherTree { .. } => {
                Some(Self::Evaluation)
            }
            ErrorKind::TimedOut { activating, .. } => activating.is_empty().then_some(Self::Build),
            ErrorKind::Activation { end, .. } if was_stopped(*end) => None,
            ErrorKind::Activation { tail, .. } | ErrorKind::PreSwitchCheck { tail, .. } => {
                (!output::lacks_space(tail)).then_some(Self::Activation)
            }
            ErrorKind::Reverted {
                report: Some(_), ..
            } => Some(Self::Health),
            ErrorKind::SelfRemoval { .. }
            | ErrorKind::RebootNeeded { .. }
            | ErrorKind::ActivationTimedOut { .. }
            | ErrorKind::OtherSystemBooted { .. }
            | ErrorKind::ChangedSince { .. }
            | ErrorKind::Reverted { report: None, .. }
            | ErrorKind::NotReverted { .. } => Some(Self::Activation),
            ErrorKind::ProgramMissing { .. }
            | ErrorKind::FlakeMissing { .. }
            | ErrorKind::FlakeUnreadable { .. }
            | ErrorKind::HostUnclear { .. }
            | ErrorKind::HostUnknown { .. }
            | ErrorKind::Spawn { .. }
            | ErrorKind::OutOfMemory { .. }
            // The tree is not at that commit.
            | ErrorKind::Gate { .. }
            | ErrorKind::NotPinned { .. }
            | ErrorKind::Degraded { .. }
            | ErrorKind::RevertNotPrepared { .. }
            | ErrorKind::NoReboot { .. }
            | ErrorKind::BootReverting { .. }
            | ErrorKind::BootNotReverted { .. }
            | ErrorKind::RebootNotCancelled { .. }
            | ErrorKind::Interrupted { .. }
            | ErrorKind::ActivationHangs { .. }
            | ErrorKind::Busy { .. }
            | ErrorKind::Quarantined(_)
            | ErrorKind::State(_) => None,
        }
    }

    /// Its name in JSON and in the labels of metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Evaluation => "evaluation",
            Self::Build => "build",
            Self::Activation => "activation",
            Self::Health => "health",
        }
    }

    /// Whether a try changes the machine before it fails.
    pub(super) fn activates(self) -> bool {
        match self {
            Self::Evaluation | Self::Build => false,
            Self::Activation | Self::Health => true,
        }
    }

    /// The pause after so many tries.
    fn pause(self, tries: u32) -> Option<SignedDuration> {
        if self.activates() {
            return None;
        }
        let doublings = tries.saturating_sub(1);
        let pause = 2_i32
            .checked_pow(doublings)
            .and_then(|factor| FIRST_PAUSE.checked_mul(factor));
        Some(pause.map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE)))
    }
}

/// Whether a program did not end by itself.
fn was_stopped(end: End) -> bool {
    matches!(end, End::Killed(_) | End::Interrupted)
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl QuarantineEntry {
    fn is_of(&self, build: BuildId<'_>) -> bool {
        match (self.key.as_deref(), build.key) {
            (Some(own), Some(key)) => own == key,
            _ => self.is_of_commit(build),
        }
    }

    fn is_of_commit(&self, build: BuildId<'_>) -> bool {
        self.commit.is_some() && self.commit == build.commit && self.host == build.host
    }

    /// Whether it is not tried now.
    fn waits(&self, now: Timestamp) -> bool {
        let Some(next) = self.next else {
            return true;
        };
        // A clock that was set back must not make the pause longer.
        let left = next.duration_since(now);
        left.is_positive()
            && self
                .class
                .pause(self.tries)
                .is_some_and(|pause| left <= pause)
    }

    /// When it is tried again, as text.
    #[must_use]
    pub fn next_try(&self) -> String {
        match self.next {
            Some(next) => format!("is not tried again before {next:.0}"),
            None => "is not tried again".to_owned(),
        }
    }
}

impl fmt::Display for QuarantineEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.class {
            FailureClass::Evaluation => "the evaluation of this tree",
            FailureClass::Build => "the build of this tree",
            FailureClass::Activation => "the activation of this tree",
            FailureClass::Health => "a health check of this tree",
        };
        write!(
            f,
            "{what} has failed since {:.0} (tries: {}) and {}: {}",
            self.since,
            self.tries,
            self.next_try(),
            text::words(&self.reason)
        )
    }
}

impl Quarantine {
    /// Reads the failed builds; none if the file is missing or damaged.
    pub fn load(state: &StateDir) -> Result<Self, state::Error> {
        let found = sealed::read(state.directory(), FILE, FORMAT)?;
        Ok(found.whole().unwrap_or_default())
    }

    /// Writes the failed builds durably, or removes the file if there are none.
    pub(super) fn save(&self, state: &StateDir) -> Result<(), state::Error> {
        let record = (!self.entries.is_empty()).then_some(self);
        sealed::write_or_remove(state.directory(), FILE, FORMAT, record)
    }

    /// The failed builds that concern a machine: those of the commit of its tree and of the commits that a rollback
    /// left, and the one because of which the tree is not updated.
    pub fn current(self, commits: impl IntoIterator<Item = CommitId>) -> Vec<QuarantineEntry> {
        let commits: BTreeSet<CommitId> = commits.into_iter().collect();
        let mut entries = self.entries;
        entries.retain(|entry| {
            entry.before_update || entry.commit.is_none_or(|commit| commits.contains(&commit))
        });
        entries
    }

    /// Records that no failure prevents an update any more. Returns whether one did.
    pub(super) fn pass_gate(&mut self) -> bool {
        let mut prevented = false;
        for entry in &mut self.entries {
            prevented |= std::mem::take(&mut entry.before_update);
        }
        prevented
    }

    /// The failure because of which a build is not tried now. One of its activation does not prevent a build alone.
    pub(super) fn waiting(
        &self,
        build: BuildId<'_>,
        activates: bool,
        now: Timestamp,
    ) -> Option<&QuarantineEntry> {
        self.entries.iter().find(|entry| {
            entry.is_of(build) && (activates || !entry.class.activates()) && entry.waits(now)
        })
    }

    /// Records a failed try. A build that nothing identifies is not recorded.
    pub(super) fn add(
        &mut self,
        build: BuildId<'_>,
        class: FailureClass,
        before_update: bool,
        reason: &str,
        now: Timestamp,
    ) {
        if build.key.is_none() && build.commit.is_none() {
            return;
        }
        let known = self.entries.iter().position(|entry| entry.is_of(build));
        let known = known.map(|place| self.entries.remove(place));
        let tries = known.as_ref().map_or(0, |known| known.tries);
        let tries = tries.saturating_add(1);
        let next = class.pause(tries);
        if before_update {
            // The branch has moved on from the commit that was refused before.
            self.pass_gate();
        }
        self.entries.insert(
            0,
            QuarantineEntry {
                commit: build.commit,
                host: build.host.to_owned(),
                key: build.key.map(str::to_owned),
                class,
                reason: text::words(reason),
                since: known.map_or(now, |known| known.since.min(now)),
                tries,
                next: next.map(|pause| now.saturating_add(pause).unwrap_or(Timestamp::MAX)),
                before_update,
            },
        );
        self.entries.truncate(ENTRIES);
    }

    /// Removes the failures of a build that has succeeded, also those of its commit in another state of the host flake.
    /// A build without an activation proves nothing about the activation.
    pub(super) fn remove(&mut self, build: BuildId<'_>, activated: bool) {
        self.entries.retain(|entry| {
            let concerns = entry.is_of(build) || entry.is_of_commit(build);
            !concerns || (entry.class.activates() && !activated)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minutes * MINUTE).unwrap()
    }

    fn build(key: Option<&'static str>, digit: &str) -> BuildId<'static> {
        BuildId {
            commit: digit.repeat(40).parse().ok(),
            host: "vm",
            key,
        }
    }

    fn failed(times: u32, class: FailureClass) -> Quarantine {
        let mut quarantine = Quarantine::default();
        for _ in 0..times {
            quarantine.add(build(Some("k"), "1"), class, false, "why", at(0));
        }
        quarantine
    }

    #[test]
    fn the_pause_doubles_from_a_quarter_of_an_hour_to_a_day() {
        let minutes = [15, 30, 60, 120, 240, 480, 960, 1440, 1440];
        for (tries, minutes) in (1..).zip(minutes) {
            for class in [FailureClass::Evaluation, FailureClass::Build] {
                let quarantine = failed(tries, class);
                let waits = |minute| {
                    let waiting = quarantine.waiting(build(Some("k"), "1"), true, at(minute));
                    waiting.is_some()
                };
                assert!(waits(0) && waits(minutes - 1), "{tries}");
                assert!(!waits(minutes), "{tries}");
                assert_eq!(quarantine.entries[0].tries, tries);
            }
        }
        let pause = FailureClass::Build.pause(u32::MAX);
        assert_eq!(pause, Some(LONGEST_PAUSE));
    }

    #[test]
    fn a_failed_activation_is_not_tried_again_by_itself() {
        for class in [FailureClass::Activation, FailureClass::Health] {
            let quarantine = failed(1, class);
            let year = at(365 * 24 * 60);
            let same = build(Some("k"), "1");
            assert!(quarantine.waiting(same, true, year).is_some());
            assert!(quarantine.waiting(same, false, year).is_none(), "a build");
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_the_pause_longer() {
        let quarantine = failed(1, FailureClass::Build);
        let waiting = |minute| quarantine.waiting(build(Some("k"), "1"), true, at(minute));
        assert!(waiting(0).is_some());
        assert!(waiting(-1).is_none());
    }

    #[test]
    fn keys_distinguish_builds_and_without_one_commit_and_host_do() {
        let quarantine = failed(1, FailureClass::Build);
        let waits = |build| quarantine.waiting(build, true, at(1)).is_some();
        assert!(waits(build(Some("k"), "2")), "a commit without an effect");
        assert!(
            !waits(build(Some("l"), "1")),
            "another state of the host flake"
        );
        assert!(waits(build(None, "1")));
        assert!(!waits(build(None, "2")));
        let other_host = BuildId {
            host: "other",
            ..build(None, "1")
        };
        assert!(!waits(other_host));
    }

    #[test]
    fn what_nothing_identifies_is_not_recorded() {
        let mut quarantine = Quarantine::default();
        let unknown = BuildId {
            commit: None,
            host: "vm",
            key: None,
        };
        quarantine.add(unknown, FailureClass::Build, false, "why", at(0));
        assert_eq!(quarantine, Quarantine::default());
    }

    #[test]
    fn a_success_removes_what_it_proves_to_be_over() {
        let mut quarantine = failed(1, FailureClass::Activation);
        let build_failed = FailureClass::Build;
        quarantine.add(build(Some("l"), "1"), build_failed, false, "why", at(0));
        quarantine.add(build(Some("m"), "2"), build_failed, false, "why", at(0));
        quarantine.remove(build(Some("n"), "1"), false);
        let classes = |quarantine: &Quarantine| -> Vec<FailureClass> {
            quarantine.entries.iter().map(|entry| entry.class).collect()
        };
        assert_eq!(
            classes(&quarantine),
            [FailureClass::Build, FailureClass::Activation]
        );
        quarantine.remove(build(Some("k"), "3"), true);
        assert_eq!(classes(&quarantine), [FailureClass::Build]);
    }

    #[test]
    fn only_the_last_commit_that_was_refused_before_an_update_concerns_the_machine() {
        let mut quarantine = failed(1, FailureClass::Build);
        let shown = |quarantine: &Quarantine, digit: &str| -> Vec<Option<String>> {
            let entries = quarantine.clone().current(digit.repeat(40).parse().ok());
            entries.into_iter().map(|entry| entry.key).collect()
        };
        let key = |key: &str| Some(key.to_owned());
        let class = FailureClass::Build;
        quarantine.add(build(Some("l"), "2"), class, true, "why", at(0));
        assert_eq!(shown(&quarantine, "1"), [key("l"), key("k")]);
        quarantine.add(build(Some("m"), "3"), class, true, "why", at(0));
        assert_eq!(shown(&quarantine, "1"), [key("m"), key("k")]);
        assert!(quarantine.pass_gate() && !quarantine.pass_gate());
        assert_eq!(shown(&quarantine, "1"), [key("k")]);
        assert_eq!(shown(&quarantine, "2"), [key("l")]);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut quarantine = Quarantine::default();
        let keys: Vec<String> = (0..=ENTRIES).map(|number| number.to_string()).collect();
        for key in &keys {
            let build = BuildId {
                commit: None,
                host: "vm",
                key: Some(key),
            };
            quarantine.add(build, FailureClass::Build, false, "why", at(0));
        }
        assert_eq!(quarantine.entries.len(), ENTRIES);
        assert_eq!(quarantine.entries[0].key.as_ref(), keys.last());
    }
}
