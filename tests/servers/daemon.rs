//! A server process in the foreground, which ends with its test.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rustix::process::{Pid, Signal, kill_process_group};

/// A server that does not listen by then has failed. JVMs and Python on a busy machine take seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Daemon {
    child: Child,
}

impl Daemon {
    /// Starts a server and returns when `is_ready`. What it prints goes to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path, is_ready: impl Fn() -> bool) -> Self {
        let output = fs::File::create(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let mut daemon = Self { child };
        let since = Instant::now();
        while !is_ready() {
            let ended = daemon.child.try_wait().unwrap();
            let printed = || fs::read_to_string(log).unwrap_or_default();
            assert!(ended.is_none(), "{command:?} has ended: {}", printed());
            let waited = since.elapsed();
            assert!(waited < START_TIMEOUT, "{command:?}: {}", printed());
            thread::yield_now();
        }
        daemon
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Its workers too.
            let _ = kill_process_group(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// A port of the loopback address that nothing listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether something listens on this port.
pub(crate) fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Whether something listens on this socket.
pub(crate) fn listens_at(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

/// A program of the machine, by its absolute path: sshd insists on it.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fixed = ["/usr/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(fixed)
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed: run .ci/server-tests"))
}
