//! Whole objects into one new pack: blobs of an API, files adopted from the target, a rewrite of the store.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use gix_pack::data::{Version, header, input};

use crate::git::Oid;
use crate::git::id::ObjectKind;

use super::pack::Object;
use super::{Error, IngestBounds, Ingested, Store};

/// Collects objects; nothing of them is in the store before [`Writer::finish`], or ever, if it is dropped.
#[derive(Debug)]
pub struct Writer<'a> {
    store: &'a Store,
    directory: tempfile::TempDir,
    path: PathBuf,
    file: BufWriter<File>,
    written: HashSet<Oid>,
}

/// What became of an object given to [`Writer::add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It is in the pack, now or already before.
    Stored,
    /// Refused: the content hashes to another id.
    OtherId(Oid),
    /// Refused: the content carries a SHA-1 collision attack.
    Collision,
}

impl Store {
    /// Begins a pack of whole objects.
    pub fn writer(&self) -> Result<Writer<'_>, Error> {
        let directory = self.quarantine()?;
        let path = directory.path().join("objects");
        let create = || {
            let mut file = BufWriter::new(File::create_new(&path)?);
            // The count is not known yet; `finish` writes the header again.
            file.write_all(&header::encode(Version::V2, 0))?;
            Ok(file)
        };
        let file = create().map_err(|source| Error::io("write", &path, source))?;
        Ok(Writer {
            store: self,
            directory,
            path,
            file,
            written: HashSet::new(),
        })
    }
}

impl Writer<'_> {
    /// Adds an object, unless its content does not hash to `id`. Adding one twice is not an error.
    pub fn add(&mut self, kind: ObjectKind, id: Oid, content: &[u8]) -> Result<Added, Error> {
        match Oid::of(kind, content) {
            Ok(actual) if actual == id => {}
            Ok(actual) => return Ok(Added::OtherId(actual)),
            Err(_) => return Ok(Added::Collision),
        }
        self.put(kind, id, content)?;
        Ok(Added::Stored)
    }

    /// Adds an object that was read from another pack; returns the bytes it takes. Where it lies whole there, it is
    /// not deflated again.
    pub(super) fn copy(&mut self, id: Oid, object: &Object<'_>) -> Result<u64, Error> {
        let Some(entry) = object.entry else {
            return self.put(object.kind, id, &object.content);
        };
        if !self.written.insert(id) {
            return Ok(0);
        }
        let written = self.file.write_all(entry);
        written.map_err(|source| Error::io("write", &self.path, source))?;
        Ok(entry.len() as u64)
    }

    fn put(&mut self, kind: ObjectKind, id: Oid, content: &[u8]) -> Result<u64, Error> {
        if !self.written.insert(id) {
            return Ok(0);
        }
        let object = gix_object::Data {
            kind: kind.to_gix(),
            object_hash: gix_hash::Kind::Sha1,
            data: content,
        };
        // The offset is of no use: whole objects do not refer to each other.
        input::Entry::from_data_obj(&object, 0, gix_zlib::Compression::BEST_SPEED)
            .map_err(io::Error::other)
            .and_then(|entry| {
                entry
                    .header
                    .write_to(entry.decompressed_size, &mut self.file)?;
                let bytes = entry.bytes_in_pack();
                self.file.write_all(&entry.compressed.unwrap_or_default())?;
                Ok(bytes)
            })
            .map_err(|source| Error::io("write", &self.path, source))
    }

    /// Completes the pack and takes it into the store, durable when [settled](Store::make_durable).
    pub fn finish(self) -> Result<Ingested, Error> {
        self.complete().map(|(ingested, _)| ingested)
    }

    /// As [`Writer::finish`]; returns also where the pack is, if there was anything to write.
    pub(super) fn complete(self) -> Result<(Ingested, Option<PathBuf>), Error> {
        let Self {
            store,
            directory,
            path,
            file,
            written,
            ..
        } = self;
        if written.is_empty() {
            return Ok((Ingested::default(), None));
        }
        let failed = |source| Error::io("write", &path, source);
        let mut file = file.into_inner().map_err(|error| failed(error.into()))?;
        let bytes = seal(&mut file, written.len()).map_err(failed)?;
        let bounds = IngestBounds {
            bytes,
            deadline: None,
        };
        let (ingested, indexed) = store
            .index(
                &mut BufReader::new(file),
                &|_| None,
                bounds,
                &AtomicBool::new(false),
                directory.path(),
            )
            .map_err(|error| failed(io::Error::other(error)))?;
        let published = indexed
            .map(|pack| store.publish(directory, pack))
            .transpose()?;
        Ok((ingested, published))
    }
}

/// Writes the header with its count and the checksum over everything; leaves the file at its begin.
fn seal(file: &mut File, objects: usize) -> io::Result<u64> {
    let objects = u32::try_from(objects).map_err(io::Error::other)?;
    file.rewind()?;
    file.write_all(&header::encode(Version::V2, objects))?;
    file.rewind()?;
    let mut hasher = gix_hash::hasher(gix_hash::Kind::Sha1);
    let mut buffer = vec![0; 64 << 10];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
    let checksum = hasher.try_finalize().map_err(io::Error::other)?;
    file.write_all(checksum.as_slice())?;
    file.rewind()?;
    Ok(bytes + checksum.as_slice().len() as u64)
}
