//! What is on this machine before anything changes: token, target, state, lock, store, and the state of the machine.

use hyper_sync::Error;
use hyper_sync::fs::Failure;
use hyper_sync::vetted::{TrustedFile, Untrusted, UntrustedReason};
use hyper_sync::{fs, health, lock, objects, scan, state, token, validate};

use super::denied;

fn failure() -> Failure {
    Failure {
        verb: "open",
        path: "/var/lib/hyper-sync/index".into(),
        source: denied(),
    }
}

fn errors<E: Into<Error>>(all: Vec<E>) -> Vec<Error> {
    all.into_iter().map(Into::into).collect()
}

pub(super) fn token() -> Vec<Error> {
    use token::Error as E;
    let file = |refusal| {
        E::File(Untrusted {
            file: TrustedFile::Token,
            path: "/run/secrets/token".into(),
            refusal,
        })
    };
    errors(vec![
        file(UntrustedReason::Absent),
        file(UntrustedReason::Io(denied())),
        file(UntrustedReason::NotAFile("a symlink")),
        file(UntrustedReason::Mode(0o644)),
        file(UntrustedReason::Exposed("/run".into())),
        file(UntrustedReason::Owner(1000)),
        file(UntrustedReason::TooLarge(4096)),
        E::Content {
            place: "the token in `GITHUB_TOKEN`".to_owned(),
            problem: "has more than one line",
        },
    ])
}

pub(super) fn fs() -> Vec<Error> {
    use fs::Error as E;
    let path = || "/etc/nixos".into();
    errors(vec![
        E::TargetMissing { path: path() },
        E::TargetSymlink { path: path() },
        E::TargetNotADirectory { path: path() },
        E::TargetParentMissing { path: path() },
        E::TargetExposed {
            path: "/srv".into(),
        },
        E::UnsupportedKernel,
        E::ForeignMount {
            path: "modules".to_owned(),
        },
        E::TargetIo {
            path: path(),
            source: denied(),
        },
        E::Change(Failure {
            verb: "rename",
            path: "/etc/nixos/flake.nix".into(),
            source: denied(),
        }),
        E::Io {
            verb: "read",
            path: "flake.nix".to_owned(),
            source: denied(),
        },
    ])
}

pub(super) fn state() -> Vec<Error> {
    use state::Error as E;
    let path = || "/var/lib/hyper-sync".into();
    errors(vec![
        E::NotADirectory { path: path() },
        E::ForeignOwner {
            path: path(),
            uid: 1000,
        },
        E::Writable {
            path: path(),
            mode: 0o775,
        },
        E::Exposed {
            path: path(),
            above: "/var".into(),
        },
        E::OtherTarget {
            path: "/srv/state".into(),
            target: "/etc/nixos".into(),
            record: "/srv/state/target".into(),
        },
        E::Newer {
            path: "/var/lib/hyper-sync/index".into(),
            version: 2,
        },
        E::Io(failure()),
    ])
}

pub(super) fn lock() -> Vec<Error> {
    use lock::Error as E;
    errors(vec![
        E::Busy {
            holder: Some("process 4711, since 2026-08-27T12:00:00Z".to_owned()),
        },
        E::Busy { holder: None },
        E::Hangs {
            holder: "process 4711, since 2026-08-27T12:00:00Z".to_owned(),
            limit: std::time::Duration::from_secs(18_120),
        },
        E::Interrupted,
        E::Io {
            path: "/var/lib/hyper-sync/lock".into(),
            source: denied(),
        },
    ])
}

pub(super) fn objects() -> Vec<Error> {
    errors(vec![objects::Error::Io {
        action: "write",
        path: "/var/lib/hyper-sync/objects.git".into(),
        source: denied(),
    }])
}

pub(super) fn scan() -> Vec<Error> {
    use scan::Error as E;
    errors(vec![
        E::Read {
            path: "flake.nix".to_owned(),
            source: denied(),
        },
        fs::Error::UnsupportedKernel.into(),
    ])
}

pub(super) fn health() -> Vec<Error> {
    use health::{CheckKind, CheckResult, Error as E, HealthReport};
    let check = |name: &str, kind, cause: Option<&str>| CheckResult {
        name: name.to_owned(),
        kind,
        passed: cause.is_none(),
        tries: 1,
        seconds: 0,
        cause: cause.map(str::to_owned),
        lines: Vec::new(),
    };
    let refused = Some("Connection refused (os error 111)");
    let report = HealthReport {
        checks: vec![
            check("db", CheckKind::Tcp, refused),
            check("web", CheckKind::Url, None),
            check("units", CheckKind::Units, Some("failed: nginx.service")),
        ],
    };
    errors(vec![E::Unhealthy { report }, E::Interrupted])
}

pub(super) fn validate() -> Vec<Error> {
    use validate::Error as E;
    let path = || "/etc/nixos".into();
    errors(vec![
        E::ReadOnly { path: path() },
        E::NotWritable { path: path() },
        E::NoRoom {
            path: path(),
            free: 4096,
        },
        E::Critical {
            failed: vec!["directories", "flake"],
        },
        fs::Error::TargetMissing { path: path() }.into(),
        state::Error::NotADirectory {
            path: "/var/lib/hyper-sync".into(),
        }
        .into(),
    ])
}
