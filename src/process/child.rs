//! A child process in its own process group.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::{End, Environment};

/// A running program. Dropped before its end, it is killed with its whole process group.
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
        reason = "the one place where a program is started: by its path, with a complete environment"
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
            // Its own group, so that a stop reaches its children, and the terminal's Ctrl-C reaches only us.
            .process_group(0)
            .spawn()?;
        Ok(Self {
            group: Pid::from_child(&process),
            process,
            is_over: false,
        })
    }

    /// Takes its pipes, once; `None` if one is not piped.
    pub(crate) fn take_pipes(&mut self) -> Option<(ChildStdin, ChildStdout, ChildStderr)> {
        let process = &mut self.process;
        Some((
            process.stdin.take()?,
            process.stdout.take()?,
            process.stderr.take()?,
        ))
    }

    /// A descriptor that is readable when the program has ended, even if its pipes are still open.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(pidfd_open(self.group, PidfdFlags::empty())?)
    }

    /// Signals the process group of the program.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        match kill_process_group(self.group, signal) {
            // It has ended already.
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Waits for its end. Background processes that it has started continue.
    pub(super) fn wait(&mut self) -> io::Result<End> {
        let status = self.process.wait()?;
        self.is_over = true;
        Ok(status.into())
    }

    /// Lets it continue without us.
    pub(super) fn leave(mut self) {
        self.is_over = true;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.is_over {
            // It may have ended already.
            let _ = self.signal(Signal::KILL);
            let _ = self.process.wait();
        }
    }
}
