//! Fallbacks: which failures make a sync use another route, which end the run, and what the target is then.

use std::thread;

use super::*;
use crate::common::forge::fault::{Action, When};
use crate::common::forge::pack::{change_pack, pkt_line};
use crate::common::repo::Entry;

/// A GitHub with commits that a machine does not have yet.
struct OutdatedMachine {
    forge: Forge,
    machine: Machine,
    news: u32,
}

impl OutdatedMachine {
    fn new() -> Self {
        Self::with(|forge, repo| Machine::github(forge, repo, "auto"))
    }

    fn with(machine: impl FnOnce(&Forge, &Repo) -> Machine) -> Self {
        let repo = Repo::with_history(3);
        let forge = Forge::serve(&repo);
        let machine = machine(&forge, &repo);
        machine.sync(&[]);
        Self {
            forge,
            machine,
            news: 0,
        }
    }

    /// One more commit.
    fn publish(&mut self) {
        self.news += 1;
        let repo = &self.machine.repo;
        repo.write("flake.nix", format!("{{ news = {}; }}\n", self.news))
            .write(format!("news/{}.nix", self.news), self.news.to_string())
            .commit("news");
    }

    /// How a sync to a new commit ends with these faults, in one line: the fallbacks with the route, or exit code and
    /// error. Where it fails, the target is as it was.
    fn outcome(&mut self, faults: Vec<(When, Action)>) -> String {
        self.publish();
        self.outcome_of("main", faults)
    }

    fn outcome_of(&mut self, reference: &str, faults: Vec<(When, Action)>) -> String {
        let Self { forge, machine, .. } = self;
        forge.reset();
        let hits: Vec<_> = faults
            .into_iter()
            .map(|(when, action)| forge.fault(when, action))
            .collect();
        let before = machine.world.target_tree();
        let state = machine.world.state().join("sync-state.json");
        let state_before = fs::read(&state).unwrap();
        let output = machine.run(&["--json", "--ref", reference]);
        let json = output.json();
        assert!(
            hits.iter().all(|hits| hits.count() > 0),
            "{}",
            output.masked()
        );
        forge.clear_faults();
        let outcome = if output.code == Some(0) {
            machine.assert_at(reference);
            let mut outcome = given_up(&json);
            outcome.push(json["route"].as_str().unwrap().to_owned());
            outcome.join("; ")
        } else {
            machine.world.target_tree().assert_same(&before);
            assert_eq!(fs::read(&state).unwrap(), state_before);
            let code = json["error"]["code"].as_str().unwrap();
            let code = code.trim_start_matches("hyper_sync::source::");
            format!("exit {}: {code}", output.code.unwrap())
        };
        stable(&outcome.replace(&forge.host(), "[forge]"))
    }
}

/// Without what differs from run to run: ports, times, and how a connection broke.
fn stable(outcome: &str) -> String {
    let parts = outcome.split("; ").map(|part| {
        let unreachable = part.find("cannot reach ");
        let end = unreachable.and_then(|at| Some(at + part[at..].find(": ")?));
        let part = &part[..end.unwrap_or(part.len())];
        match part.split_once(" until ") {
            Some((limited, _)) => format!("{limited} until [time]"),
            None => part.to_owned(),
        }
    });
    let outcome = parts.collect::<Vec<_>>().join("; ");
    let words = outcome.split(' ').map(|word| {
        let name = word.trim_end_matches(',');
        let id = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        // Three digits are a status.
        let time = name.len() != 3 && name.parse::<u64>().is_ok();
        if id {
            word.replace(name, "[id]")
        } else if time {
            word.replace(name, "[time]")
        } else {
            word.to_owned()
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn git() -> When {
    When::any().path("machines.git/")
}

fn api() -> When {
    When::get("/api/v3/")
}

/// Each case in a line of its own.
fn table(world: &mut OutdatedMachine, cases: Vec<(&str, Vec<(When, Action)>)>) -> String {
    let lines = cases.into_iter().map(|(name, faults)| {
        let outcome = without_received(&world.outcome(faults));
        format!("{name} -> {outcome}\n")
    });
    lines.collect()
}

/// How git cuts its answer into packets differs from run to run, and with it how much of it is received before a cut.
fn without_received(outcome: &str) -> String {
    let Some((before, after)) = outcome.split_once(" broke off after ") else {
        return outcome.to_owned();
    };
    let (_, cause) = after.split_once(": ").expect("the cause follows");
    format!("{before} broke off after [bytes]: {cause}")
}

/// The same for cases in which the machine waits between attempts: all at once.
fn slow_table(cases: Vec<(&str, Vec<(When, Action)>)>) -> String {
    thread::scope(|scope| {
        let outcomes: Vec<_> = cases
            .into_iter()
            .map(|(name, faults)| {
                scope.spawn(move || table(&mut OutdatedMachine::new(), vec![(name, faults)]))
            })
            .collect();
        outcomes
            .into_iter()
            .map(|outcome| outcome.join().unwrap())
            .collect()
    })
}

#[test]
fn where_git_is_blocked_the_api_is_used() {
    let mut world = OutdatedMachine::new();
    let elsewhere = world.forge.other_host();
    let to = Action::RedirectOrigin {
        code: 307,
        origin: elsewhere.origin(),
    };
    let circle = Action::RedirectOrigin {
        code: 301,
        origin: world.forge.origin(),
    };
    let cases = vec![
        (
            "limit with a time",
            vec![(
                git(),
                Action::status_with(429, "retry-after", "3600", "slow down"),
            )],
        ),
        (
            "limit without",
            vec![(git(), Action::status(429, "slow down"))],
        ),
        ("quota", vec![(git(), Action::rate_limited(1_900_000_000))]),
        (
            "secondary limit",
            vec![(git(), Action::secondary_limit(403, None))],
        ),
        (
            "secondary limit with a time",
            vec![(git(), Action::secondary_limit(429, Some("60")))],
        ),
        ("login page", vec![(git(), Action::Html)]),
        ("odd status", vec![(git(), Action::status(418, "teapot"))]),
        ("redirect elsewhere", vec![(git(), to)]),
        ("redirect in a circle", vec![(git(), circle)]),
        ("nothing", vec![(git(), Action::status(204, ""))]),
        (
            "empty",
            vec![(When::ls_refs(), Action::ReplaceBody(Vec::new()))],
        ),
        (
            "nonsense",
            vec![(
                When::ls_refs(),
                Action::ReplaceBody(b"0009what\n0000".to_vec()),
            )],
        ),
        (
            "no packets",
            vec![(When::ls_refs(), Action::ReplaceBody(b"hello".to_vec()))],
        ),
    ];
    let outcomes = table(&mut world, cases);
    assert_eq!(elsewhere.count(), 0);
    let outcomes = outcomes.replace(&elsewhere.host(), "[elsewhere]");
    insta::assert_snapshot!(outcomes, @r#"
    limit with a time -> delta: [forge] limits the rate of requests until [time]; select-api
    limit without -> delta: [forge] limits the rate of requests; select-api
    quota -> delta: [forge] limits the rate of requests until [time]; select-api
    secondary limit -> delta: [forge] limits the rate of requests; select-api
    secondary limit with a time -> delta: [forge] limits the rate of requests until [time]; select-api
    login page -> delta: [forge] does not answer like a git host: status 200, <!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action="/…; select-api
    odd status -> delta: [forge] does not answer like a git host: status 418, teapot; select-api
    redirect elsewhere -> delta: [forge] redirects to http://[elsewhere]/acme/machines.git/git-upload-pack, which is not followed; select-api
    redirect in a circle -> delta: [forge] redirects to http://[forge]/acme/machines.git/info/refs, which is not followed; select-api
    nothing -> delta: [forge] does not answer like a git host: status 204, nothing else; select-api
    empty -> delta: http://[forge]/acme/machines.git sent something that git's protocol does not allow: the answer ends too early; select-api
    nonsense -> delta: http://[forge]/acme/machines.git sent something that git's protocol does not allow: `what` is not a ref; select-api
    no packets -> delta: http://[forge]/acme/machines.git sent something that git's protocol does not allow: Failed to decode the first four hex bytes indicating the line length: Invalid character; select-api
    "#);
}

#[test]
fn a_fetch_that_fails_after_the_name_was_resolved_falls_back_to_the_api() {
    let mut world = OutdatedMachine::new();
    let refused = |words: &str| Action::ReplaceBody(pkt_line(format!("ERR {words}")));
    let dies = [
        pkt_line("packfile\n"),
        pkt_line(b"\x01PACK"),
        pkt_line(b"\x03fatal: out of memory\n"),
        b"0000".to_vec(),
    ];
    let other = Repo::small();
    let rows = other.ls_tree("main");
    let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
    let cases = vec![
        (
            "cut",
            vec![(When::fetch(), Action::Cut { after_bytes: 300 })],
        ),
        (
            "short",
            vec![(
                When::fetch(),
                Action::Truncate {
                    keep: 300,
                    honest: true,
                },
            )],
        ),
        (
            "flush",
            vec![(When::fetch(), Action::ReplaceBody(b"0000".to_vec()))],
        ),
        (
            "words",
            vec![(When::fetch(), refused("the repository is being moved"))],
        ),
        (
            "dies",
            vec![(When::fetch(), Action::ReplaceBody(dies.concat()))],
        ),
        (
            "limit",
            vec![(When::fetch(), Action::status(429, "slow down"))],
        ),
        ("page", vec![(When::fetch(), Action::Html)]),
        (
            "another pack",
            vec![(When::fetch(), Action::replace_pack(other.pack(&ids)))],
        ),
        // Not the first route only: the delta is not answered, and select is.
        (
            "delta only",
            vec![(When::fetch().body("have "), refused("no deltas today"))],
        ),
    ];
    insta::assert_snapshot!(table(&mut world, cases), @r#"
    cut -> delta: the connection to [forge] broke off after [bytes]: unexpected EOF during chunk size line; select-api
    short -> delta: http://[forge]/acme/machines.git sent something that git's protocol does not allow: the answer ends too early; select-git: http://[forge]/acme/machines.git sent something that git's protocol does not allow: the answer ends too early; select-api
    flush -> delta: http://[forge]/acme/machines.git sent something that git's protocol does not allow: no pack; select-git: http://[forge]/acme/machines.git sent something that git's protocol does not allow: no pack; select-api
    words -> delta: http://[forge]/acme/machines.git refuses: the repository is being moved; select-git: http://[forge]/acme/machines.git refuses: the repository is being moved; select-api
    dies -> delta: http://[forge]/acme/machines.git refuses: fatal: out of memory; select-git: http://[forge]/acme/machines.git refuses: fatal: out of memory; select-api
    limit -> delta: [forge] limits the rate of requests; select-api
    page -> delta: [forge] does not answer like a git host: status 200, <!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action="/…; select-api
    another pack -> delta: http://[forge]/acme/machines.git did not send commit [id], which commit [id] needs; select-git: http://[forge]/acme/machines.git did not send commit [id], which commit [id] needs; select-api
    delta only -> delta: http://[forge]/acme/machines.git refuses: no deltas today; select-git
    "#);
}

#[test]
fn a_git_that_does_not_answer_is_retried_and_then_given_up() {
    let outcomes = slow_table(vec![
        ("server error", vec![(git(), Action::status(503, "later"))]),
        (
            "page of a proxy",
            vec![(git(), Action::status(502, "<html>Bad Gateway</html>"))],
        ),
        ("reset", vec![(git(), Action::Reset)]),
        (
            "not even HTTP",
            vec![(git(), Action::Raw(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()))],
        ),
        (
            "server error in a fetch",
            vec![(When::fetch(), Action::status(500, "oops"))],
        ),
        (
            "once",
            vec![(When::ls_refs().first(1), Action::status(500, "oops"))],
        ),
    ]);
    insta::assert_snapshot!(outcomes, @r#"
    server error -> delta: [forge] answered with status 503; select-api
    page of a proxy -> delta: [forge] answered with status 502; select-api
    reset -> delta: cannot reach [forge]; select-api
    not even HTTP -> delta: cannot reach [forge]; select-api
    server error in a fetch -> delta: [forge] answered with status 500; select-api
    once -> delta
    "#);
}

#[test]
fn where_the_api_is_blocked_a_full_pack_is_fetched() {
    // Git can only send everything here.
    let poor = || {
        let sends_all = |seen: &crate::common::forge::Seen| {
            let text = seen.text();
            text.contains("command=fetch") && (text.contains("filter") || text.contains("have "))
        };
        let refused = pkt_line("ERR not today");
        (When::any().test(sends_all), Action::ReplaceBody(refused))
    };
    let mut world = OutdatedMachine::new();
    world.forge.configure(|config| config.rate.limit = 60);
    let cases = vec![
        (
            "quota",
            vec![poor(), (api(), Action::rate_limited(1_900_000_000))],
        ),
        (
            "secondary limit",
            vec![poor(), (api(), Action::secondary_limit(403, None))],
        ),
        ("login page", vec![poor(), (api(), Action::Html)]),
        ("nothing", vec![poor(), (api(), Action::status(204, ""))]),
        (
            "the state of something that was not asked about",
            vec![poor(), (api().path("/trees/"), Action::status(304, ""))],
        ),
        (
            "no such blob",
            vec![
                poor(),
                (
                    api().path("/blobs/"),
                    Action::status_with(404, "content-type", "application/json", "{}"),
                ),
            ],
        ),
        (
            "redirect elsewhere",
            vec![
                poor(),
                (
                    api(),
                    Action::Redirect {
                        code: 302,
                        to: "https://example.org/login".to_owned(),
                    },
                ),
            ],
        ),
    ];
    insta::assert_snapshot!(table(&mut world, cases), @r#"
    quota -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: [forge] limits the rate of requests until [time]; full
    secondary limit -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: [forge] limits the rate of requests; full
    login page -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: [forge] does not answer like a git host: status 200, <!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action="/…; full
    nothing -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: [forge] does not answer like a git host: status 204, nothing else; full
    the state of something that was not asked about -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: [forge] does not answer like a git host: status 304, nothing else; full
    no such blob -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: acme/machines did not send blob [id], which commit [id] needs; full
    redirect elsewhere -> delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: [forge] cannot be reached: a proxy or portal requires a login at https://example.org/login; full
    "#);
    world.forge.configure(|config| config.blob_bytes = 3);
    insta::assert_snapshot!(world.outcome(vec![poor()]), @r#"delta: http://[forge]/acme/machines.git refuses: not today; select-git: http://[forge]/acme/machines.git refuses: not today; select-api: acme/machines has a file that is too large for its API; full"#);
}

#[test]
fn a_download_that_the_quota_does_not_cover_is_not_started() {
    let mut world = OutdatedMachine::new();
    let quota = |world: &OutdatedMachine, remaining| {
        world.forge.configure(|config| {
            config.rate.limit = 60;
            config.rate.remaining = remaining;
        });
    };
    // Git fails while the name is resolved, and works again when the objects are fetched.
    let blocked = || vec![(When::ls_refs(), Action::Html)];
    // Name, commit, listing, and one of two files.
    quota(&world, 4);
    insta::assert_snapshot!(world.outcome(blocked()), @r#"delta: [forge] does not answer like a git host: status 200, <!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action="/…; select-api: acme/machines limits the rate of requests until [time]; full"#);
    let lines = world.forge.request_lines();
    assert!(
        lines.iter().all(|line| !line.contains("/blobs/")),
        "{lines:#?}"
    );
    assert_eq!(world.forge.config().rate.remaining, 1);
    quota(&world, 5);
    insta::assert_snapshot!(world.outcome(blocked()), @r#"delta: [forge] does not answer like a git host: status 200, <!DOCTYPE html>\n<html><head><title>Sign in</title></head><body><form action="/…; select-api"#);

    // Where the API is all there may be, the quota is reported before it is used up.
    let mut world = OutdatedMachine::with(|forge, repo| Machine::github(forge, repo, "api"));
    quota(&world, 4);
    insta::assert_snapshot!(world.outcome(vec![]), @r#"exit 5: rate_limited"#);
    let lines = world.forge.request_lines();
    assert!(
        lines.iter().all(|line| !line.contains("/blobs/")),
        "{lines:#?}"
    );
    quota(&world, 0);
    insta::assert_snapshot!(world.outcome(vec![]), @r#"exit 5: rate_limited"#);
    assert_eq!(world.forge.count(), 1);
}

#[test]
fn a_definite_refusal_ends_the_run_at_once() {
    let mut world = OutdatedMachine::new();
    let json = |code, words: &str| {
        let body = format!("{{\"message\":\"{words}\"}}");
        Action::status_with(code, "content-type", "application/json", body)
    };
    let limited = || (git(), Action::status(429, "slow down"));
    let cases = vec![
        ("git 401", vec![(git(), Action::status(401, "who are you"))]),
        ("git 403", vec![(git(), Action::status(403, "not you"))]),
        (
            "git 404",
            vec![(git(), Action::status(404, "nothing here"))],
        ),
        (
            "api 401",
            vec![limited(), (api(), json(401, "Bad credentials"))],
        ),
        (
            "api 403",
            vec![limited(), (api(), json(403, "Resource not accessible"))],
        ),
        (
            "api 403 of single sign-on",
            vec![
                limited(),
                (
                    api(),
                    Action::Status {
                        code: 403,
                        headers: vec![
                            ("content-type".to_owned(), "application/json".to_owned()),
                            (
                                "x-github-sso".to_owned(),
                                "required; url=https://example.org".to_owned(),
                            ),
                        ],
                        body: b"{}".to_vec(),
                    },
                ),
            ],
        ),
        ("api 404", vec![limited(), (api(), json(404, "Not Found"))]),
    ];
    insta::assert_snapshot!(table(&mut world, cases), @r#"
    git 401 -> exit 4: no_permission
    git 403 -> exit 4: forbidden
    git 404 -> exit 4: no_permission
    api 401 -> exit 4: unauthorized
    api 403 -> exit 4: forbidden
    api 403 of single sign-on -> exit 4: forbidden
    api 404 -> exit 4: no_permission
    "#);
    insta::assert_snapshot!(world.outcome_of("no-such-branch", vec![]), @r#"exit 2: unknown_ref"#);
    insta::assert_snapshot!(world.outcome_of(&"1".repeat(40), vec![]), @r#"exit 2: unknown_commit"#);
}

#[test]
fn a_pack_that_was_proven_wrong_has_no_fallback() {
    let mut world = OutdatedMachine::new();
    let bit = Action::mutate_pack(|mut pack| {
        let place = pack.len() / 2;
        pack[place] ^= 4;
        pack
    });
    let checksum = Action::mutate(|body| {
        change_pack(&body, |mut pack| {
            *pack.last_mut().unwrap() ^= 1;
            pack
        })
    });
    let cases = vec![
        ("a bit", vec![(When::fetch(), bit)]),
        ("the checksum", vec![(When::fetch(), checksum)]),
    ];
    insta::assert_snapshot!(table(&mut world, cases), @r#"
    a bit -> exit 6: pack
    the checksum -> exit 6: pack
    "#);

    let repo = world.machine.repo.clone();
    let blob = repo.blob("[core]\n");
    let inner = repo.raw_tree(&[Entry::file("config", &blob)]);
    let tree = repo.raw_tree(&[Entry::tree(".git", &inner)]);
    let evil = repo.commit_tree(&tree, &[&repo.id("main")], "evil");
    repo.update_ref("refs/heads/evil", &evil);
    insta::assert_snapshot!(world.outcome_of("evil", vec![]), @r#"exit 7: tree_refused"#);
    let limited = vec![(git(), Action::status(429, "slow down"))];
    insta::assert_snapshot!(world.outcome_of("evil", limited), @r#"exit 7: tree_refused"#);
}

#[test]
fn an_answer_of_the_api_that_was_proven_wrong_has_no_fallback() {
    let mut world = OutdatedMachine::new();
    let rows = |change: fn(&mut Vec<serde_json::Value>)| {
        Action::mutate_json(move |listing| change(listing["tree"].as_array_mut().unwrap()))
    };
    let flake = |key: &'static str, value: serde_json::Value| {
        Action::mutate_json(move |listing| {
            let mut rows = listing["tree"].as_array_mut().unwrap().iter_mut();
            rows.find(|row| row["path"] == "flake.nix").unwrap()[key] = value.clone();
        })
    };
    let half = Action::mutate(|mut body| {
        body.truncate(body.len() / 2);
        body
    });
    let deep = Action::mutate(|_| b"[".repeat(100_000));
    let flipped = Action::mutate(|mut body| {
        body[0] ^= 1;
        body
    });
    let listings = [
        ("a file left out", rows(|rows| drop(rows.pop()))),
        ("an executable", flake("mode", "100755".into())),
        ("an empty listing", rows(Vec::clear)),
        ("half a listing", half),
        ("a size", flake("size", 1.into())),
        (
            "a size beyond all limits",
            flake("size", (1_u64 << 63).into()),
        ),
        ("a deep one", deep),
    ];
    let limited = || (git(), Action::status(429, "slow down"));
    let listings =
        listings.map(|(name, action)| (name, vec![limited(), (api().path("/trees/"), action)]));
    let mut cases = vec![(
        "a bit of a file",
        vec![limited(), (api().path("/blobs/"), flipped)],
    )];
    cases.extend(listings);
    insta::assert_snapshot!(table(&mut world, cases), @r#"
    a bit of a file -> exit 6: blob_mismatch
    a file left out -> exit 6: listing_mismatch
    an executable -> exit 6: listing_mismatch
    an empty listing -> exit 6: listing_mismatch
    half a listing -> exit 6: malformed_answer
    a size -> exit 6: malformed_answer
    a size beyond all limits -> exit 7: too_large
    a deep one -> exit 6: malformed_answer
    "#);
}

#[test]
fn where_every_route_is_blocked_the_usual_one_is_reported() {
    let mut world = OutdatedMachine::new();
    let limit = |time: &str| Action::status_with(429, "retry-after", time, "slow down");
    let cases = vec![
        ("limits", vec![(git(), limit("3600")), (api(), limit("60"))]),
        ("pages", vec![(git(), Action::Html), (api(), Action::Html)]),
        (
            "page and limit",
            vec![
                (git(), Action::Html),
                (api(), Action::rate_limited(1_900_000_000)),
            ],
        ),
        (
            "limit and a bomb",
            vec![
                (git(), limit("3600")),
                (api().path("/trees/"), Action::gzip_bomb(200 << 20)),
            ],
        ),
        (
            "nonsense",
            vec![
                (When::fetch(), Action::ReplaceBody(b"0000".to_vec())),
                (api(), Action::Html),
            ],
        ),
    ];
    insta::assert_snapshot!(table(&mut world, cases), @r#"
    limits -> exit 5: rate_limited
    pages -> exit 3: not_a_forge
    page and limit -> exit 3: not_a_forge
    limit and a bomb -> exit 5: rate_limited
    nonsense -> exit 3: protocol
    "#);
    // And the next run works as before.
    insta::assert_snapshot!(world.outcome(vec![]), @r#"delta"#);
}

#[test]
fn where_git_was_chosen_there_is_no_fallback() {
    let limit = || Action::status_with(429, "retry-after", "3600", "slow down");
    for plain in [false, true] {
        let mut world = OutdatedMachine::with(|forge, repo| {
            if plain {
                Machine::git(forge, repo)
            } else {
                Machine::github(forge, repo, "git")
            }
        });
        let outcomes = table(
            &mut world,
            vec![
                ("limit", vec![(git(), limit())]),
                ("limit of the fetch", vec![(When::fetch(), limit())]),
                ("page", vec![(git(), Action::Html)]),
                (
                    "cut",
                    vec![(When::fetch(), Action::Cut { after_bytes: 300 })],
                ),
                (
                    "words",
                    vec![(When::fetch(), Action::ReplaceBody(pkt_line("ERR no")))],
                ),
            ],
        );
        assert!(
            world
                .forge
                .request_lines()
                .iter()
                .all(|line| !line.contains("/api/"))
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcomes, @r#"
            limit -> exit 5: rate_limited
            limit of the fetch -> exit 5: rate_limited
            page -> exit 3: not_a_forge
            cut -> exit 3: unreachable
            words -> exit 3: refused
            "#);
        }
    }
}

#[test]
fn a_run_without_time_left_starts_no_other_route() {
    let mut world = OutdatedMachine::new();
    world.machine.world.config("[limits]\ntime = \"1s\"\n");
    insta::assert_snapshot!(world.outcome(vec![(When::fetch(), Action::Silence)]), @r#"exit 3: timeout"#);
    let lines = world.forge.request_lines();
    assert!(
        lines.iter().all(|line| !line.contains("/api/")),
        "{lines:#?}"
    );
}

#[test]
fn downloads_limited_without_a_login_fall_back_to_the_api_and_end_as_a_rate_limit() {
    let words =
        "ERR We are limiting some unauthenticated downloads. Try again later or authenticate.\n";
    let line = format!("{:04x}{words}", words.len() + 4);
    let limits: [fn(&Forge, String); 2] = [
        |forge, line| {
            forge.fault(When::fetch(), Action::ReplaceBody(line.into_bytes()));
        },
        |forge, _| {
            forge.fault(When::post("git-upload-pack"), Action::status(401, ""));
        },
    ];
    let busy = "ERR rate limit exceeded, try again later\n";
    let busy = format!("{:04x}{busy}", busy.len() + 4);
    let forge = Forge::serve(&Repo::small());
    forge.fault(When::fetch(), Action::ReplaceBody(busy.into_bytes()));
    let limited = Machine::git(&forge, &Repo::small())
        .run(&["--json"])
        .code(5);
    let code = "hyper_sync::source::rate_limited";
    assert_eq!(limited.json()["error"]["code"], code);
    for limit in limits {
        let repo = Repo::with_history(3);
        let forge = Forge::serve(&repo);
        limit(&forge, line.clone());
        let plain = Machine::git(&forge, &repo);
        let refused = plain.run(&["--json"]).code(5).json();
        assert_eq!(refused["error"]["code"], "hyper_sync::source::login_wanted");
        assert!(
            refused["error"]["help"]
                .as_str()
                .unwrap()
                .contains("--token-file"),
            "{refused:#}"
        );
        let github = Machine::github(&forge, &repo, "auto");
        let report = github.sync(&[]);
        assert_eq!(report.route, "select-api");
    }
}
