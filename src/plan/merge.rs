//! The three-way merge of texts by lines, as `git merge-file` does it: changes of both sides that neither overlap nor touch
//! are both taken, and so is one that both sides have made.
//!
//! Where lines repeat, more than one alignment is right, and a merge by the wrong one puts a line in the wrong place. So the
//! merge is made by two algorithms of git, and where their results differ it counts as a conflict.

use std::ops::Range;

use gix_imara_diff::sources::byte_lines;
use gix_imara_diff::{Algorithm, Diff, Hunk, InternedInput};

/// How far git searches for a NUL that marks a file as binary (`FIRST_FEW_BYTES` in its `xdiff-interface.c`).
const PROBE: usize = 8000;

/// Why two texts are not merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unmerged {
    /// One of the three is not a text.
    #[error("it is binary")]
    Binary,
    /// Both sides change the same lines, or lines side by side.
    #[error("both change {}", lines(.0))]
    Conflict(Vec<Range<usize>>),
    /// The changes can be aligned in more than one way.
    #[error("lines repeat in it, so where the changes belong is not certain")]
    Ambiguous,
}

/// `ours` with the changes that lead from `base` to `theirs`.
pub fn merge(base: &[u8], ours: &[u8], theirs: &[u8]) -> Result<Vec<u8>, Unmerged> {
    let is_binary = |content: &[u8]| content[..content.len().min(PROBE)].contains(&0);
    if [base, ours, theirs].into_iter().any(is_binary) {
        return Err(Unmerged::Binary);
    }
    let merged = merge_by(Algorithm::Myers, base, ours, theirs);
    let merged = merged.map_err(Unmerged::Conflict)?;
    match merge_by(Algorithm::Histogram, base, ours, theirs) {
        Ok(same) if same == merged => Ok(merged),
        _ => Err(Unmerged::Ambiguous),
    }
}

/// The merge by one algorithm, or the lines of `ours` in each conflict, counted from 0.
fn merge_by(
    algorithm: Algorithm,
    base: &[u8],
    ours: &[u8],
    theirs: &[u8],
) -> Result<Vec<u8>, Vec<Range<usize>>> {
    let lines: Vec<&[u8]> = byte_lines(base).collect();
    let mut ours = Side::new(algorithm, base, ours);
    let mut theirs = Side::new(algorithm, base, theirs);
    let mut merged = Vec::new();
    let mut conflicts = Vec::new();
    let mut done = 0;
    while let Some(start) = [ours.next(), theirs.next()].into_iter().flatten().min() {
        let mut region = start..start;
        // A change of one side can reach the next one of the other.
        while ours.extend(&mut region) | theirs.extend(&mut region) {}
        let (is_ours, left) = ours.take(&region);
        let (is_theirs, right) = theirs.take(&region);
        merged.extend(lines[done..region.start].concat());
        let (here, there) = (&ours.lines[left.clone()], &theirs.lines[right]);
        if !is_theirs || here == there {
            merged.extend(here.concat());
        } else if !is_ours {
            merged.extend(there.concat());
        } else {
            conflicts.push(left);
        }
        done = region.end;
    }
    merged.extend(lines[done..].concat());
    if conflicts.is_empty() {
        Ok(merged)
    } else {
        Err(conflicts)
    }
}

/// One side of the merge: its lines, and its changes that were not reached yet.
struct Side<'a> {
    lines: Vec<&'a [u8]>,
    hunks: Vec<Hunk>,
    /// The first hunk that is not in the region yet.
    reached: usize,
    /// The first hunk of the region.
    first: usize,
    /// The first line after the last region, here and in the base.
    after: (usize, usize),
}

impl<'a> Side<'a> {
    fn new(algorithm: Algorithm, base: &[u8], content: &'a [u8]) -> Self {
        let input = InternedInput::new(byte_lines(base), byte_lines(content));
        let mut diff = Diff::compute(algorithm, &input);
        diff.postprocess_no_heuristic(&input);
        Self {
            lines: byte_lines(content).collect(),
            hunks: diff.hunks().collect(),
            reached: 0,
            first: 0,
            after: (0, 0),
        }
    }

    /// Where the next change begins in the base.
    fn next(&self) -> Option<usize> {
        let next = self.hunks.get(self.reached)?;
        Some(next.before.start as usize)
    }

    /// Extends a region of the base by the changes that overlap or touch it; whether there was one.
    fn extend(&mut self, region: &mut Range<usize>) -> bool {
        let reached = self.reached;
        while let Some(hunk) = self.hunks.get(self.reached)
            && hunk.before.start as usize <= region.end
        {
            region.end = region.end.max(hunk.before.end as usize);
            self.reached += 1;
        }
        self.reached > reached
    }

    /// Whether it changes the region, and its lines in place of it.
    fn take(&mut self, region: &Range<usize>) -> (bool, Range<usize>) {
        let hunks = &self.hunks[self.first..self.reached];
        let grown: usize = hunks.iter().map(|hunk| hunk.after.len()).sum();
        let shrunk: usize = hunks.iter().map(|hunk| hunk.before.len()).sum();
        let start = self.after.0 + (region.start - self.after.1);
        let end = start + region.len() + grown - shrunk;
        self.after = (end, region.end);
        let is_changed = self.first < self.reached;
        self.first = self.reached;
        (is_changed, start..end)
    }
}

/// Lines for people, counted from 1.
fn lines(ranges: &[Range<usize>]) -> String {
    let one = |range: &Range<usize>| match range.len() {
        // They were deleted here.
        0 => format!("what was after line {}", range.start),
        1 => format!("line {}", range.end),
        _ => format!("lines {} to {}", range.start + 1, range.end),
    };
    let (named, more) = crate::text::first(ranges, 3);
    let named = named.into_iter().map(one);
    { named.chain(more) }.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
