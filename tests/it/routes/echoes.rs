//! Text from a host, a child process or a commit on every output: without secrets, without control characters, and of
//! bounded length.

use super::*;
use crate::common::forge::fault::{Action, When};
use crate::common::forge::pack::pkt_line;
use crate::common::repo::Entry;

/// Without a known prefix: it is masked because it was found, not because of its form.
const TOKEN: &str = "canary/0123456789+abcdef";

/// The token as it is sent, and as answers repeat it.
fn forms() -> Vec<String> {
    let pair = format!("x-access-token:{TOKEN}");
    let coded = data_encoding::BASE64.encode(pair.as_bytes());
    vec![
        TOKEN.to_owned(),
        TOKEN.replace('/', "\\/"),
        TOKEN.replace('/', "%2F").replace('+', "%2B"),
        coded.replace('=', "%3D"),
        coded,
    ]
}

/// All that is printed, as text and as JSON, with all events.
fn outputs(machine: &Machine) -> [(&'static str, String); 4] {
    let text = machine.run(&["--verbose"]);
    let json = machine.run(&["--verbose", "--json"]);
    [
        ("stdout", text.stdout),
        ("stderr", text.stderr),
        ("JSON", json.stdout),
        ("stderr beside JSON", json.stderr),
    ]
}

/// Whether a terminal would act on it, or a reader not see it.
fn deceives(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fffd}')
}

/// What it is, the requests that are answered so, and how.
type Answer = (&'static str, When, Action);

/// What a git host may answer with, with `words` in it.
fn by_git(words: &str) -> Vec<Answer> {
    let lines = |lines: &[&str]| {
        let lines = lines.iter().map(|line| match *line {
            "0000" => b"0000".to_vec(),
            line => pkt_line(line),
        });
        Action::ReplaceBody(lines.collect::<Vec<_>>().concat())
    };
    let one_word = words.replace(' ', "_");
    let reference = format!("{one_word} refs/heads/main");
    let to = format!("https://other.example/{}", percent(words));
    vec![
        ("error line", When::any(), lines(&[&format!("ERR {words}")])),
        ("line of a listing", When::ls_refs(), lines(&[&one_word])),
        (
            "id in a listing",
            When::ls_refs(),
            lines(&[&reference, "0000"]),
        ),
        ("section", When::fetch(), lines(&[words])),
        (
            "acknowledgment",
            When::fetch(),
            lines(&["acknowledgments\n", words]),
        ),
        (
            "error in a pack",
            When::fetch(),
            lines(&["packfile\n", &format!("\u{3}{words}")]),
        ),
        ("body", When::any(), Action::status(418, words)),
        (
            "redirect of a POST",
            When::post(""),
            Action::Redirect { code: 307, to },
        ),
    ]
}

/// What an API may answer with.
fn by_api(words: &str) -> Vec<Answer> {
    let said = words.to_owned();
    let json = move |change: fn(&mut serde_json::Value, &str)| {
        let said = said.clone();
        Action::mutate_json(move |json| change(json, &said))
    };
    let words_in = percent(words);
    let to = format!("https://{words_in}@other.example/{words_in}?token={words_in}");
    let listing = || When::get("/git/trees/");
    vec![
        ("body", When::any(), Action::status(418, words)),
        (
            "redirect with credentials",
            When::any(),
            Action::Redirect { code: 307, to },
        ),
        (
            "coding",
            When::any(),
            Action::status_with(200, "content-encoding", &ascii(words), "x"),
        ),
        (
            "path of a listing",
            listing(),
            json(|json, said| json["tree"][0]["path"] = format!("{said}/x").into()),
        ),
        (
            "mode of a listing",
            listing(),
            json(|json, said| json["tree"][0]["mode"] = said.into()),
        ),
        (
            "kind in a listing",
            listing(),
            json(|json, said| json["tree"][0]["type"] = said.into()),
        ),
        (
            "field of another type",
            listing(),
            json(|json, said| json["truncated"] = said.into()),
        ),
        (
            "id of a commit",
            When::get("/git/commits/"),
            json(|json, said| json["sha"] = said.into()),
        ),
    ]
}

/// The words as part of an address, without what a header must not have.
fn percent(words: &str) -> String {
    ascii(words).replace(' ', "%20")
}

fn ascii(words: &str) -> String {
    words
        .chars()
        .filter(|c| c.is_ascii() && !c.is_control())
        .collect()
}

/// What a sync prints for each of the answers, by the name of the answer.
fn printed(words: &str) -> Vec<(&'static str, [(&'static str, String); 4])> {
    let repo = Repo::small();
    let forge = Forge::private(&repo, TOKEN);
    let mut printed = Vec::new();
    let by_git = by_git(words).into_iter().map(|answer| ("git", answer));
    let by_api = by_api(words).into_iter().map(|answer| ("api", answer));
    for (transport, (what, when, action)) in by_git.chain(by_api) {
        let machine = Machine::github(&forge, &repo, transport).with("GH_ENTERPRISE_TOKEN", TOKEN);
        let hits = forge.clear_faults().fault(when, action);
        let outputs = outputs(&machine);
        assert!(hits.count() > 0, "{what}");
        assert!(machine.world.target_tree().is_empty(), "{what}");
        printed.push((what, outputs));
    }
    printed
}

/// All strings of a document.
fn strings(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::String(text) => vec![text],
        serde_json::Value::Array(values) => values.iter().flat_map(strings).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn a_token_in_an_answer_is_masked_on_every_output() {
    for (what, outputs) in printed(&format!("who is {}", forms().join(" "))) {
        for (stream, text) in &outputs {
            let found = forms().into_iter().find(|form| text.contains(form));
            assert_eq!(found, None, "{what}, {stream}: {text}");
        }
        let [_, (_, text), (_, json), _] = &outputs;
        assert!(text.contains("***"), "{what}: {text}");
        assert!(json.contains("***"), "{what}: {json}");
    }
}

#[test]
fn control_and_invisible_characters_are_never_printed() {
    let words = "a\u{9b}2J\u{202e}b\u{200b}\u{2028}c\u{1b}]0;x\u{7}d\u{ad}";
    for (what, outputs) in printed(words) {
        for (stream, text) in &outputs {
            let found = text.chars().find(|c| deceives(*c));
            assert_eq!(found, None, "{what}, {stream}: {text:?}");
        }
        let document = serde_json::from_str(&outputs[2].1).unwrap();
        for text in strings(&document) {
            assert_eq!(
                text.chars().find(|c| deceives(*c)),
                None,
                "{what}: {text:?}"
            );
        }
    }
}

#[test]
fn endless_messages_are_cut() {
    for (what, outputs) in printed(&"word ".repeat(6000)) {
        for (stream, text) in &outputs {
            assert!(text.len() < 4000, "{what}, {stream}: {} bytes", text.len());
        }
    }
}

#[test]
fn endless_names_and_subjects_are_cut() {
    let repo = Repo::new();
    let blob = repo.blob("x");
    let long = "n\u{9b}".repeat(7 << 20);
    let tree = repo.raw_tree(&[Entry::file(&long, &blob)]);
    let named = repo.commit_raw_tree(&tree, "a name");
    repo.update_ref("refs/heads/named", &named);
    let tree = repo.raw_tree(&[Entry::file("flake.nix", &blob)]);
    let person = "A <a@example.org> 1760000000 +0000";
    // What the API says of a commit is refused where it is larger than a megabyte.
    for (branch, subject) in [("subject", &long[..]), ("api-subject", &long[..300 << 10])] {
        let commit = format!("tree {tree}\nauthor {person}\ncommitter {person}\n\n{subject}\n");
        let commit = repo.object("commit", commit.as_bytes());
        repo.update_ref(&format!("refs/heads/{branch}"), &commit);
    }
    let forge = Forge::serve(&repo);
    for (reference, transport, code) in [
        ("named", "git", 7),
        ("subject", "git", 0),
        ("api-subject", "api", 0),
    ] {
        for args in [&[][..], &["--json"], &["--verbose"]] {
            let machine = Machine::github(&forge, &repo, transport);
            let output = machine
                .run(&[&["--ref", reference], args].concat())
                .code(code);
            for text in [&output.stdout, &output.stderr] {
                assert!(text.len() < 4000, "{reference}: {} bytes", text.len());
                assert_eq!(text.chars().find(|c| deceives(*c)), None, "{reference}");
            }
            let shown = output.stdout.clone() + &output.stderr;
            assert!(
                shown.contains("n\\u{9b}") || shown.contains("n\\\\u{9b}"),
                "{shown}"
            );
        }
    }
}

/// What a child process prints on stderr: secrets of known form, control characters, bytes that are not text,
/// endlessly.
const SAID: &str =
    r"who is https://me:canary@host/ ghp_canary0123456789 \033[2J \302\233 \342\200\256 \351";

/// A script that prints it after a word, and then a long line.
fn talks(word: &str, status: u32) -> String {
    let long = "x".repeat(30_000);
    format!("printf '{word}: {SAID}\\n{long}\\n' >&2; exit {status}")
}

#[test]
fn the_output_of_a_child_process_is_sanitized() {
    let repo = Repo::small();
    let path = repo.path().display().to_string();
    let ssh = format!("ssh://git@host.example{path}");
    for (program, repository) in [("ssh", &ssh), ("git", &path)] {
        let machine = Machine::new(&repo, &["--repo", repository]);
        let program_in_path = machine.world.root().join("bin").join(program);
        let _ = fs::remove_file(program_in_path);
        machine.world.tool(program, &talks("fatal", 128));
        for (stream, text) in outputs(&machine) {
            assert_fit(program, stream, &text);
            let is_told = stream == "stderr" || stream == "JSON";
            assert!(
                !is_told || text.contains("https://***@host/ *** "),
                "{program}, {stream}: {text}"
            );
            assert!(
                text.len() < 4000,
                "{program}, {stream}: {} bytes",
                text.len()
            );
        }
    }
}

#[test]
fn the_output_of_a_rebuild_is_sanitized_line_by_line() {
    let repo = Repo::small();
    repo.write(
        "flake.nix",
        "{ outputs = _: { nixosConfigurations.vm = 1; }; }",
    );
    repo.commit("a flake");
    let machine = Machine::new(&repo, &["--repo", &repo.path().display().to_string()]);
    machine.world.config("[rebuild]\nhost = 'vm'\n");
    machine.world.tool("nixos-rebuild", &talks("error", 1));
    machine.sync(&[]);
    for args in [&["rebuild"][..], &["rebuild", "--json"]] {
        let output = machine.world.run(args);
        assert_eq!(output.code, Some(11), "{}", output.stderr);
        assert_fit("nixos-rebuild", "stdout", &output.stdout);
        assert_fit("nixos-rebuild", "stderr", &output.stderr);
        // As it comes, and again in the error.
        let shown = "who is https://***@host/ *** \\u{1b}[2J \\u{9b} \\u{202e} \\xE9";
        assert!(output.stderr.contains(shown), "{}", output.stderr);
        let longest = output.stderr.lines().map(str::len).max();
        assert!(longest < Some(9000), "{longest:?}");
    }
}

#[track_caller]
fn assert_fit(what: &str, stream: &str, text: &str) {
    assert!(!text.contains("canary"), "{what}, {stream}: {text}");
    let found = text.chars().find(|c| deceives(*c));
    assert_eq!(found, None, "{what}, {stream}: {text:?}");
}
