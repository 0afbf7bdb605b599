//! The peak of memory, counted by the allocator: with answers that are longer than they may be, and with many at once.
//!
//! The forge runs in the same process and is counted too, so every bound has room for what it holds. There is one test
//! only, because the count is that of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot set up its world has failed"
)]

/// Fixtures of several test binaries.
#[path = "../common/mod.rs"]
mod common;

use std::time::Duration;

use hyper_sync::settings::Limits;
use hyper_sync::source::github::GitHub;
use hyper_sync::source::http::{Client, Options};
use hyper_sync::source::{Error, Interrupt, Source};
use peak_alloc::PeakAlloc;

use common::forge::Forge;
use common::forge::fault::{Action, When};
use common::machine::Machine;
use common::repo::Repo;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// Syncs `main` into an empty machine by the API; how that ends, and how many bytes were allocated meanwhile, beyond
/// those that were before.
fn sync(forge: &Forge) -> (Result<(), Error>, usize) {
    let options = Options {
        backoff: Duration::from_millis(1),
        ..Options::default()
    };
    let client = Client::new(options, Interrupt::default()).unwrap();
    let api = forge.api_url();
    let source = GitHub::new(
        client,
        ("acme", "machines"),
        Some(&api),
        None,
        Limits::default(),
        None,
    )
    .unwrap();
    let machine = Machine::new();
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = source
        .resolve("main")
        .and_then(|resolved| machine.stage(&source, &resolved).map(drop));
    (result, MEMORY.peak_usage().saturating_sub(before))
}

/// Syncs with one kind of answer changed, to an error.
fn refused(forge: &Forge, part: &str, action: Action) -> (Error, usize) {
    let hits = forge.clear_faults().fault(When::get(part), action);
    let (result, peak) = sync(forge);
    assert!(hits.count() > 0);
    (result.unwrap_err(), peak)
}

/// A small file for each of so many names.
fn files(count: usize) -> Repo {
    let repo = Repo::new();
    for number in 0..count {
        repo.write(format!("f{number}"), number.to_string());
    }
    repo.commit("files");
    repo
}

#[test]
fn memory_is_bounded_by_what_was_listed_not_by_what_is_received() {
    // Sixteen files of two bytes, of which each is answered with a bomb.
    let forge = Forge::serve(&files(16));
    let (error, peak) = refused(&forge, "/git/blobs/", Action::gzip_bomb(190 << 20));
    assert!(
        matches!(error, Error::Malformed { what: "blob", .. }),
        "{error:?}"
    );
    assert!(peak < 8 * MIB, "{peak}");

    // A listing of a hundred thousand rows and more, and one of a single long name.
    let row = r#"{"path":"a","mode":"100644","type":"blob","sha":"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"}"#;
    let rows = vec![row; 150_000].join(",");
    let flood = format!(
        r#"{{"sha":"{}","truncated":false,"tree":[{rows}]}}"#,
        "1".repeat(40)
    );
    let long = format!(
        r#"{{"truncated":false,"tree":[{{"path":"{}"#,
        "a".repeat(47 << 20)
    );
    for (body, bound) in [(flood, 64 * MIB), (long, 128 * MIB)] {
        let action = Action::ReplaceBody(body.into_bytes());
        let (error, peak) = refused(&forge, "/git/trees/", action);
        assert!(
            matches!(
                error,
                Error::Malformed {
                    what: "listing",
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(peak < bound, "{peak}");
    }

    // Sixty megabytes of honest files are never all in memory.
    let repo = Repo::new();
    for number in 0..30_u32 {
        let line = format!("{number:>15}\n");
        repo.write(format!("f{number}"), line.repeat((2 << 20) / 16 - 1));
    }
    repo.commit("files");
    let forge = Forge::serve(&repo);
    let (result, peak) = sync(&forge);
    result.unwrap();
    assert!(peak < 40 * MIB, "{peak}");
}
