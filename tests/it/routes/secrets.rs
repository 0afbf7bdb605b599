//! The token: found in each of its places, sent to its own origin, and shown nowhere.

use super::*;
use crate::common::forge::fault::{Action, When};
use crate::common::forge::pack::pkt_line;
use crate::common::snapshot::Node;

const TOKEN: &str = "ghp_canary0123456789abcdef";

/// A place a token is kept in, made for a machine.
type Place = (&'static str, fn(Machine) -> Machine);

/// Where the token of a GitHub may be; the same for a plain git host, except for the variable.
const PLACES: &[Place] = &[
    ("variable of an Enterprise host", |machine| {
        machine.with("GH_ENTERPRISE_TOKEN", TOKEN)
    }),
    ("token file", |machine| {
        let file = machine.private_file("secrets/token", &format!("{TOKEN}\n"));
        machine.with("HYPER_SYNC_TOKEN_FILE", file)
    }),
    ("systemd credential", |machine| {
        machine.private_file("credentials/token", TOKEN);
        let directory = machine.world.root().join("credentials");
        machine.with("CREDENTIALS_DIRECTORY", directory.display().to_string())
    }),
    ("variable of Nix", |machine| {
        let config = format!("access-tokens = github.com=other 127.0.0.1={TOKEN}");
        machine.with("NIX_CONFIG", config)
    }),
    ("nix.conf", |machine| {
        let include = format!("access-tokens = 127.0.0.1={TOKEN}\n");
        machine.private_file("home/.config/nix/tokens.conf", &include);
        machine.private_file("home/.config/nix/nix.conf", "!include tokens.conf\n");
        machine
    }),
    ("netrc", |machine| {
        let netrc = format!(
            "machine github.com password other\nmachine 127.0.0.1 login me password {TOKEN}\n"
        );
        machine.private_file("home/.netrc", &netrc);
        machine
    }),
    ("netrc by variable", |machine| {
        let file = machine.private_file("netrc", &format!("machine 127.0.0.1 password {TOKEN}\n"));
        machine.with("NETRC", file)
    }),
];

/// The secret in every form in which it is sent.
fn forms() -> Vec<Vec<u8>> {
    let coded = |login: &str| {
        let pair = format!("{login}:{TOKEN}");
        data_encoding::BASE64.encode(pair.as_bytes()).into_bytes()
    };
    vec![
        TOKEN.as_bytes().to_vec(),
        coded("x-access-token"),
        coded("me"),
    ]
}

fn holds_secret(bytes: &[u8]) -> bool {
    forms().iter().any(|form| {
        bytes
            .windows(form.len())
            .any(|window| window == form.as_slice())
    })
}

/// Runs with all output switched on, and searches for the secret in it and in all files that were written.
fn run_watched(machine: &Machine, args: &[&str]) -> Output {
    let output = machine.run(&[&["--verbose"], args].concat());
    assert!(!holds_secret(output.stdout.as_bytes()), "stdout");
    assert!(!holds_secret(output.stderr.as_bytes()), "stderr");
    for directory in [
        machine.world.target(),
        machine.world.state(),
        machine.world.root().join("tmp"),
    ] {
        for (path, node) in TreeSnapshot::of(&directory).nodes() {
            let found = match node {
                Node::File(_, bytes) | Node::Link(bytes) => holds_secret(bytes),
                Node::Directory(_) | Node::Special => false,
            };
            assert!(!found && !holds_secret(path), "{}", path.escape_ascii());
        }
    }
    output
}

fn talkative(machine: Machine) -> Machine {
    machine
        .with("RUST_LOG", "trace")
        .with("RUST_BACKTRACE", "full")
}

#[test]
fn a_private_repository_is_read_by_every_route_with_the_token_from_every_place() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, TOKEN);
    let ways = ["auto", "git", "api"].map(|transport| {
        let machine: Box<dyn Fn() -> Machine> =
            Box::new(|| Machine::github(&forge, &repo, transport));
        (transport, machine)
    });
    let plain: Box<dyn Fn() -> Machine> = Box::new(|| Machine::git(&forge, &repo));
    for (way, machine) in ways.into_iter().chain([("plain git", plain)]) {
        for (place, make) in PLACES {
            if way == "plain git" && place.starts_with("variable of an") {
                continue;
            }
            forge.reset();
            let machine = make(talkative(machine()));
            let output = run_watched(&machine, &[]);
            assert_eq!(output.code, Some(0), "{way}, {place}: {}", output.masked());
            machine.assert_at("main");
            let requests = forge.requests();
            assert!(
                requests.iter().all(|seen| seen.contains(TOKEN)),
                "{way}, {place}: {:#?}",
                forge.request_lines()
            );
        }
    }
}

#[test]
fn an_update_sends_the_token_on_every_route() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, TOKEN);
    let machine =
        talkative(Machine::github(&forge, &repo, "auto")).with("GH_ENTERPRISE_TOKEN", TOKEN);
    let _ = run_watched(&machine, &[]).ok();
    let no = || Action::ReplaceBody(pkt_line("ERR not today"));
    let rungs = [
        ("delta", vec![]),
        ("select (git)", vec![(When::fetch().body("have "), no())]),
        ("select (api)", vec![(When::fetch(), Action::Html)]),
        (
            "full",
            vec![
                // Once as asked, once more after a discovery.
                (When::fetch().first(2), Action::Html),
                (When::get("/api/v3/"), Action::Html),
            ],
        ),
    ];
    for (rung, blocked) in rungs {
        repo.write("flake.nix", rung).commit(rung);
        forge.reset();
        for (when, action) in blocked {
            forge.fault(when, action);
        }
        let _ = run_watched(&machine, &[]).ok();
        forge.clear_faults();
        machine.assert_at("main");
        let state = fs::read_to_string(machine.world.state().join("sync-state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        assert_eq!(state["route"].as_str().unwrap(), rung);
        assert!(forge.requests().iter().all(|seen| seen.contains(TOKEN)));
    }
}

#[test]
fn a_token_of_another_host_is_not_sent() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, TOKEN);
    let elsewhere = |machine: Machine| {
        machine
            .with("GITHUB_TOKEN", TOKEN)
            .with("GH_TOKEN", TOKEN)
            .with(
                "NIX_CONFIG",
                format!("access-tokens = github.com={TOKEN} 127.0.0.2={TOKEN}"),
            )
    };
    let default = |machine: &Machine| {
        let netrc =
            format!("machine github.com password {TOKEN}\ndefault login me password {TOKEN}\n");
        machine.private_file("home/.netrc", &netrc);
        machine.private_file("home/.config/github/token", TOKEN);
    };
    let ways = [
        Machine::github(&forge, &repo, "auto"),
        Machine::github(&forge, &repo, "git"),
        Machine::github(&forge, &repo, "api"),
        Machine::git(&forge, &repo),
        // The variable of an Enterprise host is not for a host of another kind.
        Machine::git(&forge, &repo).with("GH_ENTERPRISE_TOKEN", TOKEN),
    ];
    for machine in ways.map(|machine| elsewhere(talkative(machine))) {
        default(&machine);
        let output = run_watched(&machine, &[]).code(4);
        assert!(
            output.stderr.contains("without credentials"),
            "{}",
            output.masked()
        );
        assert!(!forge.saw(TOKEN));
        assert!(machine.world.target_tree().is_empty());
    }
}

#[test]
fn no_answer_makes_the_token_go_to_another_origin() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, TOKEN);
    let other = forge.other_host();
    for code in [301, 302, 303, 307, 308] {
        for (transport, when) in [
            ("git", When::any()),
            ("api", When::any()),
            ("api", When::get("/git/blobs/")),
            ("auto", When::any()),
        ] {
            let to = Action::RedirectOrigin {
                code,
                origin: other.origin(),
            };
            let hits = forge.fault(when, to);
            let machine = talkative(Machine::github(&forge, &repo, transport))
                .with("GH_ENTERPRISE_TOKEN", TOKEN);
            let output = run_watched(&machine, &[]).code(3);
            assert!(
                output.stderr.contains("which is not followed"),
                "{}",
                output.masked()
            );
            assert!(hits.count() > 0);
            assert!(machine.world.target_tree().is_empty());
            forge.clear_faults();
        }
    }
    // No request is sent there, with a token or without.
    assert_eq!(other.count(), 0);
    assert!(forge.saw(TOKEN));
}

#[test]
fn a_refusal_names_the_place_and_not_the_secret() {
    let repo = Repo::small();
    let forge = Forge::private(&repo, "the right one");
    for transport in ["git", "api", "auto"] {
        for (place, make) in PLACES {
            let machine = make(talkative(Machine::github(&forge, &repo, transport)));
            let output = run_watched(&machine, &[]).code(4);
            let printed = output.stderr;
            let named = [
                "`GH_ENTERPRISE_TOKEN`",
                "/secrets/token`",
                "/credentials/token`",
                "`NIX_CONFIG`",
                "/nix/tokens.conf`",
                "/.netrc`",
                "/netrc`",
            ];
            let named = named
                .into_iter()
                .find(|name| printed.replace('\n', "").contains(name));
            assert!(named.is_some(), "{place}: {printed}");
            if transport == "auto" {
                continue;
            }
            // A secret that a host repeats as it was sent is masked.
            let login = if *place == "netrc" { 2 } else { 1 };
            let sent = String::from_utf8(forms().remove(login)).unwrap();
            let echo = format!("who is {TOKEN}? ").repeat(3) + &sent;
            let hits = forge.fault(When::any(), Action::status(418, &echo));
            let _ = run_watched(&machine, &[]).code(3);
            assert!(hits.count() > 0);
            forge.clear_faults();
        }
    }
}

#[test]
fn programs_that_are_started_are_given_no_secret() {
    let repo = Repo::small();
    let path = repo.path().display().to_string();
    let ssh = format!("git@host.example:{path}");
    for way in [&path, &ssh] {
        let machine = Machine::new(&repo, &["--repo", way]);
        let machine = PLACES
            .iter()
            .fold(talkative(machine), |machine, (_, make)| make(machine));
        let machine = machine.with("GITHUB_TOKEN", TOKEN).with("GH_TOKEN", TOKEN);
        let (world, log) = (&machine.world, machine.world.root().join("started"));
        world.link_tool("env");
        let git = world.root().join("bin/git");
        let real = fs::read_link(&git).unwrap();
        fs::remove_file(&git).unwrap();
        let dump = format!("{{ echo \"$0 $*\"; env; }} >> '{}'", log.display());
        world.tool("git", &format!("{dump}\nexec '{}' \"$@\"", real.display()));
        world.tool(
            "ssh",
            &format!("{dump}\neval \"command=\\${{$#}}\"\neval \"exec git ${{command#git-}}\""),
        );
        let _ = run_watched(&machine, &[]).ok();
        machine.assert_at("main");
        let started = fs::read(&log).unwrap();
        assert!(!started.is_empty() && !holds_secret(&started));
    }
}

#[test]
fn no_core_dump_is_written_of_this_program_or_its_children() {
    let sandbox = Sandbox::new();
    let limit = sandbox.root().join("limit");
    sandbox.tool(
        "ssh",
        &format!("ulimit -Hc > '{}'; exit 255", limit.display()),
    );
    let _ = sandbox.run(&["sync", "--repo", "git@example.org:acme/machines"]);
    assert_eq!(fs::read_to_string(limit).unwrap(), "0\n");
}
