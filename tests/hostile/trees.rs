//! Commits that git would store: names, modes, link targets and shapes, each by three sources through the real binary.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;

use super::outcomes::Counts;
use crate::common::env::Sandbox;
use crate::common::forge::Forge;
use crate::common::repo::{Entry, Repo};
use crate::common::snapshot::TreeSnapshot;

/// A commit under a branch of its own.
struct Case {
    name: String,
    branch: String,
    /// Whether it is written, byte for byte; all others are refused.
    harmless: bool,
}

/// Names that must not be written.
fn hostile_names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "..",
        ".",
        "",
        "/",
        "/etc",
        "a/b",
        "a/../b",
        "../x",
        ".git",
        ".GIT",
        ".Git",
        ".gIT",
        "git~1",
        "GIT~1",
        ".git ",
        ".git.",
        ".git . .",
        ".git:x",
        ".git::$INDEX_ALLOCATION",
        ".g\u{200c}it",
        ".\u{200d}git",
        ".gi\u{feff}t",
        ".git\u{202a}",
        "a\\b",
        "..\\x",
        ".\\.GIT\\x",
        "a\nb",
        "a\r",
        "a\tb",
        "\u{1b}[2J",
        "a\u{7}",
        "\u{1}",
        "a\u{7f}",
        "a\u{85}b",
        "a\u{9b}2J",
        "a\u{202e}b",
        "a\u{2066}b",
        "a\u{200b}b",
        "\u{feff}a",
        "a\u{ad}b",
        "a\u{34f}b",
        "a\u{61c}b",
        "a\u{115f}b",
        "a\u{180e}b",
        "a\u{2028}b",
        "a\u{2800}b",
        "a\u{3000}b",
        "a\u{a0}b",
        "a\u{2003}b",
        "a\u{3164}b",
        "a\u{fe0f}b",
        "a\u{e0041}b",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.extend([
        b"caf\xe9".to_vec(),
        b"\xff\xfe".to_vec(),
        b"a\xc0\xafb".to_vec(),
        vec![b'n'; 256],
        vec![b'n'; 5000],
    ]);
    names
}

/// Names that are harmless here, though a shell, a terminal or another system would mishandle them.
const HARMLESS: &[&str] = &[
    "-rf",
    "--upload-pack=x",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "a b",
    " a",
    "'",
    "\"",
    "|",
    "&",
    "*",
    "?",
    "~root",
    "#",
    "%s",
    "CON",
    "aux.c",
    "a:b",
    "...",
    "..a",
    ".gitx",
    ".gitattributes",
    ".gitignore",
    "caf\u{e9}",
    "\u{65e5}\u{672c}",
];

const HOSTILE_TARGETS: &[&[u8]] = &[
    b"",
    b"a\0b",
    b"a\nb",
    b"\x1b[2J",
    b"a\xc2\x9bb",
    "a\u{202e}b".as_bytes(),
    "a\u{200b}b".as_bytes(),
    "a\u{2800}b".as_bytes(),
    "a\u{a0}b".as_bytes(),
    b"a\x7f",
    &[b'x'; 4096],
    &[b'x'; 1 << 20],
];

const HOSTILE_MODES: &[&str] = &[
    "100600",
    "100666",
    "100777",
    "100640",
    "104755",
    "102755",
    "101777",
    "10644",
    "644",
    "0100644",
    "040755",
    "40755",
    "120777",
    "160755",
    "20000",
    "60000",
    "10000",
    "140000",
    "0",
    "777777777777",
    "100648",
    "-100644",
    "",
];

/// Makes the commits.
struct Maker {
    repo: Repo,
    blob: String,
    flake: Entry,
    cases: Vec<Case>,
}

impl Maker {
    fn add(&mut self, name: impl Into<String>, harmless: bool, mut entries: Vec<Entry>) {
        entries.push(self.flake.clone());
        entries.sort_by_key(sort_key);
        self.add_as_it_is(name, harmless, &entries);
    }

    fn add_as_it_is(&mut self, name: impl Into<String>, harmless: bool, entries: &[Entry]) {
        let branch = format!("case-{}", self.cases.len());
        let tree = self.repo.raw_tree(entries);
        let commit = self.repo.commit_tree(&tree, &[], "a case");
        self.repo
            .update_ref(&format!("refs/heads/{branch}"), &commit);
        self.cases.push(Case {
            name: name.into(),
            branch,
            harmless,
        });
    }

    fn file(&self, name: impl AsRef<[u8]>) -> Entry {
        Entry::file(name, &self.blob)
    }

    fn directory(&self, name: impl AsRef<[u8]>, entries: &[Entry]) -> Entry {
        let tree = self.repo.raw_tree(entries);
        Entry::tree(name, &tree)
    }

    fn link(&self, name: impl AsRef<[u8]>, target: &[u8]) -> Entry {
        let target = self.repo.blob(target);
        Entry::link(name, &target)
    }
}

/// As git sorts: a directory as if its name ended with a slash.
fn sort_key(entry: &Entry) -> Vec<u8> {
    let mut key = entry.name.clone();
    if entry.mode.trim_start_matches('0') == "40000" {
        key.push(b'/');
    }
    key
}

fn make() -> (Repo, Vec<Case>) {
    let repo = Repo::small();
    let blob = repo.blob("content\n");
    let flake = Entry::file("flake.nix", &repo.blob("{ }\n"));
    let mut maker = Maker {
        repo: repo.clone(),
        blob,
        flake,
        cases: Vec::new(),
    };
    for name in hostile_names() {
        let shown = String::from_utf8_lossy(&name[..name.len().min(40)]).into_owned();
        let file = maker.file(&name);
        let inner = maker.file("inner");
        let directory = maker.directory(&name, std::slice::from_ref(&inner));
        let below = maker.directory("modules", std::slice::from_ref(&file));
        let deep = maker.directory("deep", &[maker.directory(&name, &[inner])]);
        let link = maker.link(&name, b"flake.nix");
        for (position, entry) in [
            ("a file", file),
            ("a directory", directory),
            ("a file below", below),
            ("a directory below", deep),
            ("a link", link),
        ] {
            maker.add(format!("{position} {shown:?}"), false, vec![entry]);
        }
    }
    for mode in HOSTILE_MODES {
        let entry = Entry::new(mode, "file", &maker.blob);
        maker.add(format!("mode {mode}"), false, vec![entry]);
    }
    for target in HOSTILE_TARGETS {
        let shown = String::from_utf8_lossy(&target[..target.len().min(20)]).into_owned();
        let link = maker.link("link", target);
        maker.add(format!("a link to {shown:?}"), false, vec![link]);
    }
    for name in HARMLESS {
        let file = maker.file(name);
        let below = maker.directory("modules", std::slice::from_ref(&file));
        maker.add(format!("harmless {name:?}"), true, vec![file]);
        maker.add(format!("harmless below {name:?}"), true, vec![below]);
    }
    for target in [
        "flake.nix",
        "nowhere",
        "./flake.nix",
        "link",
        "/etc/passwd",
        "../../outside",
    ] {
        let link = maker.link("link", target.as_bytes());
        maker.add(format!("a link to {target}, as it is"), true, vec![link]);
    }
    shapes(&mut maker);
    (repo, maker.cases)
}

fn shapes(maker: &mut Maker) {
    let (file, flake) = (maker.file("x"), maker.flake.clone());
    let directory = maker.directory("x", &[maker.file("inner")]);
    let link = maker.link("x", b"/etc");
    maker.add("one name twice", false, vec![file.clone(), file.clone()]);
    maker.add(
        "a file and a directory",
        false,
        vec![file.clone(), directory.clone()],
    );
    maker.add(
        "a link and a directory",
        false,
        vec![link.clone(), directory.clone()],
    );
    maker.add("a link and a file", false, vec![link, file.clone()]);
    let other = maker.repo.blob("other\n");
    maker.add(
        "one name for two files",
        false,
        vec![file.clone(), Entry::file("x", &other)],
    );
    maker.add_as_it_is("unsorted", false, &[file.clone(), flake.clone()]);
    maker.add(
        "twins of one form",
        false,
        vec![maker.file("caf\u{e9}"), maker.file("cafe\u{301}")],
    );
    for (name, entry) in [
        ("a null id", Entry::file("x", &"0".repeat(40))),
        ("a missing file", Entry::file("x", &"1".repeat(40))),
        ("a missing directory", Entry::tree("x", &"1".repeat(40))),
        ("a file as a directory", Entry::tree("x", &maker.blob)),
        ("a directory as a file", Entry::file("x", &directory.id)),
        ("a directory as a link", Entry::link("x", &directory.id)),
    ] {
        maker.add(name, false, vec![entry]);
    }
    for name in [".gitmodules", ".gitattributes", ".gitignore", ".mailmap"] {
        let link = maker.link(name, b"flake.nix");
        maker.add(format!("a link {name}"), false, vec![link]);
    }
    for depth in [70, 500] {
        let mut tree = directory.clone();
        for _ in 0..depth {
            tree = maker.directory("d", &[tree]);
        }
        maker.add(format!("{depth} directories deep"), false, vec![tree]);
    }
    let long = "n".repeat(250);
    let mut tree = maker.file("end");
    for _ in 0..20 {
        tree = maker.directory(&long, &[tree]);
    }
    maker.add("a path of 5000 bytes", false, vec![tree]);
    maker.add(
        "a submodule",
        true,
        vec![Entry::new("160000", "sub", &"1".repeat(40))],
    );
    let empty = maker.directory("empty", &[]);
    maker.add("an empty directory", true, vec![empty]);
}

/// Runs one sync and returns how it ended.
fn run(repo: &Repo, case: &Case, source: &str, args: &[&str]) -> String {
    let what = format!("{} by {source}", case.name);
    let sandbox = Sandbox::new();
    let before = names(&sandbox);
    let output = sandbox.run(&[&["sync", "--ref", &case.branch], args].concat());
    for text in [&output.stdout, &output.stderr] {
        assert!(
            text.len() < 20_000,
            "{what}: {} bytes are printed",
            text.len()
        );
        assert!(
            text.chars().all(|c| c == '\n' || !c.is_control()),
            "{what}: {}",
            text.escape_debug()
        );
    }
    let code = output.code.unwrap_or(-1);
    if case.harmless {
        assert_eq!(code, 0, "{what}: {}", output.stderr);
        let commit = repo.id(&case.branch);
        sandbox
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(repo, &commit));
    } else {
        assert!(
            matches!(code, 3 | 6 | 7),
            "{what}: {code}: {}",
            output.stderr
        );
        assert!(
            sandbox.target_tree().is_empty(),
            "{what}: something is written"
        );
    }
    let after = names(&sandbox);
    let new: Vec<&String> = after.difference(&before).collect();
    assert!(
        new.iter()
            .all(|name| matches!(name.as_str(), "target" | "state")),
        "{what}: {new:?}"
    );
    format!("exit {code}")
}

/// What is beside the target.
fn names(sandbox: &Sandbox) -> BTreeSet<String> {
    let entries = std::fs::read_dir(sandbox.root()).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

pub(crate) fn all() -> Counts {
    let (repo, cases) = make();
    assert!(cases.len() >= 300, "{}", cases.len());
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.rate.remaining = u64::MAX / 2);
    let path = repo.path().display().to_string();
    let (url, name, api) = (forge.git_url(), forge.owner_name(), forge.api_url());
    let counts = Mutex::new(Counts::default());
    let threads = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        for part in cases.chunks(cases.len().div_ceil(threads)) {
            let (repo, counts, url, name, api, path) = (&repo, &counts, &url, &name, &api, &path);
            scope.spawn(move || {
                for case in part {
                    for (source, args) in [
                        ("path", vec!["--repo", path]),
                        ("http", vec!["--repo", url]),
                        (
                            "api",
                            vec!["--repo", name, "--api-url", api, "--transport", "api"],
                        ),
                    ] {
                        let outcome = run(repo, case, source, &args);
                        counts.lock().unwrap().note(outcome);
                    }
                }
            });
        }
    });
    counts.into_inner().unwrap()
}
