//! Runs programs to their end on this machine.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::Signal;

use super::viewer::Viewer;
use super::{Child, Command, End, Finished, Kill, Output, Pipes, Runner, Stop, TAIL_BYTES, tail};
use crate::nix::JsonLog;
use crate::text::decode;

/// How long a program may take to stop: `nix` cleans up its builds in this time, and systemd gives a service three times
/// as much.
const GRACE: Duration = Duration::from_secs(30);
/// How often the flag that a signal sets is checked.
const TICK: Duration = Duration::from_millis(100);
/// The maximum size of a returned output; that of `nix flake metadata` is well below.
const OUTPUT_MAX: usize = 64 << 20;
/// How long a viewer may read nothing, and how long it may draw when its input has ended.
const PATIENCE: Duration = Duration::from_secs(5);
/// The maximum length of a line of a log as JSON; the rest of it is dropped.
const LOG_LINE_MAX: usize = 1 << 20;

/// Where output goes as it comes.
type Show = Box<dyn Fn(&[u8]) + Send + Sync>;

/// A terminal on which a program may draw.
pub struct Terminal {
    /// The terminal.
    pub handle: OwnedFd,
    /// Called with true before a program draws, so that nobody else does, and with false after it.
    pub lend: fn(bool),
}

/// Runs programs on this machine.
pub struct SystemRunner {
    interrupt: Arc<AtomicBool>,
    show: Show,
    grace: Duration,
    terminal: Option<Terminal>,
    patience: Duration,
}

impl SystemRunner {
    /// `interrupt` is set by a signal; `show` is called with the output of programs as it arrives.
    pub fn new(interrupt: Arc<AtomicBool>, show: impl Fn(&[u8]) + Send + Sync + 'static) -> Self {
        Self {
            interrupt,
            show: Box::new(show),
            grace: GRACE,
            terminal: None,
            patience: PATIENCE,
        }
    }

    /// With a terminal on which programs may draw, or without one.
    #[must_use]
    pub fn terminal(mut self, terminal: Option<Terminal>) -> Self {
        self.terminal = terminal;
        self
    }

    /// With another time in which a program that draws must read.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// With another time for a program to stop.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed)
    }
}

impl Runner for SystemRunner {
    fn run(&self, command: &Command<'_>) -> io::Result<Finished> {
        let (errors, to_errors) = io::pipe()?;
        let (answer, to_answer) = if command.output == Output::Shown {
            // One pipe for both, which preserves the order.
            (None, Stdio::from(to_errors.try_clone()?))
        } else {
            let (answer, to_answer) = io::pipe()?;
            (Some(answer), Stdio::from(to_answer))
        };
        let pipes = Pipes {
            stdin: match command.input {
                Some(file) => file.try_clone()?.into(),
                None => Stdio::null(),
            },
            stdout: to_answer,
            stderr: to_errors.into(),
        };
        let child = Child::spawn(
            &command.program,
            &command.args,
            command.environment,
            command.directory,
            pipes,
        )?;
        let mut streams = [
            OutputPipe::new(Some(errors), command.output != Output::Quiet, false)?,
            OutputPipe::new(answer, false, true)?,
        ];
        let begun = Instant::now();
        let log = { self.terminal.as_ref().filter(|_| command.viewer.is_some()) }
            .map(|terminal| Log::open(command, terminal, self.patience));
        let mut watch = RunningProgram {
            runner: self,
            command,
            log,
            tail: Vec::new(),
            answer: Vec::new(),
            open_line: false,
            line: Vec::new(),
            begun,
            marked: None,
        };
        let end = watch.watch(child, &mut streams);
        let lasted = begun.elapsed();
        watch.end_log();
        let end = end?;
        if watch.open_line {
            // So that later output starts on a new line.
            (self.show)(b"\n");
        }
        Ok(Finished {
            end,
            answer: watch.answer,
            tail: tail(&watch.tail),
            marked: watch.marked,
            lasted,
        })
    }

    fn has_terminal(&self) -> bool {
        self.terminal.is_some()
    }

    fn pause(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.interrupted() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}

/// One of a program's output pipes.
struct OutputPipe {
    pipe: Option<PipeReader>,
    shown: bool,
    answer: bool,
}

impl OutputPipe {
    fn new(pipe: Option<PipeReader>, shown: bool, answer: bool) -> io::Result<Self> {
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        Ok(Self {
            pipe,
            shown,
            answer,
        })
    }
}

/// The log of a program that a viewer shows.
struct Log {
    reader: JsonLog,
    /// The line that is not complete yet.
    open: Vec<u8>,
    /// `None`: it could not be started or has given up, and the log is printed.
    viewer: Option<Viewer>,
    lend: fn(bool),
}

impl Log {
    fn open(command: &Command<'_>, terminal: &Terminal, patience: Duration) -> Self {
        (terminal.lend)(true);
        let viewer = Viewer::start(command, terminal.handle.as_fd(), patience);
        let log = Self {
            reader: JsonLog::default(),
            open: Vec::new(),
            viewer: viewer.ok().flatten(),
            lend: terminal.lend,
        };
        if log.viewer.is_none() {
            (log.lend)(false);
        }
        log
    }
}

/// A running program and what it has printed so far.
struct RunningProgram<'a> {
    runner: &'a SystemRunner,
    command: &'a Command<'a>,
    log: Option<Log>,
    tail: Vec<u8>,
    answer: Vec<u8>,
    /// Whether the shown output ends in the middle of a line.
    open_line: bool,
    /// The line that is not complete yet, until one was marked.
    line: Vec<u8>,
    begun: Instant,
    marked: Option<Duration>,
}

impl RunningProgram<'_> {
    fn watch(&mut self, mut child: Child, streams: &mut [OutputPipe; 2]) -> io::Result<End> {
        let process = child.descriptor()?;
        let mut deadline = Instant::now() + self.command.timeout;
        let mut stopped: Option<End> = None;
        loop {
            let stops = self.command.stop == Stop::WithUs && self.runner.interrupted();
            if stopped.is_none() && stops {
                stopped = Some(End::Interrupted);
            } else if stopped.is_none() && Instant::now() >= deadline {
                stopped = Some(End::TimedOut);
            } else if let Some(end) = stopped
                && Instant::now() >= deadline
            {
                if let Kill::Unless(is_needed) = self.command.kill
                    && is_needed(self.runner, self.command.environment)
                {
                    child.leave();
                    return Ok(end);
                }
                child.signal(Signal::KILL)?;
                child.wait()?;
                self.drain(streams)?;
                return Ok(end);
            } else {
                if self.wait(&process, streams, deadline)? {
                    let end = child.wait()?;
                    self.drain(streams)?;
                    return Ok(stopped.unwrap_or(end));
                }
                continue;
            }
            child.signal(Signal::TERM)?;
            deadline = Instant::now() + self.runner.grace;
        }
    }

    /// Forwards output until an event or the next tick. Returns whether the process has ended.
    fn wait(
        &mut self,
        process: &OwnedFd,
        streams: &mut [OutputPipe; 2],
        deadline: Instant,
    ) -> io::Result<bool> {
        let mut watched = vec![PollFd::new(process, PollFlags::IN)];
        for stream in streams.iter() {
            if let Some(pipe) = &stream.pipe {
                watched.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
            }
        }
        let viewer = self.log.as_ref().and_then(|log| log.viewer.as_ref());
        if let Some(unread) = viewer.and_then(Viewer::unread) {
            watched.push(PollFd::from_borrowed_fd(unread, PollFlags::OUT));
        }
        let left = deadline.saturating_duration_since(Instant::now()).min(TICK);
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut watched, Some(&left)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        }
        let ended = !watched[0].revents().is_empty();
        drop(watched);
        self.drain(streams)?;
        self.feed_viewer();
        Ok(ended)
    }

    /// Forwards everything that is in the pipes now.
    fn drain(&mut self, streams: &mut [OutputPipe; 2]) -> io::Result<()> {
        let mut buffer = [0; 8192];
        for stream in streams {
            while let Some(pipe) = &mut stream.pipe {
                match pipe.read(&mut buffer) {
                    Ok(0) => stream.pipe = None,
                    Ok(length) => self.take(stream, &buffer[..length])?,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, stream: &OutputPipe, bytes: &[u8]) -> io::Result<()> {
        if stream.answer {
            if self.answer.len() + bytes.len() > OUTPUT_MAX {
                return Err(io::Error::other(format!(
                    "its output exceeds {} MiB",
                    OUTPUT_MAX >> 20
                )));
            }
            self.answer.extend_from_slice(bytes);
            return Ok(());
        }
        if self.log.is_some() {
            self.read_log(bytes);
            return Ok(());
        }
        self.keep(bytes, stream.shown);
        Ok(())
    }

    /// Takes what is printed for people.
    fn keep(&mut self, bytes: &[u8], shown: bool) {
        if shown {
            (self.runner.show)(bytes);
            self.open_line = bytes.last() != Some(&b'\n');
        }
        self.mark(bytes);
        self.tail.extend_from_slice(bytes);
        if self.tail.len() > 4 * TAIL_BYTES {
            self.tail.drain(..self.tail.len() - 2 * TAIL_BYTES);
        }
    }

    /// Takes a piece of a log as JSON: the viewer gets its lines, and what they mean is kept.
    fn read_log(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let Some(log) = &mut self.log else { return };
            let line = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LOG_LINE_MAX.saturating_sub(log.open.len()).min(line.len());
            log.open.extend_from_slice(&line[..room]);
            if piece.len() > line.len() {
                self.read_line();
            }
        }
        self.feed_viewer();
    }

    /// Takes the line of the log that is complete now.
    fn read_line(&mut self) {
        let Some(log) = &mut self.log else { return };
        let line = std::mem::take(&mut log.open);
        let read = log.reader.read(&line);
        if let Some(viewer) = &mut log.viewer {
            viewer.give(&read.safe);
        }
        let is_printed = log.viewer.is_none();
        if let Some(text) = read.text {
            self.keep(text.as_bytes(), is_printed);
        }
    }

    /// Lets the viewer read on, if there is one.
    fn feed_viewer(&mut self) {
        let viewer = self.log.as_mut().and_then(|log| log.viewer.as_mut());
        if viewer.is_some_and(|viewer| !viewer.feed()) {
            self.leave_viewer(false);
        }
    }

    /// Takes the last line of the log, and lets the viewer draw the rest.
    fn end_log(&mut self) {
        if self.log.as_ref().is_some_and(|log| !log.open.is_empty()) {
            self.read_line();
        }
        self.leave_viewer(true);
    }

    /// Ends the viewer. One that has not drawn everything may have lost any part of the log, so that is printed again.
    fn leave_viewer(&mut self, is_end: bool) {
        let Some(log) = &mut self.log else { return };
        let Some(viewer) = log.viewer.take() else {
            return;
        };
        let has_drawn = if is_end {
            viewer.finish()
        } else {
            drop(viewer);
            false
        };
        (log.lend)(false);
        if !has_drawn {
            (self.runner.show)(&self.tail);
            self.open_line = self.tail.last().is_some_and(|&byte| byte != b'\n');
        }
    }

    /// Notes the time of the first line that is to be marked.
    fn mark(&mut self, bytes: &[u8]) {
        let Some(is_mark) = self.command.mark.filter(|_| self.marked.is_none()) else {
            return;
        };
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            if is_mark(&decode(&line)) {
                self.marked = Some(self.begun.elapsed());
                self.line.clear();
                return;
            }
        }
        // No such line is that long.
        if self.line.len() > TAIL_BYTES {
            self.line.clear();
        }
    }
}
