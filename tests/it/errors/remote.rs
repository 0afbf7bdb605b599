//! The remote and what it sends, and the signatures of its commits.

use std::time::Duration;

use hyper_sync::Error;
use hyper_sync::git::{commit, id, path, tree};
use hyper_sync::text::Amount;
use hyper_sync::vetted::{TrustedFile, Untrusted, UntrustedReason};
use hyper_sync::{objects, scan, signature, source};

use hyper_sync::source::{Head, Instead, VerificationError as V};

use super::{denied, missing, oid};

const REMOTE: &str = "github.com/o/n";

fn remote() -> String {
    REMOTE.to_owned()
}

/// An answer of 2026-11-28, 14:05 UTC.
fn retry_after(seconds: i64) -> source::RetryAt {
    let answer = jiff::Timestamp::from_second(1_795_874_700).unwrap();
    let time = answer + jiff::SignedDuration::from_secs(seconds);
    source::RetryAt {
        time: time.to_zoned(jiff::tz::TimeZone::UTC),
        wait: Duration::from_secs(seconds.unsigned_abs()),
    }
}

fn text(text: &str) -> String {
    text.to_owned()
}

pub(super) fn source() -> Vec<Error> {
    let faults = tree_faults()
        .into_iter()
        .map(|fault| V::Tree {
            commit: oid('c'),
            fault,
        })
        .chain(commit_faults().into_iter().map(|fault| V::Commit {
            commit: oid('c'),
            fault,
        }))
        .map(source::Error::from);
    reached()
        .into_iter()
        .chain(answered())
        .chain(refused())
        .chain(faults)
        .chain(sent())
        .chain(wrapped())
        .chain(ssh_keys())
        .map(Error::from)
        .collect()
}

fn ssh_keys() -> impl Iterator<Item = source::Error> {
    use source::git::KeyFault as F;
    let faults = [
        F::Missing,
        F::NotReadable(text("Permission denied (os error 13)")),
        F::Mode(0o644),
        F::NoNewline,
        F::CarriageReturns,
        F::Passphrase,
        F::NotAKey,
    ];
    let of = |fault| source::SshError::Key {
        path: "/etc/hyper-sync/key".into(),
        fault,
    };
    faults.into_iter().map(of).map(source::Error::Ssh)
}

fn unknown(reference: &str, branch: Option<String>, head: Head) -> source::Error {
    source::Error::UnknownRef {
        remote: remote(),
        reference: text(reference),
        instead: Box::new(Instead {
            branch,
            head,
            ..Instead::default()
        }),
    }
}

fn misspelt() -> source::Error {
    source::Error::UnknownRef {
        remote: remote(),
        reference: text("mian"),
        instead: Box::new(Instead {
            near: Some(text("main")),
            ..Instead::default()
        }),
    }
}

fn short_id() -> source::Error {
    source::Error::UnknownRef {
        remote: remote(),
        reference: text("c0ffee00"),
        instead: Box::new(Instead {
            commit: Some("c0ffee00".repeat(5).parse().unwrap()),
            ..Instead::default()
        }),
    }
}

fn dangling(name: Option<&str>, branches: &[&str]) -> Head {
    Head::Dangling {
        name: name.map(text),
        branches: branches.iter().map(|name| text(name)).collect(),
    }
}

/// What keeps the remote from being asked.
fn reached() -> Vec<source::Error> {
    use source::Error as E;
    vec![
        E::Unreachable {
            remote: remote(),
            cause: text("dns error: no such host"),
            received: 0,
        },
        E::Unreachable {
            remote: remote(),
            cause: text("stream closed because of a broken pipe"),
            received: 200_000,
        },
        E::Timeout {
            remote: remote(),
            after: Duration::from_secs(900),
        },
        E::Address {
            url: text("ftp://example.org/api"),
            problem: "is neither http nor https",
        },
        source::SetupError::PlainHttp { remote: remote() }.into(),
        source::SetupError::Proxy {
            variable: text("https_proxy"),
            problem: "is not a URL",
        }
        .into(),
        source::SetupError::CaFile {
            path: "/etc/ssl/ca.pem".into(),
            origin: "ca_file",
            cause: text("it holds none"),
        }
        .into(),
        E::Certificate {
            remote: remote(),
            cause: text("invalid peer certificate: UnknownIssuer"),
        },
        E::NoTls { remote: remote() },
        source::SetupError::NoCertificates { remote: remote() }.into(),
        source::SetupError::Client {
            cause: text("Too many open files (os error 24)"),
        }
        .into(),
        source::SshError::HostKey {
            remote: text("git@example.org:o/n"),
            words: Some(text(
                "Offending ED25519 key in /etc/hyper-sync/known_hosts:1",
            )),
        }
        .into(),
        source::SshError::HostKeyUnknown {
            remote: text("git@example.org:o/n"),
            words: Some(text("No ED25519 host key is known for example.org")),
        }
        .into(),
        source::SshError::Login {
            remote: text("git@example.org:o/n"),
            key: text("the user's ssh keys"),
            words: None,
        }
        .into(),
        E::Program {
            program: text("ssh"),
            source: missing(),
        },
        E::NoSuchRoute {
            remote: text("git@example.org:o/n"),
            transport: "api",
        },
        E::NoRepository {
            remote: text("/srv/git/n"),
        },
        E::Interrupted,
    ]
}

/// What it answers in place of what it was asked for.
fn answered() -> Vec<source::Error> {
    use source::Error as E;
    vec![
        E::ServerError {
            remote: remote(),
            status: 503,
        },
        E::NotAForge {
            remote: remote(),
            answer: text("<!doctype html>\u{1b}[2J"),
        },
        E::Redirect {
            remote: remote(),
            to: Some(text("https://github.com/o/new.git/info/refs")),
            repo: Some(text("https://github.com/o/new.git")),
        },
        E::Redirect {
            remote: remote(),
            to: None,
            repo: None,
        },
        E::LoginPage {
            remote: remote(),
            page: Some(text("https://login.example.net/")),
        },
        E::LoginPage {
            remote: remote(),
            page: None,
        },
        unknown("mian", None, Head::Branch(text("main"))),
        unknown("mian", None, Head::Unknown),
        misspelt(),
        short_id(),
        unknown("origin/main", Some(text("main")), Head::Unknown),
        unknown("origin/mian", None, Head::Branch(text("main"))),
        unknown("1a2b3c4", None, Head::Branch(text("main"))),
        unknown("main", None, dangling(Some("main"), &["trunk"])),
        unknown("HEAD", None, dangling(None, &["a", "b", "c"])),
        unknown("v1", None, dangling(None, &[])),
        E::UnknownCommit {
            remote: remote(),
            commit: oid('c'),
        },
        E::EmptyRepository { remote: remote() },
        E::Sha256 { remote: remote() },
        E::OldProtocol {
            remote: remote(),
            change: "install git 2.18 or newer",
        },
        E::Refused {
            remote: remote(),
            message: text("access denied: the repository is archived"),
        },
        E::Unsuited {
            remote: remote(),
            problem: "has a file that is too large for its API",
        },
    ]
}

/// What it refuses to whom.
fn refused() -> Vec<source::Error> {
    use source::Error as E;
    vec![
        E::Unauthorized {
            remote: remote(),
            token: text("the token in `GITHUB_TOKEN`"),
            words: Some(text("Bad credentials")),
        },
        E::Unauthorized {
            remote: remote(),
            token: text("none"),
            words: None,
        },
        E::Forbidden {
            remote: remote(),
            token: text("the token in `GITHUB_TOKEN`"),
            words: Some(text("Resource protected by organization SAML enforcement.")),
            sso: Some(text("https://github.com/orgs/o/sso")),
        },
        E::Forbidden {
            remote: remote(),
            token: text("the token in `GITHUB_TOKEN`"),
            words: Some(text(
                "The o organization has an IP allow list enabled\u{1b}[2J",
            )),
            sso: None,
        },
        E::Forbidden {
            remote: remote(),
            token: text("none"),
            words: None,
            sso: None,
        },
        E::NoPermission {
            remote: remote(),
            token: text("the user's ssh keys"),
        },
        E::NoPermission {
            remote: remote(),
            token: text("none"),
        },
        E::LoginWanted {
            remote: remote(),
            words: Some(text("we are limiting some unauthenticated downloads")),
        },
        E::LoginWanted {
            remote: remote(),
            words: None,
        },
        E::RateLimited {
            remote: remote(),
            retry: Some(retry_after(1800)),
            token: text("the token in `GITHUB_TOKEN`"),
        },
        E::RateLimited {
            remote: remote(),
            retry: Some(retry_after(90)),
            token: text("none"),
        },
        E::RateLimited {
            remote: remote(),
            retry: Some(retry_after(200_000)),
            token: text("none"),
        },
        E::RateLimited {
            remote: remote(),
            retry: None,
            token: text("none"),
        },
    ]
}

/// What it sends and must not.
fn sent() -> Vec<source::Error> {
    use source::Error as E;
    vec![
        E::Protocol {
            remote: remote(),
            detail: text("a line without a length"),
        },
        E::Malformed {
            remote: remote(),
            what: "listing",
            problem: text("EOF while parsing a value at line 1 column 0"),
        },
        V::Blob {
            path: text("flake.nix"),
            expected: oid('a'),
            actual: oid('b'),
        }
        .into(),
        V::Collision { expected: oid('a') }.into(),
        V::Incomplete {
            remote: remote(),
            commit: oid('c'),
            kind: "blob",
            id: oid('a'),
        }
        .into(),
        V::Unproven {
            remote: remote(),
            commit: oid('c'),
        }
        .into(),
        V::UnprovenDescent {
            remote: remote(),
            new: oid('c'),
            old: oid('a'),
        }
        .into(),
        V::Listing {
            remote: remote(),
            path: String::new(),
            expected: oid('a'),
            actual: oid('b'),
        }
        .into(),
        V::Listing {
            remote: remote(),
            path: text("modules"),
            expected: oid('a'),
            actual: oid('b'),
        }
        .into(),
        V::Symlink {
            path: text("result"),
            fault: source::LinkFault::Leaves {
                target: b"/nix/store/system".to_vec(),
            },
        }
        .into(),
        V::Symlink {
            path: text("result"),
            fault: source::LinkFault::Target {
                target: b"caf\xe9/a\xe2\x80\xaeb".to_vec(),
                fault: path::PathFault::Invisible('\u{202e}'),
            },
        }
        .into(),
        V::CaseCollision {
            path: text("README.md"),
            other: text("Readme.md"),
        }
        .into(),
        E::Pack {
            remote: remote(),
            detail: text("its checksum does not match"),
        },
        E::DamagedRepository {
            remote: remote(),
            message: text("aborting due to possible repository corruption on the remote side."),
        },
        E::TooLarge {
            what: text("a file of the commit"),
            limit: Amount::Limit(134_217_728),
            setting: "limits.blob",
        },
    ]
}

fn tree_faults() -> Vec<tree::TreeFault> {
    use tree::TreeFault as F;
    vec![
        F::OtherId {
            id: oid('a'),
            actual: oid('b'),
        },
        F::Collision {
            id: oid('a'),
            source: id::Collision,
        },
        F::Malformed { id: oid('a') },
        F::Unsorted { id: oid('a') },
        F::Duplicate {
            path: text("flake.nix"),
        },
        F::SameName {
            path: text("caf\u{e9}"),
            other: text("cafe\u{301}"),
        },
        F::Path {
            path: text("modules/.GIT"),
            fault: path::PathFault::DotGit,
        },
        F::Path {
            path: text("modules/a\\u{200b}.nix"),
            fault: path::PathFault::Invisible('\u{200b}'),
        },
        F::Path {
            path: text("a\\u{a0}b"),
            fault: path::PathFault::Blank('\u{a0}'),
        },
        F::Mode {
            path: text("sub"),
            mode: text("160000"),
        },
        F::NullId {
            path: text("flake.nix"),
        },
        F::TooLarge { limit: 50_000 },
    ]
}

fn commit_faults() -> Vec<commit::CommitFault> {
    use commit::CommitFault as F;
    vec![
        F::OtherId { actual: oid('b') },
        F::Malformed,
        F::Collision(id::Collision),
    ]
}

/// The errors of other stages keep their codes.
fn wrapped() -> Vec<source::Error> {
    let commit = oid('c');
    let read = scan::Error::Read {
        path: text("flake.nix"),
        source: denied(),
    };
    vec![
        signature::Error::Unsigned { commit }.into(),
        read.into(),
        objects::Error::Io {
            action: "write",
            path: "/var/lib/hyper-sync/objects.git".into(),
            source: denied(),
        }
        .into(),
    ]
}

pub(super) fn signature() -> Vec<Error> {
    use signature::Error as E;
    let path = || "/etc/hyper-sync/signers".into();
    let file = |refusal| {
        E::File(Untrusted {
            file: TrustedFile::Signers,
            path: path(),
            refusal,
        })
    };
    let commit = oid('c');
    let key = || text("SHA256:47DEQpj8HBSa");
    let all = vec![
        file(UntrustedReason::Absent),
        file(UntrustedReason::Io(denied())),
        file(UntrustedReason::NotAFile("a directory")),
        file(UntrustedReason::Mode(0o664)),
        file(UntrustedReason::Exposed("/etc/hyper-sync".into())),
        file(UntrustedReason::Owner(1000)),
        file(UntrustedReason::TooLarge(1_048_576)),
        E::Content {
            path: path(),
            problem: "lists no key",
        },
        E::Line {
            path: path(),
            line: 3,
            problem: "has a damaged key",
        },
        E::Program {
            program: "ssh-keygen",
            source: missing(),
        },
        E::Program {
            program: "gpgv",
            source: missing(),
        },
        E::Unfinished {
            program: "gpgv",
            end: hyper_sync::process::End::TimedOut,
        },
        E::Interrupted,
        E::Scratch {
            path: "/var/lib/hyper-sync/signers".into(),
            source: denied(),
        },
        E::Unsigned { commit },
        E::OtherFormat {
            commit,
            signed: "an OpenPGP signature",
            listed: "SSH keys",
        },
        E::Several { commit },
        E::Bad {
            commit,
            cause: text("the commit is not what was signed"),
        },
        E::Unlisted { commit, key: key() },
        E::KeyRefused {
            commit,
            key: key(),
            cause: text("the key has expired"),
        },
        E::Unavailable { commit },
    ];
    all.into_iter().map(Error::from).collect()
}
