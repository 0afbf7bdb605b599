//! The rate gate.

use super::*;

#[test]
fn a_short_limit_is_waited_out() {
    let forge = Forge::serve(&Repo::small());
    for action in [
        Action::status_with(429, "retry-after", "0", ""),
        Action::status_with(403, "retry-after", "Sun, 06 Nov 1994 08:49:37 GMT", ""),
        Action::secondary_limit(403, None),
        Action::secondary_limit(429, Some("0")),
        Action::status(429, "slow down"),
    ] {
        forge
            .reset()
            .clear_faults()
            .fault(When::any().first(2), action);
        assert_eq!(client().fetch(&get(&forge, COMMIT)).unwrap().status, 200);
        assert_eq!(forge.count(), 3);
    }
}

#[test]
fn a_limit_that_does_not_end_is_given_up() {
    let forge = Forge::serve(&Repo::small());
    for action in [
        Action::status_with(429, "retry-after", "0", ""),
        Action::secondary_limit(403, None),
    ] {
        forge.reset().clear_faults().fault(When::any(), action);
        assert!(matches!(
            client().send(&post(&forge)),
            Err(Error::RateLimited { .. })
        ));
        assert_eq!(forge.count(), 4);
    }
}

#[test]
fn a_long_limit_is_reported_at_once_and_nothing_more_is_sent() {
    let forge = Forge::serve(&Repo::small());
    let other = forge.other_host();
    for (action, least) in [
        (Action::status_with(429, "retry-after", "3600", ""), 3000),
        (
            Action::status_with(403, "retry-after", "315360000", ""),
            315_000_000,
        ),
        (Action::rate_limited(4_000_000_000), 1_000_000),
    ] {
        forge.reset().clear_faults().fault(When::any(), action);
        let client = client();
        for _ in 0..2 {
            let error = client.fetch(&get(&forge, COMMIT)).unwrap_err();
            let Error::RateLimited {
                retry: Some(retry), ..
            } = error
            else {
                panic!("{error:?}")
            };
            assert!(retry.wait.as_secs() > least, "{retry:?}");
        }
        assert_eq!(forge.count(), 1, "the gate is closed");
        assert_eq!(
            client.fetch(&get(&other, COMMIT)).unwrap().status,
            200,
            "for this host"
        );
    }
}

#[test]
fn the_quota_is_known_and_an_empty_one_is_not_tried() {
    let forge = Forge::serve(&Repo::small());
    forge.configure(|config| config.rate.remaining = 2);
    let client = client();
    assert_eq!(client.quota(&at(&forge, "/")), None);
    client.fetch(&get(&forge, COMMIT)).unwrap();
    assert_eq!(client.quota(&at(&forge, "/")).unwrap().remaining, 1);
    client.fetch(&get(&forge, COMMIT)).unwrap();
    assert!(matches!(
        client.fetch(&get(&forge, COMMIT)),
        Err(Error::RateLimited { .. })
    ));
    assert_eq!(forge.count(), 2);
}

#[test]
fn a_server_that_names_a_long_pause_is_not_waited_for() {
    let forge = Forge::serve(&Repo::small());
    let busy = |seconds| Action::status_with(503, "retry-after", seconds, "maintenance");
    forge.fault(When::any(), busy("3600"));
    let error = client().fetch(&get(&forge, COMMIT)).unwrap_err();
    assert!(
        matches!(error, Error::ServerError { status: 503, .. }),
        "{error:?}"
    );
    assert_eq!(forge.count(), 1);
    forge
        .reset()
        .clear_faults()
        .fault(When::any().first(1), busy("0"));
    assert_eq!(client().fetch(&get(&forge, COMMIT)).unwrap().status, 200);
}

#[test]
fn a_limit_with_a_time_out_of_range_is_a_rate_limit() {
    let forge = Forge::serve(&Repo::small());
    let time = Duration::MAX;
    let client = Client::new(Options { time, ..options() }, Interrupt::default()).unwrap();
    let endless = u64::MAX.to_string();
    for header in ["retry-after", "x-ratelimit-reset"] {
        let headers = [(header, endless.as_str()), ("x-ratelimit-remaining", "0")];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let action = Action::Status {
            code: 403,
            headers,
            body: Vec::new(),
        };
        forge.clear_faults().fault(When::any(), action);
        let error = client.fetch(&get(&forge, COMMIT)).unwrap_err();
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    }
}

#[test]
fn a_time_is_named_only_where_the_host_names_one() {
    let forge = Forge::serve(&Repo::small());
    forge.fault(When::any(), Action::status(429, "slow down"));
    let impatient = Options {
        pause: Duration::from_secs(60),
        max_wait: Duration::ZERO,
        ..options()
    };
    let client = Client::new(impatient, Interrupt::default()).unwrap();
    for _ in 0..2 {
        let error = client.fetch(&get(&forge, COMMIT)).unwrap_err();
        assert!(
            matches!(&error, Error::RateLimited { retry: None, token, .. } if token == "none"),
            "{error:?}"
        );
    }
    assert_eq!(forge.count(), 1, "our own pause is kept");
}
