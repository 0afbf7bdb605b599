//! An answer that ends: what comes beside the pack (progress, keep-alives, sections) is bounded with it.

use std::io::{self, ErrorKind, Read};

/// The kind of error that ends an answer at its bound.
pub(super) const EXCEEDED: ErrorKind = ErrorKind::FileTooLarge;

/// Room for what is not the pack: the packets around it, and words.
const BESIDE: u64 = 64 << 20;

/// Reads an answer up to its bound.
pub(super) struct BoundedReader<R> {
    answer: R,
    left: u64,
}

impl<R> BoundedReader<R> {
    /// For a pack of so many bytes at most.
    pub(super) fn new(answer: R, pack: u64) -> Self {
        Self {
            answer,
            left: with_packets(pack),
        }
    }
}

/// The bytes of an answer with a pack of so many bytes at most.
pub(super) fn with_packets(pack: u64) -> u64 {
    pack.saturating_add(pack / 100).saturating_add(BESIDE)
}

impl<R: Read> Read for BoundedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.answer.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or(EXCEEDED)?;
        Ok(read)
    }
}
