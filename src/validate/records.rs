//! Whether the target is as the last sync wrote it, and the state directory.

use super::findings::Findings;
use super::probe::Probe;
use super::repair::Repair;
use std::collections::BTreeMap;

use crate::objects;
use crate::scan::{Belief, Local, Scanner};
use crate::state::{Found, SyncState, TX};
use crate::text;

/// Every managed file is as the last sync wrote it.
pub(super) fn integrity(probe: &Probe<'_>, findings: &mut Findings) {
    let Ok(target) = &probe.target else {
        return findings.skip("there is no target to check");
    };
    let index = match probe.load_index() {
        Ok(Found::Whole(index)) => index,
        Ok(Found::Absent) => return findings.skip("nothing was synced yet"),
        Ok(Found::Damaged(_)) | Err(_) => {
            return findings.skip("what was synced last is not known");
        }
    };
    let settings = probe.settings();
    let mut managed = BTreeMap::clone(&index.files);
    managed.retain(|path, _| !probe.is_excluded(path));
    let scanner = Scanner::new(target, Some(index), Belief::Unchanged);
    let scanner = scanner.largest(settings.limits.blob);
    let edits = match scanner.edits(&managed, &settings.executable) {
        Ok(edits) => edits,
        Err(error) => {
            return findings.fault(error.to_string(), "check the disk and its permissions");
        }
    };
    let (protected, unprotected): (Vec<_>, Vec<_>) = edits
        .into_iter()
        .partition(|(path, _)| settings.protect.matches(path));
    let (missing, edited): (Vec<_>, Vec<_>) = unprotected
        .into_iter()
        .partition(|(_, local)| *local == Local::Missing);
    let commit = index.point.commit.short();
    findings.each(
        true,
        &missing,
        |(path, _)| format!("`{path}` is missing"),
        "`hyper-sync sync` writes it again",
    );
    findings.each(
        false,
        &edited,
        |(path, _)| format!("`{path}` is not as in commit {commit}"),
        "`hyper-sync diff` shows the edits; `local_edits` says what a sync does about them",
    );
    for (path, _) in &protected {
        findings.pass(format!("`{path}` was edited, and is protected"));
    }
    if missing.is_empty() && edited.is_empty() {
        let same = managed.len() - protected.len();
        if is_proven(probe) {
            findings.pass(format!("{same} files are as in commit {commit}"));
        } else {
            findings.warn(
                format!("{same} files are as they were written; that they are those of commit {commit} is not proven"),
                "the commit's own bytes are not in the object store; the next sync by git brings them, and what they prove",
            );
        }
    }
    for notice in notices(probe) {
        findings.pass(notice);
    }
}

/// The notices of the commit, which a sync reports once.
fn notices(probe: &Probe<'_>) -> Vec<String> {
    let Ok(Some(state)) = &probe.state else {
        return Vec::new();
    };
    // The check `state` reports an unreadable file.
    let last = SyncState::load(state).ok().flatten();
    last.map(|last| last.notices).unwrap_or_default()
}

/// Whether the commit in the object store has the tree that was written.
fn is_proven(probe: &Probe<'_>) -> bool {
    let (Some(index), Ok(Some(state))) = (probe.index(), &probe.state) else {
        return false;
    };
    let limit = probe.settings().limits.blob;
    objects::commit(state.path(), index.point.commit, limit)
        .is_some_and(|commit| commit.tree == index.point.tree)
}

/// The state directory is private and readable.
pub(super) fn state(probe: &Probe<'_>, findings: &mut Findings) {
    let state = match &probe.state {
        Ok(Some(state)) => state,
        Ok(None) => return findings.pass("nothing was synced yet"),
        Err(error) => {
            return findings.error(error);
        }
    };
    let shown = text::path(&probe.settings().state_dir);
    if let Some(mode) = open_mode(probe) {
        findings.warn(
            format!("`{shown}` can be read by others (mode {mode:03o})"),
            "`--fix` closes it",
        );
    }
    if state
        .directory()
        .child(TX)
        .ok()
        .flatten()
        .is_some_and(|tx| tx.stat("active").ok().flatten().is_some())
    {
        findings.warn(
            "an update was interrupted",
            "the next run finishes it first, without the network",
        );
    }
    match probe.load_index() {
        Ok(Found::Whole(index)) => {
            let unproven = if is_proven(probe) { "" } else { ", whose files are not proven" };
            findings.pass(format!("the target was brought to commit {}{unproven}", index.point.commit.short()));
        }
        Ok(Found::Absent) => findings.pass("nothing was synced yet"),
        Ok(Found::Damaged(damage)) => findings.warn(
            format!("what was synced last is not known any more: the index is damaged, {damage}"),
            "the next sync compares every file with the commit and writes it anew; what differs counts as edited",
        ),
        Err(error) => {
            findings.error(error);
        }
    }
    sync_state(probe, findings);
    if findings.is_clean() {
        findings.pass(format!("`{shown}` is ours alone"));
    }
}

/// `sync-state.json` can be parsed.
fn sync_state(probe: &Probe<'_>, findings: &mut Findings) {
    let settings = probe.settings();
    let private = settings.state_dir.join("sync-state.json");
    for path in settings.state_file.iter().chain([&private]) {
        let is_bad = match probe.system.read(path) {
            Ok(None) => false,
            Ok(Some(text)) => serde_json::from_str::<SyncState>(&text).is_err(),
            Err(_) => true,
        };
        if is_bad {
            findings.warn(
                format!("`{}` cannot be read", text::path(path)),
                "nothing depends on it, and the next sync writes it anew",
            );
        }
    }
}

/// Makes the state directory private.
pub(super) fn close(probe: &Probe<'_>) -> Vec<Repair> {
    let open =
        open_mode(probe).map(|_| Repair::set_mode(probe.settings().state_dir.clone(), 0o700));
    open.into_iter().collect()
}

/// The mode of the state directory, if others may read it.
fn open_mode(probe: &Probe<'_>) -> Option<u32> {
    let state = probe.state.as_ref().ok()?.as_ref()?;
    let mode = state.directory().own_stat().ok()?.mode;
    (mode & 0o077 != 0).then_some(mode)
}
