//! A program that draws on the terminal what another one logs, such as `nom` for Nix.
//!
//! Nothing depends on it: it is never waited for while the other program runs, its exit code is ignored, and where it
//! ends early, or reads nothing for a while, the log is printed instead.

use std::collections::VecDeque;
use std::io::{self, PipeWriter, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

use super::{Child, Command, End, Pipes};

/// What it is called with: what it reads is Nix's log as JSON.
const ARGUMENTS: &[&str] = &["--json"];
/// How much may wait to be read by it: far more than one build logs while a terminal is drawn.
const WAITING_MAX: usize = 16 << 20;
/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(1);
/// Shows the cursor, which a viewer hides, on a new line.
const SHOW_CURSOR: &[u8] = b"\x1b[?25h\n";

/// A running viewer.
pub(super) struct Viewer {
    child: Child,
    process: OwnedFd,
    /// Where it reads; `None` when it has been told that nothing follows.
    input: Option<PipeWriter>,
    /// What it has not read yet.
    waiting: VecDeque<u8>,
    /// When it read last, or had nothing to read.
    read: Instant,
    patience: Duration,
    terminal: OwnedFd,
    ended: Option<End>,
}

impl Viewer {
    /// Starts the viewer of a command, with the command's environment. It may read nothing for `patience`.
    pub(super) fn start(
        command: &Command<'_>,
        terminal: BorrowedFd<'_>,
        patience: Duration,
    ) -> io::Result<Option<Self>> {
        let Some(program) = &command.viewer else {
            return Ok(None);
        };
        let (reads, input) = io::pipe()?;
        rustix::io::ioctl_fionbio(&input, true)?;
        let terminal = terminal.try_clone_to_owned()?;
        let pipes = Pipes {
            stdin: reads.into(),
            stdout: terminal.try_clone()?.into(),
            stderr: terminal.try_clone()?.into(),
        };
        let args: Vec<_> = ARGUMENTS.iter().map(Into::into).collect();
        let child = Child::spawn(
            program,
            &args,
            command.environment,
            command.directory,
            pipes,
        )?;
        Ok(Some(Self {
            process: child.descriptor()?,
            child,
            input: Some(input),
            waiting: VecDeque::new(),
            read: Instant::now(),
            patience,
            terminal,
            ended: None,
        }))
    }

    /// Gives it a line of the log.
    pub(super) fn give(&mut self, line: &[u8]) {
        if self.waiting.is_empty() {
            self.read = Instant::now();
        }
        self.waiting.extend(line);
        self.waiting.push_back(b'\n');
    }

    /// The pipe, while it has something to read.
    pub(super) fn unread(&self) -> Option<BorrowedFd<'_>> {
        let input = self.input.as_ref().filter(|_| !self.waiting.is_empty());
        input.map(AsFd::as_fd)
    }

    /// Lets it read what it takes now. Returns false where it has ended or reads nothing any more.
    pub(super) fn feed(&mut self) -> bool {
        while let (Some(input), false) = (&mut self.input, self.waiting.is_empty()) {
            match input.write(self.waiting.as_slices().0) {
                Ok(length) => {
                    self.waiting.drain(..length);
                    self.read = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It has closed its input.
                Err(_) => return false,
            }
        }
        let reads = self.waiting.is_empty() || self.read.elapsed() < self.patience;
        reads && self.waiting.len() <= WAITING_MAX && self.end_within(Duration::ZERO).is_none()
    }

    /// How it ended, if it does in this time.
    fn end_within(&mut self, time: Duration) -> Option<End> {
        let until = Instant::now() + time;
        while self.ended.is_none() {
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).ok();
            let mut ends = [PollFd::new(&self.process, PollFlags::IN)];
            // Interrupted, it is asked again.
            if poll(&mut ends, left.as_ref()).is_ok_and(|count| count > 0) {
                self.ended = self.child.wait().ok();
                break;
            }
            if Instant::now() >= until {
                break;
            }
        }
        self.ended
    }

    /// Lets it draw the rest and end. Returns whether it did.
    pub(super) fn finish(mut self) -> bool {
        let tick = Timespec::try_from(self.patience).ok();
        while self.feed()
            && let Some(input) = self.unread()
        {
            let mut reads = [PollFd::from_borrowed_fd(input, PollFlags::OUT)];
            // What it does not read is seen by the next turn.
            let _ = poll(&mut reads, tick.as_ref());
        }
        if !self.waiting.is_empty() || self.ended.is_some() {
            return false;
        }
        self.input = None;
        let patience = self.patience;
        matches!(self.end_within(patience), Some(End::Exited(_)))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        if matches!(self.ended, Some(End::Exited(_))) {
            return;
        }
        // Dropped, `child` is killed.
        let _ = self.child.signal(Signal::TERM);
        let _ = self.end_within(GRACE);
        // If the terminal is gone, there is no cursor.
        let _ = rustix::io::write(&self.terminal, SHOW_CURSOR);
    }
}
