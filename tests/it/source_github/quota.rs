//! What is not started for lack of quota, and what is kept after a failure.

use super::*;

#[test]
fn a_download_beyond_the_quota_is_not_started() {
    let repo = Repo::with_history(2);
    let blobs = distinct_blobs(&repo, "main") as u64;
    let forge = Forge::serve(&repo);
    forge.configure(|config| {
        config.rate.limit = 60;
        config.rate.remaining = 3 + blobs - 1;
        config.rate.reset = 4_000_000_000;
    });
    let machine = Machine::new();
    let source = source(&forge);
    let resolved = source.resolve("main").unwrap();
    let error = machine.stage(&source, &resolved).unwrap_err();
    assert!(
        matches!(error, Error::RateLimited { retry: Some(_), .. }),
        "{error:?}"
    );
    assert_eq!(forge.count(), 3);

    forge.configure(|config| config.rate.remaining = blobs);
    let source = Asking {
        token: true,
        ..Asking::default()
    }
    .at(&forge);
    assert_same(&machine.stage(&source, &resolved).unwrap(), &repo, "main");
    assert_eq!(
        forge.config().rate.remaining,
        0,
        "commit and listing were kept"
    );
}

#[test]
fn files_received_before_a_failure_are_kept() {
    let repo = Repo::with_history(2);
    let blobs = distinct_blobs(&repo, "main");
    let forge = Forge::serve(&repo);
    forge.fault(
        When::get("/git/blobs/").from(6),
        Action::secondary_limit(403, Some("3600")),
    );
    let machine = Machine::new();
    let tip = repo.tip().unwrap();
    assert!(matches!(
        machine.obtain(&source(&forge), &tip),
        Err(Error::RateLimited { .. })
    ));
    let asked = forge
        .request_lines()
        .iter()
        .filter(|line| line.contains("/blobs/"))
        .count();
    assert!(asked < 5 + 8 + 1, "{asked}: the gate closes for all");
    forge.reset().clear_faults();
    let obtained = machine.obtain(&source(&forge), &tip).unwrap();
    assert_eq!(forge.count(), blobs - 5);
    assert_eq!(obtained.blobs, blobs as u64 - 5);
}

#[test]
fn a_signal_stops_between_files() {
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    let interrupt = Interrupt::default();
    let client = Client::new(options(), interrupt.clone()).unwrap();
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
    let mut left = 6;
    forge.after_each_request(move |_| {
        left -= 1;
        if left == 0 {
            interrupt.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    });
    let machine = Machine::new();
    assert!(matches!(
        machine.obtain(&source, &repo.tip().unwrap()),
        Err(Error::Interrupted)
    ));
    assert!(forge.count() < 6 + 8 + 1);
}
