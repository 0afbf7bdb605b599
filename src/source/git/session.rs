//! One `upload-pack` in a child process, spoken to over its pipes: requests one after the other, as over ssh.
//!
//! Every wait is a `poll` with a tick, so that a signal, the deadline and a stall end it; the child is killed whenever
//! a response was not read to its end, and with the session.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};

use crate::process::{Child, Environment, Pipes};
use crate::source::{Error, Interrupt, Meter, Traffic};
use crate::text::decode;

use super::answer::{self, Greeting, ResponseError};
use super::connection::{Connection, KEPT_MAX};
use super::version_0::Advertisement;

/// How often a wait checks the clock and for a signal.
const TICK: Duration = Duration::from_millis(100);
/// The longest silence. A server that computes sends a keep-alive every five seconds (`uploadpack.keepAlive`).
const STALL: Duration = Duration::from_secs(30);
/// How long a child may take to exit and to report why, once it has closed its output.
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The most that is kept of a child's stderr.
const STDERR_MAX: usize = 8 << 10;

/// How a repository's `upload-pack` is started.
pub(super) trait Endpoint: Send {
    /// The repository for the user.
    fn describe(&self) -> String;

    /// The program.
    fn program(&self) -> &'static str;

    /// Its environment.
    fn environment(&self) -> &Environment;

    /// The arguments that end in `upload-pack`.
    fn arguments(&self, form: Form) -> Vec<OsString>;

    /// Whether version 2 can be requested in another form, where the first got an older version.
    fn has_explicit_form(&self) -> bool {
        false
    }

    /// What has to change where version 2 is not spoken.
    fn change_for_version_2(&self) -> &'static str;

    /// The error for its stderr, when it exited without a response.
    fn explain(&self, said: &str) -> Error;
}

/// How version 2 is requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By the environment of the child, which ssh sends along where the server accepts it.
    Plain,
    /// In the command itself.
    Explicit,
}

/// How long to wait.
#[derive(Debug, Clone)]
pub(super) struct Timeouts {
    interrupt: Interrupt,
    deadline: Instant,
    /// What the deadline was made from, for messages.
    time: Duration,
    stall: Duration,
    /// Counts what is received.
    meter: Arc<Meter>,
}

impl Timeouts {
    pub(super) fn new(
        interrupt: Interrupt,
        deadline: Instant,
        time: Duration,
        meter: Arc<Meter>,
    ) -> Self {
        Self {
            meter,
            interrupt,
            deadline,
            time,
            stall: STALL,
        }
    }
}

/// A connection to a child process.
pub(super) struct ProcessConnection {
    endpoint: Box<dyn Endpoint>,
    timeouts: Timeouts,
    running: Option<RunningChild>,
    /// The form of the request that was understood.
    form: Form,
    filters: bool,
    /// What the server sent, if it does not have version 2.
    older: Option<Arc<Advertisement>>,
    /// Version 0 takes one fetch, and ends.
    spent: bool,
    /// The response to a request that was sent beside comes before that of the next command.
    owed: bool,
    /// That response.
    beside: Option<Vec<u8>>,
    traffic: Traffic,
    failure: Option<Error>,
}

struct RunningChild {
    /// Ends with the session.
    _child: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    said: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl ProcessConnection {
    pub(super) fn new(endpoint: Box<dyn Endpoint>, timeouts: Timeouts) -> Self {
        Self {
            endpoint,
            timeouts,
            running: None,
            form: Form::Plain,
            filters: false,
            older: None,
            spent: false,
            owed: false,
            beside: None,
            traffic: Traffic::default(),
            failure: None,
        }
    }

    /// Starts the child and reads what the server can do. A server that begins in an older version is asked for
    /// version 2 in the other form, if there is one; where that fails, the first connection is used.
    fn connect(&mut self) -> Result<(), Error> {
        if self.running.is_some() {
            return Ok(());
        }
        self.owed = false;
        let form = self.form;
        let mut greeting = self.greeting(form)?;
        if matches!(greeting, Greeting::Older(_)) && self.older.is_none() {
            let first = self.running.take();
            let second = match form {
                Form::Plain if self.endpoint.has_explicit_form() => self.greeting(Form::Explicit),
                Form::Plain | Form::Explicit => Ok(Greeting::Older(Advertisement::default())),
            };
            match second {
                Ok(version_2 @ Greeting::Version2(_)) => {
                    self.form = Form::Explicit;
                    greeting = version_2;
                }
                // The server has accepted the first command, and rejects the form of the second.
                Err(error) if !rejects(&error) => return Err(error),
                Ok(Greeting::Older(_)) | Err(_) => {
                    self.form = Form::Plain;
                    self.running = first;
                }
            }
        }
        let change = self.endpoint.change_for_version_2();
        let (capabilities, older) = greeting.check(&self.endpoint.describe(), change)?;
        self.filters = capabilities.filters;
        self.older = older;
        self.spent = false;
        Ok(())
    }

    /// Starts the child and reads what it sends first.
    fn greeting(&mut self, form: Form) -> Result<Greeting, Error> {
        self.running = Some(self.start(&self.endpoint.arguments(form))?);
        answer::greeting(ChildOutput { session: self })
            .map_err(|error| self.connection_error(error))
    }

    fn start(&self, arguments: &[OsString]) -> Result<RunningChild, Error> {
        let program = self.endpoint.program();
        let start = || {
            let environment = self.endpoint.environment();
            let path = environment.search().require(program)?;
            let pipes = Pipes {
                stdin: Stdio::piped(),
                stdout: Stdio::piped(),
                stderr: Stdio::piped(),
            };
            // Nothing that it reads may depend on the caller's working directory.
            let mut child = Child::spawn(&path, arguments, environment, Path::new("/"), pipes)?;
            let pipes = child.take_pipes().ok_or(io::ErrorKind::BrokenPipe)?;
            // A request can be larger than the pipe, and a child that hangs would hang us in the write.
            rustix::io::ioctl_fionbio(&pipes.0, true)?;
            Ok((child, pipes))
        };
        let started = start().map_err(|source| Error::Program {
            program: program.to_owned(),
            source,
        });
        let (child, (stdin, stdout, stderr)) = started?;
        Ok(RunningChild {
            _child: child,
            stdin,
            stdout,
            stderr: Some(stderr),
            said: Vec::new(),
        })
    }

    /// The error for a connection that ended before there was a response.
    fn connection_error(&mut self, trouble: ResponseError) -> Error {
        let known = self.reset();
        let remote = self.endpoint.describe();
        match trouble {
            ResponseError::Refused(message) => Error::Refused { remote, message },
            ResponseError::Protocol(detail) => Error::Protocol { remote, detail },
            ResponseError::Stream(error) => known.unwrap_or_else(|| Error::Unreachable {
                remote,
                cause: error.to_string(),
                received: 0,
            }),
            ResponseError::Pack(error) => Error::Protocol {
                remote,
                detail: error.to_string(),
            },
        }
    }

    fn send(&mut self, mut request: &[u8]) -> Result<(), Error> {
        while !request.is_empty() {
            self.wait(Direction::Write)?;
            let Some(running) = &mut self.running else {
                return Err(self.endpoint.explain(""));
            };
            match running.stdin.write(request) {
                Ok(written) => {
                    request = &request[written..];
                    self.traffic.sent += written as u64;
                }
                Err(error) if is_passing(&error) => {}
                // It has exited; the reason is on stderr.
                Err(_) => return Err(self.exit_error()),
            }
        }
        Ok(())
    }

    /// Reads the response that comes before that of the last command, if there is one.
    fn read_owed(&mut self) -> Result<(), Error> {
        if !self.owed {
            return Ok(());
        }
        let response = answer::whole(ChildOutput { session: self }, KEPT_MAX);
        self.beside = Some(response.map_err(|error| self.connection_error(error))?);
        self.owed = false;
        Ok(())
    }

    /// Waits until the child can be read from or written to.
    fn wait(&mut self, direction: Direction) -> Result<(), Error> {
        let since = Instant::now();
        loop {
            self.check_time(since)?;
            let Some(running) = &mut self.running else {
                return Ok(());
            };
            if running.poll(Some(direction), TICK) {
                return Ok(());
            }
        }
    }

    fn check_time(&self, since: Instant) -> Result<(), Error> {
        let Timeouts {
            interrupt,
            deadline,
            time,
            stall,
            meter: _,
        } = &self.timeouts;
        if interrupt.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let after = if Instant::now() >= *deadline {
            *time
        } else if since.elapsed() >= *stall {
            *stall
        } else {
            return Ok(());
        };
        let remote = self.endpoint.describe();
        Err(Error::Timeout { remote, after })
    }

    /// The child has closed its output: reads the rest.
    fn exit_error(&mut self) -> Error {
        let said = self.running.take().map(RunningChild::drain_stderr);
        self.endpoint.explain(&said.unwrap_or_default())
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            let meter = self.timeouts.meter.clone();
            let waiting = meter.wait();
            self.wait(Direction::Read)?;
            drop(waiting);
            let Some(running) = &mut self.running else {
                return Ok(0);
            };
            match running.stdout.read(buffer) {
                Ok(0) if !buffer.is_empty() => return Err(self.exit_error()),
                Ok(read) => {
                    self.traffic.received += read as u64;
                    self.timeouts.meter.count(read as u64);
                    return Ok(read);
                }
                Err(error) if is_passing(&error) => {}
                Err(_) => return Err(self.exit_error()),
            }
        }
    }
}

/// Whether an error ends the run, whatever the server is asked next.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Interrupted | Error::Timeout { .. })
}

/// Whether a server has ended because of the command that it was given: git-shell and gitolite run only a command that
/// begins with a name they have. ssh's own messages about a failed network are not such a response.
fn rejects(error: &Error) -> bool {
    match error {
        Error::Refused { .. } | Error::NoPermission { .. } | Error::Protocol { .. } => true,
        Error::Unreachable { cause, .. } => !["ssh: ", "onnection ", "kex_"]
            .iter()
            .any(|words| cause.contains(words)),
        _ => false,
    }
}

impl Connection for ProcessConnection {
    fn describe(&self) -> String {
        self.endpoint.describe()
    }

    fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn filters(&mut self) -> Result<Option<bool>, Error> {
        self.connect()?;
        Ok(Some(self.filters))
    }

    fn command(&mut self, request: &[u8]) -> Result<Box<dyn Read + '_>, Error> {
        self.failure = None;
        if self.spent {
            self.running = None;
        }
        self.connect()?;
        self.traffic.requests += 1;
        let Some(older) = self.older.clone() else {
            match self.send(request).and_then(|()| self.read_owed()) {
                // The server may have ended because of the other request.
                Err(error) if self.owed && !is_final(&error) => {
                    self.running = None;
                    self.connect()?;
                    self.send(request)?;
                }
                result => result?,
            }
            return Ok(Box::new(ChildOutput { session: self }));
        };
        let change = self.endpoint.change_for_version_2();
        older.command(request, self.endpoint.describe(), change, |request| {
            self.spent = true;
            self.send(request)?;
            Ok(ChildOutput { session: self })
        })
    }

    fn command_beside(&mut self, request: &[u8]) -> bool {
        if self.running.is_none() || self.older.is_some() || self.owed {
            return false;
        }
        self.owed = self.send(request).is_ok();
        self.traffic.requests += u64::from(self.owed);
        self.owed
    }

    fn take_beside(&mut self) -> Option<Vec<u8>> {
        self.beside.take()
    }

    fn reset(&mut self) -> Option<Error> {
        self.running = None;
        self.failure.take()
    }
}

/// The child's output as a response.
struct ChildOutput<'a> {
    session: &'a mut ProcessConnection,
}

impl Read for ChildOutput<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.session.read(buffer).map_err(|error| {
            let shown = io::Error::other(error.to_string());
            self.session.failure = Some(error);
            shown
        })
    }
}

impl RunningChild {
    /// Waits for one of the pipes, and takes in what comes on stderr. True: the direction asked for is ready.
    fn poll(&mut self, direction: Option<Direction>, time: Duration) -> bool {
        let (asked, flags): (Option<BorrowedFd<'_>>, _) = match direction {
            Some(Direction::Read) => (Some(self.stdout.as_fd()), PollFlags::IN),
            Some(Direction::Write) => (Some(self.stdin.as_fd()), PollFlags::OUT),
            None => (None, PollFlags::empty()),
        };
        let mut fds = Vec::with_capacity(2);
        fds.extend(asked.map(|fd| PollFd::from_borrowed_fd(fd, flags)));
        fds.extend(
            self.stderr
                .iter()
                .map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)),
        );
        let timeout = Timespec::try_from(time).ok();
        // An interrupted poll is as one that timed out.
        if rustix::event::poll(&mut fds, timeout.as_ref()).is_err() {
            return false;
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        let ready = asked.is_some() && fds.first().is_some_and(is_ready);
        let speaks = fds.get(usize::from(asked.is_some())).is_some_and(is_ready);
        if speaks {
            self.read_stderr();
        }
        ready
    }

    fn read_stderr(&mut self) {
        let Some(stderr) = &mut self.stderr else {
            return;
        };
        let mut buffer = [0; 4096];
        match stderr.read(&mut buffer) {
            Ok(read) if read > 0 => {
                let room = STDERR_MAX.saturating_sub(self.said.len()).min(read);
                self.said.extend_from_slice(&buffer[..room]);
            }
            Err(error) if is_passing(&error) => {}
            _ => self.stderr = None,
        }
    }

    /// Its stderr until it exited.
    fn drain_stderr(mut self) -> String {
        let end = Instant::now() + EXIT_GRACE;
        while self.stderr.is_some() && Instant::now() < end {
            self.poll(None, TICK);
        }
        decode(&self.said).into_owned()
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// The most specific line of a program's output: git ends with `fatal: …`, gitolite has `FATAL: …`, ssh speaks last,
/// and what is written in Java ends with the frames of its stack.
pub(super) fn stderr_summary(said: &str) -> String {
    let lines = || said.lines().filter(|line| !line.trim().is_empty());
    let fatal = lines().find_map(|line| {
        let line = line.trim();
        line.strip_prefix("fatal: ")
            .or_else(|| line.strip_prefix("FATAL: "))
    });
    fatal
        .or_else(|| lines().rfind(|line| !is_stack_frame(line)))
        .or_else(|| lines().next_back())
        .map_or("it exited without output", str::trim)
        .to_owned()
}

/// A line below the message of an exception: indented, `at …`, or `#1 …`.
fn is_stack_frame(line: &str) -> bool {
    line.starts_with([' ', '\t', '#']) || line.starts_with("at ") || line.starts_with("... ")
}

#[cfg(test)]
mod tests {
    use super::stderr_summary;

    #[test]
    fn the_most_specific_line_is_found() {
        for (said, expected) in [
            ("hint: x\nfatal: no\nhint: y\n", "no"),
            (
                "Warning: added\nPermission denied (publickey).\n\n",
                "Permission denied (publickey).",
            ),
            (
                "java.io.IOException: no space\n\tat a.B.c(B.java:1)\n\tat d.E.f(E.java:2)\n\t... 3 more\n",
                "java.io.IOException: no space",
            ),
            (
                "Traceback (most recent call last):\n  File \"x.py\", line 1\n    f()\nValueError: bad\n",
                "ValueError: bad",
            ),
            (
                "PHP Fatal error:  Uncaught Error: no\n#0 x.php(3): f()\n#1 {main}\n  thrown in x.php\n",
                "PHP Fatal error:  Uncaught Error: no",
            ),
            (
                "FATAL: R any config alice DENIED by fallthru\n(or you mis-spelled the reponame)\n",
                "R any config alice DENIED by fallthru",
            ),
            ("  only this\n", "only this"),
            ("\n", "it exited without output"),
        ] {
            assert_eq!(stderr_summary(said), expected, "{said}");
        }
    }
}
