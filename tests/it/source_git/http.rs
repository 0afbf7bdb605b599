//! Repositories over HTTP, served by the forge: which requests are sent where, and how hosts differ.

use hyper_sync::source::Interrupt;
use hyper_sync::source::http::{self, Client, url};
use hyper_sync::token::{Token, TokenSearch};

use super::*;
use crate::common::forge::fault::{Action, When};
use crate::common::forge::{BarePost, Forge, Suffix};

const CANARY: &str = "ghp_canary0123456789";

fn client() -> Client {
    let options = http::Options {
        backoff: Duration::from_millis(1),
        pause: Duration::from_millis(1),
        max_wait: Duration::from_millis(100),
        ..http::Options::default()
    };
    Client::new(options, Interrupt::default()).unwrap()
}

/// The source of an address, with a memory in the machine's state directory.
fn at(address: &str, machine: &Machine, token: Option<&Token>) -> GitSource {
    let url = url(address).unwrap();
    let memory = Some(machine.directory.path());
    GitSource::http(client(), &url, token, memory, options())
}

fn anonymous(forge: &Forge, machine: &Machine) -> GitSource {
    at(&forge.git_url(), machine, None)
}

/// The token of an Enterprise host, which a loopback address may be.
fn token(forge: &Forge) -> Token {
    let env = Env::empty().with("GH_ENTERPRISE_TOKEN", CANARY);
    let host = forge.host();
    let search = TokenSearch {
        enterprise: true,
        ..TokenSearch::new(host.split(':').next().unwrap(), &env)
    };
    search.run().unwrap().unwrap()
}

/// Method and the end of the path of every request.
fn lines(forge: &Forge) -> Vec<String> {
    let requests = forge.requests();
    let line = |seen: &crate::common::forge::Seen| {
        let tail = seen.path.strip_prefix("/acme/").unwrap_or(&seen.path);
        format!("{} {tail} {}", seen.method, seen.status)
    };
    requests.iter().map(line).collect()
}

#[test]
fn an_update_is_two_posts_and_no_change_is_one() {
    let repo = Repo::with_history(5);
    let forge = Forge::serve(&repo);
    let mut machine = Machine::new();
    let first = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!((first.route, first.requests), (Route::SelectGit, 3));
    machine.check(&repo, "main");

    forge.reset();
    repo.write("new.nix", "{ one = 1; }\n").commit("one");
    let delta = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!(
        (delta.route, delta.requests, delta.blobs),
        (Route::Delta, 2, 1)
    );
    let post = "POST machines.git/git-upload-pack 200";
    assert_eq!(lines(&forge), [post, post]);
    assert_eq!(delta.received, forge.bytes_down());
    let seen = &forge.requests()[0];
    assert_eq!(seen.header("git-protocol"), Some("version=2"));
    assert_eq!(
        seen.header("content-type"),
        Some("application/x-git-upload-pack-request")
    );
    assert_eq!(
        seen.header("accept"),
        Some("application/x-git-upload-pack-result")
    );
    machine.check(&repo, "main");

    forge.reset();
    let same = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!((same.route, same.requests), (Route::Store, 1));
}

#[test]
fn a_host_that_needs_the_suffix_is_remembered() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.suffix = Suffix::Required);
    let mut machine = Machine::new();
    machine
        .sync(&at(&forge.web_url(), &machine, None), "main")
        .unwrap();
    assert_eq!(
        lines(&forge),
        [
            "POST machines/git-upload-pack 404",
            "GET machines/info/refs 404",
            "GET machines.git/info/refs 200",
            "POST machines.git/git-upload-pack 200",
            "POST machines.git/git-upload-pack 200",
            "POST machines.git/git-upload-pack 200",
        ]
    );
    forge.reset();
    repo.write("a", "a").commit("next");
    let next = machine
        .sync(&at(&forge.web_url(), &machine, None), "main")
        .unwrap();
    assert_eq!((next.route, next.requests), (Route::Delta, 2));
    assert_eq!(lines(&forge)[0], "POST machines.git/git-upload-pack 200");

    // It moves back: a remembered address is only a hint.
    forge
        .reset()
        .configure(|config| config.owner_name = "acme/renamed".to_owned());
    forge.configure(|config| config.former_names = vec!["acme/machines".to_owned()]);
    repo.write("a", "b").commit("next");
    let moved = machine
        .sync(&at(&forge.git_url(), &machine, None), "main")
        .unwrap();
    assert_eq!(moved.route, Route::Delta);
}

#[test]
fn a_redirected_post_is_not_followed_but_resolved_by_discovery() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.suffix = Suffix::Redirected);
    let mut machine = Machine::new();
    machine
        .sync(&at(&forge.web_url(), &machine, None), "main")
        .unwrap();
    assert_eq!(
        lines(&forge)[..4],
        [
            "POST machines/git-upload-pack 301",
            "GET machines/info/refs 301",
            "GET machines.git/info/refs 200",
            "POST machines.git/git-upload-pack 200",
        ]
    );
    machine.check(&repo, "main");
}

#[test]
fn a_renamed_repository_is_followed_on_its_host() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let former = forge.git_url().replace("acme/machines", "acme/before");
    forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
    let mut machine = Machine::new();
    machine.sync(&at(&former, &machine, None), "main").unwrap();
    forge.reset();
    let next = machine.sync(&at(&former, &machine, None), "main").unwrap();
    assert_eq!((next.route, next.requests), (Route::Store, 1));
}

#[test]
fn a_host_that_needs_discovery_first_gets_it_first_from_then_on() {
    let repo = Repo::with_history(3);
    for status in [400, 401, 404, 405, 501] {
        let forge = Forge::serve(&repo);
        forge.configure(|config| config.bare_post = BarePost::Refused(status));
        let mut machine = Machine::new();
        let first = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
        assert_eq!(
            (first.route, first.requests),
            (Route::SelectGit, 5),
            "{status}"
        );
        forge.reset();
        let second = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
        assert_eq!(
            (second.route, second.requests),
            (Route::Store, 2),
            "{status}"
        );
        assert_eq!(lines(&forge)[0], "GET machines.git/info/refs 200");
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

#[test]
fn a_remembered_address_is_used_for_a_day() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let asked = forge.git_url().replace("acme/machines", "acme/before");
    let day = 24 * 60 * 60;
    let mut machine = Machine::new();
    for (learnt, first) in [
        (Some(now()), "POST machines.git/git-upload-pack 200"),
        (
            Some(now() - day + 600),
            "POST machines.git/git-upload-pack 200",
        ),
        (Some(now() - day - 1), "POST before.git/git-upload-pack 301"),
        (Some(now() + 600), "POST before.git/git-upload-pack 301"),
        // As it was written before.
        (None, "POST before.git/git-upload-pack 301"),
    ] {
        forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
        let learnt = learnt.map(|time| format!("{time}\n")).unwrap_or_default();
        let memory = format!("{asked}\n{}\nfalse\n{learnt}", forge.git_url());
        std::fs::write(machine.directory.path().join("git-base"), memory).unwrap();
        forge.reset();
        let source = at(&asked, &machine, None);
        machine.sync(&source, "main").unwrap();
        assert_eq!(lines(&forge)[0], first);
        let moved = source.moved_to().unwrap();
        assert_eq!(moved.read_from, forge.git_url());
        assert_eq!(moved.repo, Some(forge.git_url()));
    }
}

#[test]
fn the_remembered_address_of_another_host_is_not_used() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let other = forge.other_host();
    let mut machine = Machine::new();
    let text = format!(
        "{}\n{}\nfalse\n{}\n",
        forge.git_url(),
        other.git_url(),
        now()
    );
    for memory in [text.as_str(), "", "garbage", "\n\n\n"] {
        std::fs::write(machine.directory.path().join("git-base"), memory).unwrap();
        machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    }
    assert_eq!(other.count(), 0);
}

#[test]
fn a_private_repository_is_read_with_the_token_which_only_its_host_gets() {
    let repo = Repo::with_history(3);
    let forge = Forge::private(&repo, CANARY);
    let other = forge.other_host();
    let token = token(&forge);
    let mut machine = Machine::new();
    let source = at(&forge.git_url(), &machine, Some(&token));
    machine.sync(&source, "main").unwrap();
    assert!(
        forge
            .requests()
            .iter()
            .all(|seen| seen.header("authorization").is_some())
    );

    // Whatever it answers, no other host gets a request.
    for code in [301, 302, 303, 307, 308] {
        let to = Action::RedirectOrigin {
            code,
            origin: other.origin(),
        };
        forge.clear_faults().fault(When::any(), to);
        let source = at(&forge.git_url(), &machine, Some(&token));
        let error = machine.sync(&source, "main").unwrap_err();
        assert_eq!(super::code(&error), "source::redirect");
    }
    assert_eq!(other.count(), 0);
    let state = std::fs::read_dir(machine.directory.path()).unwrap();
    for entry in state
        .map(Result::unwrap)
        .filter(|entry| entry.path().is_file())
    {
        let text = std::fs::read_to_string(entry.path()).unwrap();
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn refusals_are_distinguished_and_not_retried() {
    let repo = Repo::with_history(3);
    let machine = Machine::new();
    let refused = |forge: &Forge, token: Option<&Token>| {
        let error = at(&forge.git_url(), &machine, token)
            .resolve("main")
            .unwrap_err();
        (code(&error), error.to_string())
    };
    let private = Forge::private(&repo, "another");
    let (code, text) = refused(&private, None);
    assert_eq!(code, "source::no_permission", "{text}");
    assert!(text.starts_with(&private.git_url()), "{text}");
    assert!(private.count() <= 3);
    let wrong = token(&private);
    let (code, text) = refused(&private, Some(&wrong));
    assert_eq!(code, "source::unauthorized");
    assert!(
        text.contains("GH_ENTERPRISE_TOKEN") && !text.contains(CANARY),
        "{text}"
    );

    let forge = Forge::serve(&repo);
    for (action, expected, requests) in [
        (Action::status(403, "forbidden"), "source::forbidden", 1),
        (Action::status(511, "log in"), "source::login_page", 1),
        (
            Action::Redirect {
                code: 302,
                to: "https://login.example/".into(),
            },
            "source::login_page",
            1,
        ),
        (Action::status(404, "nothing"), "source::no_permission", 2),
        (Action::status(418, "teapot"), "source::not_a_forge", 1),
        (Action::Html, "source::not_a_forge", 2),
        (Action::status(503, "later"), "source::server_error", 4),
        (
            Action::status_with(429, "retry-after", "3600", "slow down"),
            "source::rate_limited",
            1,
        ),
        (Action::Reset, "source::unreachable", 4),
    ] {
        forge.reset().clear_faults();
        let name = format!("{action:?}");
        forge.fault(When::any(), action);
        let (code, text) = refused(&forge, None);
        assert_eq!(
            (code.as_str(), forge.count()),
            (expected, requests),
            "{name}: {text}"
        );
    }
}

#[test]
fn a_server_without_version_2_is_asked_by_version_0() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    forge.configure(|config| {
        config.protocol_v2 = false;
        config.any_want = false;
    });
    let mut machine = Machine::new();
    let synced = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!(synced.route, Route::Full);
    machine.check(&repo, "main");

    // The next run begins with the discovery, which lists the refs too.
    forge.reset();
    repo.write("flake.nix", "{ }").commit("next");
    let synced = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 2));
    machine.check(&repo, "main");
    assert!(
        lines(&forge)[0].contains("info/refs"),
        "{:?}",
        lines(&forge)
    );

    // A base that the server does not have: it says so instead of sending everything.
    let other = Repo::small();
    let forge = Forge::serve(&other);
    forge.configure(|config| config.protocol_v2 = false);
    let synced = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!(synced.route, Route::SelectGit);
    assert!(
        synced.fallbacks.contains("does not have the last commit"),
        "{}",
        synced.fallbacks
    );
    machine.check(&other, "main");
}

#[test]
fn an_empty_repository_without_version_2_is_reported_as_empty() {
    let forge = Forge::serve(&Repo::new());
    forge.configure(|config| config.protocol_v2 = false);
    let error = anonymous(&forge, &Machine::new())
        .resolve("main")
        .unwrap_err();
    assert_eq!(code(&error), "source::empty_repository");
}

#[test]
fn a_server_of_the_other_hash_is_refused() {
    let repo = Repo::with_history(3);
    let machine = Machine::new();
    let forge = Forge::serve(&repo);
    forge.fault(When::ls_refs(), Action::ReplaceBody(Vec::new()));
    let advertised =
        "001e# service=git-upload-pack\n0000000eversion 2\n0019object-format=sha256\n0000";
    let length = "object-format=sha256\n".len() + 4;
    let advertised = advertised.replace("0019object", &format!("{length:04x}object"));
    forge.fault(
        When::get("info/refs"),
        Action::ReplaceBody(advertised.into_bytes()),
    );
    let error = anonymous(&forge, &machine).resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::sha256");
}

/// As `info/refs` of a server of version 0 that has `main` at the repository's tip.
fn advertisement(repo: &Repo, features: &str) -> Action {
    let tip = repo.tip().unwrap();
    let line = format!("{tip} refs/heads/main\0{features}\n");
    let length = line.len() + 4;
    let body = format!("001e# service=git-upload-pack\n0000{length:04x}{line}0000");
    let media_type = "application/x-git-upload-pack-advertisement";
    Action::status_with(200, "content-type", media_type, body)
}

#[test]
fn a_server_that_fails_for_lack_of_version_2_is_found_by_one_discovery() {
    let repo = Repo::with_history(3);
    for status in [500, 502, 504] {
        let forge = Forge::serve(&repo);
        let machine = Machine::new();
        forge.configure(|config| config.protocol_v2 = false);
        forge.fault(When::post("git-upload-pack"), Action::status(status, "no"));
        let resolved = anonymous(&forge, &machine).resolve("main").unwrap();
        assert_eq!(resolved.commit.to_string(), repo.id("main"), "{status}");
        let asked = lines(&forge);
        let discoveries = asked.iter().filter(|line| line.contains("info/refs"));
        assert_eq!(discoveries.count(), 1, "{asked:?}");
    }
}

#[test]
fn a_server_that_refuses_the_command_of_version_2_is_found_by_one_discovery() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    // JGit's words.
    let line = "ERR expected 'want', got 'command=ls-refs'";
    let body = format!("{:04x}{line}", line.len() + 4).into_bytes();
    forge.fault(When::ls_refs(), Action::ReplaceBody(body));
    forge.fault(
        When::get("info/refs"),
        advertisement(&repo, "side-band-64k"),
    );
    let resolved = anonymous(&forge, &machine).resolve("main").unwrap();
    assert_eq!(resolved.commit.to_string(), repo.id("main"));

    // What a server of version 2 refuses stays refused.
    forge.clear_faults();
    let body = b"0014ERR go away now!".to_vec();
    forge.fault(When::ls_refs(), Action::ReplaceBody(body));
    let error = anonymous(&forge, &Machine::new())
        .resolve("main")
        .unwrap_err();
    assert_eq!(code(&error), "source::refused");
}

#[test]
fn a_server_that_cannot_send_a_pack_beside_its_messages_is_refused() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let mut machine = Machine::new();
    forge.configure(|config| config.protocol_v2 = false);
    forge.fault(When::get("info/refs"), advertisement(&repo, "multi_ack"));
    let error = machine
        .sync(&anonymous(&forge, &machine), "main")
        .unwrap_err();
    assert_eq!(code(&error), "source::old_protocol");
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    for change in ["fastcgi_param GIT_PROTOCOL", "SetEnvIf Git-Protocol"] {
        assert!(help.contains(change), "{help}");
    }
}

#[test]
fn a_server_that_is_silent_for_lack_of_version_2_is_asked_by_version_0() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    forge.fault(When::post("git-upload-pack"), Action::Silence);
    forge.fault(
        When::get("info/refs"),
        advertisement(&repo, "side-band-64k"),
    );
    let stalls = http::Options {
        stall: Duration::from_secs(1),
        ..http::Options::default()
    };
    let client = Client::new(stalls, Interrupt::default()).unwrap();
    let url = url(&forge.git_url()).unwrap();
    let memory = Some(machine.directory.path());
    let source = GitSource::http(client, &url, None, memory, options());
    let resolved = source.resolve("main").unwrap();
    assert_eq!(resolved.commit.to_string(), repo.id("main"));
}

#[test]
fn a_server_that_fails_for_another_reason_keeps_its_error() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    forge.fault(When::any(), Action::status(500, "no"));
    let error = anonymous(&forge, &machine).resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::server_error");
    let asked = lines(&forge);
    let discoveries = asked.iter().filter(|line| line.contains("info/refs"));
    assert_eq!(discoveries.count(), 1, "{asked:?}");

    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    forge.fault(When::post("git-upload-pack"), Action::status(500, "no"));
    let error = anonymous(&forge, &machine).resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::server_error");
}

#[test]
fn a_server_without_filters_costs_one_failed_request() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.filter = false);
    let mut machine = Machine::new();
    let first = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!((first.route, first.requests), (Route::Full, 3));
    machine.check(&repo, "main");
    // By its id the first request fails, and discovery finds the version.
    let mut machine = Machine::new();
    let tip = repo.tip().unwrap();
    let by_id = machine.sync(&anonymous(&forge, &machine), &tip).unwrap();
    assert_eq!((by_id.route, by_id.requests), (Route::Full, 3));
}

#[test]
fn a_pack_that_breaks_off_is_asked_for_again() {
    let repo = Repo::with_history(5);
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.gzip = false);
    let mut machine = Machine::new();
    let hits = forge.fault(When::fetch().nth(1), Action::Cut { after_bytes: 300 });
    let synced = machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, hits.count()),
        (Route::SelectGit, 4, 1)
    );
    assert_eq!(synced.fallbacks, "");
    machine.check(&repo, "main");

    let mut machine = Machine::new();
    forge
        .clear_faults()
        .fault(When::fetch(), Action::Cut { after_bytes: 300 });
    let error = machine
        .sync(&anonymous(&forge, &machine), "main")
        .unwrap_err();
    assert_eq!(code(&error), "source::unreachable");
    assert!(machine.store.commits().is_empty());
}

#[test]
fn lies_inside_a_pack_are_found() {
    let repo = Repo::with_history(5);
    let forge = Forge::serve(&repo);
    let other = Repo::small();
    let rows = other.ls_tree("main");
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let hits = forge.fault(When::fetch(), Action::replace_pack(other.pack(&ids)));
    let error = Machine::new()
        .sync(&anonymous(&forge, &Machine::new()), "main")
        .unwrap_err();
    assert_eq!(code(&error), "source::incomplete");
    assert!(hits.count() > 0);

    // A flipped byte with a trailer that fits again.
    forge.clear_faults();
    for at in [20, 40, 60, 200] {
        forge.clear_faults();
        let flip = move |mut pack: Vec<u8>| {
            let place = at % (pack.len() - 20);
            pack[place] ^= 0x04;
            pack
        };
        forge.fault(When::fetch(), Action::mutate_pack(flip));
        let machine = &mut Machine::new();
        let source = anonymous(&forge, machine);
        let error = machine.sync(&source, "main").unwrap_err();
        let code = code(&error);
        assert!(
            matches!(code.as_str(), "source::pack" | "source::incomplete"),
            "at {at}: {error:?}"
        );
        assert!(machine.store.commits().is_empty());
        machine.fsck();
    }
}

#[test]
fn a_branch_that_moves_between_the_requests_does_not_matter() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let mut machine = Machine::new();
    machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    let expected = repo.write("a", "a").commit("next");
    let mut number = 0;
    forge.after_each_request(move |repo| {
        number += 1;
        repo.write("a", format!("moved {number}")).commit("moved");
    });
    machine.sync(&anonymous(&forge, &machine), "main").unwrap();
    assert_eq!(machine.last.unwrap().to_string(), expected);
    machine.check(&repo, &expected);
}
