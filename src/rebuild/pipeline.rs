//! The steps of one rebuild: find out what is to be built, skip it where its effect holds, build, activate, judge.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::activate::{self, Activator};
use super::error::Error;
use super::outcome::{LockChange, Outcome, RebuildNote, RebuildStatus, UnpinnedReason};
use super::pinned::{self, Pin};
use super::places::Places;
use super::record::RebuildRecord;
use super::session::RebuildContext;
use super::snapshot::{self, Filter, Snapshot};
use super::verdict::Verdict;
use super::{PATIENCE, Repeat, host, key, machine, plain, units};
use crate::fs::Target;
use crate::nix::NarHash;
use crate::process::Finished;
use crate::settings::Action;
use crate::state::SyncState;

/// One rebuild on its way.
pub(super) struct RebuildPipeline<'a> {
    session: &'a RebuildContext<'a>,
    places: &'a Places,
    host: String,
    /// The tree's hash, where a snapshot of it could be taken.
    tree: Option<NarHash>,
    /// Whether the build reads that snapshot.
    is_pinned: bool,
    record: RebuildRecord,
    notes: Vec<RebuildNote>,
}

/// What an activation left behind.
struct Activated {
    verdict: Verdict,
    finished: Finished,
    /// Units that had failed before it.
    failed_before: Vec<String>,
    /// Units that have failed since.
    newly_failed: Vec<String>,
}

/// Rebuilds.
pub(super) fn run(session: &RebuildContext<'_>) -> Result<Outcome, Error> {
    let places = &Places::of(session)?;
    let record = RebuildRecord::load(session.request.state)?;
    let tree = take(session, places);
    let hash = tree.as_ref().ok().map(|tree| tree.nar);
    let mut notes = Vec::new();
    if let Ok(tree) = &tree
        && !tree.special.is_empty()
    {
        notes.push(RebuildNote::LeftOut {
            paths: tree.special.clone(),
        });
    }
    let pin = tree.and_then(|tree| Pin::new(session, places, tree));
    let host = host::resolve(session, places, pin.as_ref().ok())?;
    let mut pipeline = RebuildPipeline {
        session,
        places,
        host,
        tree: hash,
        is_pinned: pin.is_ok(),
        record,
        notes,
    };

    let action = session.request.settings.action;
    if session.request.repeat == Repeat::IfNeeded
        && let Some(key) = pipeline.key()
        && pipeline
            .record
            .holds(action, &key, &session.machine.systems())
    {
        let system = pipeline.record.built(&key).map(Path::to_owned);
        return pipeline.unchanged(system, Some(key));
    }
    pipeline.record.set_pending(session.request.commit, action);
    pipeline.save()?;
    match pin {
        Ok(pin) => pipeline.pinned(pin),
        Err(reason) => pipeline.live(reason),
    }
}

/// A snapshot of the target.
fn take(session: &RebuildContext<'_>, places: &Places) -> Result<Snapshot, UnpinnedReason> {
    let cause = |cause: String| UnpinnedReason::Snapshot { cause };
    let source = Target::open(&places.target).map_err(|error| cause(error.to_string()))?;
    let filter = Filter {
        exclude: session.request.exclude,
        hole: None,
    };
    Snapshot::take(&source, &filter, session.request.state.path(), "tree")
        .map_err(|error| cause(error.to_string()))
}

impl RebuildPipeline<'_> {
    /// Builds the snapshot, and activates exactly what came out.
    fn pinned(mut self, mut pin: Pin<'_>) -> Result<Outcome, Error> {
        let session = self.session;
        let action = session.request.settings.action;
        pin.keep_lock(&mut self.notes);
        let key = self.key();
        let system = match pin.build(&self.host) {
            Ok(system) => system,
            Err(error) => {
                self.finish(None, RebuildStatus::Failed, None)?;
                return Err(error);
            }
        };
        // Who cannot be tidied up now is at the next build.
        let _ = snapshot::prune(session.request.state.path(), &pin.snapshots());
        // A flake that was edited meanwhile is not the one that was built.
        let key = key.filter(|key| self.key().as_ref() == Some(key));
        self.record
            .remember(&system, session.request.commit, key.clone());

        if action == Action::Build {
            self.finish(key, RebuildStatus::Built, Some(&system))?;
            return Ok(self.outcome(RebuildStatus::Built, Some(system)));
        }
        // Built by hand meanwhile, or from a commit that changes nothing: the machine runs it already.
        if self
            .record
            .holds_of(action, &system, &session.machine.systems())
        {
            return self.unchanged(Some(system), key);
        }
        self.keeps_timer(&system)?;
        let way = Activator::find(session)?;
        let before = session.machine.systems();
        let activated = self.activate(|| way.activate(session, &system));
        let after = session.machine.systems();
        let is_over = match &activated {
            Ok(activated) => activated.verdict == Verdict::NotActivated,
            // Given up while somebody else was at it. Where an activation of ours goes on, the profile is its.
            Err(Error::Busy { .. } | Error::Interrupted { .. }) => session.activating().is_empty(),
            Err(_) => false,
        };
        let did_not_begin = is_over
            && after.current.as_ref() != Some(&system)
            && after.profile.as_ref() == Some(&system);
        if did_not_begin && let Some(former) = before.profile.filter(|former| *former != system) {
            activate::take_back(session, &former);
        }
        self.conclude(activated?, key, Some(system))
    }

    /// `nixos-rebuild` on the live tree.
    fn live(mut self, reason: UnpinnedReason) -> Result<Outcome, Error> {
        let session = self.session;
        let action = session.request.settings.action;
        session.find("nixos-rebuild")?;
        self.notes.push(RebuildNote::NotPinned { reason });
        match pinned::refresh_lock(self.places) {
            Ok(false) => {}
            Ok(true) => self.notes.push(RebuildNote::Lock {
                change: LockChange::Refreshed,
            }),
            Err(cause) => self.notes.push(RebuildNote::LockFailed { cause }),
        }
        let key = self.key();
        if session.request.timer.is_some() && activates(action) {
            let (verdict, finished) = plain::run(session, &self.host, Action::Build)?;
            if verdict != Verdict::Done {
                self.finish(None, RebuildStatus::Failed, None)?;
                return Err(session.failure(verdict, finished));
            }
            if let Some(system) = plain::system(session, Action::Build, RebuildStatus::Built) {
                self.keeps_timer(&system)?;
            }
        }
        let host = self.host.clone();
        let activated = self.activate(|| plain::run(session, &host, action))?;
        let status =
            RebuildStatus::of(activated.verdict, action, activated.newly_failed.is_empty());
        let system = status
            .is_done()
            .then(|| plain::system(session, action, status))
            .flatten();
        // An edit made meanwhile may be in the system: then it is not what the key is of.
        let hash = take(session, self.places).ok().map(|tree| tree.nar);
        let again = key::of(session, self.places, hash, &self.host);
        let key = key.filter(|key| again.as_ref() == Some(key));
        self.conclude(activated, key, system)
    }

    /// Runs what activates a system, once nobody else does.
    fn activate(
        &mut self,
        attempt: impl FnMut() -> Result<(Verdict, Finished), Error>,
    ) -> Result<Activated, Error> {
        if activates(self.session.request.settings.action) {
            self.record.set_begun();
            self.save()?;
        }
        let before = self.session.health();
        let (verdict, finished) = patiently(self.session, attempt)?;
        let newly_failed = if starts_units(self.session.request.settings.action, verdict) {
            self.session.failed_since(&before)
        } else {
            BTreeSet::new()
        };
        Ok(Activated {
            verdict,
            finished,
            newly_failed: newly_failed.into_iter().collect(),
            failed_before: before.failing().into_iter().collect(),
        })
    }

    /// Notes how it ended, and says it.
    fn conclude(
        mut self,
        activated: Activated,
        key: Option<String>,
        system: Option<PathBuf>,
    ) -> Result<Outcome, Error> {
        let Activated {
            verdict,
            finished,
            failed_before,
            newly_failed,
        } = activated;
        let action = self.session.request.settings.action;
        let status = RebuildStatus::of(verdict, action, newly_failed.is_empty());
        self.finish(key, status, system.as_deref())?;
        match status {
            RebuildStatus::Failed => return Err(self.session.failure(verdict, finished)),
            RebuildStatus::Degraded => {
                return Err(Error::Degraded {
                    units: newly_failed,
                    standing: self.session.standing(),
                });
            }
            RebuildStatus::RebootNeeded => self.notes.push(RebuildNote::RebootNeeded),
            _ if verdict == Verdict::UnitsFailed => self.notes.push(RebuildNote::StillFailing {
                units: failed_before,
            }),
            _ => {}
        }
        Ok(self.outcome(status, system))
    }

    /// The effect holds: what may be left of an earlier run's mark goes.
    fn unchanged(mut self, system: Option<PathBuf>, key: Option<String>) -> Result<Outcome, Error> {
        let request = self.session.request;
        let status = self.record.last.as_ref().map(|last| last.status);
        if request.settings.action == Action::Switch && status == Some(RebuildStatus::RebootNeeded)
        {
            self.notes.push(RebuildNote::RebootNeeded);
        }
        let mut after = self.record.clone();
        after.pending = None;
        // The same system may be that of a newer commit now.
        if let Some(system) = &system {
            after.remember(system, request.commit, key);
        }
        if after != self.record {
            self.record = after;
            self.save()?;
        }
        self.publish(RebuildStatus::Unchanged);
        Ok(self.outcome(RebuildStatus::Unchanged, system))
    }

    /// Refuses a system without the timer that has started this run: nobody would ever update the machine again.
    fn keeps_timer(&self, system: &Path) -> Result<(), Error> {
        let Some(timer) = self.session.request.timer else {
            return Ok(());
        };
        let unit = Path::new("etc/systemd/system").join(timer);
        let has_timer = |system: &Path| machine::is_there(&system.join(&unit));
        // A machine that is updated without a timer has none to lose.
        if has_timer(system) || !has_timer(&self.session.machine.current) {
            return Ok(());
        }
        Err(Error::SelfRemoval {
            timer: timer.to_owned(),
            standing: self.session.standing(),
        })
    }

    fn key(&self) -> Option<String> {
        key::of(self.session, self.places, self.tree, &self.host)
    }

    fn finish(
        &mut self,
        key: Option<String>,
        status: RebuildStatus,
        system: Option<&Path>,
    ) -> Result<(), Error> {
        self.record
            .finish(self.session, &self.host, key, status, system);
        self.save()?;
        self.publish(status);
        Ok(())
    }

    /// Adds how it ended to the state of the last sync. The system is what it is by now, whether that can be written or
    /// not.
    fn publish(&self, status: RebuildStatus) {
        let request = self.session.request;
        let Some(commit) = request.commit else {
            return;
        };
        let hash = self.nar_hash().map(|hash| hash.to_string());
        let (state, published) = (request.state, request.state_file);
        if let Err(error) =
            SyncState::record_rebuild(state, published, commit, status.to_string(), hash)
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "how the rebuild ended is not in `sync-state.json`"
            );
        }
    }

    /// The hash of the snapshot that was built.
    fn nar_hash(&self) -> Option<NarHash> {
        self.tree.filter(|_| self.is_pinned)
    }

    fn save(&self) -> Result<(), Error> {
        Ok(self.record.save(self.session.request.state)?)
    }

    fn outcome(self, status: RebuildStatus, system: Option<PathBuf>) -> Outcome {
        Outcome {
            nar_hash: self.nar_hash(),
            status,
            host: self.host,
            commit: self.session.request.commit,
            system,
            layout: self.places.layout.clone(),
            notes: self.notes,
        }
    }
}

/// Whether an action changes the machine.
fn activates(action: Action) -> bool {
    match action {
        Action::Test | Action::Switch | Action::Boot => true,
        Action::Build | Action::DryActivate => false,
    }
}

/// Whether units were stopped and started: only then is one that fails the activation's.
fn starts_units(action: Action, verdict: Verdict) -> bool {
    match (action, verdict) {
        (Action::Test | Action::Switch, Verdict::Done | Verdict::UnitsFailed) => true,
        (Action::Build | Action::Boot | Action::DryActivate, _)
        | (_, Verdict::NotBuilt | Verdict::NotActivated | Verdict::RebootNeeded | Verdict::Busy) => {
            false
        }
    }
}

/// Tries until nobody else activates a system, or the time is over.
fn patiently(
    session: &RebuildContext<'_>,
    mut attempt: impl FnMut() -> Result<(Verdict, Finished), Error>,
) -> Result<(Verdict, Finished), Error> {
    let mut waits = PATIENCE.into_iter();
    loop {
        let active = session.activating();
        let busy = match active.first() {
            Some(unit) => Some(unit.clone()),
            None => match attempt()? {
                (Verdict::Busy, _) => None,
                done => return Ok(done),
            },
        };
        let wait = waits.next().filter(|wait| *wait < session.left());
        let Some(wait) = wait else {
            return Err(Error::Busy {
                unit: busy,
                standing: session.standing(),
            });
        };
        if busy.is_none() {
            // "Already loaded" is also what a unit that failed, and was kept for that, answers for ever.
            units::forget_failed_activation(session.runner, &session.environment);
        }
        if !session.runner.pause(wait) {
            return Err(Error::Interrupted {
                activating: active,
                standing: session.standing(),
            });
        }
    }
}
