//! One pack with its index: checked when it is opened, and every object hashed when it is read.

#![expect(
    clippy::disallowed_methods,
    reason = "the state directory is ours, 0700, and gitoxide reads it by path"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use gix_pack::cache::DecodeEntry;
use gix_pack::data::decode::header::ResolvedBase;
use gix_pack::data::entry::Location;

use crate::fs::Durability;
use crate::git::Oid;
use crate::git::id::ObjectKind;
use crate::text;
use crate::threads;

use super::{Error, durable};

/// Base, result and instructions of a delta are in memory together, so reading takes a multiple of the largest
/// object; a flipped bit in a size field must not take more.
const BUFFERS: u64 = 4;
/// Trees have no limit of their own; this is room for one of a million entries.
const FLOOR: u64 = 64 << 20;
/// Larger bases are not kept. They are rarely bases of many: directories and most configuration files are smaller.
const BASE_MAX: usize = 64 << 10;
/// How many bytes of bases are kept. Those of a tree of ten thousand files take less.
const BASES_MAX: usize = 2 << 20;

/// A pack whose index is sound and belongs to it.
pub(super) struct Pack {
    path: PathBuf,
    bytes: u64,
    bundle: gix_pack::Bundle,
    decoder: Mutex<Decoder>,
    is_new: bool,
}

/// What a pack has under an id.
pub(super) enum Reading<'a> {
    Absent,
    Found(Object<'a>),
    Damaged(String),
}

/// An object that hashes to its id.
pub(super) struct Object<'a> {
    pub(super) kind: ObjectKind,
    pub(super) content: Vec<u8>,
    /// Header and compressed content as they lie in the pack. `None` for a delta, which is meaningless elsewhere.
    pub(super) entry: Option<&'a [u8]>,
}

/// The place of an object in its pack.
pub(super) struct PackedObject {
    pub(super) id: Oid,
    /// What it takes, compressed and as a delta where it is one.
    pub(super) bytes: u64,
}

impl Pack {
    /// Opens the pair of files at `path`, the `.pack`.
    pub(super) fn open(path: &Path, blob_limit: u64) -> Result<Self, String> {
        let sha1 = gix_hash::Kind::Sha1;
        let open = || -> Result<gix_pack::Bundle, gix_error::Error> {
            let mut bundle = gix_pack::Bundle::at(path, sha1)?;
            bundle
                .index
                .verify_checksum(&mut gix_utils::progress::Discard, &AtomicBool::new(false))?;
            let allowed = blob_limit.saturating_mul(BUFFERS).max(FLOOR);
            bundle.pack.alloc_limit_bytes = usize::try_from(allowed).ok();
            Ok(bundle)
        };
        // Hostile or flipped bytes have made the parsers of packs panic before; a panic here is damage like any other.
        let bundle = catch_unwind(open)
            .map_err(|_| "the reader panicked".to_owned())?
            .map_err(|error| one_line(&error))?;
        let bytes = bundle.pack.data_len() as u64;
        if bundle.pack.checksum() != bundle.index.pack_checksum()
            || bundle.pack.num_objects() != bundle.index.num_objects()
        {
            return Err("the index belongs to another pack".to_owned());
        }
        Ok(Self {
            path: path.to_owned(),
            bytes,
            bundle,
            decoder: Mutex::default(),
            is_new: false,
        })
    }

    /// The same pack, whose index this process has made: each id was computed from the content.
    pub(super) fn indexed_now(self) -> Self {
        Self {
            is_new: true,
            ..self
        }
    }

    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// The same pack, whose files get another name.
    pub(super) fn named(self, path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            ..self
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Size of the pack itself.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn contains(&self, id: Oid) -> bool {
        self.bundle.index.lookup(id.to_gix()).is_some()
    }

    /// The ids that more than one entry has.
    pub(super) fn repeated(&self) -> BTreeSet<Oid> {
        let index = &self.bundle.index;
        (1..index.num_objects())
            .filter(|at| index.oid_at_index(at - 1) == index.oid_at_index(*at))
            .filter_map(|at| Oid::from_gix(index.oid_at_index(at)))
            .collect()
    }

    /// Reads an object and hashes it.
    pub(super) fn read(&self, id: Oid) -> Reading<'_> {
        if !self.contains(id) {
            return Reading::Absent;
        }
        let mut content = Vec::new();
        let found = self.decode(|decoder| {
            let (inflate, bases) = (&mut decoder.inflate, &mut decoder.bases);
            self.bundle
                .find(&id.to_gix(), &mut content, inflate, bases)
                .map(|found| found.map(|(data, location)| (data.kind, self.whole(&location))))
        });
        let (kind, entry) = match found {
            Some(Ok(None)) => return Reading::Absent,
            Some(Ok(Some((kind, entry)))) => (ObjectKind::from_gix(kind), entry),
            Some(Err(error)) => return Reading::Damaged(one_line(&error)),
            None => return Reading::Damaged("the reader panicked".to_owned()),
        };
        match Oid::of(kind, &content) {
            Ok(actual) if actual == id => Reading::Found(Object {
                kind,
                content,
                entry,
            }),
            Ok(actual) => Reading::Damaged(format!("its bytes hash to {actual}")),
            Err(collision) => Reading::Damaged(collision.to_string()),
        }
    }

    fn whole(&self, location: &Location) -> Option<&[u8]> {
        let pack = &self.bundle.pack;
        let entry = pack.entry(location.pack_offset).ok()?;
        let range = location.entry_range(location.pack_offset);
        pack.entry_slice(range).filter(|_| entry.header.is_base())
    }

    /// Every object in the order they lie in.
    pub(super) fn places(&self) -> Vec<PackedObject> {
        let mut entries: Vec<_> = self.bundle.index.iter().collect();
        entries.sort_unstable_by_key(|entry| entry.pack_offset);
        let ends = entries.iter().skip(1).map(|next| next.pack_offset);
        let ends = ends.chain([self.bundle.pack.pack_end() as u64]);
        let place = |(entry, end): (&gix_pack::index::Entry, u64)| {
            Some(PackedObject {
                id: Oid::from_gix(&entry.oid)?,
                bytes: end.saturating_sub(entry.pack_offset),
            })
        };
        entries.iter().zip(ends).filter_map(place).collect()
    }

    /// Kind and bytes of an object as its header states them, unproven: for estimates.
    pub(super) fn header(&self, id: Oid) -> Option<(ObjectKind, u64)> {
        let pack = &self.bundle.pack;
        let entry = |id: &gix_hash::oid| {
            let index = self.bundle.index.lookup(id)?;
            let offset = self.bundle.index.pack_offset_at_index(index);
            pack.entry(offset).ok()
        };
        // Every pack is whole: no base is outside of it.
        let base = |id: &gix_hash::oid| Ok(entry(id).map(ResolvedBase::InPack));
        let header = self.decode(|decoder| {
            let entry = entry(&id.to_gix())?;
            pack.decode_header(entry, &mut decoder.inflate, &base).ok()
        });
        let header = header??;
        Some((ObjectKind::from_gix(header.kind), header.object_size))
    }

    /// `None` where the reader panicked; the decoder begins afresh then.
    fn decode<T>(&self, decode: impl FnOnce(&mut Decoder) -> T) -> Option<T> {
        let mut decoder = threads::lock(&self.decoder);
        let result = catch_unwind(AssertUnwindSafe(|| decode(&mut decoder)));
        if result.is_err() {
            *decoder = Decoder::default();
        }
        result.ok()
    }

    /// Declares that what its objects refer to and nobody has was left out on purpose. Only git reads it.
    pub(super) fn set_promisor(&self) -> Result<(), Error> {
        let path = self.path.with_extension("promisor");
        if path.exists() {
            return Ok(());
        }
        durable::write(&path, b"", Durability::Unflushed)
    }

    /// Removes its files, the index first: without it, neither git nor we take the pack for present.
    pub(super) fn unlink(&self) -> Result<(), Error> {
        unlink(&self.path)
    }
}

impl std::fmt::Debug for Pack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pack").field(&self.path).finish()
    }
}

/// What the reads of one pack share: the memory of the inflater, and the bases of deltas.
#[derive(Default)]
struct Decoder {
    inflate: gix_zlib::Inflate,
    bases: BaseCache,
}

/// Results of deltas by their offsets. They are not hashed: the objects that are made of them are.
///
/// This bounds what long chains of deltas cost, which a remote chooses. Where chains are short (8 deltas) it makes no
/// difference: reading 10,000 blobs takes 88 ms with and without it.
#[derive(Default)]
struct BaseCache {
    known: HashMap<u64, CachedBase>,
    bytes: usize,
}

struct CachedBase {
    kind: gix_object::Kind,
    content: Box<[u8]>,
    compressed_size: usize,
}

impl DecodeEntry for BaseCache {
    fn put(
        &mut self,
        _pack: u32,
        offset: u64,
        content: &[u8],
        kind: gix_object::Kind,
        compressed_size: usize,
    ) {
        if content.len() > BASE_MAX {
            return;
        }
        if self.bytes + content.len() > BASES_MAX {
            *self = Self::default();
        }
        self.bytes += content.len();
        let base = CachedBase {
            kind,
            content: content.into(),
            compressed_size,
        };
        self.known.insert(offset, base);
    }

    fn get(
        &mut self,
        _pack: u32,
        offset: u64,
        content: &mut Vec<u8>,
    ) -> Option<(gix_object::Kind, usize)> {
        let base = self.known.get(&offset)?;
        content.clear();
        content.extend_from_slice(&base.content);
        Some((base.kind, base.compressed_size))
    }
}

/// Opens every pack of a directory, oldest first, and removes what is none. The flag is false where something was
/// there and is lost.
pub(super) fn load_all(directory: &Path, blob_limit: u64) -> Result<(Vec<Pack>, bool), Error> {
    let mut stems: BTreeMap<PathBuf, BTreeSet<String>> = BTreeMap::new();
    let listed = fs::read_dir(directory).map_err(|source| Error::io("list", directory, source))?;
    for entry in listed {
        let entry = entry.map_err(|source| Error::io("list", directory, source))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let extension = path.extension().unwrap_or_default().to_string_lossy();
        if name.starts_with(durable::TEMPORARY) || name.starts_with("tmp_") || extension == "keep" {
            super::remove(&path)?;
        } else if name.starts_with("pack-") {
            let extension = extension.into_owned();
            stems
                .entry(path.with_extension(""))
                .or_default()
                .insert(extension);
        }
    }
    let mut packs = Vec::new();
    let mut sound = true;
    for (stem, extensions) in stems {
        let path = stem.with_extension("pack");
        if !extensions.contains("idx") {
            // A run was killed between the two renames, or between the two removals.
            unlink(&path)?;
            continue;
        }
        match Pack::open(&path, blob_limit) {
            Ok(pack) => packs.push((written(&path), pack)),
            Err(detail) => {
                // What cannot be read at all must not be removed as damaged.
                let files = [stem.with_extension("idx"), path.clone()];
                let opened = files.each_ref().map(fs::File::open);
                for (file, opened) in files.iter().zip(opened) {
                    if let Err(source) = opened
                        && super::is_refused(&source)
                    {
                        return Err(Error::io("read", file, source));
                    }
                }
                tracing::warn!(pack = %text::path(super::shown(&path)), %detail, "damaged pack in the store");
                sound = false;
                unlink(&path)?;
            }
        }
    }
    packs.sort_by_key(|(written, _)| *written);
    Ok((packs.into_iter().map(|(_, pack)| pack).collect(), sound))
}

fn written(path: &Path) -> SystemTime {
    fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// `.idx`, then `.pack`, then what git may have put beside them.
fn unlink(pack: &Path) -> Result<(), Error> {
    for extension in ["idx", "pack", "promisor", "rev", "bitmap", "mtimes"] {
        super::remove(&pack.with_extension(extension))?;
    }
    Ok(())
}

/// The whole chain of an error of gitoxide in one line.
pub(super) fn one_line(error: &gix_error::Error) -> String {
    let causes: Vec<String> = error.iter_errors().map(ToString::to_string).collect();
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bases_are_kept_as_long_as_there_is_room() {
        let mut bases = BaseCache::default();
        let kind = gix_object::Kind::Tree;
        let mut found = Vec::new();
        bases.put(0, 0, &vec![1; BASE_MAX + 1], kind, 9);
        assert_eq!(bases.get(0, 0, &mut found), None);
        for offset in 1_u64..1000 {
            let content = vec![offset.to_le_bytes()[0]; BASE_MAX];
            bases.put(0, offset, &content, kind, 9);
            assert!(bases.bytes <= BASES_MAX);
            assert_eq!(bases.get(0, offset, &mut found), Some((kind, 9)));
            assert_eq!(found, content);
        }
        assert_eq!(bases.get(0, 1, &mut found), None);
        assert!(bases.get(0, 998, &mut found).is_some());
    }
}
