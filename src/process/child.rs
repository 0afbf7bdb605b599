//! A child: started in a process group of its own, which ends with it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{End, Environment};

/// A program that runs. Dropped before its end, it is killed with all that it started.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    group: Pid,
    is_over: bool,
}

/// Standard input, output and error of a child.
pub(crate) struct Pipes {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Child {
    /// Starts a program by its absolute path.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place where a program is started: by its path, with an environment that is whole"
    )]
    pub(crate) fn spawn(
        program: &Path,
        args: &[OsString],
        environment: &Environment,
        directory: &Path,
        pipes: Pipes,
    ) -> io::Result<Self> {
        let process = std::process::Command::new(program)
            .args(args)
            .env_clear()
            .envs(environment.iter())
            .current_dir(directory)
            .stdin(pipes.stdin)
            .stdout(pipes.stdout)
            .stderr(pipes.stderr)
            // Its own group, so that a stop reaches what it started, and the terminal's Ctrl-C reaches only us.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            group: Pid::from_child(&process),
            process,
            is_over: false,
        })
    }

    /// The ends of its pipes, once; `None` where one is not piped.
    pub(crate) fn take_pipes(&mut self) -> Option<(ChildStdin, ChildStdout, ChildStderr)> {
        let process = &mut self.process;
        Some((
            process.stdin.take()?,
            process.stdout.take()?,
            process.stderr.take()?,
        ))
    }

    /// A descriptor that is readable when the program has ended, whoever still holds its pipes.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(pidfd_open(self.group, PidfdFlags::empty())?)
    }

    /// Signals the program and what it started.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.group, signal) {
            // Gone already: its end is what is seen next.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for its end. What it has left running in the background goes on.
    pub(super) fn wait(&mut self) -> io::Result<End> {
        let status = self.process.wait()?;
        self.is_over = true;
        Ok(status.into())
    }

    /// Leaves it to itself.
    pub(super) fn leave(mut self) {
        self.is_over = true;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_over {
            // It may have ended by itself; what matters is that it is gone.
            let _ = self.signal(Signal::KILL);
            let _ = self.process.wait();
        }
    }
}
