//! TLS with certificates that are right, or wrong in one way.

use reqwest::{Certificate as Root, Version};

use super::client;
use crate::common::{
    forge::{Certificate, Forge, ca_file, fault::Action, fault::When},
    git,
    repo::Repo,
};

/// The answer of a client that trusts the test authority alone: the HTTP version, or the whole chain of errors.
fn ask(forge: &Forge) -> Result<(Version, Vec<u8>), String> {
    let root = Root::from_pem(&std::fs::read(ca_file()).unwrap()).unwrap();
    client::with(
        |builder| builder.tls_certs_only([root]),
        async |client| {
            let url = format!("{}/repos/acme/machines", forge.api_url());
            let response = client
                .get(url)
                .header("user-agent", "git/test")
                .send()
                .await?;
            let version = response.version();
            Ok((version, response.bytes().await?.to_vec()))
        },
    )
    .map_err(|error: reqwest::Error| format!("{error:?}"))
}

#[test]
fn a_good_certificate_is_trusted_and_http2_spoken() {
    let forge = Forge::tls(&Repo::small(), Certificate::Good);
    assert!(forge.origin().starts_with("https://127.0.0.1:"));
    let (version, body) = ask(&forge).unwrap();
    assert_eq!(version, Version::HTTP_2);
    assert!(String::from_utf8(body).unwrap().contains(&forge.git_url()));
    assert_eq!(forge.count(), 1);
}

#[test]
fn a_wrong_certificate_is_refused_before_any_request() {
    for (certificate, reason) in [
        (Certificate::Expired, "Expired"),
        (Certificate::WrongName, "NotValidForName"),
        (Certificate::SelfSigned, "UnknownIssuer"),
    ] {
        let forge = Forge::tls(&Repo::small(), certificate);
        let error = ask(&forge).unwrap_err();
        assert!(error.contains(reason), "{certificate:?}: {error}");
        assert_eq!((forge.count(), forge.connections()), (0, 1));
    }
}

#[test]
fn real_git_fetches_over_tls() {
    let repo = Repo::small();
    let forge = Forge::tls(&repo, Certificate::Good);
    let list = |ca: &str| {
        let mut command = repo.git();
        command.args([
            "-c",
            &format!("http.sslCAInfo={ca}"),
            "ls-remote",
            &forge.git_url(),
            "main",
        ]);
        git::output(&mut command)
    };
    let listed = list(&ca_file().display().to_string());
    assert_eq!(
        String::from_utf8(listed.stdout).unwrap(),
        format!("{}\trefs/heads/main\n", repo.tip().unwrap())
    );
    assert!(!list("/dev/null").status.success());
}

#[test]
fn faults_work_inside_tls() {
    let forge = Forge::tls(&Repo::small(), Certificate::Good);
    let cut = forge.fault(When::any().nth(1), Action::Cut { after_bytes: 10 });
    let reset = forge.fault(When::any().nth(2), Action::Reset);
    assert!(ask(&forge).is_err());
    assert!(ask(&forge).is_err());
    assert!(ask(&forge).is_ok());
    assert_eq!((cut.count(), reset.count()), (1, 1));
}

#[test]
fn plain_http_to_a_tls_port_gets_nothing() {
    let forge = Forge::tls(&Repo::small(), Certificate::Good);
    let url = forge.api_url().replace("https://", "http://");
    assert!(client::send(reqwest::Method::GET, &url, &[], Vec::new()).is_err());
    assert_eq!(forge.count(), 0);
}
