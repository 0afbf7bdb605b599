//! The missing blobs, by their ids, in parallel.
//!
//! What is in memory at once is bounded by what the listing says: a response is cut where it is longer than the blob it
//! is asked for can be, several come at once only while they are small, and large ones come alone. Where no listing was
//! asked for, because the store has the trees, a blob is taken for a small one until it turns out to be none.

use std::collections::HashMap;

use serde::Deserialize;

use super::trees::Trees;
use super::{Cap, Credentials, Error, GitHub, Reply, VerificationError};
use crate::git::id::ObjectKind;
use crate::git::{BlobId, CommitId, Oid, Tree};
use crate::objects::{Added, Writer};
use crate::source::RetryAt;
use crate::text::{self, Amount};

const RAW: &str = "application/vnd.github.raw+json";
/// What the API serves at most.
const API_MAX: u64 = 100 << 20;
/// Blobs above it come one at a time. Of eight that come at once, each may be there as JSON, as base64 and decoded.
const LARGE: u64 = 2 << 20;
/// Up to here a response may be JSON, which hosts send that do not support the raw media type; of more than that there would
/// be too much in memory.
const JSON_MAX: u64 = 32 << 20;
/// What a response in JSON has besides its content.
const ENVELOPE: u64 = 4 << 10;

/// A blob that is wanted.
#[derive(Clone)]
struct Want {
    id: BlobId,
    /// One of its paths, for errors.
    path: String,
    size: Option<u64>,
}

impl Want {
    /// Whether it is downloaded alone. An unknown size is found out.
    fn is_large(&self) -> bool {
        self.size.is_some_and(|size| size > LARGE)
    }
}

/// A blob from hosts that do not support the raw media type. Those of Gitea leave the content of large ones out.
#[derive(Deserialize)]
struct BlobAnswer {
    sha: Option<BlobId>,
    content: Option<String>,
    encoding: Option<String>,
}

/// What came for a blob.
enum BlobContent {
    Right(Vec<u8>),
    Other(Oid),
    Collision,
    /// A response without it.
    Absent,
    /// More than was allowed for.
    Long,
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
        let (mut large, small): (Vec<Want>, Vec<Want>) =
            wants.into_iter().partition(Want::is_large);
        let mut bytes = 0;
        let mut take = |want: &Want, content: &[u8]| {
            bytes += content.len() as u64;
            self.check_total(bytes)?;
            match writer.add(ObjectKind::Blob, want.id.0, content)? {
                Added::Stored => Ok(()),
                Added::OtherId(actual) => Err(mismatch(want, actual)),
                Added::Collision => Err(VerificationError::Collision { expected: want.id }.into()),
            }
        };
        let mut turned_out = Vec::new();
        self.client.each(
            &small,
            |_, want| self.blob(commit, want, want.size.unwrap_or(LARGE)),
            |want, content| {
                if let Some(content) = content {
                    return take(want, &content);
                }
                turned_out.push(want.clone());
                Ok(())
            },
        )?;
        large.extend(turned_out);
        for want in &large {
            let limit = self.limits.blob;
            let content = self.blob(commit, want, want.size.unwrap_or(limit))?;
            take(want, &content.ok_or_else(|| self.too_large(want))?)?;
        }
        Ok(())
    }

    /// The listing is enough to refuse before anything is downloaded.
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
                limit: Amount::Limit(self.limits.bytes),
                setting: "limits.bytes",
            });
        }
        Ok(())
    }

    /// A download that would end half way is not begun: another route may bring it.
    fn check_quota(&self, requests: u64) -> Result<(), Error> {
        let base = self.base().clone();
        match self.client.quota(&base) {
            Some(quota) if quota.remaining < requests => Err(Error::RateLimited {
                remote: self.remote.clone(),
                retry: quota.reset.and_then(RetryAt::after),
                token: Credentials::name_at(self.credentials.as_ref(), &base),
            }),
            _ => Ok(()),
        }
    }

    /// One blob, proven, of `size` bytes at most; one that comes with other bytes is asked for once more. `None`: it has
    /// more, and no size was known.
    fn blob(&self, commit: CommitId, want: &Want, size: u64) -> Result<Option<Vec<u8>>, Error> {
        let mut content = self.ask_for(commit, want, size)?;
        if matches!(content, BlobContent::Other(_) | BlobContent::Collision) {
            content = self.ask_for(commit, want, size)?;
        }
        match content {
            BlobContent::Right(content) => self.check_content(want, content).map(Some),
            BlobContent::Other(actual) => Err(mismatch(want, actual)),
            BlobContent::Collision => {
                Err(VerificationError::Collision { expected: want.id }.into())
            }
            BlobContent::Absent => Err(self.unsuited("has a file that its API does not send")),
            BlobContent::Long if want.size.is_none() => Ok(None),
            BlobContent::Long => Err(self.malformed(
                "blob",
                format!("`{}` is listed with {size} bytes and has more", want.path),
            )),
        }
    }

    fn ask_for(&self, commit: CommitId, want: &Want, size: u64) -> Result<BlobContent, Error> {
        // Of base64 in lines of 60 letters, each with its `\n`, it is 1.38 times as much.
        let coded = if size > JSON_MAX { 0 } else { size / 5 * 2 };
        let cap = Cap {
            bytes: size.saturating_add(coded).saturating_add(ENVELOPE),
            what: format!("`{}`", text::path(&want.path)),
            setting: Some("limits.blob"),
        };
        let request = self
            .get(&["git", "blobs", &want.id.to_string()], RAW)
            .cap(cap);
        let reply = match self.ask(&request) {
            Err(Error::TooLarge { .. }) => return Ok(BlobContent::Long),
            reply => reply?,
        };
        match reply.status.as_u16() {
            200 => {}
            403 if is_too_large(&reply) => {
                return Err(self.unsuited("has a file that is too large for its API"));
            }
            404 if reply.media_type().contains("json") => {
                return Err(Error::incomplete(&self.remote, commit, "blob", want.id.0));
            }
            _ => return Err(self.refusal(&reply)),
        }
        // A login page in the middle of a run is not a damaged blob.
        let page = (reply.media_type() == "text/html").then(|| reply.not_a_forge());
        match (content(reply, want.id), page) {
            (BlobContent::Other(_), Some(page)) => Err(page),
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
                    "`{}` is listed with {size} bytes and has {actual}",
                    want.path
                ),
            )),
            _ => Ok(content),
        }
    }

    fn too_large(&self, want: &Want) -> Error {
        Error::TooLarge {
            what: format!("`{}`", text::path(&want.path)),
            limit: Amount::Limit(self.limits.blob),
            setting: "limits.blob",
        }
    }
}

fn wanted(tree: &Tree, missing: &[BlobId], trees: &Trees) -> Vec<Want> {
    let mut paths = HashMap::new();
    for (path, file) in &**tree.files() {
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

fn content(reply: Reply, id: BlobId) -> BlobContent {
    let is_json = reply.media_type() == "application/json";
    let actual = match Oid::of(ObjectKind::Blob, &reply.body) {
        Err(_) => return BlobContent::Collision,
        Ok(actual) if actual == id.0 => return BlobContent::Right(reply.body),
        Ok(actual) => actual,
    };
    let Some(answer) = is_json
        .then(|| serde_json::from_slice::<BlobAnswer>(&reply.body).ok())
        .flatten()
    else {
        return BlobContent::Other(actual);
    };
    // The content is in it, and large.
    drop(reply);
    let is_it = answer.sha == Some(id);
    match decoded(answer) {
        None if is_it => BlobContent::Absent,
        Some(content) if Oid::of(ObjectKind::Blob, &content) == Ok(id.0) => {
            BlobContent::Right(content)
        }
        None | Some(_) => BlobContent::Other(actual),
    }
}

/// The content of a response in JSON, whose base64 comes in lines; `None`: it has none.
fn decoded(answer: BlobAnswer) -> Option<Vec<u8>> {
    let mut text = answer.content?;
    if answer.encoding.as_deref() != Some("base64") {
        return None;
    }
    text.retain(|letter| !letter.is_ascii_whitespace());
    // What is not base64 has another id, like other bytes.
    Some(
        data_encoding::BASE64
            .decode(text.as_bytes())
            .unwrap_or_default(),
    )
}

/// `{"errors":[{"code":"too_large",…}]}`.
fn is_too_large(reply: &Reply) -> bool {
    text::decode(&reply.body).contains("\"too_large\"")
}

fn mismatch(want: &Want, actual: Oid) -> Error {
    VerificationError::Blob {
        path: want.path.clone(),
        expected: want.id,
        actual,
    }
    .into()
}
