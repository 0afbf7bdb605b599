//! The slow line of the measurements: it changes when bytes come, and nothing else.

use std::time::Duration;

use super::client::get;
use crate::common::{
    forge::{Certificate, Forge, ca_file},
    git,
    link::{Link, Proxy},
    repo::Repo,
};

const QUICK: Link = Link {
    round_trip: Duration::from_millis(1),
    bytes_per_second: 100_000_000,
    slow_start: false,
};

#[test]
fn bytes_come_through_as_they_are_and_are_counted() {
    for slow_start in [false, true] {
        let repo = Repo::new();
        repo.write("large", vec![b'x'; 300_000]).commit("start");
        let forge = Forge::serve(&repo);
        let link = Link {
            slow_start,
            ..QUICK
        };
        let proxy = Proxy::to(forge.host().parse().unwrap(), link);
        let path = "raw/acme/machines/main/large";
        let direct = get(&format!("{}/{path}", forge.origin())).body;
        assert_eq!(proxy.bytes(), (0, 0));
        let far = get(&format!("http://{}/{path}", proxy.address())).body;
        assert!(far == direct && far.len() == 300_000);
        assert!(proxy.bytes().1 > 300_000);
        assert_eq!(proxy.connections(), 1);
        proxy.reset();
        assert_eq!((proxy.bytes(), proxy.connections()), ((0, 0), 0));
    }
}

#[test]
fn real_git_fetches_through_it_over_tls() {
    let repo = Repo::small();
    let forge = Forge::tls(&repo, Certificate::Good);
    let proxy = Proxy::to(forge.host().parse().unwrap(), QUICK);
    let url = format!("https://{}/acme/machines.git", proxy.address());
    let mut list = repo.git();
    list.args(["ls-remote", &url, "main"])
        .env("GIT_SSL_CAINFO", ca_file());
    let expected = format!("{}\trefs/heads/main", repo.tip().unwrap());
    assert_eq!(git::line(&mut list), expected);
}
