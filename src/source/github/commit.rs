//! A commit as the API returns it, and the rebuilding of the bytes that hash to its id.
//!
//! The API loses the time zones, the message's last newlines and the encoding. Each has few values, so they are tried
//! until the id comes out. A signed commit comes with the text that was signed, and only its signature has to be put
//! back. What is left are commits with headers that the API does not return, such as those of other version control
//! systems.

use serde::Deserialize;

use crate::git::{Commit, CommitId, TreeId};
use crate::text::words;

mod search;

pub(super) use search::Budget;

/// A response to `git/commits/{id}`. What GitHub's schema leaves out or lets be null in any answer with a commit is
/// optional.
#[derive(Debug, Deserialize)]
pub(super) struct CommitAnswer {
    sha: CommitId,
    tree: Pointer<TreeId>,
    parents: Vec<Pointer<CommitId>>,
    author: Option<Person>,
    committer: Option<Person>,
    message: String,
    verification: Option<Verification>,
}

/// A commit as other answers hold it.
#[derive(Debug, Deserialize)]
pub(super) struct Described {
    sha: CommitId,
    parents: Vec<Pointer<CommitId>>,
    commit: CommitFields,
}

#[derive(Debug, Deserialize)]
struct CommitFields {
    tree: Pointer<TreeId>,
    author: Option<Person>,
    committer: Option<Person>,
    message: String,
    verification: Option<Verification>,
}

impl From<Described> for CommitAnswer {
    fn from(described: Described) -> Self {
        let Described {
            sha,
            parents,
            commit,
        } = described;
        Self {
            sha,
            tree: commit.tree,
            parents,
            author: commit.author,
            committer: commit.committer,
            message: commit.message,
            verification: commit.verification,
        }
    }
}

#[derive(Debug, Deserialize)]
struct Pointer<T> {
    sha: T,
}

#[derive(Debug, Deserialize)]
struct Person {
    name: Option<String>,
    email: Option<String>,
    date: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Verification {
    signature: Option<String>,
    payload: Option<String>,
}

impl Person {
    fn seconds(&self) -> Option<i64> {
        let date: jiff::Timestamp = self.date.as_ref()?.parse().ok()?;
        Some(date.as_second())
    }

    /// The line up to the time zone.
    fn line(&self) -> Option<String> {
        let (name, email) = (self.name.as_ref()?, self.email.as_ref()?);
        Some(format!("{name} <{email}> {} ", self.seconds()?))
    }
}

impl CommitAnswer {
    /// The id it was given under.
    pub(super) fn id(&self) -> CommitId {
        self.sha
    }

    /// The commit and its bytes, proven; `None`: they cannot be had this way, which proves nothing.
    pub(super) fn rebuild(&self, budget: &mut Budget) -> Option<(Commit, Vec<u8>)> {
        let signed = self.verification.as_ref().and_then(|verification| {
            Some((
                verification.payload.as_deref()?,
                verification.signature.as_deref()?,
            ))
        });
        let raw = match signed {
            Some((payload, signature)) => self.signed(payload, signature)?,
            None => self.unsigned(budget)?,
        };
        Commit::verify(self.sha, &raw)
            .ok()
            .map(|commit| (commit, raw))
    }

    /// The commit as the API states it, where its fields are complete.
    pub(super) fn unproven(&self) -> Option<Commit> {
        Some(Commit {
            id: self.sha,
            tree: self.tree.sha,
            parents: self.parents.iter().map(|parent| parent.sha).collect(),
            time: self.committer.as_ref()?.seconds()?,
            author: words(
                self.author
                    .as_ref()
                    .and_then(|author| author.name.as_deref())
                    .unwrap_or_default(),
            ),
            subject: words(self.message.split('\n').next().unwrap_or_default()),
        })
    }

    /// Git puts the signature behind all other headers. GitHub's own signatures end with a newline that became a
    /// continuation line, others do not.
    fn signed(&self, payload: &str, signature: &str) -> Option<Vec<u8>> {
        let (headers, message) = payload.split_once("\n\n")?;
        let bare = signature.trim_end_matches('\n');
        [bare.to_owned(), format!("{bare}\n")]
            .iter()
            .find_map(|signature| {
                let signature = signature.replace('\n', "\n ");
                let raw = format!("{headers}\ngpgsig {signature}\n\n{message}").into_bytes();
                Commit::verify(self.sha, &raw).is_ok().then_some(raw)
            })
    }

    fn unsigned(&self, budget: &mut Budget) -> Option<Vec<u8>> {
        let parents = self
            .parents
            .iter()
            .map(|parent| format!("parent {}\n", parent.sha));
        let parents: String = parents.collect();
        let author = self.author.as_ref()?.line()?;
        let known = search::KnownText {
            head: format!("tree {}\n{parents}author {author}", self.tree.sha),
            middle: format!("\ncommitter {}", self.committer.as_ref()?.line()?),
            message: &self.message,
        };
        known.find(self.sha, budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::Oid;
    use crate::git::id::ObjectKind;

    /// Recorded from api.github.com.
    const RECORDED: &str = r#"{"sha":"466725309d43aa6fe6cb67f8f4161451d627b43f",
        "author":{"name":"author","email":"author@author.com","date":"2021-01-23T20:20:25Z"},
        "committer":{"name":"committer","email":"committer@committer.com","date":"2021-01-23T20:20:25Z"},
        "tree":{"sha":"b09a1698f3aeb1d462c3492007760e2579734c74","url":"u"},"message":"Add files",
        "parents":[{"sha":"2acb295eef8d5eaf34d8915fad20db132745e9a0","url":"u","html_url":"u"}],
        "verification":{"verified":false,"reason":"unsigned","signature":null,"payload":null}}"#;

    fn id(raw: &str) -> CommitId {
        CommitId(Oid::of(ObjectKind::Commit, raw.as_bytes()).unwrap())
    }

    #[test]
    fn a_recorded_commit_is_rebuilt_to_its_id() {
        let answer: CommitAnswer = serde_json::from_str(RECORDED).unwrap();
        let (commit, _) = answer.rebuild(&mut Budget::default()).unwrap();
        assert_eq!(commit, answer.unproven().unwrap());
        assert_eq!(commit.time, 1_611_433_225);
    }

    #[test]
    fn a_changed_response_is_not_rebuilt() {
        for (from, to) in [
            ("Add files", "Add file"),
            ("b09a1698", "b09a1699"),
            ("2acb295e", "2acb295f"),
            ("20:20:25Z", "20:20:26Z"),
        ] {
            let answer: CommitAnswer = serde_json::from_str(&RECORDED.replace(from, to)).unwrap();
            assert!(answer.rebuild(&mut Budget::default()).is_none(), "{to}");
        }
    }

    fn answer(id: CommitId, message: &str, verification: &serde_json::Value) -> CommitAnswer {
        let person = |name, date| serde_json::json!({ "name": name, "email": "a@b", "date": date });
        let value = serde_json::json!({
            "sha": id, "tree": { "sha": "4b825dc642cb6eb9a060e54bf8d69288fbee4904" }, "parents": [],
            "author": person("", "2023-11-14T22:13:20Z"), "committer": person("Ünï <x", "2023-11-14T22:15:00Z"),
            "message": message, "verification": verification,
        });
        serde_json::from_value(value).unwrap()
    }

    fn raw(zones: (&str, &str), extra: &str, message: &str) -> String {
        format!(
            "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor  <a@b> 1700000000 {}\n\
             committer Ünï <x <a@b> 1700000100 {}\n{extra}\n{message}",
            zones.0, zones.1
        )
    }

    #[test]
    fn time_zones_and_the_last_newline_are_found_again() {
        let unsigned = serde_json::json!({ "verified": false, "signature": null, "payload": null });
        for zones in [
            ("+0000", "+0000"),
            ("-1400", "+1400"),
            ("+0545", "-0330"),
            ("-0000", "+0100"),
        ] {
            for (reported, real) in [
                ("s", "s\n"),
                ("s", "s"),
                ("s\n\nbody", "s\n\nbody\n"),
                ("", ""),
            ] {
                let raw = raw(zones, "", real);
                let rebuilt = answer(id(&raw), reported, &unsigned).rebuild(&mut Budget::default());
                assert_eq!(rebuilt.unwrap().1, raw.as_bytes(), "{zones:?} {real:?}");
            }
        }
        let hidden = raw(("+0000", "+0000"), "encoding ISO-8859-1\n", "s\n");
        let answer = answer(id(&hidden), "s", &unsigned);
        assert!(answer.rebuild(&mut Budget::default()).is_none());
        assert_eq!(answer.unproven().unwrap().subject, "s");
    }

    #[test]
    fn a_signature_is_put_back() {
        let payload = raw(("+0200", "+0200"), "encoding x\n", "s\n\nbody\n");
        let signature = "-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----";
        for (header, reported) in [
            (signature.to_owned(), signature.to_owned()),
            (signature.to_owned(), format!("{signature}\n")),
            (format!("{signature}\n"), format!("{signature}\n")),
        ] {
            let header = format!("encoding x\ngpgsig {}\n", header.replace('\n', "\n "));
            let raw = raw(("+0200", "+0200"), &header, "s\n\nbody\n");
            let verification = serde_json::json!({ "signature": reported, "payload": payload });
            let rebuilt =
                answer(id(&raw), "s\n\nbody", &verification).rebuild(&mut Budget::default());
            assert_eq!(rebuilt.unwrap().1, raw.as_bytes());
        }
        let verification = serde_json::json!({ "signature": signature, "payload": "no header" });
        assert!(
            answer(id("x"), "s", &verification)
                .rebuild(&mut Budget::default())
                .is_none()
        );
    }
}
