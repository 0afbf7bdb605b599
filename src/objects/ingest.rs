//! Packs from outside into the store: bounded, verified, all or nothing.
//!
//! Limit: gitoxide holds the compressed bytes of one entry in memory, so a hostile pack of a single incompressible
//! object costs as much memory as [`IngestBounds::bytes`] allows.

use std::cell::RefCell;
use std::io::{self, BufRead, Cursor, ErrorKind, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use gix_error::{Class, ResourceExhaustionKind};
use sha1::{Digest as _, Sha1};

use crate::git::Oid;
use crate::git::id::ObjectKind;

use super::pack::{self, Pack, Reading};
use super::store_directory::StoreDirectory;
use super::{Error, IngestError, Store};

/// How often the flag and the deadline are checked while gitoxide computes.
const TICK: Duration = Duration::from_millis(50);
/// Bookkeeping of a pack of a million objects, however small they are allowed to be.
const ALLOC_FLOOR: u64 = 64 << 20;

/// Bytes of a pack's header: `PACK`, version, number of objects (gitformat-pack(5)).
const HEADER: usize = 12;
/// Bytes of the checksum at a pack's end.
const TRAILER: usize = 20;
/// The header of a pack without objects.
const EMPTY: [u8; HEADER] = *b"PACK\0\0\0\x02\0\0\0\0";

/// What a pack from outside may cost.
#[derive(Debug, Clone, Copy)]
pub struct IngestBounds {
    /// Bytes of the pack as it comes.
    pub bytes: u64,
    /// When to give up.
    pub deadline: Option<Instant>,
}

/// What came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingested {
    /// Objects, bases of a thin pack included.
    pub objects: u64,
    /// Bytes of the pack as it came.
    pub bytes: u64,
}

/// Finds bases of deltas that the store does not have.
type BaseLookup<'a> = dyn Fn(Oid) -> Option<(ObjectKind, Vec<u8>)> + 'a;

/// A pack that is read and not kept.
#[derive(Debug)]
pub struct Transient {
    pack: Option<Pack>,
    // Removes the files when dropped, by a path that leads through the handle.
    _directory: tempfile::TempDir,
    _place: StoreDirectory,
}

impl Transient {
    /// The content of an object, proven as [`Store::read`] does.
    #[must_use]
    pub fn read(&self, kind: ObjectKind, id: Oid) -> Option<Vec<u8>> {
        match self.pack.as_ref()?.read(id) {
            Reading::Found(object) if object.kind == kind => Some(object.content),
            Reading::Found(_) | Reading::Absent | Reading::Damaged(_) => None,
        }
    }
}

impl Store {
    /// Takes a pack into the store, durable when [settled](Store::make_durable).
    ///
    /// A thin pack is completed with bases from the store, then from `bases`; each is hashed before it is used.
    /// An empty pack is not an error: it is what a server sends when there is nothing to send.
    pub fn ingest(
        &self,
        pack: &mut dyn BufRead,
        bases: &BaseLookup<'_>,
        bounds: IngestBounds,
        interrupt: &AtomicBool,
    ) -> Result<Ingested, IngestError> {
        let directory = self.quarantine()?;
        let (ingested, pack) = self.index(pack, bases, bounds, interrupt, directory.path())?;
        if let Some(pack) = pack {
            self.publish(directory, pack)?;
        }
        Ok(ingested)
    }

    /// Reads a pack without keeping it.
    pub fn peek(
        &self,
        pack: &mut dyn BufRead,
        bounds: IngestBounds,
        interrupt: &AtomicBool,
    ) -> Result<Transient, IngestError> {
        let directory = self.quarantine()?;
        let (_, pack) = self.index(pack, &|_| None, bounds, interrupt, directory.path())?;
        Ok(Transient {
            pack,
            _directory: directory,
            _place: self.place.clone(),
        })
    }

    /// Writes pack and index into `directory`, unsynced, and opens them. Nothing where the pack is empty.
    pub(super) fn index(
        &self,
        pack: &mut dyn BufRead,
        bases: &BaseLookup<'_>,
        bounds: IngestBounds,
        interrupt: &AtomicBool,
        directory: &Path,
    ) -> Result<(Ingested, Option<Pack>), IngestError> {
        let mut stream = PackStream {
            inner: pack,
            read: 0,
            bounds,
            interrupt,
            end: None,
            checksum: Checksum::default(),
        };
        let Some(header) = stream.header()? else {
            return Ok((stream.ingested(0), None));
        };
        let lookup = Lookup {
            store: self,
            extra: bases,
            missed: RefCell::default(),
        };
        let alloc = usize::try_from(self.blob_limit.max(ALLOC_FLOOR)).ok();
        let options = gix_pack::bundle::write::Options {
            alloc_limit_bytes: alloc,
            ..Default::default()
        };
        let outcome = with_deadline(bounds.deadline, interrupt, |stop| {
            // The delta resolver has unproven `expect`s on what the remote sent.
            catch_unwind(AssertUnwindSafe(|| {
                gix_pack::Bundle::write_to_directory(
                    &mut Cursor::new(header).chain(&mut stream),
                    Some(directory),
                    &mut gix_utils::progress::Discard,
                    stop,
                    Some(&lookup),
                    gix_hash::Kind::Sha1,
                    options,
                )
            }))
        });
        let corrupt = |detail: String| IngestError::Corrupt { detail };
        let outcome = match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => {
                let missed = lookup.missed.into_inner();
                let cause = stream.end.take().or_else(|| stream.stopped());
                let error = cause.unwrap_or_else(|| self.classify(&error, &missed, directory));
                // A flipped bit in a count or a size exceeds the limit, too.
                let is_damaged = matches!(error, IngestError::ObjectTooLarge { .. })
                    && !stream.is_whole().unwrap_or(false);
                return Err(if is_damaged {
                    corrupt("its checksum does not match".to_owned())
                } else {
                    error
                });
            }
            Err(_) => return Err(corrupt("the reader panicked".to_owned())),
        };
        // gitoxide swallows what follows the trailer, as far as it lies in its buffer.
        if !stream.checksum.is_right() {
            return Err(corrupt("something follows the pack".to_owned()));
        }
        let pack = outcome
            .data_path
            .map(|path| self.open_indexed(&path))
            .transpose()
            .map_err(corrupt)?;
        let objects = u64::from(outcome.index.num_objects);
        Ok((stream.ingested(objects), pack))
    }

    /// Opens a pack that was indexed just now, and reads what it has more than once. A base that a thin pack was completed
    /// with may be in the pack too; but of a delta whose result is its own base, the index may name the delta, and it
    /// cannot be read then.
    fn open_indexed(&self, path: &Path) -> Result<Pack, String> {
        let pack = Pack::open(path, self.blob_limit)?.indexed_now();
        for id in pack.repeated() {
            if let Reading::Damaged(detail) = pack.read(id) {
                return Err(format!("{id} is in it twice: {detail}"));
            }
        }
        Ok(pack)
    }

    fn classify(&self, error: &gix_error::Error, missed: &[Oid], at: &Path) -> IngestError {
        // A base that was not found outside may still be in the pack itself; only the final complaint decides.
        if let (true, Some(id)) = (error.is_not_found(), missed.first().copied()) {
            return IngestError::BaseMissing { id };
        }
        let limited = Class::ResourceExhaustion(ResourceExhaustionKind::AllocationLimit);
        if error.classify().any(|found| found.class() == limited) {
            return IngestError::ObjectTooLarge {
                limit: self.blob_limit,
            };
        }
        let disk = error
            .iter_errors()
            .filter_map(|cause| cause.downcast_ref::<io::Error>())
            .find_map(of_disk);
        match disk {
            Some(source) => IngestError::Store(Error::io("write a pack in", at, source)),
            None => IngestError::Corrupt {
                detail: pack::one_line(error),
            },
        }
    }
}

/// The error of the system, where the disk has failed. A broken stream shows as its end or as data that does not
/// inflate, and neither is an error of the system.
fn of_disk(error: &io::Error) -> Option<io::Error> {
    if let Some(code) = error.raw_os_error() {
        return Some(io::Error::from_raw_os_error(code));
    }
    // The file that is written adds its path, and hides the system's own error by that.
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::FileTooLarge
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::PermissionDenied
    )
    .then(|| kind.into())
}

/// Runs `work` with a flag that follows `interrupt` and is set when the deadline passes.
fn with_deadline<T>(
    deadline: Option<Instant>,
    interrupt: &AtomicBool,
    work: impl FnOnce(&AtomicBool) -> T,
) -> T {
    let stop = AtomicBool::new(false);
    let (done, waiting) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            while waiting.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                if interrupt.load(Ordering::Relaxed) || is_over(deadline) {
                    stop.store(true, Ordering::Relaxed);
                }
            }
        });
        let result = work(stop);
        drop(done);
        result
    })
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// The pack as it comes, counted and cut at its bounds; remembers why it ended.
struct PackStream<'a> {
    inner: &'a mut dyn BufRead,
    read: u64,
    bounds: IngestBounds,
    interrupt: &'a AtomicBool,
    end: Option<IngestError>,
    checksum: Checksum,
}

/// The SHA-1 of everything but the last bytes, which are the pack's trailer once all of it has come.
#[derive(Default)]
struct Checksum {
    digest: Sha1,
    last: Vec<u8>,
}

impl Checksum {
    fn update(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(TRAILER);
        let (begin, end) = bytes.split_at(bytes.len() - kept);
        let given_up = (self.last.len() + kept).saturating_sub(TRAILER);
        self.digest.update(&self.last[..given_up]);
        self.digest.update(begin);
        self.last.drain(..given_up);
        self.last.extend_from_slice(end);
    }

    fn is_right(&self) -> bool {
        self.digest.clone().finalize().as_slice() == self.last.as_slice()
    }
}

impl PackStream<'_> {
    /// Reads the rest; whether the trailer is the checksum of what is before it.
    fn is_whole(&mut self) -> io::Result<bool> {
        io::copy(self, &mut io::sink())?;
        Ok(self.checksum.is_right())
    }

    /// Reads the header; `None` where it announces no objects, and the trailer that follows it is right.
    ///
    /// gitoxide reads the trailer with the last object, so without one it is neither read nor checked.
    fn header(&mut self) -> Result<Option<[u8; HEADER]>, IngestError> {
        let mut header = [0; HEADER];
        self.exact(&mut header)?;
        // Anything else is for gitoxide to refuse.
        if header != EMPTY {
            return Ok(Some(header));
        }
        let mut trailer = [0; TRAILER];
        self.exact(&mut trailer)?;
        if trailer.as_slice() != Sha1::digest(header).as_slice() {
            let detail = "the checksum of an empty pack is wrong".to_owned();
            return Err(IngestError::Corrupt { detail });
        }
        Ok(None)
    }

    fn exact(&mut self, buffer: &mut [u8]) -> Result<(), IngestError> {
        self.read_exact(buffer).map_err(|error| {
            let detail = error.to_string();
            self.end.take().unwrap_or(IngestError::Corrupt { detail })
        })
    }

    fn ingested(&self, objects: u64) -> Ingested {
        Ingested {
            objects,
            bytes: self.read,
        }
    }

    fn stopped(&self) -> Option<IngestError> {
        if self.interrupt.load(Ordering::Relaxed) {
            Some(IngestError::Interrupted)
        } else {
            is_over(self.bounds.deadline).then_some(IngestError::Deadline)
        }
    }
}

impl Read for PackStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for PackStream<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let limit = self.bounds.bytes;
        let left = usize::try_from(limit - self.read).unwrap_or(usize::MAX);
        let end = match (self.stopped(), self.inner.fill_buf()) {
            (Some(stopped), _) => stopped,
            (None, Err(error)) => IngestError::Stream(error),
            (None, Ok(more)) if left == 0 && !more.is_empty() => {
                IngestError::PackTooLarge { limit }
            }
            (None, Ok(more)) => return Ok(&more[..more.len().min(left)]),
        };
        let shown = io::Error::other(end.to_string());
        self.end = Some(end);
        Err(shown)
    }

    fn consume(&mut self, amount: usize) {
        self.read += amount as u64;
        // What is consumed is there already; nothing is read for it.
        if let Ok(available) = self.inner.fill_buf() {
            self.checksum.update(&available[..amount]);
        }
        self.inner.consume(amount);
    }
}

/// Bases for gitoxide: the store first, then the caller; proven either way.
struct Lookup<'a> {
    store: &'a Store,
    extra: &'a BaseLookup<'a>,
    missed: RefCell<Vec<Oid>>,
}

impl gix_object::Find for Lookup<'_> {
    fn try_find<'b>(
        &self,
        id: &gix_hash::oid,
        buffer: &'b mut Vec<u8>,
    ) -> Result<Option<gix_object::Data<'b>>, gix_error::Error> {
        let Some(id) = Oid::from_gix(id) else {
            return Ok(None);
        };
        let found = self.store.object(id).or_else(|| {
            (self.extra)(id).filter(|(kind, content)| Oid::of(*kind, content) == Ok(id))
        });
        let Some((kind, content)) = found else {
            self.missed.borrow_mut().push(id);
            return Ok(None);
        };
        *buffer = content;
        Ok(Some(gix_object::Data {
            kind: kind.to_gix(),
            object_hash: gix_hash::Kind::Sha1,
            data: buffer,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_disk_is_distinguished_from_a_damaged_stream() {
        let kind = |error: io::Error| of_disk(&error).map(|error| error.kind());
        for full in [
            io::Error::from_raw_os_error(28),
            io::Error::new(ErrorKind::StorageFull, "at path `x`"),
        ] {
            assert_eq!(kind(full), Some(ErrorKind::StorageFull));
        }
        for damaged in [ErrorKind::UnexpectedEof, ErrorKind::InvalidData] {
            assert_eq!(kind(damaged.into()), None);
        }
    }
}
