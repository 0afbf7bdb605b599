//! The system's own sshd, on loopback, with keys made for the test.
//!
//! It runs as from inetd, one process a connection on a socket that we accept: the port is known from the start and
//! there is nothing to wait for. Where there is no sshd the tests with it prove nothing; `.ci/run` installs one.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::*;

const SSHD: &str = "/usr/sbin/sshd";

/// A server that knows one user, the one who runs the tests.
pub(super) struct Sshd {
    directory: tempfile::TempDir,
    port: u16,
    stop: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Sshd {
    /// `None` where there is none.
    pub(super) fn start(settings: &[&str]) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            return None;
        }
        if rustix::process::geteuid().is_root() {
            // Where it locks up the part that talks to strangers; the service makes it when it starts.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let directory = tempfile::tempdir().unwrap();
        for name in ["host", "user", "stranger"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            git::succeeds(keygen.arg(directory.path().join(name)));
        }
        let at = |name: &str| directory.path().join(name).display().to_string();
        let path = std::env::var("PATH").unwrap();
        let config = [
            &format!("HostKey {}", at("host")),
            &format!("AuthorizedKeysFile {}", at("user.pub")),
            // The directory is below one that everybody may write.
            "StrictModes no",
            "PermitRootLogin yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "UsePAM no",
            "PidFile none",
            &format!("SetEnv PATH={path} GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null"),
        ];
        let config = [&config[..], settings].concat().join("\n") + "\n";
        fs::write(at("config"), config).unwrap();

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let public = fs::read_to_string(at("host.pub")).unwrap();
        fs::write(at("known"), format!("[127.0.0.1]:{port} {public}")).unwrap();
        let stranger = fs::read_to_string(at("stranger.pub")).unwrap();
        fs::write(
            at("known-otherwise"),
            format!("[127.0.0.1]:{port} {stranger}"),
        )
        .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let accepting = {
            let (stop, config) = (stop.clone(), at("config"));
            std::thread::spawn(move || serve(&listener, &stop, &config))
        };
        Some(Self {
            directory,
            port,
            stop,
            accepting: Some(accepting),
        })
    }

    /// A machine that may log in and knows the server.
    pub(super) fn machine(&self, repo: &Repo) -> Machine {
        let address = format!("ssh://127.0.0.1:{}{}", self.port, repo.path().display());
        let machine = Machine::new(repo, &["--repo", &address])
            .with("HYPER_SYNC_SSH_KEY_FILE", self.at("user"))
            .with("HYPER_SYNC_KNOWN_HOSTS_FILE", self.at("known"));
        machine.world.link_tool("ssh").mask(&address, "[address]");
        machine
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }
}

/// Starts one sshd a connection, until a connection comes after `stop`.
fn serve(listener: &TcpListener, stop: &AtomicBool, config: &str) {
    let mut children = Vec::new();
    for connection in listener.incoming() {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let input = connection.unwrap();
        let output: OwnedFd = input.try_clone().unwrap().into();
        let mut sshd = Command::new(SSHD);
        sshd.args(["-i", "-f", config])
            .stdin(Stdio::from(OwnedFd::from(input)))
            .stdout(output)
            .stderr(Stdio::null());
        children.push(sshd.spawn().unwrap());
    }
    for mut child in children {
        child.wait().unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        drop(self.accepting.take().map(JoinHandle::join));
    }
}

#[test]
fn a_server_that_drops_the_variable_is_asked_by_its_shell() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let repo = Repo::with_history(3);
    let machine = sshd.machine(&repo);
    let first = machine.sync(&[]);
    assert_eq!((first.route.as_str(), first.requests), ("full", 2));
    repo.write("flake.nix", "{ }").commit("next");
    let next = machine.sync(&[]);
    assert_eq!((next.route.as_str(), next.requests), ("delta", 2));
}

#[test]
fn what_a_real_ssh_says_is_understood() {
    let Some(sshd) = Sshd::start(&[]) else { return };
    let repo = Repo::small();
    let refused = |machine: Machine, code: &str| {
        let output = machine.run(&["--json"]).code(4);
        let told = output.json();
        assert_eq!(
            told["error"]["code"],
            format!("hyper_sync::source::{code}"),
            "{told:#}"
        );
        assert!(machine.world.target_tree().is_empty());
    };
    let stranger = sshd
        .machine(&repo)
        .with("HYPER_SYNC_SSH_KEY_FILE", sshd.at("stranger"));
    refused(stranger, "unauthorized");
    let otherwise = sshd
        .machine(&repo)
        .with("HYPER_SYNC_KNOWN_HOSTS_FILE", sshd.at("known-otherwise"));
    refused(otherwise, "host_key");
    let nobody = sshd
        .machine(&repo)
        .with("HYPER_SYNC_KNOWN_HOSTS_FILE", sshd.at("config"));
    refused(nobody, "host_key");
    let mut gone = sshd.machine(&repo);
    gone.way[1].push_str("-gone");
    refused(gone, "no_permission");
}
