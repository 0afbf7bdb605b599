//! All tree objects of a commit, in as few listings as possible.

use std::collections::HashMap;

use super::listing::{self, Fault, Listing, Rebuilt};
use super::{Cap, Error, GitHub, JSON, Store};
use crate::git::{BlobId, Commit, RelPath, TreeId};

/// Bytes of a listing's row: 200 around the path, and paths are short.
const ROW_BYTES: u64 = 1024;

/// The tree objects that were not in the store.
#[derive(Debug, Default)]
pub(super) struct Trees {
    /// By their ids, which are proven.
    pub(super) raw: HashMap<TreeId, Vec<u8>>,
    /// Sizes of blobs, as they are told.
    pub(super) sizes: HashMap<BlobId, u64>,
    rows: u64,
}

impl GitHub {
    /// Lists the commit's tree: in one answer, or, where that is too large for the API, part by part. Parts that the
    /// store has are not asked for.
    pub(super) fn trees(&self, commit: &Commit, store: &Store) -> Result<Trees, Error> {
        let mut trees = Trees::default();
        let mut pending = vec![(None, commit.tree)];
        while let Some((at, id)) = pending.pop() {
            if trees.raw.contains_key(&id) || (at.is_some() && self.in_store(id, store).is_some()) {
                continue;
            }
            let at: Option<&RelPath> = at.as_ref();
            if let Some(listing) = self.list(id, true)? {
                let rebuilt = self.rebuild(commit, at, listing, true, &mut trees)?;
                trees.raw.extend(rebuilt.trees);
                continue;
            }
            let Some(listing) = self.list(id, false)? else {
                return Err(self.unsuited("has a directory that is too large for its API"));
            };
            let rebuilt = self.rebuild(commit, at, listing, false, &mut trees)?;
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
        at: Option<&RelPath>,
        listing: Listing,
        deep: bool,
        trees: &mut Trees,
    ) -> Result<Rebuilt, Error> {
        trees.rows += listing.tree.len() as u64;
        if trees.rows > self.limits.files {
            return Err(Error::TooLarge {
                what: "the tree".to_owned(),
                limit: self.limits.files,
                setting: "limits.files",
            });
        }
        let mut rebuilt =
            listing::rebuild(listing.sha, at, listing.tree, deep).map_err(|fault| match fault {
                Fault::Tree(fault) => Error::Tree {
                    commit: commit.id,
                    fault,
                },
                Fault::Odd(problem) => self.malformed("listing", problem),
                Fault::LegacyMode => self.unsuited(
                    "has files of the old mode 100664, which its API does not tell reliably",
                ),
                Fault::Mismatch {
                    path,
                    expected,
                    actual,
                } => Error::Listing {
                    remote: self.remote.clone(),
                    path,
                    expected,
                    actual,
                },
            })?;
        trees.sizes.extend(rebuilt.sizes.drain());
        Ok(rebuilt)
    }

    /// One listing; `None`: it is cut off.
    fn list(&self, id: TreeId, deep: bool) -> Result<Option<Listing>, Error> {
        let cap = Cap {
            bytes: self.limits.files.saturating_mul(ROW_BYTES).max(1 << 20),
            what: "the listing".to_owned(),
            setting: Some("limits.files"),
        };
        let mut request = self.get(&["git", "trees", &id.to_string()], JSON).cap(cap);
        if deep {
            // Whatever its value is, the parameter's presence counts.
            request = request.query("recursive=1");
        }
        let reply = self.ask(&request)?;
        if reply.status != 200 {
            return Err(self.refusal(&reply));
        }
        let listing: Listing = reply.json("listing")?;
        if listing.sha != id {
            return Err(self.malformed("listing", format!("it is that of {}", listing.sha)));
        }
        Ok((!listing.truncated).then_some(listing))
    }
}
