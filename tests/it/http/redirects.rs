//! Redirects, and where credentials go.

use super::*;

#[test]
fn a_redirect_within_the_host_is_followed_with_the_token() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names.push("acme/old".into()));
    let url = at(&forge, "/repos/acme/old/commits/main");
    let request = Request::get(url.clone()).credentials(Some(&credentials(&url)));
    let reply = client().fetch(&request).unwrap();
    assert_eq!(reply.status, 200);
    assert!(reply.url.path().starts_with("/repositories/1000"));
    assert_eq!(forge.count(), 2);
    for seen in forge.requests() {
        assert_eq!(
            seen.header("authorization"),
            Some(format!("token {CANARY}").as_str())
        );
    }
}

#[test]
fn a_redirect_to_another_host_is_refused_and_no_request_goes_there() {
    let forge = Forge::serve(&Repo::small());
    let other = forge.other_host();
    let url = at(&forge, COMMIT);
    for code in [301, 302, 303, 307, 308] {
        let action = Action::RedirectOrigin {
            code,
            origin: other.origin(),
        };
        forge.reset().clear_faults().fault(When::any(), action);
        let request = Request::get(url.clone()).credentials(Some(&credentials(&url)));
        let error = client().fetch(&request).unwrap_err();
        assert!(
            matches!(&error, Error::Redirect { to: Some(to), .. } if to.starts_with(&other.origin())),
            "{error:?}"
        );
        assert_eq!(forge.count(), 1, "{code}");
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_redirect_to_another_port_or_scheme_is_refused() {
    let forge = Forge::serve(&Repo::small());
    let neighbour = Forge::serve(&Repo::small());
    for to in [
        neighbour.origin(),
        format!("https://{}/", forge.host()),
        "ftp://127.0.0.1/".into(),
        "http://[".into(),
        format!("http://x@{}/", forge.host()),
    ] {
        forge.clear_faults().fault(
            When::any(),
            Action::Redirect {
                code: 302,
                to: to.clone(),
            },
        );
        let result = client().fetch(&get(&forge, COMMIT));
        assert!(result.is_err(), "{to}");
    }
    assert_eq!(neighbour.connections(), 0);
}

#[test]
fn a_redirect_loop_ends() {
    let forge = Forge::serve(&Repo::small());
    forge.fault(
        When::any(),
        Action::Redirect {
            code: 302,
            to: "/again".into(),
        },
    );
    assert!(matches!(
        client().fetch(&get(&forge, COMMIT)),
        Err(Error::Redirect { .. })
    ));
    assert_eq!(forge.count(), 6);
}

#[test]
fn a_post_is_never_redirected() {
    let forge = Forge::serve(&Repo::small());
    for code in [301, 302, 303, 307, 308] {
        forge.reset().clear_faults().fault(
            When::any(),
            Action::Redirect {
                code,
                to: "/elsewhere".into(),
            },
        );
        let response = client().send(&post(&forge)).unwrap();
        assert_eq!(response.status, code);
        let elsewhere = format!("{}/elsewhere", forge.origin());
        assert!(
            matches!(response.refusal(), Error::Redirect { to: Some(to), .. } if to == elsewhere)
        );
        assert_eq!(forge.count(), 1);
    }
}

#[test]
fn credentials_travel_to_their_own_origin_and_not_in_the_clear() {
    let forge = Forge::serve(&Repo::small());
    let url = at(&forge, COMMIT);
    let ours = credentials(&url);
    let neighbour = Forge::serve(&Repo::small());
    client()
        .fetch(&get(&neighbour, COMMIT).credentials(Some(&ours)))
        .unwrap();
    assert!(!neighbour.saw(CANARY), "another port is another origin");
    client()
        .fetch(&get(&forge, COMMIT).credentials(Some(&ours)))
        .unwrap();
    assert!(forge.saw(CANARY));

    let far = hyper_sync::source::http::url("http://git.example.org/").unwrap();
    let client = client();
    let refused = client.fetch(&Request::get(far.clone()).credentials(Some(&credentials(&far))));
    assert!(
        matches!(refused, Err(Error::Setup(SetupError::PlainHttp { remote })) if remote == "git.example.org")
    );
    assert_eq!(client.traffic().requests, 0);
}

#[test]
fn addresses_that_must_not_be_asked_are_refused_before_anything_is_sent() {
    for text in [
        "https://me:canary@github.com/",
        "https://canary@github.com/",
        "file:///etc/passwd",
        "gopher://h/",
        "github.com",
        "https://",
        "https://h/#x",
    ] {
        let error = url(text).unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{text}");
        assert!(
            !format!("{error} {error:?}").contains("canary"),
            "{error:?}"
        );
    }
    let client = client();
    let smuggled = Request::get("http://u:p@127.0.0.1:1/".parse().unwrap());
    assert!(matches!(
        client.fetch(&smuggled),
        Err(Error::Address { .. })
    ));
    assert_eq!(client.traffic().requests, 0);
}
