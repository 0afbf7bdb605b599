//! Contents that are read while the ones before are written.
//!
//! To read a file out of a pack is to unpack and to hash it, which takes as long as to write it. They are handed over in
//! batches, because to wake a thread for each file takes as long again.

use std::collections::VecDeque;
use std::mem;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Scope;

use super::{Content, ContentError, Transaction};
use crate::git::BlobId;
use crate::threads;

/// The files and the bytes of a batch.
const BATCH: (usize, usize) = (64, 256 << 10);
/// How many batches are ahead at most.
const AHEAD: usize = 4;
/// Larger contents, in bytes, are read when they are needed: these bound the memory.
const LARGEST: u64 = 128 << 10;

/// A content that was read; `None` where it is too large for that.
type Read = (BlobId, Option<Result<Vec<u8>, ContentError>>);

/// The contents of a transaction, to be asked for in the order of its changes.
pub(super) struct ReadAhead<'a> {
    content: &'a dyn Content,
    read: Mutex<(Receiver<Vec<Read>>, VecDeque<Read>)>,
}

impl<'a> ReadAhead<'a> {
    /// Begins to read.
    pub(super) fn begin<'scope>(
        scope: &'scope Scope<'scope, '_>,
        content: &'a dyn Content,
        transaction: &'a Transaction,
    ) -> Self
    where
        'a: 'scope,
    {
        let (send, receive) = sync_channel(AHEAD);
        scope.spawn(move || read_all(content, transaction, &send));
        Self {
            content,
            read: Mutex::new((receive, VecDeque::new())),
        }
    }

    fn next(&self) -> Option<Read> {
        let mut read = threads::lock(&self.read);
        let (receive, batch) = &mut *read;
        if batch.is_empty() {
            *batch = receive.recv().ok()?.into();
        }
        batch.pop_front()
    }
}

/// Reads until all is read, or nobody waits for it any more.
fn read_all(content: &dyn Content, transaction: &Transaction, send: &SyncSender<Vec<Read>>) {
    let (files, bytes) = BATCH;
    let (mut batch, mut size) = (Vec::new(), 0);
    let comes = transaction.changes.iter().filter_map(|change| change.after);
    for file in comes {
        let is_small = content.size(file.id).is_ok_and(|size| size <= LARGEST);
        let read = is_small.then(|| content.blob(file.id));
        if let Some(Ok(content)) = &read {
            size += content.len();
        }
        batch.push((file.id, read));
        if batch.len() >= files || size >= bytes {
            size = 0;
            if send.send(mem::take(&mut batch)).is_err() {
                return;
            }
        }
    }
    // Nobody may wait for the last.
    let _ = send.send(batch);
}

impl Content for ReadAhead<'_> {
    fn blob(&self, id: BlobId) -> Result<Vec<u8>, ContentError> {
        match self.next() {
            Some((read, Some(content))) if read == id => content,
            _ => self.content.blob(id),
        }
    }

    fn size(&self, id: BlobId) -> Result<u64, ContentError> {
        self.content.size(id)
    }
}
