//! Names and link targets that deceive, through the real binary by every route: refused, and shown for what they are.

use std::fs;

use hyper_sync::git::{RelPath, path};
use hyper_sync::text::code_point;

use crate::common::env::{Output, Sandbox};
use crate::common::forge::Forge;
use crate::common::git;
use crate::common::repo::{Entry, Repo};

/// One of each kind: invisible, of another direction, a gap that is not a space, a control character.
const DECEIVING: &str = "\u{ad}\u{34f}\u{61c}\u{115f}\u{180e}\u{200b}\u{200d}\u{2028}\u{202e}\u{2066}\u{3164}\u{fe0f}\u{feff}\u{ffa0}\u{fff0}\u{fffb}\u{1d173}\u{e0041}\u{e0100}\u{a0}\u{1680}\u{2003}\u{202f}\u{3000}\u{2800}\u{85}\u{9b}";

/// A repository whose commits are made of raw trees.
struct HostileRepo {
    repo: Repo,
    blob: String,
}

impl HostileRepo {
    fn new() -> Self {
        let repo = Repo::new();
        let blob = repo.blob("x");
        Self { repo, blob }
    }

    /// The tip is a commit with files of these names.
    fn files(&self, names: &[&[u8]]) -> &Self {
        let entries = names.iter().map(|name| Entry::file(name, &self.blob));
        self.entries(entries.collect())
    }

    /// The tip is a commit with one link.
    fn link(&self, target: &[u8]) -> &Self {
        let target = self.repo.blob(target);
        self.entries(vec![Entry::link("link", &target)])
    }

    fn entries(&self, mut entries: Vec<Entry>) -> &Self {
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let tree = self.repo.raw_tree(&entries);
        self.repo.commit_raw_tree(&tree, "deceives");
        self
    }

    fn sync(&self, args: &[&str]) -> Output {
        let sandbox = Sandbox::new();
        let path = self.repo.path().display().to_string();
        let output = sandbox.run(&[&["sync", "--repo", &path], args].concat());
        if output.code != Some(0) {
            assert!(sandbox.target_tree().is_empty());
        }
        output
    }

    /// A sync that is refused, and how.
    #[track_caller]
    fn refused(&self) -> String {
        let output = self.sync(&[]).code(7);
        let json = self.sync(&["--json"]).code(7).json();
        let message = json["error"]["message"].as_str().unwrap();
        assert!(
            output.stderr.contains(message),
            "{message}: {}",
            output.stderr
        );
        message.to_owned()
    }
}

#[test]
fn a_name_that_deceives_is_refused_with_its_code_point() {
    let hostile = HostileRepo::new();
    for c in DECEIVING.chars() {
        let message = hostile.files(&[format!("a{c}b").as_bytes()]).refused();
        let shown = format!("`a{}b`", c.escape_default());
        assert!(message.contains(&shown), "{message}");
        assert!(message.contains(&code_point(c)), "{message}");
    }
}

#[test]
fn a_link_that_deceives_is_refused_with_its_code_point() {
    let hostile = HostileRepo::new();
    for c in DECEIVING.chars() {
        for target in [format!("a{c}b"), format!("/nix/store/a{c}b")] {
            let message = hostile.link(target.as_bytes()).refused();
            let shown = target.replace(c, &c.escape_default().to_string());
            assert!(
                message.contains(&format!("`link` has the target `{shown}`")),
                "{message}"
            );
            assert!(message.contains(&code_point(c)), "{message}");
        }
    }
}

#[test]
fn the_api_route_refuses_the_same_names() {
    let hostile = HostileRepo::new();
    hostile.files(&["a\u{200b}b".as_bytes()]);
    let forge = Forge::serve(&hostile.repo);
    let sandbox = Sandbox::new();
    let (name, api) = (forge.owner_name(), forge.api_url());
    let args = [
        "sync",
        "--repo",
        &name,
        "--api-url",
        &api,
        "--transport",
        "api",
    ];
    let output = sandbox.run(&args).code(7);
    assert!(output.stderr.contains("`a\\u{200b}b`"), "{}", output.stderr);
    assert!(output.stderr.contains("U+200B"), "{}", output.stderr);
}

#[test]
fn names_that_are_not_utf_8_are_shown_by_their_bytes() {
    let hostile = HostileRepo::new();
    let message = hostile.files(&[b"caf\xe9.nix"]).refused();
    assert!(
        message.ends_with("is refused: `caf\\xE9.nix` is not UTF-8"),
        "{message}"
    );
    // A link may lead to where other rules hold.
    hostile.link(b"/srv/caf\xe9");
    let output = hostile.sync(&[]).ok();
    assert!(
        output
            .stderr
            .contains("the symlink `link` leads out of the tree, to `/srv/caf\\xE9`"),
        "{}",
        output.stderr
    );
    let json = hostile.sync(&["--json"]).ok().json();
    let notices = json["notices"].as_array().unwrap().iter();
    let mut notices = notices.map(|notice| notice.as_str().unwrap());
    assert!(
        notices.any(|notice| notice.contains("`/srv/caf\\xE9`")),
        "{json}"
    );
}

#[test]
fn names_that_look_the_same_are_printed_differently() {
    let hostile = HostileRepo::new();
    let message = hostile
        .files(&["cafe\u{301}".as_bytes(), "caf\u{e9}".as_bytes()])
        .refused();
    assert!(
        message.ends_with("`caf\\u{e9}` and `cafe\\u{301}` are the same name in Unicode"),
        "{message}"
    );
    hostile.files(&["\u{212a}".as_bytes(), b"K"]);
    assert!(
        hostile
            .refused()
            .contains("`\\u{212a}` and `K` are the same name")
    );
    // Letters of one form in two cases.
    hostile.files(&["\u{421}".as_bytes(), "\u{441}".as_bytes()]);
    let output = hostile.sync(&[]).ok();
    assert!(
        output
            .stderr
            .contains("`\\u{421}` and `\\u{441}` are one name"),
        "{}",
        output.stderr
    );
}

/// Git lets a branch have such a name: what programs are given is exact, and nothing of it reaches a terminal.
#[test]
fn a_branch_that_deceives_is_named_exactly_and_shown_escaped() {
    let repo = Repo::small();
    let branch = "feature\u{202e}xin\u{200b}";
    repo.update_ref(&format!("refs/heads/{branch}"), &repo.id("main"));
    let sandbox = Sandbox::new();
    let metrics = sandbox.root().join("metrics.prom");
    sandbox.config(&format!("metrics_file = '{}'\n", metrics.display()));
    let path = repo.path().display().to_string();
    let sync = ["sync", "--repo", &path, "--ref", branch];
    let is_fit = |what: &str, text: &str| {
        let found = text.chars().find(|c| "\u{202e}\u{200b}".contains(*c));
        assert_eq!(found, None, "{what}: {text}");
    };
    let commands: [&[&str]; 4] = [&sync, &["status"], &["history"], &["config", "show"]];
    for command in commands {
        for json in [&[][..], &["--json"]] {
            let args = [command, json].concat();
            let output = sandbox.run(&args).ok();
            is_fit(command[0], &output.stdout);
            is_fit(command[0], &output.stderr);
            if command[0] == "sync" && !json.is_empty() {
                assert_eq!(output.json()["ref"], branch);
            }
        }
    }
    let state = fs::read_to_string(sandbox.state().join("sync-state.json")).unwrap();
    is_fit("sync-state.json", &state);
    let state: serde_json::Value = serde_json::from_str(&state).unwrap();
    assert_eq!(state["last_sync"]["ref"], branch);
    let metrics = fs::read_to_string(metrics).unwrap();
    is_fit("metrics", &metrics);
    assert!(
        metrics.contains(r#"ref="feature\\u{202e}xin\\u{200b}""#),
        "{metrics}"
    );
    let missing = sandbox
        .run(&["sync", "--repo", &path, "--ref", "gone\u{202e}"])
        .code(2);
    assert!(
        missing.stderr.contains("`gone\\u{202e}`"),
        "{}",
        missing.stderr
    );
}

/// What git itself would not check out with all of its protections on (`verify_path` in its `read-cache.c`), we do not
/// write either.
#[test]
fn no_name_that_git_refuses_is_accepted() {
    let repo = Repo::new();
    let blob = repo.blob("x");
    let mut by_git = 0;
    for name in [
        "a",
        "a b",
        ".git",
        ".GIT",
        ".gIt",
        "git~1",
        "GIT~1",
        ".git ",
        ".git.",
        ".git. .",
        ".git:x",
        ".git::$INDEX_ALLOCATION",
        ".g\u{200c}it",
        ".\u{200d}git",
        ".git\u{200e}",
        "\u{feff}.git",
        ".gi\u{202e}t",
        "..",
        ".",
        "../x",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "a/.git/b",
        "a/.GIT",
        r"a\..\b",
        r".git\x",
        r"a\.git",
        ".gitmodules",
        "git~2",
        ".gitx",
        "x.git",
    ] {
        let mut git = repo.git();
        git.args(["-c", "core.protectNTFS=true", "-c", "core.protectHFS=true"]);
        git.args([
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("100644,{blob},{name}"),
        ]);
        let accepted = git::output(&mut git).status.success();
        by_git += usize::from(!accepted);
        let ours = RelPath::new(name.as_bytes());
        assert!(accepted || ours.is_err(), "{name:?}");
        repo.git().args(["read-tree", "--empty"]).status().unwrap();
    }
    assert!(by_git >= 20, "{by_git}");
    assert!(matches!(
        RelPath::new("a\u{a0}".as_bytes()),
        Err(path::PathFault::Blank('\u{a0}'))
    ));
}
