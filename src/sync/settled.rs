//! The record of a target that was found or made equal to its commit, with nothing left to do.
//!
//! Most runs find the branch where it was and the files as they were written. To show that again, a run would read every
//! tree of the commit and plan every path. While this record applies, the files alone decide: the commit is the same, the
//! index is the one that the record was made with, each file has the metadata that the index has of it or, in a preview,
//! the content, and the settings that decide what is accepted and managed are the same. Then verification and plan have
//! the results of the last time.
//!
//! It applies for a day only, so that the objects of the store are verified again before the next update needs them.
//! Whatever is not exactly as recorded, the run does everything: a missing or damaged record costs time and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::pipeline::SyncPipeline;
use super::{Outcome, Step, SyncMode, outcome};
use crate::apply::Applied;
use crate::fs::Durability;
use crate::patterns::Patterns;
use crate::plan::{Counts, MassDelete, Plan, Policy};
use crate::rebuild;
use crate::settings::{Gate, Limits};
use crate::source::{self, Notice, Route, Source, VerificationPolicy};
use crate::state::sealed::{self, SealedFormat};
use crate::state::{self, Index, StateDir, SyncPoint};

const NAME: &str = "settled";
const FORMAT: SealedFormat = SealedFormat {
    kind: "settled",
    version: 1,
};

/// How long objects count as verified.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A target that was equal to its commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Settled {
    point: SyncPoint,
    /// The checksum of the index.
    index: String,
    /// The checksum of the settings that the result depends on.
    terms: String,
    /// When the objects were verified.
    verified_at: Timestamp,
    /// Files of the commit that `exclude` leaves out.
    excluded: u64,
    /// What a reader should know about the commit.
    notices: Vec<Notice>,
}

/// The outcome for a target that is as the record says; `None` if there is none that applies.
pub(super) fn outcome(
    run: &SyncPipeline<'_>,
    policy: &Policy,
    terms: &VerificationPolicy<'_>,
) -> Result<Option<Outcome>, crate::Error> {
    let (session, state) = (run.session, run.session.state());
    let wanted = run.goal.resolved.commit;
    let Some(index) = session.index().filter(|index| {
        let point = &index.point;
        point.commit == wanted
            && point.reference == run.goal.reference
            && point.repository.as_ref() == Some(&run.repository)
    }) else {
        return Ok(None);
    };
    if !is_plain(run) || !session.store().is_complete(wanted) {
        return Ok(None);
    }
    let Some(known) = read(state)? else {
        return Ok(None);
    };
    let age = state::now().duration_since(known.verified_at);
    let applies = !age.is_negative()
        && age.unsigned_abs() < DAY
        && known.point == index.point
        && known.terms == checksum(policy, terms)
        && Index::checksum(state)?.as_ref() == Some(&known.index);
    if !applies {
        return Ok(None);
    }
    let is_applied = run.options.mode == SyncMode::Apply;
    // A run that may write does everything, so that the index has the metadata of all files afterwards.
    let unchanged = run.scanner.unchanged(index)?;
    let Some(unchanged) = unchanged.filter(|found| found.is_as_in_index || !is_applied) else {
        return Ok(None);
    };
    let Some((commit, signer)) = source::commit_alone(session.store(), wanted, terms.signers)?
    else {
        return Ok(None);
    };

    run.context.observer.step(Step::Compare);
    if is_applied {
        if run.context.settings.rebuild.gate != Gate::Off {
            rebuild::pass_gate(state)?;
        }
        run.followed_repo()
            .map_or(Ok(()), |repo| repo.keep(state))?;
        state.keep_for(&run.context.settings.target)?;
    }
    let (notices, known_notices) = outcome::part(&known.notices, run.last_state()?.as_ref());
    let outcome = Outcome {
        mode: run.options.mode,
        point: known.point,
        kind: run.goal.resolved.kind,
        before: Some(wanted),
        commit,
        passage: None,
        proven: true,
        signer,
        plan: Plan::nothing(Counts {
            checked: index.files.len() as u64,
            adopted: 0,
        }),
        merged: BTreeMap::new(),
        refused: None,
        applied: is_applied.then(Applied::default),
        excluded: known.excluded,
        recovered: None,
        notices,
        known_notices,
        route: Route::Store,
        fallbacks: Vec::new(),
        downloaded: 0,
        traffic: run.remote.map(Source::traffic).unwrap_or_default(),
        duration: run.begun.elapsed(),
        tree_size: Some(unchanged.bytes),
        modes: Vec::new(),
        notes: run.notes.clone(),
        read_from: None,
    };
    if is_applied {
        outcome::write_state(run.context, session, &outcome)?;
    }
    Ok(Some(outcome))
}

/// Writes the record after a run that has found nothing to do, or has done it all. It is not made durable: without it, a run
/// takes longer.
pub(super) fn remember(
    run: &SyncPipeline<'_>,
    outcome: &Outcome,
    policy: &Policy,
    terms: &VerificationPolicy<'_>,
) -> Result<(), crate::Error> {
    let (plan, state) = (&outcome.plan, run.session.state());
    let mut notices: Vec<Notice> = outcome.notices.clone();
    notices.extend_from_slice(&outcome.known_notices);
    let applied = outcome.applied.as_ref();
    let is_equal = is_plain(run)
        && applied.is_some_and(|applied| applied.late.is_empty())
        && outcome.proven
        && outcome.merged.is_empty()
        && plan.kept().is_empty()
        && plan.in_the_way().is_empty()
        && outcome.modes.is_empty()
        && !notices.contains(&Notice::CommitFromForge);
    if !is_equal {
        return Ok(());
    }
    let terms = checksum(policy, terms);
    let verified_at = match run.known_tree() {
        None => Some(state::now()),
        // What the last commit has too was not verified in this run.
        Some(_) => read(state)?
            .filter(|last| outcome.before == Some(last.point.commit) && last.terms == terms)
            .map(|last| last.verified_at),
    };
    let Some((index, verified_at)) = Index::checksum(state)?.zip(verified_at) else {
        return Ok(());
    };
    let record = Settled {
        point: outcome.point.clone(),
        index,
        terms,
        verified_at,
        excluded: outcome.excluded,
        notices,
    };
    let directory = state.directory();
    sealed::replace(directory, NAME, Durability::Unflushed, FORMAT, &record)?;
    Ok(())
}

fn read(state: &StateDir) -> Result<Option<Settled>, state::Error> {
    Ok(sealed::read::<Settled>(state.directory(), NAME, FORMAT)?.whole())
}

/// Whether the run asks for nothing but the commit of its reference, by the usual rules.
fn is_plain(run: &SyncPipeline<'_>) -> bool {
    let options = run.options;
    let is_usual = !options.force_full
        && !options.skip_validation
        && !options.allow_other_repo
        && !options.adopt
        && options.base.is_none();
    // A rollback reaches no repository.
    let moved = run.remote.map(Source::moved_to);
    is_usual && moved == Some(None) && run.session.recovered().is_none()
}

/// The checksum of everything besides commit, index and target that a verification and a plan depend on. The signature is
/// not part of it, because it is checked in every run.
fn checksum(policy: &Policy, terms: &VerificationPolicy<'_>) -> String {
    // Without `..`, so that a new field is thought of here.
    let Policy {
        local_edits,
        protect,
        exclude,
        executable,
        require,
        // An update that changes nothing loses nothing.
        mass_delete: MassDelete::Refuse | MassDelete::Allow,
    } = policy;
    let VerificationPolicy {
        limits:
            Limits {
                files,
                bytes,
                blob,
                // Of a download, and there is none.
                time: _,
            },
        symlinks,
        signers: _,
        ignores_case,
        // Of the policy.
        managed: _,
    } = terms;
    let patterns = [protect, exclude, executable].map(Patterns::as_written);
    let all = (
        env!("CARGO_PKG_VERSION"),
        local_edits,
        patterns,
        require,
        [files, bytes, blob],
        symlinks,
        ignores_case,
    );
    let sum = Sha256::digest(format!("{all:?}"));
    data_encoding::HEXLOWER.encode(&sum)
}
