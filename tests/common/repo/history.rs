//! A history like that of a real configuration repository, from one `git fast-import`.
//!
//! The first commit has executable scripts, symbolic links (one dangling, one absolute), a submodule entry without
//! `.gitmodules`, CRLF and binary content, an empty file, a file without a last newline, deep paths and paths with
//! spaces, quotes and letters beyond ASCII. Every further commit edits a few files and makes one change of another
//! kind, in a cycle of [`KINDS`]: so 11 commits show every kind.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use super::{
    EPOCH, Repo,
    stream::{commit_header, modify, modify_inline, quote},
    temporary,
};
use crate::common::git;

/// How many kinds of change the commits after the first go through.
pub const KINDS: usize = 10;

/// The recipe of a history. The same recipe gives the same ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    commits: usize,
    files: usize,
    edits: usize,
    seed: u64,
}

impl History {
    /// This many commits of a small repository of about 50 files.
    pub fn of(commits: usize) -> Self {
        assert!(commits > 0, "a history has a commit");
        Self {
            commits,
            files: 30,
            edits: 3,
            seed: 1,
        }
    }

    /// This many ordinary files besides the special ones.
    pub fn files(mut self, files: usize) -> Self {
        self.files = files;
        self
    }

    /// This many files edited by every commit after the first.
    pub fn edits(mut self, edits: usize) -> Self {
        self.edits = edits;
        self
    }

    /// Another history of the same shape.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// A repository with this history on `main`: made once a process, then copied.
    pub fn repo(&self) -> Repo {
        static MADE: OnceLock<Mutex<HashMap<History, Arc<OnceLock<Repo>>>>> = OnceLock::new();
        let slot = MADE
            .get_or_init(Mutex::default)
            .lock()
            .unwrap()
            .entry(self.clone())
            .or_default()
            .clone();
        let made = slot.get_or_init(|| {
            let repo = Repo::new();
            self.extend(&repo);
            repo
        });
        let directory = temporary();
        let path = directory.path().join("repo.git");
        copy(made.path(), &path, false);
        let copy = Repo::at(directory, path);
        copy.state().clock = EPOCH + 60 * i64::try_from(self.commits).expect("few commits");
        copy
    }

    /// Writes this history to the branch `main` of an empty repository and returns the ids, oldest first.
    pub fn extend(&self, repo: &Repo) -> Vec<String> {
        let mut model = HistoryModel {
            files: BTreeMap::new(),
            random: Random(self.seed),
            stream: Vec::new(),
            made: 0,
        };
        for i in 0..self.commits {
            let zone = ["+0100", "+0000", "-0330", "+0545"][i % 4];
            let when = format!(
                "{} {zone}",
                EPOCH + 60 * i64::try_from(i).expect("few commits")
            );
            let message = if i == 0 {
                "start".to_owned()
            } else {
                format!("change {i}\n\nWith a body – and a dash.")
            };
            commit_header(
                &mut model.stream,
                "refs/heads/main",
                i + 1,
                git::IDENTITY,
                &when,
                &message,
            );
            if i == 0 {
                model.begin(self.files);
            } else {
                model.change((i - 1) % KINDS);
                for _ in 0..self.edits {
                    model.edit();
                }
            }
            model
                .stream
                .extend_from_slice(format!("\nget-mark :{}\n", i + 1).as_bytes());
        }
        repo.state().clock += 60 * i64::try_from(self.commits).expect("few commits");
        repo.fast_import(&model.stream)
    }
}

/// The files at one moment, and the commands that led there.
struct HistoryModel {
    files: BTreeMap<String, (&'static str, Vec<u8>)>,
    random: Random,
    stream: Vec<u8>,
    made: usize,
}

const SUBMODULE: &str = "external-repos/maxos";

impl HistoryModel {
    fn begin(&mut self, files: usize) {
        self.put(
            "100644",
            "flake.nix",
            "{\n  description = \"fixture\";\n  outputs = _: { };\n}\n",
        );
        self.put(
            "100644",
            "flake.lock",
            "{\n  \"nodes\": { \"root\": { } },\n  \"root\": \"root\",\n  \"version\": 7\n}\n",
        );
        self.put("100644", "README.md", "# Fixture\n\nÜber allem: nothing.\n");
        self.put(
            "100644",
            "docs/windows.txt",
            "one\r\ntwo\r\nthree\nno last newline",
        );
        self.put("100644", "docs/日本語.md", "# 日本語\n");
        self.put("100644", "docs/name with space.txt", "a space\n");
        self.put("100644", "docs/quote\".txt", "quoted\n");
        self.put("100644", "modules/empty.nix", "");
        self.put(
            "100644",
            "hosts/großrechner/konfiguration.nix",
            "{ networking.hostName = \"großrechner\"; }\n",
        );
        self.put("100644", "a/b/c/d/e/f/g/h/leaf.nix", "{ }\n");
        let binary: Vec<u8> = (0..3000_u32).map(|i| (i * i % 251) as u8).collect();
        self.put("100644", "assets/logo.bin", binary);
        let large = self.random.text(1500);
        self.put("100644", "assets/large.txt", large);
        self.put("120000", "current", "hosts/großrechner");
        self.put("120000", "result-link", "/nix/store/does-not-exist");
        self.put("120000", "docs/dangling", "../nowhere");
        self.submodule();
        for name in ["hardware_detect", "install", "rebuild", "smart_sync"] {
            let body = format!("#!/usr/bin/env bash\nset -e\necho {name}\n");
            let mode = if name == "install" {
                "100755"
            } else {
                "100644"
            };
            self.put(mode, &format!("scripts/{name}.sh"), body);
        }
        for i in 0..files {
            let lines = 10 + self.random.below(120);
            let body = self.random.text(lines);
            let mode = if i % 7 == 3 { "100755" } else { "100644" };
            self.put(
                mode,
                &format!("library/{:02}/part-{i:03}.nix", i / 12),
                body,
            );
        }
    }

    fn change(&mut self, kind: usize) {
        self.made += 1;
        let n = self.made;
        match kind {
            0 => {
                let body = self.random.text(40);
                self.put("100644", &format!("library/added/deep/er/{n}.nix"), body);
                self.put("100644", "docs/windows.txt", format!("one\r\ntwo {n}\r\n"));
            }
            1 => {
                let path = self.any("100644");
                self.delete(&path);
            }
            2 => {
                for (from, to) in [("100644", "100755"), ("100755", "100644")] {
                    let path = self.any(from);
                    let body = self.files[&path].1.clone();
                    self.put(to, &path, body);
                }
            }
            3 => {
                // A file becomes a directory; the next kind turns it back.
                self.delete("modules/empty.nix");
                self.put(
                    "100644",
                    "modules/empty.nix/inner.nix",
                    format!("{{ n = {n}; }}\n"),
                );
            }
            4 => {
                self.delete("modules/empty.nix/inner.nix");
                self.put("100644", "modules/empty.nix", "");
            }
            5 => self.put("120000", "README.md", "docs/日本語.md"),
            6 => self.put("100644", "README.md", format!("# Fixture {n}\n")),
            7 => {
                let path = self.any("100644");
                let (mode, body) = self.files[&path].clone();
                self.delete(&path);
                self.put(mode, &format!("library/moved/{n}.nix"), body);
            }
            8 => self.submodule(),
            _ => {
                // A link becomes a directory and the other way round.
                self.delete("current");
                if self.files.remove("current/here.nix").is_some() {
                    self.put("120000", "current", "hosts/großrechner");
                } else {
                    self.put("100644", "current/here.nix", format!("{{ n = {n}; }}\n"));
                }
            }
        }
    }

    fn edit(&mut self) {
        let path = self.any("100644");
        let (mode, body) = self.files[&path].clone();
        let mut lines: Vec<String> = String::from_utf8_lossy(&body)
            .lines()
            .map(str::to_owned)
            .collect();
        let at = self.random.below(lines.len());
        lines[at] = self.random.line();
        self.put(mode, &path, lines.join("\n") + "\n");
    }

    /// One of the ordinary files of this mode.
    fn any(&mut self, mode: &str) -> String {
        let all: Vec<&String> = self
            .files
            .iter()
            .filter(|(p, (m, _))| p.starts_with("library/") && *m == mode)
            .map(|(p, _)| p)
            .collect();
        assert!(
            !all.is_empty(),
            "this history has too few files for so many commits"
        );
        let at = self.random.below(all.len());
        all[at].clone()
    }

    fn put(&mut self, mode: &'static str, path: &str, content: impl Into<Vec<u8>>) {
        let content = content.into();
        modify_inline(&mut self.stream, mode, path.as_bytes(), &content);
        self.files.insert(path.to_owned(), (mode, content));
    }

    fn delete(&mut self, path: &str) {
        self.stream.extend_from_slice(b"D ");
        quote(path.as_bytes(), &mut self.stream);
        self.stream.push(b'\n');
        self.files.remove(path);
    }

    fn submodule(&mut self) {
        let (a, b, c) = (self.random.next(), self.random.next(), self.random.next());
        let id = format!("{a:016x}{b:016x}{:08x}", c & 0xffff_ffff);
        modify(&mut self.stream, "160000", &id, SUBMODULE.as_bytes());
    }
}

/// `SplitMix64`: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("smaller than a usize")
    }

    fn line(&mut self) -> String {
        const WORDS: [&str; 12] = [
            "services",
            "enable",
            "network",
            "hypervisor",
            "module",
            "storage",
            "firewall",
            "virtual",
            "bridge",
            "package",
            "option",
            "default",
        ];
        let mut word = || WORDS[self.below(WORDS.len())];
        let (a, b, c) = (word(), word(), word());
        format!("  {a}.{b} = \"{c}-{:x}\";", self.next() % 0xff_ffff)
    }

    fn text(&mut self, lines: usize) -> String {
        let mut text = String::from("{\n");
        for _ in 0..lines {
            text.push_str(&self.line());
            text.push('\n');
        }
        text.push_str("}\n");
        text
    }
}

/// Copies a repository; objects are hard links, since git never changes one in place.
fn copy(from: &Path, to: &Path, objects: bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(
                &entry.path(),
                &target,
                objects || entry.file_name() == "objects",
            );
        } else if objects {
            fs::hard_link(entry.path(), &target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
