//! Honest answers with their bytes changed: by the git protocol recorded once, by the API as the forge makes them.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_sync::settings::Limits;
use hyper_sync::source::git::{Connection, GitSource, Options};
use hyper_sync::source::github::GitHub;
use hyper_sync::source::http::{Client, Options as HttpOptions};
use hyper_sync::source::{Error, Interrupt, Source, Traffic};

use super::outcomes::{Counts, class};
use crate::common::forge::Forge;
use crate::common::forge::fault::{Action, When};
use crate::common::git;
use crate::common::machine::Machine;
use crate::common::repo::Repo;

/// A random number generator with a fixed seed (Marsaglia's xorshift64).
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Changes an answer in one of seven ways.
fn mutate(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let at = random.below(bytes.len());
    let length = 1 + random.below(40);
    let end = (at + length).min(bytes.len());
    match random.below(7) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.byte(),
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(at..end)),
        4 => {
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        5 => {
            let noise: Vec<u8> = (0..length).map(|_| random.byte()).collect();
            bytes.splice(at..at, noise);
        }
        _ => {
            let to = random.below(bytes.len());
            let part: Vec<u8> = bytes.drain(at..end).collect();
            let to = to.min(bytes.len());
            bytes.splice(to..to, part);
        }
    }
    bytes
}

/// Real answers, by their requests: each request is asked of git once.
type Record = Arc<Mutex<HashMap<Vec<u8>, Vec<u8>>>>;

/// A server that answers from a record, with one of its answers changed.
struct Replayed {
    repo: Repo,
    record: Record,
    /// Which answer is changed, counted from 0.
    changed: usize,
    random: Random,
    traffic: Traffic,
}

impl Connection for Replayed {
    fn describe(&self) -> String {
        "the replayed server".to_owned()
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn filters(&mut self) -> Result<Option<bool>, Error> {
        Ok(None)
    }

    fn command(&mut self, request: &[u8]) -> Result<Box<dyn Read + '_>, Error> {
        let known = self.record.lock().unwrap().get(request).cloned();
        let answer = known.unwrap_or_else(|| {
            let mut command = git::git(self.repo.path());
            command
                .env("GIT_PROTOCOL", "version=2")
                .args(["-c", "uploadpack.allowFilter=true"])
                // One thread: the same pack every time.
                .args(["-c", "pack.threads=1"])
                .args(["upload-pack", "--stateless-rpc", "."]);
            let answer = git::feed_any(&mut command, request).stdout;
            let mut record = self.record.lock().unwrap();
            record.insert(request.to_vec(), answer.clone());
            answer
        });
        let number = usize::try_from(self.traffic.requests).unwrap();
        self.traffic.requests += 1;
        let answer = if number == self.changed {
            mutate(answer, &mut self.random)
        } else {
            answer
        };
        Ok(Box::new(Cursor::new(answer)))
    }

    fn reset(&mut self) -> Option<Error> {
        None
    }
}

/// Resolves and stages `main`; what was accepted is the tip, and its files are those that git has.
fn outcome(source: &dyn Source, machine: &Machine, repo: &Repo, case: &str) -> String {
    let staged = source
        .resolve("main")
        .and_then(|resolved| machine.stage(source, &resolved));
    match staged {
        Ok(staged) => {
            let commit = staged.commit().id.to_string();
            // A changed listing of names may lead to another commit that is really there.
            let honest = repo.ls_tree(&commit);
            let files: Vec<String> = staged.files().keys().map(ToString::to_string).collect();
            let wanted = honest.iter().filter(|row| row.kind == "blob");
            let wanted: Vec<String> = wanted
                .map(|row| String::from_utf8(row.path.clone()).unwrap())
                .collect();
            assert_eq!(sorted(files), sorted(wanted), "{case}");
            for row in honest.iter().filter(|row| row.kind == "blob") {
                let content = staged.blob(row.id.parse().unwrap()).unwrap();
                assert_eq!(content, repo.cat(&row.id), "{case}: {}", row.id);
            }
            "taken".to_owned()
        }
        Err(error) => class(error, case),
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// So many sessions of the git protocol: a first sync, one that has a last commit, and one that takes everything.
pub(crate) fn of_git(rounds: u64) -> Counts {
    let repo = Repo::with_history(6);
    let before = repo.id("main~1");
    let record = Record::default();
    let mut counts = Counts::default();
    for round in 0..rounds {
        let mut random = Random::new(round);
        let connection = |changed, random| Replayed {
            repo: repo.clone(),
            record: record.clone(),
            changed,
            random,
            traffic: Traffic::default(),
        };
        let options = |force_full| Options {
            force_full,
            ..Options::new(Limits::default(), Interrupt::default())
        };
        let mut machine = Machine::new();
        if round % 3 == 1 {
            // Its last commit is there, and the next is asked for as a difference.
            let honest = connection(usize::MAX, Random::new(0));
            let source = GitSource::new(Box::new(honest), options(true));
            let resolved = hyper_sync::source::ResolvedRef {
                commit: before.parse().unwrap(),
                kind: hyper_sync::source::RefKind::Commit,
                is_tag_too: false,
            };
            machine.stage(&source, &resolved).unwrap();
            machine.store.make_durable().unwrap();
            machine.last = Some(resolved.commit);
        }
        let changed = random.below(3);
        let changed = connection(changed, random);
        let source = GitSource::new(Box::new(changed), options(round % 3 == 2));
        let case = format!("git, round {round}");
        counts.note(outcome(&source, &machine, &repo, &case));
    }
    counts
}

/// So many sessions of the API.
pub(crate) fn of_the_api(rounds: u64) -> Counts {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.rate.remaining = u64::MAX / 2);
    let mut counts = Counts::default();
    for round in 0..rounds {
        let mut random = Random::new(round);
        let parts = [
            "/commits/heads",
            "/git/commits/",
            "/git/trees/",
            "/git/blobs/",
        ];
        let part = parts[random.below(parts.len())];
        let random = Mutex::new(random);
        let hits = forge.clear_faults().fault(
            When::get(part),
            Action::mutate(move |body| mutate(body, &mut random.lock().unwrap())),
        );
        let options = HttpOptions {
            backoff: Duration::ZERO,
            retries: 1,
            ..HttpOptions::default()
        };
        let client = Client::new(options, Interrupt::default()).unwrap();
        let api = forge.api_url();
        let names = ("acme", "machines");
        let limits = Limits::default();
        let source = GitHub::new(client, names, Some(&api), None, limits, None).unwrap();
        let case = format!("api, round {round}, {part}");
        counts.note(outcome(&source, &Machine::new(), &repo, &case));
        assert!(hits.count() > 0, "{case}");
    }
    counts
}
