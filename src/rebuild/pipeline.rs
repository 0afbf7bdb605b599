//! The steps of one rebuild: determine the build, skip it if its effect holds, build, activate, and check the units.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::activate::{self, Activator};
use super::changes::SystemChanges;
use super::confirm;
use super::context::RebuildContext;
use super::error::ErrorKind;
use super::failures::Failures;
use super::flake::HostFlake;
use super::half_state::HalfState;
use super::outcome::{Durations, LockChange, Outcome, RebuildNote, RebuildStatus, UnpinnedReason};
use super::output::Verdict;
use super::pinned::Pin;
use super::quarantine::BuildId;
use super::reboot::policy;
use super::record::{BegunActivation, RebuildRecord};
use super::revision::{self, Compared, Revision};
use super::snapshot::{self, Filter, Snapshot};
use super::{Repeat, flake, key, machine, running};
use crate::fs::Target;
use crate::git::CommitId;
use crate::nix::NarHash;
use crate::process::Finished;
use crate::settings::Action;
use crate::state::SyncState;

mod boot;
mod live;
mod trial;

use boot::BootReasons;

pub(super) use trial::revert;

/// One rebuild.
pub(super) struct RebuildPipeline<'a> {
    context: &'a RebuildContext<'a>,
    flake: &'a HostFlake,
    host: String,
    /// The hash of the tree, if a snapshot of it could be taken.
    tree: Option<NarHash>,
    /// The commit that the tree is exactly, if Nix is to know it.
    revision: Option<Revision>,
    /// The commit that Nix was given as the revision of the build.
    built_revision: Option<CommitId>,
    /// Whether the build reads that snapshot.
    is_pinned: bool,
    record: RebuildRecord,
    failures: Failures,
    notes: Vec<RebuildNote>,
    /// Whether the system could have been switched to, and a reboot is to come first.
    is_deferred: bool,
    /// The state between two systems in which the run has found the machine.
    half_state: Option<HalfState>,
    changes: SystemChanges,
    /// How long the snapshot took, and when it was taken.
    snapshot: (Duration, Instant),
    durations: Durations,
}

/// The result of an activation.
struct Activated {
    verdict: Verdict,
    finished: Finished,
    /// Units that had failed before it.
    failed_before: Vec<String>,
    /// Units that have failed since.
    newly_failed: Vec<String>,
    /// Why the new system became the boot default only.
    boot: BootReasons,
}

impl Activated {
    /// Marks an activation that made the system the boot default for these reasons, if there are any.
    fn for_boot(mut self, reasons: BootReasons) -> Self {
        if !reasons.is_empty() && self.verdict == Verdict::Done {
            self.verdict = Verdict::RebootNeeded;
        }
        self.boot = reasons;
        self
    }
}

/// Rebuilds.
pub(super) fn run(context: &RebuildContext<'_>) -> Result<Outcome, ErrorKind> {
    let flake = &HostFlake::of(context)?;
    let mut record = RebuildRecord::load(context.request.state)?;
    if !context.request.reboots {
        record.end_deferral();
    }
    let begun = Instant::now();
    let tree = take(context, flake);
    let hash = tree.as_ref().ok().map(|tree| tree.nar);
    let mut notes = Vec::new();
    if let Ok(tree) = &tree
        && !tree.special.is_empty()
    {
        notes.push(RebuildNote::LeftOut {
            paths: tree.special.clone(),
        });
    }
    let Compared { revision, edited } = match &tree {
        Ok(tree) => compare(context, flake, tree),
        Err(_) => Compared::default(),
    };
    let snapshot = (begun.elapsed(), Instant::now());
    let pin = tree.and_then(|tree| Pin::new(context, flake, tree, revision));
    if pin.is_ok() && !edited.is_empty() {
        notes.push(RebuildNote::NoRevision { edited });
    }
    let host = flake::resolve_host(context, flake, pin.as_ref().ok())?;
    let mut pipeline = RebuildPipeline {
        context,
        flake,
        host,
        tree: hash,
        revision,
        built_revision: None,
        is_pinned: pin.is_ok(),
        record,
        failures: Failures::load(context, false)?,
        notes,
        is_deferred: false,
        half_state: None,
        changes: SystemChanges::default(),
        snapshot,
        durations: Durations::default(),
    };
    pipeline.half_state = HalfState::of(context, &pipeline.record)?;

    let action = context.request.action;
    let mut built = None;
    if context.request.repeat == Repeat::IfNeeded
        && let Some(key) = pipeline.key()
    {
        let holds = |record: &RebuildRecord| {
            let systems = context.machine.systems();
            record.holds(action, &key, &systems)
        };
        if holds(&pipeline.record) && (!pipeline.wait_for_others()? || holds(&pipeline.record)) {
            let system = pipeline.record.built(&key).map(Path::to_owned);
            return pipeline.unchanged(system, Some(key));
        }
        built = kept(context, &pipeline.record, Some(&key));
    }
    let key = pipeline.key();
    let id = pipeline.id(key.as_deref());
    pipeline.failures.refuse(context, id, activates(action))?;
    if activates(action) {
        pipeline.refuse_changed_since(key.as_deref())?;
    }
    let wanted = context.request.wanted();
    pipeline.record.set_pending(context.request.commit, wanted);
    pipeline.save()?;
    match pin {
        Ok(pin) => pipeline.pinned(pin, built),
        Err(reason) => pipeline.live(reason),
    }
}

/// Compares a snapshot with the commit of the tree.
fn compare(context: &RebuildContext<'_>, flake: &HostFlake, tree: &Snapshot) -> Compared {
    let state = context.request.state;
    let commit = { context.request.commit }.and_then(|commit| revision::stored(commit, state));
    revision::compare(flake, tree, commit.as_ref(), state)
}

/// The system that was built with this key, if it is the one that is kept from the garbage collector.
pub(super) fn kept(
    context: &RebuildContext<'_>,
    record: &RebuildRecord,
    key: Option<&str>,
) -> Option<PathBuf> {
    let built = record.built(key?)?;
    let kept = machine::system(&context.request.state.path().join("result"));
    kept.filter(|kept| kept == built)
}

/// A snapshot of the target.
fn take(context: &RebuildContext<'_>, flake: &HostFlake) -> Result<Snapshot, UnpinnedReason> {
    let cause = |cause: String| UnpinnedReason::Snapshot { cause };
    let source = Target::open(&flake.target).map_err(|error| cause(error.to_string()))?;
    let filter = Filter {
        exclude: context.request.exclude,
        replaced: None,
    };
    Snapshot::take(&source, &filter, context.request.state.path(), "tree")
        .map_err(|error| cause(error.to_string()))
}

impl RebuildPipeline<'_> {
    /// Builds the snapshot, unless its system is built already, and activates exactly the result.
    fn pinned(mut self, mut pin: Pin<'_>, built: Option<PathBuf>) -> Result<Outcome, ErrorKind> {
        let context = self.context;
        let action = context.request.action;
        pin.update_lock(&mut self.notes);
        self.built_revision = pin.revision();
        let key = self.key();
        // With inputs that were not locked until now, the result may be another one.
        let built = built.filter(|_| !self.has_locked());
        let known = built.map(|system| (system, Durations::default()));
        let system = match known.map_or_else(|| pin.build(&self.host), Ok) {
            Ok((system, durations)) => {
                self.durations = durations;
                let (snapshot, since) = self.snapshot;
                self.durations.prepared(snapshot, since.elapsed());
                system
            }
            Err(error) => {
                self.finish(None, RebuildStatus::Failed, None)?;
                return Err(self.failed(key.as_deref(), error));
            }
        };
        // A snapshot that cannot be removed now is removed after the next build.
        let _ = snapshot::prune(context.request.state.path(), &pin.snapshots());
        // A flake that was edited during the build has another key now.
        let key = key.filter(|key| self.key().as_ref() == Some(key));
        let systems = context.machine.systems();
        self.record
            .remember(&system, context.request.commit, key.clone(), &systems);

        if action == Action::Build {
            self.compare_systems(action, &system);
            self.finish(key, RebuildStatus::Built, Some(&system))?;
            return Ok(self.outcome(RebuildStatus::Built, Some(system)));
        }
        // Built by hand meanwhile, or from a commit without an effect: the machine runs it already.
        let holds = |record: &RebuildRecord| {
            let systems = context.machine.systems();
            record.holds_of(action, &system, &systems)
        };
        if holds(&self.record) && (!self.wait_for_others()? || holds(&self.record)) {
            return self.unchanged(Some(system), key);
        }
        if let Err(error) = self.keeps_timer(&system) {
            return Err(self.failed(key.as_deref(), error));
        }
        let reasons = BootReasons::of(context, action, &system);
        let action = match self.allowed_action(action, &system, &reasons) {
            Ok(action) => action,
            Err(error) => {
                self.finish(None, RebuildStatus::Failed, Some(&system))?;
                return Err(self.failed(key.as_deref(), error));
            }
        };
        self.compare_systems(action, &system);
        let activator = Activator::find(context)?;
        if let Some(confirmation) = context.request.confirmation
            && action == Action::Switch
        {
            let id = self.id(key.as_deref());
            let trial = confirm::begin(context, &confirmation, id, &system, &self.record)?;
            if let Some(trial) = trial {
                return self.on_trial(trial, &confirmation.health, &activator);
            }
        }
        self.activate_untried(action, system, key.as_deref(), reasons, &activator)
    }

    /// Finds out what a new system changes.
    fn compare_systems(&mut self, action: Action, system: &Path) {
        let begun = Instant::now();
        self.changes = SystemChanges::of(self.context, action, system);
        self.durations.compared(begun.elapsed());
    }

    /// Activates a system that does not have to pass health checks, or only after it was booted.
    fn activate_untried(
        mut self,
        action: Action,
        system: PathBuf,
        key: Option<&str>,
        reasons: BootReasons,
        activator: &Activator,
    ) -> Result<Outcome, ErrorKind> {
        let context = self.context;
        let before = context.machine.systems();
        let generation = context.machine.generation();
        let waited = self.begin_boot(action, &system, key, &reasons)?;
        let activated = self.activate(action, Some(&system), || {
            activator.activate(context, &system, action)
        });
        let after = context.machine.systems();
        let is_over = match &activated {
            Ok(activated) => activated.verdict == Verdict::NotActivated,
            // If an activation still runs, it may need the profile.
            Err(ErrorKind::Busy { .. } | ErrorKind::Interrupted { .. }) => {
                context.systemctl().activating().is_empty()
            }
            Err(_) => false,
        };
        let did_not_begin = is_over
            && after.current.as_ref() != Some(&system)
            && after.profile.as_ref() == Some(&system);
        if did_not_begin && let Some(former) = before.profile.filter(|former| *former != system) {
            activate::restore_profile(context, &former, generation);
        }
        waited.end_unless_default(context, &system)?;
        let activated = activated.map_err(|error| self.failed(key, error))?;
        self.conclude(activated.for_boot(reasons), key, Some(system))
    }

    /// Whether inputs were locked that had not been.
    fn has_locked(&self) -> bool {
        let new = |change| matches!(change, LockChange::Made | LockChange::Completed);
        { self.notes.iter() }
            .any(|note| matches!(note, RebuildNote::Lock { change } if new(*change)))
    }

    /// Waits for an activation of somebody else. Returns whether there was one, which may have changed what holds.
    fn wait_for_others(&mut self) -> Result<bool, ErrorKind> {
        let waited = running::wait_for_others(self.context, &self.record)?;
        let has_waited = waited.is_some();
        self.notes.extend(waited);
        Ok(has_waited)
    }

    /// Activates a system, which is known before unless `nixos-rebuild` builds it, after other activations have ended.
    fn activate(
        &mut self,
        action: Action,
        system: Option<&Path>,
        attempt: impl FnMut() -> Result<(Verdict, Finished), ErrorKind>,
    ) -> Result<Activated, ErrorKind> {
        self.notes
            .extend(running::stop_hanging(self.context, &self.record));
        self.wait_for_others()?;
        let pending = self.record.pending.clone();
        if activates(action) {
            self.record.set_begun(self.context, system, action);
            self.save()?;
        }
        let before = self.context.baseline();
        let begun = Instant::now();
        let attempted = running::retry_while_busy(self.context, attempt);
        // Without a system, `nixos-rebuild` builds it too.
        if system.is_some() && activates(action) {
            self.durations.activated(begun.elapsed());
        }
        match &attempted {
            // Nothing was begun.
            Err(ErrorKind::Busy { .. }) | Ok((Verdict::NotBuilt, _)) => {
                self.record.pending = pending;
                self.save()?;
            }
            // It may go on.
            Err(ErrorKind::Interrupted { .. }) => {}
            Err(_) | Ok((Verdict::NotActivated, _)) => {
                self.record.set_failed();
                self.save()?;
            }
            Ok(_) => {}
        }
        let (verdict, finished) = attempted?;
        let newly_failed = if starts_units(action, verdict) {
            self.context.failed_since(&before)
        } else {
            BTreeSet::new()
        };
        Ok(Activated {
            verdict,
            finished,
            boot: BootReasons::default(),
            newly_failed: newly_failed.into_iter().collect(),
            failed_before: before.failing().into_iter().collect(),
        })
    }

    /// Records how the rebuild ended.
    fn conclude(
        mut self,
        activated: Activated,
        key: Option<&str>,
        system: Option<PathBuf>,
    ) -> Result<Outcome, ErrorKind> {
        let Activated {
            verdict,
            finished,
            failed_before,
            newly_failed,
            boot,
        } = activated;
        let action = self.context.request.action;
        let status = RebuildStatus::of(verdict, action, newly_failed.is_empty());
        if let Some(system) = &system
            && starts_units(action, verdict)
        {
            let commit = self.context.request.commit;
            let systems = self.context.machine.systems();
            let key = key.map(str::to_owned);
            self.record.remember(system, commit, key, &systems);
            self.record.set_failed_before(system, failed_before.clone());
        }
        let inhibitors = boot.clone().names();
        if status == RebuildStatus::RebootNeeded && boot.is_deferral() {
            self.is_deferred = true;
        }
        self.finish(key.map(str::to_owned), status, system.as_deref())?;
        if let Some(system) = &system {
            self.await_boot(status, boot, system, key)?;
        }
        match status {
            RebuildStatus::Failed => {
                return Err(self.failed(key, verdict.into_error(action, finished)));
            }
            RebuildStatus::Degraded => {
                return Err(ErrorKind::Degraded {
                    units: newly_failed,
                });
            }
            RebuildStatus::RebootNeeded => {
                self.notes.push(RebuildNote::RebootNeeded { inhibitors });
            }
            _ if verdict == Verdict::UnitsFailed => self.notes.push(RebuildNote::StillFailing {
                units: failed_before,
            }),
            _ => {}
        }
        Ok(self.outcome(status, system))
    }

    /// The effect holds already: removes a pending mark of an earlier run.
    fn unchanged(
        mut self,
        system: Option<PathBuf>,
        key: Option<String>,
    ) -> Result<Outcome, ErrorKind> {
        let request = self.context.request;
        let status = self.record.last.as_ref().map(|last| last.status);
        let runs = system.is_some() && self.context.machine.systems().current == system;
        if request.action == Action::Switch && status == Some(RebuildStatus::RebootNeeded) && !runs
        {
            let reasons = { &system }.as_deref();
            let reasons =
                reasons.map(|system| BootReasons::of(self.context, Action::Switch, system));
            self.notes.push(RebuildNote::RebootNeeded {
                inhibitors: reasons.unwrap_or_default().names(),
            });
        }
        if !self.came_up_otherwise(system.as_deref())? {
            self.end_failures(key.as_deref())?;
        }
        policy::end_if_over(self.context)?;
        let systems = self.context.machine.systems();
        let mut after = self.record.clone();
        // A newer commit may have the same system.
        if let Some(system) = &system {
            after.remember(system, request.commit, key, &systems);
        }
        after.end_pending(request, system.as_deref(), &systems);
        if after != self.record {
            self.record = after;
            self.save()?;
        }
        self.publish(RebuildStatus::Unchanged);
        Ok(self.outcome(RebuildStatus::Unchanged, system))
    }

    /// Refuses a system without the timer that started this run, because nothing would update the machine again.
    fn keeps_timer(&self, system: &Path) -> Result<(), ErrorKind> {
        let Some(timer) = self.context.request.timer else {
            return Ok(());
        };
        let unit = Path::new("etc/systemd/system").join(timer);
        let has_timer = |system: &Path| machine::exists(&system.join(&unit));
        // A machine that is updated without the timer loses nothing.
        if has_timer(system) || !has_timer(&self.context.machine.current) {
            return Ok(());
        }
        Err(ErrorKind::SelfRemoval {
            timer: timer.to_owned(),
        })
    }

    /// Refuses to repeat an activation after which somebody has changed the system, unless a person asks for it.
    fn refuse_changed_since(&mut self, key: Option<&str>) -> Result<(), ErrorKind> {
        let request = self.context.request;
        let is_same = |begun: &BegunActivation| begun.commit == request.commit;
        let half_state = self.half_state.clone();
        let changed = half_state.filter(|state| {
            !request.retry && state.is_changed_since() && self.record.begun().is_some_and(is_same)
        });
        match changed {
            Some(state) => {
                let state = Box::new(state);
                Err(self.failed(key, ErrorKind::ChangedSince { state }))
            }
            None => Ok(()),
        }
    }

    fn id<'a>(&'a self, key: Option<&'a str>) -> BuildId<'a> {
        BuildId {
            commit: self.context.request.commit,
            host: &self.host,
            key,
        }
    }

    /// Records a failure of the build with this key, as [`Failures::add`].
    fn failed(&mut self, key: Option<&str>, error: ErrorKind) -> ErrorKind {
        let context = self.context;
        let build = BuildId {
            commit: context.request.commit,
            host: &self.host,
            key,
        };
        let activates = activates(context.request.action);
        self.failures.add(context, build, activates, error)
    }

    /// Removes the failures of the build with this key, which has succeeded.
    fn end_failures(&mut self, key: Option<&str>) -> Result<(), ErrorKind> {
        let context = self.context;
        let (action, wanted) = (context.request.action, context.request.wanted());
        // A new boot default, where more is wanted, proves nothing about the units that it starts.
        let activated = matches!(action, Action::Test | Action::Switch)
            || (activates(action) && action == wanted);
        let build = BuildId {
            commit: context.request.commit,
            host: &self.host,
            key,
        };
        self.failures.end(context, build, activated)
    }

    fn key(&self) -> Option<String> {
        key::of(
            self.context,
            self.flake,
            self.tree,
            self.revision,
            &self.host,
        )
    }

    fn finish(
        &mut self,
        key: Option<String>,
        status: RebuildStatus,
        system: Option<&Path>,
    ) -> Result<(), ErrorKind> {
        if status.is_done() {
            self.end_failures(key.as_deref())?;
        }
        self.record
            .finish(self.context, &self.host, key, status, system);
        self.record.set_durations(self.durations);
        if self.is_deferred {
            self.record.set_deferred();
        }
        self.save()?;
        self.publish(status);
        Ok(())
    }

    /// Adds the result to `sync-state.json`. A failure to write is not an error of the rebuild.
    fn publish(&self, status: RebuildStatus) {
        let request = self.context.request;
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
                "the result of the rebuild could not be written to `sync-state.json`"
            );
        }
    }

    /// The hash of the snapshot that was built.
    fn nar_hash(&self) -> Option<NarHash> {
        self.tree.filter(|_| self.is_pinned)
    }

    fn save(&self) -> Result<(), ErrorKind> {
        Ok(self.record.save(self.context.request.state)?)
    }

    fn outcome(mut self, status: RebuildStatus, system: Option<PathBuf>) -> Outcome {
        if let Some(state) = self.half_state.take() {
            let now = HalfState::of(self.context, &self.record);
            let ended = matches!(now, Ok(None));
            self.notes
                .insert(0, RebuildNote::HalfState { state, ended });
        }
        let profile = self.context.machine.systems().profile;
        let is_default = profile.is_some() && profile == system;
        let generation = self.context.machine.generation();
        Outcome {
            generation: generation.filter(|_| is_default),
            changes: std::mem::take(&mut self.changes),
            durations: self.durations,
            nar_hash: self.nar_hash(),
            revision: self.built_revision,
            status,
            host: self.host,
            commit: self.context.request.commit,
            system,
            layout: self.flake.layout.clone(),
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

/// Whether the activation restarted units; only then it can have caused their failure.
fn starts_units(action: Action, verdict: Verdict) -> bool {
    match (action, verdict) {
        (Action::Test | Action::Switch, Verdict::Done | Verdict::UnitsFailed) => true,
        (Action::Build | Action::Boot | Action::DryActivate, _)
        | (_, Verdict::NotBuilt | Verdict::NotActivated | Verdict::RebootNeeded | Verdict::Busy) => {
            false
        }
    }
}
