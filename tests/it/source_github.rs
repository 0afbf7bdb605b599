//! The REST API against the forge: its requests, and that what it obtains equals what git has.

use std::collections::BTreeSet;
use std::time::Duration;

use hyper_sync::git::{BlobId, Commit, CommitId, Tree};
use hyper_sync::settings::{Env, Limits};
use hyper_sync::source::github::GitHub;
use hyper_sync::source::http::{Client, Options};
use hyper_sync::source::{
    Error, Interrupt, Need, Notice, Obtained, Provenance, RefKind, ResolvedRef, Route, Source,
    Staged, VerificationError,
};
use hyper_sync::token::TokenSearch;

use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::machine::Machine;
use crate::common::repo::Repo;

mod answers;
mod hostile;
mod names;
mod proof;
mod quota;

const TOKEN: &str = "ghp_canary0123456789";

impl Machine {
    fn obtain(&self, source: &GitHub, commit: &str) -> Result<Obtained, Error> {
        source.obtain(commit.parse().unwrap(), None, &self.store, self)
    }

    /// Adds the staged files to the target, as an apply does.
    fn apply(&mut self, staged: &[(BlobId, Vec<u8>)]) {
        self.held = staged.iter().cloned().collect();
    }
}

fn options() -> Options {
    Options {
        backoff: Duration::from_millis(1),
        pause: Duration::from_millis(1),
        max_wait: Duration::from_millis(100),
        ..Options::default()
    }
}

/// How a source is made; the default has no token and no last commit.
#[derive(Default)]
struct Asking {
    token: bool,
    known: Option<CommitId>,
    limits: Limits,
    owner_name: Option<&'static str>,
}

impl Asking {
    fn at(&self, forge: &Forge) -> GitHub {
        let env = Env::empty().with("GH_ENTERPRISE_TOKEN", TOKEN);
        let search = TokenSearch {
            enterprise: true,
            ..TokenSearch::new("127.0.0.1", &env)
        };
        let token = search.run().unwrap().filter(|_| self.token);
        let owner_name = self
            .owner_name
            .map_or_else(|| forge.owner_name(), str::to_owned);
        let client = Client::new(options(), Interrupt::default()).unwrap();
        let (owner, name) = owner_name.split_once('/').unwrap();
        let api = forge.api_url();
        GitHub::new(
            client,
            (owner, name),
            Some(&api),
            token.as_ref(),
            self.limits,
            self.known,
        )
        .unwrap()
    }
}

fn source(forge: &Forge) -> GitHub {
    Asking::default().at(forge)
}

fn id(text: &str) -> CommitId {
    text.parse().unwrap()
}

/// Every managed file of what was staged: path, mode and content, with its ids.
fn contents(staged: &Staged<'_>) -> Vec<(BlobId, Vec<u8>)> {
    staged
        .files()
        .values()
        .map(|file| (file.id, staged.blob(file.id).unwrap()))
        .collect()
}

/// Asserts that what was staged is what git has, to the byte.
fn assert_same(staged: &Staged<'_>, repo: &Repo, revision: &str) {
    let listed: Vec<String> = staged
        .tree()
        .files()
        .iter()
        .map(|(path, file)| format!("{} blob {}\t{path}", file.mode.as_str(), file.id))
        .chain(
            staged
                .tree()
                .gitlinks()
                .iter()
                .map(|(path, id)| format!("160000 commit {id}\t{path}")),
        )
        .collect();
    let rows = repo.ls_tree(revision);
    let mut expected: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{} {} {}\t{}",
                row.mode,
                row.kind,
                row.id,
                String::from_utf8_lossy(&row.path)
            )
        })
        .collect();
    let mut listed = listed;
    listed.sort();
    expected.sort();
    assert_eq!(listed, expected);
    for file in staged.files().values() {
        assert_eq!(
            staged.blob(file.id).unwrap(),
            repo.cat(&file.id.to_string())
        );
    }
}

fn distinct_blobs(repo: &Repo, revision: &str) -> usize {
    let rows = repo.ls_tree(revision);
    rows.iter()
        .filter(|row| row.kind == "blob")
        .map(|row| &row.id)
        .collect::<BTreeSet<_>>()
        .len()
}

#[test]
fn a_fresh_install_requests_commit_listing_and_each_content_once() {
    let repo = Repo::with_history(11);
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    let source = source(&forge);
    let resolved = source.resolve("main").unwrap();
    assert_eq!(
        resolved,
        ResolvedRef {
            commit: id(&repo.tip().unwrap()),
            kind: RefKind::Branch,
            is_tag_too: false,
        }
    );
    let staged = machine.stage(&source, &resolved).unwrap();
    assert_same(&staged, &repo, "main");
    assert_eq!(staged.route(), Route::SelectApi);
    assert_eq!(staged.downloaded(), distinct_blobs(&repo, "main") as u64);
    assert_eq!(forge.count(), 3 + distinct_blobs(&repo, "main"));
    assert!(!staged.notices().contains(&Notice::CommitFromForge));
    assert!(machine.store.is_complete(resolved.commit));
    assert_eq!(source.traffic().requests, forge.count() as u64);
    assert_eq!(source.traffic().received, forge.bytes_down());
    assert!(
        forge
            .requests()
            .iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    machine.store.make_durable().unwrap();
    // `git fsck` accepts what is in the store.
    crate::common::git::succeeds(
        crate::common::git::git(machine.store.path())
            .arg("--git-dir")
            .arg(machine.store.path())
            .args(["fsck", "--strict", "--no-dangling"]),
    );
}

#[test]
fn an_update_costs_three_requests_and_one_a_changed_file() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let mut machine = Machine::new();
    let source = source(&forge);
    let first = source.resolve("main").unwrap();
    let staged = contents(&machine.stage(&source, &first).unwrap());
    machine.apply(&staged);

    repo.write("new/one.nix", "1")
        .write("new/two.nix", "2")
        .write("flake.nix", "changed")
        .commit("three files");
    forge.reset();
    let source = Asking {
        known: Some(first.commit),
        ..Asking::default()
    }
    .at(&forge);
    let second = source.resolve("main").unwrap();
    let staged = machine.stage(&source, &second).unwrap();
    assert_same(&staged, &repo, "main");
    assert_eq!(staged.downloaded(), 3);
    let lines = forge.request_lines();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    let base = "GET /api/v3/repos/acme/machines";
    assert_eq!(lines[0], format!("{base}/commits/heads%2Fmain"));
    assert_eq!(lines[1], format!("{base}/git/commits/{}", second.commit));
    assert_eq!(
        lines[2],
        format!("{base}/git/trees/{}?recursive=1", staged.commit().tree)
    );
    assert!(
        lines[3..]
            .iter()
            .all(|line| line.starts_with(&format!("{base}/git/blobs/")))
    );
    assert_eq!(
        forge.requests()[0].header("accept"),
        Some("application/vnd.github.sha")
    );
    assert_eq!(
        forge.requests()[0].header("x-github-api-version"),
        Some("2022-11-28")
    );
}

#[test]
fn nothing_changed_is_one_request_and_no_quota() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let known = id(&repo.tip().unwrap());
    let quota = forge.config().rate.remaining;
    let source = Asking {
        known: Some(known),
        ..Asking::default()
    }
    .at(&forge);
    assert_eq!(source.resolve("main").unwrap().commit, known);
    assert_eq!((forge.count(), forge.requests()[0].status), (1, 304));
    assert_eq!(forge.config().rate.remaining, quota);
    assert_eq!(source.traffic().received, 0);
}

#[test]
fn a_commit_that_the_store_has_is_not_requested_again() {
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    let source = source(&forge);
    let tip = repo.tip().unwrap();
    machine.obtain(&source, &tip).unwrap();
    forge.reset();
    let again = machine.obtain(&source, &tip).unwrap();
    assert_eq!(
        (again.route, again.blobs, forge.count()),
        (Route::Store, 0, 0)
    );
}

#[test]
fn the_sync_after_a_check_lists_nothing_again() {
    struct Nothing;
    impl Need for Nothing {
        fn missing(&self, _: &Tree) -> Result<Vec<BlobId>, hyper_sync::scan::Error> {
            Ok(Vec::new())
        }
        fn content(&self, _: BlobId) -> Option<Vec<u8>> {
            None
        }
    }
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    let source = source(&forge);
    let tip = repo.tip().unwrap();
    source
        .obtain(id(&tip), None, &machine.store, &Nothing)
        .unwrap();
    assert_eq!(forge.count(), 2);
    machine.obtain(&source, &tip).unwrap();
    assert_eq!(forge.count(), 2 + distinct_blobs(&repo, &tip));
}

#[test]
fn excluded_files_are_never_downloaded() {
    let repo = Repo::small();
    repo.write("target/huge", vec![b'x'; 2000])
        .commit("build output");
    let forge = Forge::serve(&repo);
    let mut machine = Machine::new();
    machine.excluded = |path| path.starts_with("target/");
    // Excluded files do not count: its size is over the limit of all files together.
    let limits = Limits {
        bytes: 1000,
        ..Limits::default()
    };
    let source = Asking {
        limits,
        ..Asking::default()
    }
    .at(&forge);
    let resolved = source.resolve("main").unwrap();
    let staged = machine.stage(&source, &resolved).unwrap();
    assert_eq!(staged.downloaded(), 3);
    let huge = repo.id("main:target/huge");
    assert!(
        forge
            .request_lines()
            .iter()
            .all(|line| !line.contains(&huge))
    );
}

#[test]
fn a_branch_that_moves_meanwhile_changes_nothing() {
    let repo = Repo::with_history(2);
    let first = repo.tip().unwrap();
    let forge = Forge::serve(&repo);
    let mut turn = 0;
    forge.after_each_request(move |repo| {
        turn += 1;
        repo.write("flake.nix", format!("turn {turn}"))
            .commit("on and on");
    });
    let machine = Machine::new();
    let source = source(&forge);
    let resolved = source.resolve("main").unwrap();
    assert_eq!(resolved.commit, id(&first));
    let staged = machine.stage(&source, &resolved).unwrap();
    assert_same(&staged, &repo, &first);
    assert_ne!(repo.tip().unwrap(), first);
}
