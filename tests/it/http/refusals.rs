//! Refusals that only their own words explain, and logins that something between wants.

use super::*;

fn refusal(forge: &Forge, action: Action) -> Error {
    forge.reset().clear_faults().fault(When::any(), action);
    let url = at(forge, COMMIT);
    let request = Request::get(url.clone()).credentials(Some(&credentials(&url)));
    let error = client().send(&request).unwrap().refusal();
    assert_eq!(forge.count(), 1, "asked once");
    error
}

fn forbidden(headers: &[(&str, &str)], body: &str) -> Action {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Action::Status {
        code: 403,
        headers: headers.iter().map(owned).collect(),
        body: body.as_bytes().to_vec(),
    }
}

#[test]
fn a_403_is_explained_by_the_servers_words() {
    let forge = Forge::serve(&Repo::small());
    let json = ("content-type", "application/json; charset=utf-8");
    let text = ("content-type", "text/plain");
    for (header, body, expected) in [
        (
            json,
            r#"{"message":"The acme organization forbids access","status":"403"}"#,
            Some("The acme organization forbids access"),
        ),
        (
            text,
            "\n  Access is restricted.\nmore\n",
            Some("Access is restricted."),
        ),
        (text, &format!("no {CANARY} here"), Some("no *** here")),
        (("content-type", "text/html"), "<html>no</html>", None),
        (json, "[]", None),
        (json, r#"{"message":""}"#, None),
        (text, "", None),
    ] {
        let error = refusal(&forge, forbidden(&[header], body));
        let Error::Forbidden { words, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(words.as_deref(), expected);
        assert!(!format!("{error} {error:?}").contains(CANARY));
    }
    let long = "x".repeat(60_000);
    let error = refusal(&forge, forbidden(&[text], &long));
    assert!(error.to_string().len() < 600, "{error}");
}

#[test]
fn single_sign_on_is_named_with_its_page() {
    let forge = Forge::serve(&Repo::small());
    let page = "https://github.com/orgs/acme/sso?authorization_request=canary";
    for (header, expected) in [
        (
            format!("required; url={page}"),
            Some("https://github.com/orgs/acme/sso"),
        ),
        ("partial-results; organizations=1,2".to_owned(), None),
        ("required; url=javascript:alert(1)".to_owned(), None),
        ("required; url=https://u:p@evil.example/".to_owned(), None),
    ] {
        let headers = [("x-github-sso", header.as_str())];
        let error = refusal(&forge, forbidden(&headers, "no"));
        let Error::Forbidden { sso, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(sso.as_deref(), expected, "{header}");
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[test]
fn a_network_with_a_login_page_is_not_retried() {
    let forge = Forge::serve(&Repo::small());
    let error = refusal(&forge, Action::status(511, "<html>log in</html>"));
    assert!(
        matches!(error, Error::LoginPage { page: None, .. }),
        "{error:?}"
    );
}

#[test]
fn a_redirect_without_an_address_is_explained_in_words() {
    let forge = Forge::serve(&Repo::small());
    forge.fault(When::any(), Action::status(302, ""));
    let error = client().fetch(&get(&forge, COMMIT)).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("redirects without naming an address"),
        "{error}"
    );
    let refused = client().send(&post(&forge)).unwrap().refusal();
    assert_eq!(refused.to_string(), error.to_string());
}

#[test]
fn an_answer_that_is_too_long_for_its_kind_is_not_from_a_forge() {
    let forge = Forge::serve(&Repo::small());
    let padded = Action::status(200, vec![b' '; (1 << 20) + 1]);
    for action in [padded, Action::gzip_bomb(64 << 20)] {
        forge.clear_faults().fault(When::any(), action);
        let client = client();
        let error = client.fetch(&get(&forge, COMMIT)).unwrap_err();
        assert!(matches!(error, Error::NotAForge { .. }), "{error:?}");
        assert!(client.traffic().received < 3 << 20);
    }
}
