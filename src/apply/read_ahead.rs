//! New content, read from the store while earlier content is written.
//!
//! Only reading is done by others: whatever changes a file system is done by the one thread that asks for the next
//! content, in the order of the changes. So a fault hits the same call in every run, and which error comes first is no
//! matter of luck.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, Scope};

use super::{Change, Content, Error, stage};

/// How many read at most.
const READERS: usize = 4;
/// How many files are worth a reader; unpacking one takes about as long as writing two.
const WORTH: usize = 8;
/// How many contents wait for each reader's turn.
const WAITING: usize = 4;
/// What is larger is read when it is its turn, so that few are in memory at a time.
const LARGE: u64 = 1 << 20;

type Read = Result<Option<Vec<u8>>, Error>;

/// The contents of the changes' new files, one after the other.
pub(super) struct ReadAhead<'env> {
    changes: &'env [Change],
    content: &'env dyn Content,
    /// Reader n has every n-th change.
    readers: Vec<Receiver<Option<Read>>>,
    next: usize,
}

impl<'env> ReadAhead<'env> {
    pub(super) fn begin<'scope>(
        scope: &'scope Scope<'scope, 'env>,
        changes: &'env [Change],
        content: &'env dyn Content,
    ) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let count = changes.len().div_ceil(WORTH).min(cores).min(READERS);
        let spawn = |number| {
            let (sender, receiver) = sync_channel(WAITING);
            let own = changes.iter().skip(number).step_by(count);
            thread::Builder::new()
                .spawn_scoped(scope, move || send(own, content, &sender))
                .map(|_| receiver)
        };
        let readers: Result<Vec<_>, _> = (0..count).map(spawn).collect();
        Self {
            changes,
            content,
            // Where no thread can be made, there is still this one.
            readers: readers.unwrap_or_default(),
            next: 0,
        }
    }

    /// The content of the next change's new file.
    pub(super) fn next(&mut self) -> Read {
        let number = self.next;
        self.next += 1;
        let read = match self.readers.len() {
            0 => None,
            count => self.readers[number % count].recv().ok().flatten(),
        };
        read.unwrap_or_else(|| stage::read(&self.changes[number], self.content))
    }
}

/// Reads one after the other, until all are read or nobody asks any more; `None` for what is too large.
fn send<'a>(
    changes: impl Iterator<Item = &'a Change>,
    content: &dyn Content,
    sender: &SyncSender<Option<Read>>,
) {
    for change in changes {
        let is_small =
            |file: crate::git::File| content.size(file.id).is_ok_and(|size| size <= LARGE);
        let read = change
            .after
            .is_none_or(is_small)
            .then(|| stage::read(change, content));
        if sender.send(read).is_err() {
            return;
        }
    }
}
