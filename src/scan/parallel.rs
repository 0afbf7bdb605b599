//! Many paths on all cores, in blocks of neighbours: one directory stays with one thread, and a thread that is slowed down
//! holds up nothing but its block.

use std::sync::Mutex;
use std::{iter, thread};

use super::{Error, FileObservation, Local, Locals, Scanner};
use crate::fs::StatReader;
use crate::git::RelPath;
use crate::lookup::AscendingLookup;
use crate::state::FILES_A_BLOCK;
use crate::threads;

/// The most threads. With more, they wait for each other in the kernel.
const THREADS_MAX: usize = 8;

pub(super) type Block = Vec<(RelPath, Local)>;

impl Scanner<'_> {
    /// Inspects those of the sorted paths that were not inspected before.
    pub(super) fn see(&self, seen: &mut FileObservation, paths: &[&RelPath]) -> Result<(), Error> {
        let mut known = AscendingLookup::new(&seen.by_path);
        let unseen: Vec<&RelPath> = paths
            .iter()
            .copied()
            .filter(|path| known.get(path).is_none())
            .collect();
        if unseen.is_empty() {
            return Ok(());
        }
        let blocks = unseen.chunks(FILES_A_BLOCK);
        let threads = thread_count().min(blocks.len());
        let found = self.on_threads(threads, blocks, |stats, block| {
            let mut known = self.known_from(block.first().copied());
            let files = block.iter().map(|&path| (path.clone(), known(path)));
            self.look_at_each(stats, files)
        })?;
        let found = in_one(found);
        if seen.by_path.is_empty() {
            seen.by_path = found;
        } else {
            seen.by_path.extend(found);
        }
        seen.by_id = None;
        Ok(())
    }

    /// Inspects each block on one of so many threads, of which this is one; the results are in the order of the blocks.
    pub(super) fn on_threads<B: Send>(
        &self,
        threads: usize,
        blocks: impl Iterator<Item = B> + Send,
        inspect: impl Fn(&mut StatReader<'_>, B) -> Result<Block, Error> + Sync,
    ) -> Result<Vec<Block>, Error> {
        let blocks = Mutex::new(blocks.enumerate());
        let next = || threads::lock(&blocks).next();
        let work = || {
            let mut stats = self.target.stats();
            let blocks = iter::from_fn(next);
            let inspected = blocks.map(|(number, block)| Ok((number, inspect(&mut stats, block)?)));
            inspected.collect::<Result<Vec<(usize, Block)>, Error>>()
        };
        let parts = thread::scope(|scope| {
            let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
            let own = work();
            let others = others.into_iter().map(threads::join);
            others.chain([own]).collect::<Result<Vec<_>, Error>>()
        })?;
        let mut blocks: Vec<(usize, Block)> = parts.into_iter().flatten().collect();
        blocks.sort_unstable_by_key(|(number, _)| *number);
        Ok(blocks.into_iter().map(|(_, block)| block).collect())
    }
}

/// What blocks have that are in the order of their paths.
pub(super) fn in_one(blocks: Vec<Block>) -> Locals {
    let mut all = Vec::with_capacity(blocks.iter().map(Vec::len).sum());
    all.extend(blocks.into_iter().flatten());
    Locals::from_sorted_store_unchecked(all)
}

pub(super) fn thread_count() -> usize {
    thread::available_parallelism()
        .map_or(1, usize::from)
        .min(THREADS_MAX)
}
