//! Every fault does what it says, to the requests it was meant for and to no other.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::mpsc,
    thread,
};

use reqwest::Method;

use super::client::{get, get_with, partial, send};
use crate::common::{
    forge::{
        Forge,
        fault::{Action, When},
    },
    git,
    repo::Repo,
};

/// A small answer that every fault is tried on, and its honest length.
fn victim(forge: &Forge) -> (String, usize) {
    let url = format!("{}/repos/acme/machines", forge.api_url());
    let length = get(&url).body.len();
    forge.reset();
    (url, length)
}

/// Everything the server says to one request, as bytes.
fn exchange(forge: &Forge, path: &str) -> Vec<u8> {
    let mut socket = TcpStream::connect(forge.host()).unwrap();
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: {}\r\nuser-agent: t\r\nconnection: close\r\n\r\n",
        forge.host()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A reset is an end like any other here.
    drop(socket.read_to_end(&mut answer));
    answer
}

#[test]
fn matches_by_method_path_body_and_turn() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let (url, _) = victim(&forge);
    let second = forge.fault(
        When::get("/repos/").nth(2),
        Action::status(502, "bad gateway"),
    );
    let never = forge.fault(When::post("/repos/"), Action::Html);
    let tail = forge.fault(
        When::any().test(|seen| seen.query == "late").from(2),
        Action::status(503, ""),
    );
    assert_eq!([(); 3].map(|()| get(&url).status), [200, 502, 200]);
    assert_eq!(
        [(); 3].map(|()| get(&format!("{url}?late")).status),
        [200, 503, 503]
    );
    assert_eq!((second.count(), never.count(), tail.count()), (1, 0, 2));
    assert_eq!(
        forge
            .requests()
            .iter()
            .filter(|seen| seen.status == 200)
            .count(),
        3
    );
    forge.clear_faults();
    let first = forge.fault(When::get("/repos/").first(2), Action::status(500, ""));
    assert_eq!([(); 3].map(|()| get(&url).status), [500, 500, 200]);
    assert_eq!(first.count(), 2);
}

#[test]
fn distinguishes_ls_refs_from_fetch() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let fetches = forge.fault(When::fetch(), Action::status(429, ""));
    let url = format!("{}/git-upload-pack", forge.git_url());
    let post = |body: &[u8]| {
        let headers = [
            ("git-protocol", "version=2"),
            ("content-type", "application/x-git-upload-pack-request"),
        ];
        send(Method::POST, &url, &headers, body.to_vec())
            .unwrap()
            .status
    };
    assert_eq!(post(b"0014command=ls-refs\n0000"), 200);
    assert_eq!(post(b"0012command=fetch\n0000"), 429);
    assert_eq!(fetches.count(), 1);
}

#[test]
fn a_status_brings_its_headers() {
    let forge = Forge::serve(&Repo::small());
    let (url, _) = victim(&forge);
    forge.fault(
        When::any().nth(1),
        Action::status_with(429, "retry-after", "60", "slow down"),
    );
    forge.fault(When::any().nth(2), Action::rate_limited(1_900_000_000));
    forge.fault(When::any().nth(3), Action::secondary_limit(403, Some("30")));
    let plain = get(&url);
    assert_eq!(
        (plain.status, plain.header("retry-after"), plain.text()),
        (429, "60", "slow down")
    );
    let primary = get(&url);
    assert_eq!(
        (primary.status, primary.header("x-ratelimit-remaining")),
        (403, "0")
    );
    let secondary = get(&url);
    assert_eq!(secondary.header("retry-after"), "30");
    assert!(
        secondary.json()["message"]
            .as_str()
            .unwrap()
            .contains("secondary rate limit")
    );
}

#[test]
fn bodies_are_replaced_and_mutated_before_they_are_compressed() {
    let forge = Forge::serve(&Repo::small());
    let (url, _) = victim(&forge);
    forge.fault(When::any().nth(1), Action::Html);
    forge.fault(When::any().nth(2), Action::ReplaceBody(b"[]".to_vec()));
    forge.fault(
        When::any().nth(3),
        Action::mutate_json(|value| value["id"] = 7.into()),
    );
    forge.fault(
        When::any().nth(4),
        Action::mutate(|mut body| {
            body[0] ^= 1;
            body
        }),
    );
    assert!(get(&url).text().starts_with("<!DOCTYPE html>"));
    let replaced = get(&url);
    assert_eq!(
        (replaced.text(), replaced.header("content-type")),
        ("[]", "application/json; charset=utf-8")
    );
    let packed = get_with(&url, &[("accept-encoding", "gzip")]);
    let mut plain = String::new();
    flate2::read::GzDecoder::new(packed.body.as_slice())
        .read_to_string(&mut plain)
        .unwrap();
    assert!(plain.contains("\"id\":7"));
    assert_eq!(get(&url).body[0], b'{' ^ 1);
}

#[test]
fn redirects_go_to_the_given_address() {
    let forge = Forge::serve(&Repo::small());
    let other = forge.other_host();
    let (url, _) = victim(&forge);
    forge.fault(
        When::any().nth(1),
        Action::Redirect {
            code: 307,
            to: "http://user@evil/".to_owned(),
        },
    );
    forge.fault(
        When::any().nth(2),
        Action::RedirectOrigin {
            code: 301,
            origin: other.origin(),
        },
    );
    let exact = get(&url);
    assert_eq!(
        (exact.status, exact.header("location")),
        (307, "http://user@evil/")
    );
    let origin = get(&format!("{url}?a=b"));
    assert_eq!(
        origin.header("location"),
        format!("{}/api/v3/repos/acme/machines?a=b", other.origin())
    );
}

#[test]
fn a_cut_answer_breaks_off_at_the_byte() {
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    let (url, length) = victim(&forge);
    forge.fault(When::get("/repos/"), Action::Cut { after_bytes: 50 });
    assert!(length > 50);
    assert!(send(Method::GET, &url, &[], Vec::new()).is_err());
    let said = String::from_utf8(exchange(&forge, "/repos/acme/machines")).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), 50);
    let announced = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    assert!(announced.parse::<usize>().unwrap() > 50);
    assert!(
        forge
            .requests()
            .iter()
            .all(|seen| seen.response_bytes == 50)
    );

    // Without an announced length, and longer than the buffers of a socket.
    forge.fault(When::get("/codeload/"), Action::Cut { after_bytes: 9_000 });
    let (received, whole) = partial(
        &format!(
            "{}/codeload/acme/machines/legacy.tar.gz/main",
            forge.origin()
        ),
        usize::MAX,
    );
    assert_eq!((received, whole), (9_000, false));
}

#[test]
fn a_truncated_answer_is_honest_or_not() {
    let forge = Forge::serve(&Repo::small());
    let (url, _) = victim(&forge);
    forge.fault(
        When::any().nth(1),
        Action::Truncate {
            keep: 20,
            honest: true,
        },
    );
    forge.fault(
        When::any().nth(2),
        Action::Truncate {
            keep: 20,
            honest: false,
        },
    );
    assert_eq!(get(&url).body.len(), 20);
    assert!(send(Method::GET, &url, &[], Vec::new()).is_err());
}

#[test]
fn a_stalled_answer_ends_with_the_forge() {
    let forge = Forge::serve(&Repo::small());
    let (url, _) = victim(&forge);
    forge.fault(When::any(), Action::Stall { after_bytes: 10 });
    let (arrived, first) = mpsc::channel();
    let waiting = thread::spawn(move || {
        let begun = partial(&url, 10);
        arrived.send(begun).unwrap();
        partial(&url, usize::MAX)
    });
    assert_eq!(first.recv().unwrap(), (10, true));
    forge.wait_until(|seen| seen.len() == 2 && seen[1].response_bytes == 10);
    // Nobody else could end it: joining would wait for ever if the forge did not.
    drop(forge);
    assert_eq!(waiting.join().unwrap(), (10, false));
}

#[test]
fn a_silent_server_ends_with_the_forge() {
    let forge = Forge::serve(&Repo::small());
    let (url, _) = victim(&forge);
    let silent = forge.fault(When::any(), Action::Silence);
    let waiting = thread::spawn(move || send(Method::GET, &url, &[], Vec::new()).is_err());
    forge.wait_until(|seen| seen.len() == 1);
    assert_eq!(silent.count(), 1);
    drop(forge);
    assert!(waiting.join().unwrap());
}

#[test]
fn raw_bytes_replace_the_response() {
    let forge = Forge::serve(&Repo::small());
    let lie =
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}and more";
    forge.fault(When::any().nth(1), Action::Raw(lie.to_vec()));
    forge.fault(When::any().nth(2), Action::Raw(b"HTTP/1.1 200 O".to_vec()));
    forge.fault(When::any().nth(3), Action::Reset);
    assert_eq!(exchange(&forge, "/a/b/c"), lie);
    assert_eq!(exchange(&forge, "/a/b/c"), b"HTTP/1.1 200 O");
    assert_eq!(exchange(&forge, "/a/b/c"), b"");
    assert_eq!(
        exchange(&forge, "/a/b/c").get(..12),
        Some(&b"HTTP/1.1 404"[..])
    );
}

/// Fetches the tip by real git into an empty repository.
fn fetch(forge: &Forge, tip: &str) -> std::process::Output {
    let directory = tempfile::tempdir().unwrap();
    let client = || git::git(directory.path());
    git::succeeds(client().args(["init", "-q", "--bare", "."]));
    let depth = ["fetch", "-q", "--no-tags", "--depth", "1"];
    git::output(client().args(depth).args([&forge.git_url(), tip]))
}

#[test]
fn a_lie_inside_a_pack_reaches_the_client_with_a_good_checksum() {
    let repo = Repo::small();
    let tip = repo.tip().unwrap();
    let forge = Forge::serve(&repo);
    let length = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let declared = length.clone();
    let honest = forge.fault(
        When::fetch(),
        Action::mutate_pack(move |pack| {
            declared.store(pack.len(), std::sync::atomic::Ordering::SeqCst);
            pack
        }),
    );
    assert!(fetch(&forge, &tip).status.success());
    assert!(length.load(std::sync::atomic::Ordering::SeqCst) > 100);
    assert_eq!(honest.count(), 1);

    forge.clear_faults();
    forge.fault(
        When::fetch(),
        Action::mutate_pack(|mut pack| {
            // The count of objects in the header: one more than there are.
            pack[11] += 1;
            pack
        }),
    );
    assert!(!fetch(&forge, &tip).status.success());
}

#[test]
fn another_pack_than_the_asked_one_can_be_sent() {
    let repo = Repo::small();
    let (blob, tip) = (repo.id("main:flake.nix"), repo.tip().unwrap());
    let forge = Forge::serve(&repo);
    forge.fault(When::fetch(), Action::replace_pack(repo.pack(&[&blob])));
    assert!(
        !fetch(&forge, &tip).status.success(),
        "a pack without the commit"
    );

    forge.clear_faults();
    let whole =
        git::succeeds(
            repo.git()
                .args(["rev-list", "--objects", "--no-object-names", "main"]),
        );
    let whole = String::from_utf8(whole).unwrap();
    let ids: Vec<&str> = whole.lines().collect();
    forge.fault(When::fetch(), Action::replace_pack(repo.pack(&ids)));
    assert!(fetch(&forge, &tip).status.success());
}

#[test]
fn a_bomb_is_small_on_the_wire() {
    let forge = Forge::serve(&Repo::small());
    let (url, _) = victim(&forge);
    forge.fault(When::any(), Action::gzip_bomb(50_000_000));
    let answer = get(&url);
    assert_eq!(answer.header("content-encoding"), "gzip");
    assert!(answer.body.len() < 100_000);
    let unpacked = std::io::copy(
        &mut flate2::read::GzDecoder::new(answer.body.as_slice()),
        &mut std::io::sink(),
    );
    assert_eq!(unpacked.unwrap(), 50_000_000);
}
