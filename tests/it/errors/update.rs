//! The update: planned, applied, undone, and the rebuild after it.

use std::path::Path;
use std::time::Duration;

use hyper_sync::apply::{self, TxId, undo};
use hyper_sync::git::RelPath;
use hyper_sync::health::{CheckKind, CheckResult, HealthReport};
use hyper_sync::nix::NarHash;
use hyper_sync::process::End;
use hyper_sync::rebuild::{
    self, ErrorKind, FailureClass, HalfState, HalfStateKind, QuarantineEntry, RunningSystem,
    SystemState, UnpinnedReason,
};
use hyper_sync::settings::Action;
use hyper_sync::state::{self, Damage, Unreached};
use hyper_sync::text::Amount;
use hyper_sync::{Error, SyncError};
use hyper_sync::{fs, plan, source};

use super::{missing, oid};

fn path(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn errors<E: Into<Error>>(all: Vec<E>) -> Vec<Error> {
    all.into_iter().map(Into::into).collect()
}

/// So many that they are not all listed.
fn paths() -> Vec<RelPath> {
    (10..32)
        .map(|number| path(&format!("{number}.nix")))
        .collect()
}

pub(super) fn check() -> Vec<Error> {
    use hyper_sync::check::Error as E;

    errors(vec![
        E::NoNix,
        E::NoRepository {
            directory: "/home/you".into(),
        },
        E::NoFlake {
            directory: "".into(),
        },
        E::NoFlake {
            directory: "machines".into(),
        },
        E::Required {
            path: path("configuration.nix"),
        },
        E::Hosts {
            cause: "undefined variable 'hosts'".to_owned(),
        },
        E::NoHosts,
        E::UnknownHost {
            host: "web3".to_owned(),
            names: vec!["web1".to_owned(), "web2".to_owned()],
        },
        E::Scratch(missing()),
        E::Interrupted,
        E::Failed {
            failed: vec!["web1".to_owned()],
            hosts: 1,
        },
        E::Failed {
            failed: vec!["web1".to_owned(), "web2".to_owned()],
            hosts: 3,
        },
    ])
}

fn state() -> state::Error {
    state::Error::NotADirectory {
        path: "/var/lib/hyper-sync".into(),
    }
}

pub(super) fn plan() -> Vec<Error> {
    use plan::ConflictKind as K;
    use plan::Error as E;
    let conflicts = |paths: Vec<RelPath>, problem: plan::ConflictKind| {
        let conflict = |path| plan::Conflict {
            path,
            problem: problem.clone(),
        };
        paths.into_iter().map(conflict).collect::<Vec<_>>()
    };
    let mixed = [
        K::Changed,
        K::Deleted,
        K::Foreign,
        K::Directory,
        K::Special,
        K::NoDirectory,
    ];
    let mixed: Vec<_> = { mixed.into_iter().zip(paths()) }
        .flat_map(|(kind, path)| conflicts(vec![path], kind))
        .collect();
    let attempt = |command: &str, back_to| plan::Attempt {
        command: command.to_owned(),
        back_to,
    };
    let of = |conflicts| E::Conflicts {
        conflicts,
        attempt: attempt("hyper-sync sync", None),
    };
    let of_rollback = |conflicts| E::Conflicts {
        conflicts,
        attempt: attempt("hyper-sync rollback 2", Some(oid('2'))),
    };
    errors(vec![
        of(conflicts(vec![path("flake.nix")], K::Changed)),
        of(conflicts(paths(), K::Changed)),
        of(conflicts(vec![path("a file.nix")], K::Foreign)),
        of(conflicts(
            vec![path("flake.nix"), path("flake.lock")],
            K::Deleted,
        )),
        of(conflicts(vec![path("flake.nix")], K::NoDirectory)),
        of(conflicts(
            vec![path("flake.nix")],
            K::NotMerged("both change line 2".into()),
        )),
        of_rollback(conflicts(vec![path("flake.nix")], K::Changed)),
        of_rollback(conflicts(vec![path("-rf")], K::Foreign)),
        of_rollback(mixed.clone()),
        of(mixed),
        E::RequiredGone {
            path: path("flake.nix"),
            is_link: false,
        },
        E::RequiredGone {
            path: path("flake.nix"),
            is_link: true,
        },
        E::MassDelete {
            before: 200,
            after: 3,
        },
    ])
}

pub(super) fn sync() -> Vec<Error> {
    use SyncError as E;
    errors(vec![
        E::NestedTarget {
            target: "/etc/nixos/modules".into(),
            outer: "/etc/nixos".into(),
        },
        E::UnknownTarget {
            target: "/srv/www".into(),
        },
        E::EditsKept {
            target: "/etc/nixos".into(),
            kept: vec![
                "edits of update 000002".to_owned(),
                "`/var/lib/hyper-sync/conflicts/000003`".to_owned(),
            ],
        },
        E::Unpushed {
            target: "/etc/nixos".into(),
            reference: "main".to_owned(),
            head: oid('a'),
        },
        E::UnknownBase {
            base: "v0.9".to_owned(),
        },
        E::BaseKnown {
            target: "/etc/nixos".into(),
            commit: oid('a'),
        },
        E::NotParked {
            path: "/etc/nixos/.git".into(),
            source: fs::Failure {
                verb: "write",
                path: "/var/lib/hyper-sync/parked/1.git.part/HEAD".into(),
                source: std::io::Error::from_raw_os_error(28),
            },
        },
        E::OtherRepo {
            target: "/etc/nixos".into(),
            followed: "you/config".to_owned(),
            given: "MasterofNull/Hyper-NixOS".to_owned(),
        },
        E::Rewind {
            reference: "main".to_owned(),
            from: oid('a'),
            to: oid('b'),
        },
        E::MovedTag {
            reference: "v1".to_owned(),
            from: oid('a'),
            to: oid('b'),
        },
        E::RefKind {
            reference: "v7".to_owned(),
            was: source::RefKind::Tag,
            is: source::RefKind::Branch,
        },
        E::ContentGone {
            path: path("flake.nix"),
        },
        E::CommitGone { commit: oid('c') },
        E::NoSuchUpdate(undo::Back::Updates(3)),
        E::NoSuchUpdate(undo::Back::Commit("0a1b2c3d".to_owned())),
        E::NoSuchUpdate(undo::Back::At("2026-11-28T18:00:00Z".parse().unwrap())),
        E::NoSuchEdit {
            path: Some(path("flake.nix")),
        },
        E::NoSuchEdit { path: None },
        E::Outside {
            path: "/etc/passwd".into(),
            target: "/etc/nixos".into(),
        },
        E::InTheWay {
            path: path("modules/a.nix"),
            by: path("modules"),
            kept: "/var/lib/hyper-sync/undo/000007/e69de29bb2d1d6434b8b29ae775ad8c2e48c5391".into(),
        },
        E::OnTrial {
            commit: Some(oid('c')),
            until: "2026-11-28T10:32:00Z".parse().unwrap(),
        },
        overdue(false, 25),
        overdue(true, 1),
    ])
}

fn overdue(rate_limited: bool, count: u32) -> SyncError {
    SyncError::Overdue(Unreached {
        since: "2026-11-27T10:00:00Z".parse().unwrap(),
        last: "2026-11-28T10:00:00Z".parse().unwrap(),
        count,
        rate_limited,
        cause: "cannot reach git.example.org: no route to host".to_owned(),
    })
}

pub(super) fn apply() -> Vec<Error> {
    use apply::{Error as E, RecoveryProblem};
    let target = || "/etc/nixos".into();
    let needs_person = |problem| E::NeedsPerson { problem };
    errors(vec![
        E::Interrupted,
        E::Stale { paths: paths() },
        E::TargetReplaced { path: target() },
        E::Immutable {
            path: path("flake.nix"),
        },
        E::Denied {
            path: path("flake.nix"),
        },
        E::ReadOnly { path: target() },
        E::NoSpace {
            path: target(),
            need: Amount::Bytes(1_000_000),
            free: Amount::Bytes(4096),
        },
        E::UnsupportedFileSystem { path: target() },
        E::CaseCollision {
            first: "README.md".to_owned(),
            second: "Readme.md".to_owned(),
        },
        E::StagingBlocked {
            path: "/etc/nixos/.hyper-sync".into(),
        },
        E::Content {
            path: path("flake.nix"),
            id: oid('a'),
            source: "the pack is gone".into(),
        },
        E::RecoveryFirst,
        E::Unfinished {
            id: TxId(7),
            source: Box::new(E::ReadOnly { path: target() }),
        },
        needs_person(RecoveryProblem::Record),
        needs_person(RecoveryProblem::OtherTarget("/etc/other".to_owned())),
        needs_person(RecoveryProblem::Content(vec![path("a.nix"), path("b.nix")])),
        state().into(),
        fs::Error::TargetMissing { path: target() }.into(),
    ])
}

pub(super) fn undo() -> Vec<Error> {
    use undo::Error as E;
    let id = TxId(7);
    errors(vec![
        E::Gone { id },
        E::Damaged {
            id,
            damage: Damage::Checksum,
        },
        E::NotReplaced {
            id,
            path: path("flake.nix"),
        },
        E::ContentDamaged {
            id,
            path: path("flake.nix"),
        },
        state().into(),
    ])
}

fn system_state() -> SystemState {
    SystemState {
        tree: Some(oid('a')),
        running: Some(Box::new(RunningSystem {
            system: "/nix/store/x-nixos-system".into(),
            commit: Some(oid('b')),
        })),
        half_state: None,
    }
}

/// The hash of a directory that always has the same content.
fn nar_hash() -> NarHash {
    let directory = tempfile::tempdir().unwrap();
    NarHash::of(directory.path()).unwrap()
}

pub(super) fn rebuild() -> Vec<Error> {
    let kinds = before_the_build()
        .into_iter()
        .chain(the_build())
        .chain(the_activation());
    let errors = kinds.map(|kind| {
        let state = match &kind {
            ErrorKind::FlakeUnreadable { .. } => SystemState::default(),
            ErrorKind::TimedOut { activating, .. } if !activating.is_empty() => {
                SystemState::default()
            }
            ErrorKind::Activation { .. } => SystemState {
                half_state: Some(Box::new(HalfState {
                    kind: HalfStateKind::Running,
                    system: Some("/nix/store/x-nixos-system".into()),
                    running: Some("/nix/store/x-nixos-system".into()),
                    boots: Some("/nix/store/y-nixos-system".into()),
                    failed: true,
                })),
                ..system_state()
            },
            ErrorKind::Interrupted { .. } => SystemState {
                running: None,
                ..system_state()
            },
            _ => system_state(),
        };
        rebuild::Error { kind, state }.into()
    });
    errors.collect()
}

fn before_the_build() -> Vec<ErrorKind> {
    use ErrorKind as E;
    let names = vec!["desk".to_owned(), "lap".to_owned()];
    vec![
        E::ProgramMissing {
            program: "nixos-rebuild",
        },
        E::FlakeUnreadable {
            path: "/etc/nixos/flake.nix".into(),
            cause: "it is not a regular file".to_owned(),
        },
        E::FlakeMissing {
            path: "/etc/nixos/flake.nix".into(),
        },
        E::HostUnclear {
            flake: "/etc/nixos".into(),
            names: names.clone(),
            hostname: "nixos".to_owned(),
        },
        E::HostUnclear {
            flake: "/etc/nixos".into(),
            names: Vec::new(),
            hostname: "nixos".to_owned(),
        },
        E::HostUnknown {
            flake: "/etc/nixos".into(),
            host: "dekstop".to_owned(),
            names,
        },
        E::Spawn {
            program: "/run/current-system/sw/bin/nixos-rebuild".into(),
            source: missing(),
        },
        E::Busy {
            unit: Some("nixos-rebuild-switch-to-configuration.service".to_owned()),
        },
        E::Busy { unit: None },
        state().into(),
    ]
}

fn the_build() -> Vec<ErrorKind> {
    use ErrorKind as E;
    vec![
        E::Build {
            end: End::Exited(1),
            tail: "building\nerror: attribute 'x' missing".to_owned(),
        },
        E::OutOfMemory {
            kills: 0,
            tail: "building".to_owned(),
        },
        E::OutOfMemory {
            kills: 2,
            tail: "error: builder for 'x.drv' failed due to signal 9 (Killed)".to_owned(),
        },
        quarantined(FailureClass::Build, Some(1_800_003_600)),
        before_update(quarantined(FailureClass::Build, Some(1_800_003_600))),
        E::Gate {
            commit: oid('b'),
            cause: Box::new(E::Build {
                end: End::Exited(1),
                tail: "building\nerror: attribute 'x' missing".to_owned(),
            }),
        },
        E::NotPinned {
            reason: UnpinnedReason::NoNamespace,
        },
        E::LeftOut {
            path: path("var/x.nix"),
        },
        E::OtherTree {
            expected: nar_hash(),
            actual: Some("sha256-AAAA".to_owned()),
        },
        E::OtherTree {
            expected: nar_hash(),
            actual: None,
        },
        E::TimedOut {
            after: Duration::from_secs(14400),
            activating: Vec::new(),
        },
    ]
}

/// A build that failed before.
fn quarantined(class: FailureClass, next: Option<i64>) -> ErrorKind {
    let at = |second| jiff::Timestamp::from_second(second).unwrap();
    ErrorKind::Quarantined(Box::new(QuarantineEntry {
        commit: None,
        host: "desk".to_owned(),
        key: None,
        class,
        reason: "the system was not built (exit code 1): attribute 'x' missing".to_owned(),
        since: at(1_800_000_000),
        tries: 3,
        next: next.map(at),
        before_update: false,
    }))
}

/// The same, found before the update.
fn before_update(mut error: ErrorKind) -> ErrorKind {
    if let ErrorKind::Quarantined(entry) = &mut error {
        entry.commit = Some(oid('b'));
        entry.before_update = true;
    }
    error
}

fn the_activation() -> Vec<ErrorKind> {
    use ErrorKind as E;
    let unit = "nixos-rebuild-switch-to-configuration.service".to_owned();
    vec![
        E::SelfRemoval {
            timer: "hyper-sync.timer".to_owned(),
        },
        E::Activation {
            action: Action::Switch,
            end: End::Exited(1),
            tail: "activating\nerror: no such group".to_owned(),
        },
        E::Degraded {
            units: vec!["a.service".to_owned(), "b.service".to_owned()],
        },
        quarantined(FailureClass::Health, None),
        E::RebootNeeded {
            inhibitors: vec!["dbus-implementation".to_owned()],
        },
        E::PreSwitchCheck {
            name: "disk".to_owned(),
            tail: "/var is full\nPre-switch check 'disk' failed\nPre-switch checks failed\n"
                .to_owned(),
        },
        E::ActivationTimedOut {
            after: Duration::from_secs(1800),
            jobs: vec!["start of web.service".to_owned()],
        },
        E::OtherSystemBooted {
            booted: "/nix/store/y-nixos-system".into(),
            is_default: false,
        },
        E::OtherSystemBooted {
            booted: "/nix/store/y-nixos-system".into(),
            is_default: true,
        },
        E::BootReverting {
            cause: "it failed the health checks `web`".to_owned(),
            report: None,
            former: "/nix/store/y-nixos-system".into(),
        },
        E::BootNotReverted {
            cause: "it failed the health checks `web`".to_owned(),
            failure: "`reboot.allow` is false".to_owned(),
            report: None,
            former: Path::new("/nix/store/y-nixos-system").into(),
        },
        E::NoReboot {
            cause: "`shutdown`: Failed to talk to logind".to_owned(),
        },
        E::RebootNotCancelled {
            cause: "`shutdown`: Failed to talk to logind".to_owned(),
        },
        E::ChangedSince {
            state: Box::new(HalfState {
                kind: HalfStateKind::ChangedSince,
                system: Some("/nix/store/x-nixos-system".into()),
                running: Some("/nix/store/y-nixos-system".into()),
                boots: Some("/nix/store/y-nixos-system".into()),
                failed: false,
            }),
        },
        E::ActivationHangs {
            name: unit.clone(),
            since: jiff::Timestamp::from_second(1_800_000_000).unwrap(),
            limit: Duration::from_secs(1800),
            jobs: vec!["start of web.service".to_owned()],
        },
        E::RevertNotPrepared {
            cause: "`systemd-run` is not in the search path".to_owned(),
        },
        E::Reverted {
            cause: "it failed the health checks `web`".to_owned(),
            report: Some(Box::new(HealthReport {
                checks: vec![CheckResult {
                    name: "web".to_owned(),
                    kind: CheckKind::Command,
                    passed: false,
                    tries: 3,
                    seconds: 6,
                    cause: Some("exit code 1".to_owned()),
                    lines: vec!["no answer".to_owned()],
                }],
            })),
        },
        E::NotReverted {
            cause: "it failed the health checks `web`".to_owned(),
            failure: "the system was built but `test` failed (exit code 1)".to_owned(),
            former: "/nix/store/y-nixos-system".into(),
        },
        E::TimedOut {
            after: Duration::from_secs(14400),
            activating: vec![unit],
        },
        E::Interrupted {
            activating: Vec::new(),
        },
    ]
}
