//! Other programs: the one place that finds and starts them.
//!
//! A program is found by one rule ([`SearchPath`]), runs in its own process group and with a fixed environment
//! ([`Environment`]). Two forms: a [`Runner`] runs one to its end, with a time limit, until
//! a signal asks us to stop, and with a bound for what it prints; a [`Child`] talks to the code that started it, and
//! dies with its owner.
//!
//! What a program prints goes to the user as it comes, if it is shown, and the end of it is kept for the error message.
//! Its end is seen by its process descriptor, not by the end of its output: a daemon that it leaves behind may hold the
//! pipe for ever.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::text::decode;

mod age;
mod child;
mod environment;
mod pager;
mod runner;
mod viewer;

pub(crate) use age::age;
pub(crate) use child::{Child, Pipes};
pub use environment::{Environment, SearchPath};
pub use pager::Pager;
pub use runner::{SystemRunner, Terminal};

/// A flag that a signal sets; long work checks it between steps.
pub type Interrupt = Arc<AtomicBool>;

/// How much of a program's output is kept for the error message.
const TAIL_BYTES: usize = 16 * 1024;

/// A program to run.
#[derive(Debug, Clone)]
pub struct Command<'a> {
    /// Its absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its complete environment.
    pub environment: &'a Environment,
    /// Its working directory.
    pub directory: &'a Path,
    /// Its standard input; `/dev/null` if `None`.
    pub input: Option<&'a File>,
    /// Where its output goes.
    pub output: Output,
    /// The time limit.
    pub timeout: Duration,
    /// Whether it is killed if it ignores SIGTERM.
    pub kill: Kill,
    /// Whether a signal that stops us stops it too.
    pub stop: Stop,
    /// A line of its standard error whose time is wanted; see [`Finished::marked`].
    pub mark: Option<fn(&str) -> bool>,
    /// A program that draws on the terminal what this one, which is Nix, logs as JSON; by its absolute path.
    pub viewer: Option<PathBuf>,
}

/// The effect of a signal to us on a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It is stopped too.
    WithUs,
    /// It continues: a short query whose output is needed for a clean stop.
    Never,
}

/// The treatment of a program that ignores SIGTERM.
#[derive(Debug, Clone, Copy)]
pub enum Kill {
    /// It is killed.
    Yes,
    /// It is killed, unless this returns true; then it continues.
    Unless(fn(&dyn Runner, &Environment) -> bool),
}

/// Where a program's output goes. Standard error is also kept for the error message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Everything is shown.
    Shown,
    /// Standard error is shown, standard output is returned.
    Answer,
    /// Nothing is shown, standard output is returned.
    Quiet,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it ended.
    pub end: End,
    /// Its standard output, unless that was shown.
    pub answer: Vec<u8>,
    /// The last of its shown output, without control characters.
    pub tail: String,
    /// How long after its start it printed the first line that [`Command::mark`] matches.
    pub marked: Option<Duration>,
    /// How long it ran.
    pub lasted: Duration,
}

/// The ways a program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With an exit code.
    Exited(i32),
    /// By a signal that we did not send.
    Killed(i32),
    /// It exceeded its time limit and was stopped.
    TimedOut,
    /// A signal stopped us, and so the program.
    Interrupted,
}

impl End {
    /// Whether it ended with exit code 0.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            // Only the kernel sends it to our children.
            Self::Killed(9) => f.write_str("killed by signal 9, probably out of memory"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Interrupted => f.write_str("stopped"),
        }
    }
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or_default()),
        }
    }
}

impl Finished {
    /// The standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        decode(&self.answer).into_owned()
    }
}

/// Runs programs and waits.
pub trait Runner {
    /// Runs a program to its end.
    fn run(&self, command: &Command<'_>) -> io::Result<Finished>;

    /// Waits. Returns `false` if a signal stops us meanwhile.
    fn pause(&self, time: Duration) -> bool;

    /// Whether there is a terminal on which a program may draw ([`Command::viewer`]).
    fn has_terminal(&self) -> bool {
        false
    }

    /// How long ago a moment was.
    fn elapsed(&self, since: Instant) -> Duration {
        since.elapsed()
    }

    /// The absolute path of a program in the search path of `environment`.
    fn find(&self, program: &str, environment: &Environment) -> Option<PathBuf> {
        environment.search().find(program)
    }

    /// The path of a program that the user has given by its absolute path or by its name; or why there is none.
    fn locate(&self, program: &str, environment: &Environment) -> Result<PathBuf, String> {
        if program.starts_with('/') {
            return Ok(program.into());
        }
        let found = self.find(program, environment);
        found.ok_or_else(|| format!("`{program}` is not in the search path"))
    }
}

impl<'a> Command<'a> {
    /// A program with arguments whose output is shown.
    pub fn new<A: AsRef<OsStr>>(
        program: impl Into<PathBuf>,
        args: impl IntoIterator<Item = A>,
        environment: &'a Environment,
        directory: &'a Path,
        timeout: Duration,
    ) -> Self {
        Self {
            program: program.into(),
            args: args.into_iter().map(|arg| arg.as_ref().into()).collect(),
            environment,
            directory,
            input: None,
            output: Output::Shown,
            timeout,
            kill: Kill::Yes,
            stop: Stop::WithUs,
            mark: None,
            viewer: None,
        }
    }

    /// With another destination of its output.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// A program that is not stopped by a signal to us.
    #[must_use]
    pub fn regardless(mut self) -> Self {
        self.stop = Stop::Never;
        self
    }

    /// A program that is not killed while `is_needed` returns true.
    #[must_use]
    pub fn unless(mut self, is_needed: fn(&dyn Runner, &Environment) -> bool) -> Self {
        self.kill = Kill::Unless(is_needed);
        self
    }

    /// With a line whose time is wanted.
    #[must_use]
    pub fn mark(mut self, mark: fn(&str) -> bool) -> Self {
        self.mark = Some(mark);
        self
    }

    /// With a program that draws its log on the terminal, where the runner has one.
    #[must_use]
    pub fn viewer(mut self, viewer: Option<PathBuf>) -> Self {
        self.viewer = viewer;
        self
    }

    /// With a file as its standard input.
    #[must_use]
    pub fn input(mut self, input: &'a File) -> Self {
        self.input = Some(input);
        self
    }
}

/// The last whole lines of an output, without control characters, which a builder could use to manipulate a terminal.
fn tail(bytes: &[u8]) -> String {
    let cut = bytes.len().saturating_sub(TAIL_BYTES);
    let mut kept = &bytes[cut..];
    if cut > 0
        && let Some(newline) = kept.iter().position(|&byte| byte == b'\n')
    {
        kept = &kept[newline + 1..];
    }
    decode(kept)
        .chars()
        .filter(|&c| c == '\n' || c == '\t' || !c.is_control())
        .collect::<String>()
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_begins_with_a_line_and_has_no_control_characters() {
        assert_eq!(tail(b"one\x1b[2J\ntwo\r\n\n"), "one[2J\ntwo");
        let long = format!("first\n{}\nlast", "x".repeat(TAIL_BYTES - 5));
        assert_eq!(tail(long.as_bytes()), "last");
    }
}
