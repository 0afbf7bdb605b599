//! Certificates and proxies.

use super::*;

fn trusting(ca_file: PathBuf) -> Client {
    let env = Env::empty().with("SSL_CERT_FILE", ca_file);
    let options = Options {
        backoff: Duration::from_millis(1),
        ..Options::new(None, Limits::default(), &env)
    };
    Client::new(options, Interrupt::default()).unwrap()
}

#[test]
fn a_certificate_of_the_given_authority_is_accepted_and_one_connection_serves_many() {
    let forge = Forge::tls(&Repo::small(), Certificate::Good);
    let client = trusting(ca_file());
    let url = at(&forge, COMMIT);
    let token = credentials(&url);
    let request = Request::get(url).credentials(Some(&token));
    client.fetch(&request).unwrap();
    let work = |client: &Client, _: &u32| client.fetch(&request).map(|reply| reply.status);
    client
        .each(&[0; 16], work, |_, status| {
            assert_eq!(status, 200);
            Ok(())
        })
        .unwrap();
    assert_eq!((forge.count(), forge.connections()), (17, 1), "HTTP/2");
    assert!(forge.saw(CANARY));
}

#[test]
fn any_other_certificate_is_refused_at_the_first_try() {
    for certificate in [
        Certificate::Expired,
        Certificate::WrongName,
        Certificate::SelfSigned,
    ] {
        let forge = Forge::tls(&Repo::small(), certificate);
        let client = trusting(ca_file());
        let url = at(&forge, COMMIT);
        let token = credentials(&url);
        let error = client
            .fetch(&Request::get(url).credentials(Some(&token)))
            .unwrap_err();
        assert!(
            matches!(error, Error::Certificate { .. }),
            "{certificate:?}: {error:?}"
        );
        assert_eq!(
            (
                client.traffic().requests,
                forge.connections(),
                forge.count()
            ),
            (1, 1, 0)
        );
    }
    let forge = Forge::tls(&Repo::small(), Certificate::Good);
    let error = client().fetch(&get(&forge, COMMIT)).unwrap_err();
    // A machine without certificates says so and does not even connect.
    assert!(
        matches!(
            error,
            Error::Certificate { .. } | Error::Setup(SetupError::NoCertificates { .. })
        ),
        "{error:?}"
    );
    assert_eq!(forge.count(), 0);
}

#[test]
fn a_server_without_tls_is_named_as_one_and_not_asked_again() {
    let forge = Forge::serve(&Repo::small());
    let address = format!("{}{COMMIT}", forge.origin().replace("http://", "https://"));
    let client = trusting(ca_file());
    let error = client.fetch(&Request::get(url(&address).unwrap()));
    let Err(Error::NoTls { remote }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(remote, forge.host());
    assert_eq!((client.traffic().requests, forge.count()), (1, 0));
}

#[test]
fn the_bundle_is_the_settings_then_the_environments_and_a_bad_one_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate here\n").unwrap();
    let broken = directory.path().join("broken.pem");
    std::fs::write(
        &broken,
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    let env = Env::empty()
        .with("SSL_CERT_FILE", &empty)
        .with("NIX_SSL_CERT_FILE", "/nonexistent");
    let made = |file: Option<&PathBuf>, env: &Env| {
        let options = Options::new(file.map(PathBuf::as_path), Limits::default(), env);
        Client::new(options, Interrupt::default()).map(|_| ())
    };
    let origin = |result: Result<(), Error>| match result {
        Err(Error::Setup(SetupError::CaFile { origin, .. })) => origin,
        other => panic!("{other:?}"),
    };
    assert_eq!(origin(made(Some(&broken), &env)), "ca_file");
    assert_eq!(origin(made(None, &env)), "SSL_CERT_FILE");
    assert_eq!(
        origin(made(
            None,
            &Env::empty().with("NIX_SSL_CERT_FILE", "/nonexistent")
        )),
        "NIX_SSL_CERT_FILE"
    );
    made(Some(&ca_file()), &env).unwrap();
}

#[test]
fn a_proxy_is_used_but_never_for_this_machine() {
    let forge = Forge::serve(&Repo::small());
    let proxy = Forge::serve(&Repo::small());
    let env = Env::empty().with("http_proxy", proxy.origin());
    let options = Options {
        backoff: Duration::from_millis(1),
        ..Options::new(None, Limits::default(), &env)
    };
    let client = Client::new(options, Interrupt::default()).unwrap();
    assert_eq!(client.fetch(&get(&forge, COMMIT)).unwrap().status, 200);
    assert_eq!(proxy.connections(), 0);
    let far = url("http://git.example.org/acme/machines").unwrap();
    client.fetch(&Request::get(far)).unwrap();
    assert_eq!(proxy.count(), 1);
}

#[test]
fn the_password_of_a_proxy_is_masked_where_the_proxy_repeats_it() {
    let proxy = Forge::serve(&Repo::small());
    let sent = data_encoding::BASE64.encode(b"me:canary/0123");
    proxy.fault(
        When::any(),
        Action::status(407, format!("canary/0123 {sent}")),
    );
    let address = proxy.origin().replace("://", "://me:canary%2F0123@");
    let env = Env::empty().with("http_proxy", address);
    let options = Options {
        backoff: Duration::from_millis(1),
        ..Options::new(None, Limits::default(), &env)
    };
    let client = Client::new(options, Interrupt::default()).unwrap();
    let far = url("http://git.example.org/acme/machines").unwrap();
    let error = client.send(&Request::get(far)).unwrap().refusal();
    assert!(
        error.to_string().ends_with("status 407, *** ***"),
        "{error}"
    );
}
