//! The missing blobs, by their ids, in parallel.

use std::collections::HashMap;

use serde::Deserialize;

use super::trees::Trees;
use super::{Cap, Error, GitHub, Reply};
use crate::git::id::Kind;
use crate::git::{BlobId, CommitId, Oid, Tree};
use crate::objects::{Added, Writer};

const RAW: &str = "application/vnd.github.raw+json";
/// What the API serves at most.
const API_MAX: u64 = 100 << 20;
/// Blobs above it come one at a time: what is in memory at once stays bounded.
const LARGE: u64 = 4 << 20;

/// A blob that is wanted.
struct Want {
    id: BlobId,
    /// One of its paths, for errors.
    path: String,
    size: Option<u64>,
}

/// A blob for hosts that do not know the raw media type.
#[derive(Deserialize)]
struct Answer {
    content: String,
    encoding: String,
}

/// What came for a blob.
enum Content {
    Right(Vec<u8>),
    Other(Oid),
    Collision,
}

impl GitHub {
    /// Downloads `missing` into `writer`.
    pub(super) fn blobs(
        &self,
        commit: CommitId,
        tree: &Tree,
        missing: &[BlobId],
        trees: &Trees,
        writer: &mut Writer<'_>,
    ) -> Result<(), Error> {
        let wants = wanted(tree, missing, trees);
        self.check_sizes(&wants)?;
        self.check_quota(wants.len() as u64)?;
        let (large, small): (Vec<Want>, Vec<Want>) = wants
            .into_iter()
            .partition(|want| want.size.is_some_and(|size| size > LARGE));
        let mut bytes = 0;
        let mut take = |want: &Want, content: Vec<u8>| {
            bytes += content.len() as u64;
            self.check_total(bytes)?;
            match writer.add(Kind::Blob, want.id.0, &content)? {
                Added::Stored => Ok(()),
                Added::OtherId(actual) => Err(mismatch(want, actual)),
                Added::Collision => Err(Error::Collision { expected: want.id }),
            }
        };
        self.client
            .each(&small, |_, want| self.blob(commit, want), &mut take)?;
        for want in &large {
            take(want, self.blob(commit, want)?)?;
        }
        Ok(())
    }

    /// What the listing says is enough to refuse before anything is downloaded.
    fn check_sizes(&self, wants: &[Want]) -> Result<(), Error> {
        let mut total: u64 = 0;
        for want in wants {
            let size = want.size.unwrap_or_default();
            if size > self.limits.blob {
                return Err(self.too_large(want));
            }
            if size > API_MAX {
                return Err(self.unsuited("has a file that is too large for its API"));
            }
            total = total.saturating_add(size);
        }
        self.check_total(total)
    }

    fn check_total(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.limits.bytes {
            return Err(Error::TooLarge {
                what: "what the commit changes".to_owned(),
                limit: self.limits.bytes,
                setting: "limits.bytes",
            });
        }
        Ok(())
    }

    /// A download that would end half way is not begun: git has no quota.
    fn check_quota(&self, requests: u64) -> Result<(), Error> {
        match self.client.quota(&self.base()) {
            Some(quota) if quota.remaining < requests => Err(Error::RateLimited {
                remote: self.remote.clone(),
                wait: quota.reset,
            }),
            _ => Ok(()),
        }
    }

    /// One blob, proven; one that comes with other bytes is asked for once more.
    fn blob(&self, commit: CommitId, want: &Want) -> Result<Vec<u8>, Error> {
        let mut content = self.ask_for(commit, want)?;
        if !matches!(content, Content::Right(_)) {
            content = self.ask_for(commit, want)?;
        }
        match content {
            Content::Right(content) => self.check_content(want, content),
            Content::Other(actual) => Err(mismatch(want, actual)),
            Content::Collision => Err(Error::Collision { expected: want.id }),
        }
    }

    fn ask_for(&self, commit: CommitId, want: &Want) -> Result<Content, Error> {
        let cap = Cap {
            // As base64 it is a third larger.
            bytes: self.limits.blob.saturating_mul(3) / 2 + (64 << 10),
            what: format!("`{}`", want.path.escape_debug()),
            setting: Some("limits.blob"),
        };
        let request = self
            .get(&["git", "blobs", &want.id.to_string()], RAW)
            .cap(cap);
        let reply = self.ask(&request)?;
        match reply.status.as_u16() {
            200 => {}
            403 if is_too_large(&reply) => {
                return Err(self.unsuited("has a file that is too large for its API"));
            }
            404 if reply.media_type().contains("json") => {
                return Err(Error::Incomplete {
                    remote: self.remote.clone(),
                    commit,
                    kind: "blob",
                    id: want.id.0,
                });
            }
            _ => return Err(self.refusal(&reply)),
        }
        // A login page in the middle of a run is no damaged blob.
        let page = (reply.media_type() == "text/html").then(|| reply.not_a_forge());
        match (content(reply, want.id), page) {
            (Content::Other(_), Some(page)) => Err(page),
            (content, _) => Ok(content),
        }
    }

    fn check_content(&self, want: &Want, content: Vec<u8>) -> Result<Vec<u8>, Error> {
        let actual = content.len() as u64;
        if actual > self.limits.blob {
            return Err(self.too_large(want));
        }
        match want.size {
            // The size is part of what the id is made of: such a listing is not GitHub's.
            Some(size) if size != actual => Err(self.malformed(
                "listing",
                format!(
                    "`{}` is told to have {size} bytes and has {actual}",
                    want.path
                ),
            )),
            _ => Ok(content),
        }
    }

    fn too_large(&self, want: &Want) -> Error {
        Error::TooLarge {
            what: format!("`{}`", want.path.escape_debug()),
            limit: self.limits.blob,
            setting: "limits.blob",
        }
    }
}

fn wanted(tree: &Tree, missing: &[BlobId], trees: &Trees) -> Vec<Want> {
    let mut paths = HashMap::new();
    for (path, file) in tree.files() {
        paths.entry(file.id).or_insert(path);
    }
    missing
        .iter()
        .map(|id| Want {
            id: *id,
            path: paths
                .get(id)
                .map_or_else(|| id.to_string(), ToString::to_string),
            size: trees.sizes.get(id).copied(),
        })
        .collect()
}

fn content(reply: Reply, id: BlobId) -> Content {
    let is_json = reply.media_type() == "application/json";
    match Oid::of(Kind::Blob, &reply.body) {
        Err(_) => Content::Collision,
        Ok(actual) if actual == id.0 => Content::Right(reply.body),
        Ok(actual) if is_json => match decoded(&reply.body) {
            Some(content) if Oid::of(Kind::Blob, &content) == Ok(id.0) => Content::Right(content),
            _ => Content::Other(actual),
        },
        Ok(actual) => Content::Other(actual),
    }
}

/// The content of an answer in JSON, whose base64 comes in lines.
fn decoded(body: &[u8]) -> Option<Vec<u8>> {
    let answer: Answer = serde_json::from_slice(body).ok()?;
    let mut text = answer.content;
    text.retain(|letter| !letter.is_ascii_whitespace());
    (answer.encoding == "base64")
        .then(|| data_encoding::BASE64.decode(text.as_bytes()).ok())
        .flatten()
}

/// `{"errors":[{"code":"too_large",…}]}`.
fn is_too_large(reply: &Reply) -> bool {
    String::from_utf8_lossy(&reply.body).contains("\"too_large\"")
}

fn mismatch(want: &Want, actual: Oid) -> Error {
    Error::Blob {
        path: want.path.clone(),
        expected: want.id,
        actual,
    }
}
