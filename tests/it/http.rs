//! The HTTP client against the forge: what it sends, follows, repeats, waits for and refuses.

use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper_sync::settings::{Env, Limits};
use hyper_sync::source::http::header::{self, HeaderValue};
use hyper_sync::source::http::{Cap, Client, Credentials, Options, Request, Url, url};
use hyper_sync::source::{Error, Interrupt, SetupError};
use hyper_sync::text::Amount;
use hyper_sync::token::TokenSearch;

use crate::common::forge::fault::{Action, When};
use crate::common::forge::{Certificate, Forge, ca_file};
use crate::common::repo::Repo;

mod limits;
mod proxy;
mod redirects;
mod refusals;
mod tls;

const COMMIT: &str = "/repos/acme/machines/commits/main";
const CANARY: &str = "ghp_canary0123456789";

/// Pauses too short to notice; a limit is waited for one such pause at most.
fn options() -> Options {
    Options {
        backoff: Duration::from_millis(1),
        pause: Duration::from_millis(1),
        max_wait: Duration::from_millis(100),
        ..Options::default()
    }
}

fn client() -> Client {
    Client::new(options(), Interrupt::default()).unwrap()
}

fn at(forge: &Forge, path: &str) -> Url {
    url(&format!("{}{path}", forge.origin())).unwrap()
}

fn get(forge: &Forge, path: &str) -> Request {
    Request::get(at(forge, path))
}

fn post(forge: &Forge) -> Request {
    let url = at(forge, "/acme/machines.git/git-upload-pack");
    Request::post(
        url,
        "application/x-git-upload-pack-request",
        b"0000".to_vec(),
    )
    .header(header::USER_AGENT, HeaderValue::from_static("git/test"))
}

/// The token of an Enterprise host, which a loopback address may be.
fn credentials(url: &Url) -> Credentials {
    let env = Env::empty().with("GH_ENTERPRISE_TOKEN", CANARY);
    let search = TokenSearch {
        enterprise: true,
        ..TokenSearch::new(url.host_str().unwrap(), &env)
    };
    Credentials::token(&search.run().unwrap().unwrap(), url).unwrap()
}

#[test]
fn counts_bytes_as_they_came_and_hands_them_on_decoded() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let client = client();
    let reply = client.fetch(&get(&forge, COMMIT)).unwrap();
    assert_eq!(reply.headers["content-encoding"], "gzip");
    let commit: serde_json::Value = reply.json("commit").unwrap();
    assert_eq!(commit["sha"], repo.tip().unwrap());
    let traffic = client.traffic();
    assert_eq!((traffic.requests, traffic.sent), (1, 0));
    assert_eq!(traffic.received, forge.bytes_down());
    assert!(traffic.received < reply.body.len() as u64);
    let seen = &forge.requests()[0];
    assert_eq!(
        seen.header("user-agent"),
        Some(concat!("hyper-sync/", env!("CARGO_PKG_VERSION")))
    );
    assert_eq!(seen.header("referer"), None);
    assert_eq!(seen.header("cookie"), None);
}

#[test]
fn a_post_answers_as_a_reader() {
    let forge = Forge::serve(&Repo::small());
    let client = client();
    let mut response = client.send(&post(&forge)).unwrap();
    let mut text = String::new();
    response.body.read_to_string(&mut text).unwrap();
    assert_eq!(response.status, 200);
    assert!(response.body.failure().take().is_none());
    assert_eq!(client.traffic().sent, 4);
    assert_eq!(forge.requests()[0].body, b"0000");
}

#[test]
fn a_broken_connection_is_retried_three_times() {
    let forge = Forge::serve(&Repo::small());
    forge.fault(When::any().first(3), Action::Reset);
    assert_eq!(client().fetch(&get(&forge, COMMIT)).unwrap().status, 200);
    assert_eq!(forge.count(), 4);

    forge
        .reset()
        .clear_faults()
        .fault(When::any(), Action::Reset);
    let error = client().fetch(&get(&forge, COMMIT)).unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { remote, .. } if *remote == forge.host()),
        "{error:?}"
    );
    assert_eq!(forge.count(), 4);
}

#[test]
fn a_port_where_nothing_listens_is_unreachable_with_the_cause() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let client = client();
    let request = Request::get(url(&format!("http://127.0.0.1:{port}/")).unwrap());
    let error = client.fetch(&request).unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { cause, .. } if cause.contains("Connection refused")),
        "{error:?}"
    );
    assert_eq!(client.traffic().requests, 4);
}

#[test]
fn a_server_error_is_retried_and_then_reported() {
    let forge = Forge::serve(&Repo::small());
    forge.fault(When::any().first(3), Action::status(502, "Bad Gateway"));
    assert_eq!(client().fetch(&get(&forge, COMMIT)).unwrap().status, 200);
    assert_eq!(forge.count(), 4);

    forge
        .reset()
        .clear_faults()
        .fault(When::any(), Action::status(503, "later"));
    let error = client().fetch(&get(&forge, COMMIT)).unwrap_err();
    assert!(
        matches!(error, Error::ServerError { status: 503, .. }),
        "{error:?}"
    );
    assert_eq!(forge.count(), 4);
    assert!(matches!(
        client().send(&post(&forge)),
        Err(Error::ServerError { .. })
    ));
}

#[test]
fn an_error_that_a_person_must_correct_is_not_retried() {
    let forge = Forge::serve(&Repo::small());
    for status in [400, 401, 403, 404, 409, 410, 422, 451] {
        forge
            .reset()
            .clear_faults()
            .fault(When::any(), Action::status(status, "no"));
        assert_eq!(client().fetch(&get(&forge, COMMIT)).unwrap().status, status);
        assert_eq!(forge.count(), 1, "{status}");
    }
}

#[test]
fn a_body_that_breaks_off_is_retried_or_reported_to_its_reader() {
    let repo = Repo::small();
    repo.write("big", vec![b'x'; 100_000]).commit("big");
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.gzip = false);
    let path = format!("/repos/acme/machines/git/blobs/{}", repo.id("HEAD:big"));
    let request = get(&forge, &path).accept("application/vnd.github.raw+json");
    for action in [
        Action::Cut {
            after_bytes: 50_000,
        },
        Action::Truncate {
            keep: 50_000,
            honest: false,
        },
    ] {
        forge
            .reset()
            .clear_faults()
            .fault(When::any().first(2), action);
        assert_eq!(client().fetch(&request).unwrap().body, vec![b'x'; 100_000]);
        assert_eq!(forge.count(), 3);
    }
    forge
        .reset()
        .clear_faults()
        .fault(When::any(), Action::Cut { after_bytes: 0 });
    assert!(matches!(
        client().fetch(&request),
        Err(Error::Unreachable { .. })
    ));
    assert_eq!(forge.count(), 4, "heads and bodies share their retries");

    forge.reset().clear_faults().fault(
        When::any(),
        Action::Cut {
            after_bytes: 50_000,
        },
    );
    let mut response = client().send(&request).unwrap();
    let failure = response.body.failure();
    let mut read = Vec::new();
    assert!(response.body.read_to_end(&mut read).is_err());
    assert!(matches!(failure.take(), Some(Error::Unreachable { .. })));
    assert_eq!(forge.count(), 1);
}

#[test]
fn a_damaged_encoding_is_an_error() {
    let forge = Forge::serve(&Repo::small());
    let encoded = |coding: &str, body: &[u8]| Action::Status {
        code: 200,
        headers: vec![("content-encoding".into(), coding.into())],
        body: body.to_vec(),
    };
    let whole = crate::common::forge::fault::gzip(b"content");
    forge.fault(When::any(), encoded("GZIP", &whole));
    assert_eq!(client().fetch(&get(&forge, "/")).unwrap().body, b"content");
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for body in [&whole[..whole.len() - 1], &flipped, b"plain", b"\x1f\x8b"] {
        forge
            .clear_faults()
            .fault(When::any(), encoded("gzip", body));
        assert!(
            matches!(
                client().fetch(&get(&forge, "/")),
                Err(Error::Unreachable { .. })
            ),
            "{body:?}"
        );
    }
    for coding in ["br", "zstd", "gzip, gzip", "deflate"] {
        forge
            .clear_faults()
            .fault(When::any(), encoded(coding, &whole));
        assert!(
            matches!(
                client().fetch(&get(&forge, "/")),
                Err(Error::NotAForge { .. })
            ),
            "{coding}"
        );
    }
}

#[test]
fn a_cap_counts_decoded_bytes() {
    let forge = Forge::serve(&Repo::small());
    forge.fault(When::any(), Action::gzip_bomb(64 << 20));
    let client = client();
    let cap = Cap {
        bytes: 1000,
        what: "the listing".into(),
        setting: Some("limits.files"),
    };
    let error = client
        .fetch(&get(&forge, "/").cap(cap.clone()))
        .unwrap_err();
    assert!(
        matches!(&error, Error::TooLarge { what, limit: Amount::Limit(1000), setting: "limits.files" } if what == "the listing"),
        "{error:?}"
    );
    assert!(client.traffic().received < 1 << 17);

    forge
        .clear_faults()
        .fault(When::any(), Action::status(200, vec![b'x'; 1000]));
    assert_eq!(
        client
            .fetch(&get(&forge, "/").cap(cap.clone()))
            .unwrap()
            .body
            .len(),
        1000
    );
    forge
        .clear_faults()
        .fault(When::any(), Action::status(200, vec![b'x'; 1001]));
    assert!(matches!(
        client.fetch(&get(&forge, "/").cap(cap)),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn a_stall_ends_a_request() {
    let forge = Forge::serve(&Repo::small());
    let stall = Duration::from_millis(30);
    let patient = || Client::new(Options { stall, ..options() }, Interrupt::default()).unwrap();
    for action in [
        Action::Silence,
        Action::Stall { after_bytes: 0 },
        Action::Stall { after_bytes: 10 },
    ] {
        forge.reset().clear_faults().fault(When::any(), action);
        let error = patient().fetch(&get(&forge, COMMIT)).unwrap_err();
        assert!(
            matches!(error, Error::Timeout { after, .. } if after == stall),
            "{error:?}"
        );
        // Not asked again; on a busy machine the stall may end it before it was asked at all.
        assert!(forge.count() <= 1);
    }
}

#[test]
fn the_deadline_ends_everything() {
    let forge = Forge::serve(&Repo::small());
    let time = Duration::from_millis(30);
    let client = Client::new(Options { time, ..options() }, Interrupt::default()).unwrap();
    forge.fault(When::any(), Action::Silence);
    let error = client.fetch(&get(&forge, COMMIT)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { after, .. } if after == time),
        "{error:?}"
    );
    assert!(matches!(
        client.fetch(&get(&forge, COMMIT)),
        Err(Error::Timeout { .. })
    ));
    assert_eq!(forge.count(), 1);
}

#[test]
fn a_signal_ends_a_request_that_hangs_and_lets_none_begin() {
    let forge = Forge::serve(&Repo::small());
    let interrupt = Interrupt::default();
    let client = Client::new(options(), interrupt.clone()).unwrap();
    forge.fault(When::any(), Action::Silence);
    forge.after_each_request(move |_| interrupt.store(true, Ordering::Relaxed));
    assert!(matches!(
        client.fetch(&get(&forge, COMMIT)),
        Err(Error::Interrupted)
    ));
    assert!(matches!(
        client.fetch(&get(&forge, COMMIT)),
        Err(Error::Interrupted)
    ));
    assert_eq!(forge.count(), 1);
}

#[test]
fn an_answer_that_is_none_of_a_forge_is_shown_in_its_first_words() {
    let forge = Forge::serve(&Repo::small());
    let json = |action| -> Result<serde_json::Value, Error> {
        forge.clear_faults().fault(When::any(), action);
        client().fetch(&get(&forge, COMMIT)).unwrap().json("commit")
    };
    let long = format!("\x1b[2J<html>{}", "x".repeat(500));
    for action in [
        Action::Html,
        Action::status(200, ""),
        Action::status(204, ""),
        Action::status(200, "{}"),
        Action::status_with(200, "content-type", "application/json", "Sign in"),
        Action::status_with(200, "content-type", "application/json", ""),
        Action::status_with(200, "content-type", "text/html", long),
    ] {
        let error = json(action).unwrap_err();
        assert!(
            matches!(&error, Error::NotAForge { answer, .. } if answer.len() < 100),
            "{error:?}"
        );
        assert!(!error.to_string().contains('\x1b'), "{error}");
    }
    let api = |body: &[u8]| {
        json(Action::status_with(
            200,
            "content-type",
            "application/json",
            body,
        ))
    };
    assert!(api(b" {\"a\":1}").is_ok());
    let deep = "[".repeat(100_000);
    for body in ["{", "{\"a\":NaN}", "[] trailing", "[1,]", &deep] {
        let error = api(body.as_bytes()).unwrap_err();
        assert!(
            matches!(error, Error::Malformed { what: "commit", .. }),
            "{error:?}"
        );
    }
}

#[test]
fn a_refusal_names_the_token_that_was_used_and_never_shows_it() {
    let forge = Forge::serve(&Repo::small());
    let url = at(&forge, COMMIT);
    let refusal = |status: u16, with_token: bool| {
        let body = format!("go away {CANARY}");
        forge
            .clear_faults()
            .fault(When::any(), Action::status(status, body));
        let credentials = with_token.then(|| credentials(&url));
        let request = Request::get(url.clone()).credentials(credentials.as_ref());
        let error = client().send(&request).unwrap().refusal();
        assert!(
            !format!("{error} {error:?}").contains(CANARY) || !with_token,
            "{error:?}"
        );
        error
    };
    assert!(
        matches!(refusal(401, true), Error::Unauthorized { token, .. } if token.contains("GH_ENTERPRISE_TOKEN"))
    );
    assert!(matches!(refusal(401, false), Error::Unauthorized { token, .. } if token == "none"));
    assert!(matches!(refusal(403, true), Error::Forbidden { .. }));
    assert!(matches!(refusal(404, true), Error::NoPermission { .. }));
    assert!(
        matches!(refusal(418, true), Error::NotAForge { answer, .. } if answer.contains("***"))
    );
}

#[test]
fn many_requests_run_eight_at_once_and_end_at_the_first_error() {
    let client = client();
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let barrier = std::sync::Barrier::new(8);
    let items: Vec<u32> = (0..64).collect();
    let work = |_: &Client, item: &u32| {
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // All eight are here together, or this hangs.
        barrier.wait();
        now.fetch_sub(1, Ordering::SeqCst);
        Ok::<u32, ()>(item * 2)
    };
    let mut taken = Vec::new();
    client
        .each(&items, work, |item, double| {
            assert_eq!(item * 2, double);
            taken.push(*item);
            Ok(())
        })
        .unwrap();
    taken.sort_unstable();
    assert_eq!(taken, items);
    assert_eq!(most.load(Ordering::SeqCst), 8);

    let begun = AtomicUsize::new(0);
    let many: Vec<u32> = (0..10_000).collect();
    let failed = client.each(
        &many,
        |_, _| {
            begun.fetch_add(1, Ordering::SeqCst);
            Err::<(), _>("no")
        },
        |_, ()| Ok(()),
    );
    assert_eq!(failed, Err("no"));
    assert!(begun.load(Ordering::SeqCst) < 100);
    assert_eq!(
        client.each(&[] as &[u32], |_, _| Ok::<(), ()>(()), |_, ()| Ok(())),
        Ok(())
    );
}

#[test]
fn dropping_a_client_in_use_elsewhere_keeps_the_answer_readable() {
    let forge = Forge::serve(&Repo::small());
    let mut response = client().send(&get(&forge, COMMIT)).unwrap();
    let mut body = Vec::new();
    response.body.read_to_end(&mut body).unwrap();
    assert!(!body.is_empty());
    let flag: Interrupt = Arc::new(AtomicBool::new(false));
    drop(Client::new(options(), flag).unwrap());
}
