//! All tree objects of a commit, in as few listings as possible.

use std::collections::HashMap;

use super::listing::{self, Listing, ListingFault, Rebuilt};
use super::{Cap, Error, GitHub, JSON, Response, Store, VerificationError};
use crate::git::{BlobId, Commit, TreeId};
use crate::text::Amount;

/// Bytes of the longest listing: GitHub cuts one off at 7 MB, and an Enterprise server may be configured to do so later.
const LISTING_BYTES: u64 = 48 << 20;

/// The tree objects that were not in the store.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// By their ids, which are proven.
    pub(super) raw: HashMap<TreeId, Vec<u8>>,
    /// Sizes of blobs, as the API states them.
    pub(super) sizes: HashMap<BlobId, u64>,
    rows: u64,
}

impl GitHub {
    /// Lists the commit's tree: in one response, or, where that is too large for the API, part by part. Parts that the
    /// store has are not requested.
    pub(super) fn trees(&self, commit: &Commit, store: &Store) -> Result<Trees, Error> {
        let mut trees = Trees::default();
        let mut pending = vec![(None, commit.tree)];
        while let Some((at, id)) = pending.pop() {
            if trees.raw.contains_key(&id) || (at.is_some() && self.in_store(id, store).is_some()) {
                continue;
            }
            let at: Option<&str> = at.as_deref();
            if let Some(listing) = self.list(commit, id, true)? {
                let rebuilt = self.rebuild(commit, at, &listing, true, &mut trees)?;
                trees.raw.extend(rebuilt.trees);
                continue;
            }
            let Some(listing) = self.list(commit, id, false)? else {
                return Err(self.unsuited("has a directory that is too large for its API"));
            };
            let rebuilt = self.rebuild(commit, at, &listing, false, &mut trees)?;
            trees.raw.extend(rebuilt.trees);
            pending.extend(
                rebuilt
                    .directories
                    .into_iter()
                    .map(|(path, id)| (Some(path), id)),
            );
        }
        Ok(trees)
    }

    fn rebuild(
        &self,
        commit: &Commit,
        at: Option<&str>,
        listing: &Listing,
        deep: bool,
        trees: &mut Trees,
    ) -> Result<Rebuilt, Error> {
        trees.rows += listing.tree.0.len() as u64;
        if trees.rows > self.limits.files {
            return Err(Error::TooLarge {
                what: "the tree".to_owned(),
                limit: Amount::Entries(self.limits.files),
                setting: "limits.files",
            });
        }
        let mut rebuilt = listing::rebuild(listing.sha, at, &listing.tree.0, deep).map_err(
            |fault| match fault {
                ListingFault::Tree(fault) => VerificationError::Tree {
                    commit: commit.id,
                    fault,
                }
                .into(),
                ListingFault::Odd(problem) => self.malformed("listing", problem),
                ListingFault::Mismatch {
                    path,
                    expected,
                    actual,
                } => VerificationError::Listing {
                    remote: self.remote.clone(),
                    path,
                    expected,
                    actual,
                }
                .into(),
            },
        )?;
        trees.sizes.extend(rebuilt.sizes.drain());
        Ok(rebuilt)
    }

    /// One listing; `None`: it is cut off.
    fn list(&self, commit: &Commit, id: TreeId, deep: bool) -> Result<Option<Listing>, Error> {
        let mut request = self
            .get(&["git", "trees", &id.to_string()], JSON)
            .cap(Cap::fixed(LISTING_BYTES, "the listing"));
        if deep {
            // Whatever its value is, the parameter's presence counts.
            request = request.query("recursive=1");
        }
        let listing: Listing = self.ask_as(&request, |response: Response| {
            match response.status.as_u16() {
                200 => response.into_json("listing"),
                // A proven commit, or a proven tree, names it.
                404 if response.media_type().contains("json") => {
                    Err(Error::incomplete(&self.remote, commit.id, "tree", id.0))
                }
                _ => Err(self.refusal(&response.into_reply()?)),
            }
        })?;
        if listing.sha != id {
            return Err(self.malformed("listing", format!("it is that of {}", listing.sha)));
        }
        Ok((!listing.truncated).then_some(listing))
    }
}
