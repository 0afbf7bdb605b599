//! Answers that lie, fail or attack: each has its error, and nothing of it reaches the store.

use hyper_sync::exit::Exit;
use hyper_sync::git::{path, tree};
use serde_json::json;

use super::*;
use crate::common::repo::Entry;

mod size;
mod trees;

/// The error of a sync of `main`, and its exit code.
fn outcome(forge: &Forge, machine: &Machine) -> (Error, Exit) {
    let source = Asking {
        token: true,
        ..Asking::default()
    }
    .at(forge);
    let resolved = source.resolve("main");
    let staged = resolved.and_then(|resolved| machine.stage(&source, &resolved).map(drop));
    let error = staged.expect_err("it was accepted");
    let error = hyper_sync::Error::from(error);
    let exit = Exit::from(&error);
    let hyper_sync::Error::Source(error) = error else {
        unreachable!()
    };
    (error, exit)
}

/// A forge that lies about a small repository.
struct Liar(Forge);

impl Liar {
    fn new() -> Self {
        Self(Forge::serve(&Repo::small()))
    }

    /// The outcome when one kind of answer is changed.
    fn lie(&self, when: When, action: Action) -> (Error, Exit) {
        let hits = self.0.clear_faults().fault(when, action);
        let outcome = outcome(&self.0, &Machine::new());
        assert!(hits.count() > 0);
        outcome
    }

    fn listing(
        &self,
        change: impl Fn(&mut serde_json::Value) + Send + Sync + 'static,
    ) -> (Error, Exit) {
        self.lie(When::get("/git/trees/"), Action::mutate_json(change))
    }
}

/// The row of a path.
fn row<'a>(listing: &'a mut serde_json::Value, path: &str) -> &'a mut serde_json::Value {
    let rows = listing["tree"].as_array_mut().unwrap();
    rows.iter_mut().find(|row| row["path"] == path).unwrap()
}

#[test]
fn a_blob_with_other_bytes_is_requested_once_more_and_then_named() {
    let changes: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |mut body| {
            body[0] ^= 1;
            body
        },
        |mut body| {
            body.pop();
            body
        },
        |body| {
            body.iter()
                .flat_map(|byte| {
                    if *byte == b'\n' {
                        vec![b'\r', b'\n']
                    } else {
                        vec![*byte]
                    }
                })
                .collect()
        },
        |_| Vec::new(),
        |mut body| {
            body.push(b'\n');
            body
        },
    ];
    for change in changes {
        let repo = Repo::small();
        let forge = Forge::serve(&repo);
        let blob = repo.id("main:modules/base.nix");
        let hits = forge.fault(When::get(&blob), Action::mutate(change));
        let machine = Machine::new();
        let (error, exit) = outcome(&forge, &machine);
        assert!(
            matches!(&error, Error::Verification(VerificationError::Blob { path, expected, .. }) if path == "modules/base.nix" && expected.to_string() == blob),
            "{error:?}"
        );
        assert_eq!((exit, hits.count()), (Exit::Verification, 2));
        assert!(
            machine
                .store
                .read(hyper_sync::git::id::ObjectKind::Blob, blob.parse().unwrap())
                .is_none()
        );

        forge
            .clear_faults()
            .fault(When::get(&blob).first(1), Action::mutate(change));
        let source = source(&forge);
        let resolved = source.resolve("main").unwrap();
        assert_same(&machine.stage(&source, &resolved).unwrap(), &repo, "main");
    }
}

#[test]
fn the_blob_of_another_file_is_refused() {
    let repo = Repo::small();
    let other = repo.cat("main:flake.nix");
    let forge = Forge::serve(&repo);
    forge.fault(
        When::get(&repo.id("main:modules/base.nix")),
        Action::ReplaceBody(other),
    );
    let outcome = outcome(&forge, &Machine::new());
    assert!(
        matches!(&outcome, (Error::Verification(VerificationError::Blob { path, .. }), Exit::Verification) if path == "modules/base.nix"),
        "{outcome:?}"
    );
}

#[test]
fn a_commit_of_another_form_is_malformed() {
    let liar = Liar::new();
    let commit = |change: fn(&mut serde_json::Value)| {
        liar.lie(When::get("/git/commits/"), Action::mutate_json(change))
    };
    let other = commit(|commit| commit["sha"] = json!("1".repeat(40)));
    assert!(
        matches!(
            other,
            (Error::Malformed { what: "commit", .. }, Exit::Verification)
        ),
        "{other:?}"
    );
    let none = commit(|commit| drop(commit.as_object_mut().unwrap().remove("tree")));
    assert!(
        matches!(none, (Error::Malformed { what: "commit", .. }, _)),
        "{none:?}"
    );
}

#[test]
fn an_answer_that_is_not_of_a_forge_is_refused() {
    let liar = Liar::new();
    for part in [
        "/commits/heads",
        "/git/commits/",
        "/git/trees/",
        "/git/blobs/",
    ] {
        let outcome = liar.lie(When::get(part), Action::Html);
        assert!(
            matches!(outcome, (Error::NotAForge { .. }, Exit::Network)),
            "{part}: {outcome:?}"
        );
    }
    for part in ["/commits/heads", "/git/commits/", "/git/trees/"] {
        for action in [
            Action::status(200, ""),
            Action::status(204, ""),
            Action::status(200, "OK"),
            Action::status(404, "nginx"),
            Action::status(304, ""),
        ] {
            let name = format!("{action:?}");
            let outcome = liar.lie(When::get(part), action);
            assert!(
                matches!(
                    outcome,
                    (
                        Error::NotAForge { .. } | Error::Redirect { .. },
                        Exit::Network
                    )
                ),
                "{part} {name}: {outcome:?}"
            );
        }
    }
    let sha256 = liar.lie(
        When::get("/commits/heads"),
        Action::status(200, "1".repeat(64)),
    );
    assert!(
        matches!(sha256, (Error::Sha256 { .. }, Exit::Configuration)),
        "{sha256:?}"
    );
    let limited = json!({ "message": "API rate limit exceeded" }).to_string();
    let polite = liar.lie(
        When::get("/git/trees/"),
        Action::status_with(200, "content-type", "application/json", limited),
    );
    assert!(matches!(polite, (Error::Malformed { .. }, _)), "{polite:?}");
}

#[test]
fn refusals_have_their_classes() {
    let liar = Liar::new();
    let json = |code: u16, message: &str| {
        let body = json!({ "message": message, "status": code.to_string() }).to_string();
        Action::status_with(code, "content-type", "application/json", body)
    };
    let at = |part: &str, action: Action| liar.lie(When::get(part), action);
    let blobs = "/git/blobs/";
    assert!(matches!(
        at(
            blobs,
            json(403, "Resource protected by organization SAML enforcement")
        ),
        (
            Error::Forbidden { words: Some(_), .. },
            Exit::Authentication
        )
    ));
    assert!(matches!(
        at(blobs, json(401, "Bad credentials")),
        (Error::Unauthorized { .. }, Exit::Authentication)
    ));
    assert!(matches!(
        at(blobs, json(404, "Not Found")),
        (
            Error::Verification(VerificationError::Incomplete { kind: "blob", .. }),
            Exit::Verification
        )
    ));
    assert!(matches!(
        at(blobs, Action::status(503, "later")),
        (Error::ServerError { .. }, Exit::Network)
    ));
    assert!(matches!(
        at(blobs, Action::rate_limited(4_000_000_000)),
        (Error::RateLimited { .. }, Exit::RateLimited)
    ));
    assert!(matches!(
        at("/git/trees/", Action::secondary_limit(429, Some("3600"))),
        (Error::RateLimited { .. }, Exit::RateLimited)
    ));
    assert!(matches!(
        at("/git/trees/", json(404, "Not Found")),
        (
            Error::Verification(VerificationError::Incomplete { kind: "tree", .. }),
            Exit::Verification
        )
    ));
    assert!(matches!(
        at("/git/trees/", Action::Cut { after_bytes: 10 }),
        (Error::Unreachable { .. }, Exit::Network)
    ));

    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.blob_bytes = 10);
    assert!(
        matches!(
            outcome(&forge, &Machine::new()),
            (Error::Unsuited { .. }, _)
        ),
        "the API's own limit"
    );
}

#[test]
fn a_redirect_elsewhere_is_refused_at_every_step_and_gets_no_token() {
    let repo = Repo::small();
    for part in [
        "/commits/heads",
        "/git/commits/",
        "/git/trees/",
        "/git/blobs/",
    ] {
        for code in [301, 302, 303, 307, 308] {
            let forge = Forge::serve(&repo);
            let other = forge.other_host();
            forge.fault(
                When::get(part),
                Action::RedirectOrigin {
                    code,
                    origin: other.origin(),
                },
            );
            let outcome = outcome(&forge, &Machine::new());
            assert!(
                matches!(outcome, (Error::Redirect { .. }, Exit::Network)),
                "{part} {code}: {outcome:?}"
            );
            assert!(forge.saw(TOKEN));
            assert_eq!(other.connections(), 0);
            assert!(!format!("{:?}", outcome.0).contains(TOKEN));
        }
    }
}
