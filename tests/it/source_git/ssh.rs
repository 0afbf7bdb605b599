//! Repositories over ssh, with a stand-in for `ssh` that runs the command on this machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hyper_sync::source::SshError;
use hyper_sync::source::git::{Identity, KeyFault};

use super::*;

/// A directory with a fake `ssh`.
struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new(script: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ssh");
        let record = directory.path().join("asked");
        let script = format!(
            "#!/bin/sh\necho \"$@\" >> {}\nfor last; do :; done\n{script}\n",
            record.display()
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self { directory }
    }

    fn source(&self, repo: &Repo, options: Options) -> GitSource {
        let address = format!("ssh://git@host.example{}", repo.path().display());
        let path = std::env::var_os("PATH").unwrap();
        let mut paths = vec![self.directory.path().to_owned()];
        paths.extend(std::env::split_paths(&path));
        let env = Env::empty().with("PATH", std::env::join_paths(paths).unwrap());
        GitSource::ssh(&address, Identity::default(), &env, options).unwrap()
    }

    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join("asked")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn one_connection_serves_every_request() {
    let repo = Repo::with_history(3);
    allow_filters(&repo);
    let host = Host::new("exec sh -c \"$last\"");
    let mut machine = Machine::new();
    let synced = machine
        .sync(&host.source(&repo, options()), "main")
        .unwrap();
    assert_eq!((synced.route, synced.requests), (Route::SelectGit, 3));
    machine.check(&repo, "main");
    assert_eq!(host.asked().len(), 1);
    repo.write("a", "a").commit("next");
    let synced = machine
        .sync(&host.source(&repo, options()), "main")
        .unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 2));
    assert_eq!(host.asked().len(), 2);
}

#[test]
fn a_server_that_drops_the_protocol_variable_gets_it_by_its_shell() {
    let repo = Repo::small();
    let host = Host::new("unset GIT_PROTOCOL; exec sh -c \"$last\"");
    let mut machine = Machine::new();
    machine
        .sync(&host.source(&repo, options()), "main")
        .unwrap();
    let asked = host.asked();
    assert_eq!(asked.len(), 2);
    assert!(!asked[0].contains("GIT_PROTOCOL=version=2"));
    assert!(
        asked[1].contains("GIT_PROTOCOL=version=2 git-upload-pack '"),
        "{}",
        asked[1]
    );
}

#[test]
fn a_server_without_version_2_is_asked_by_version_0() {
    let repo = Repo::with_history(3);
    let git = format!("git upload-pack {}", repo.path().display());
    // The stand-in inherits the variable from us; a server that is too old ignores it.
    let old = Host::new(&format!("unset GIT_PROTOCOL; exec {git}"));
    let mut machine = Machine::new();
    let synced = machine.sync(&old.source(&repo, options()), "main").unwrap();
    assert_eq!(synced.route, Route::Full);
    machine.check(&repo, "main");
    // Version 2 is requested in both forms; then the first connection is used.
    assert_eq!(old.asked().len(), 2);
    // Version 1 has one line more.
    repo.write("flake.nix", "{ }").commit("next");
    let old = Host::new(&format!("GIT_PROTOCOL=version=1 exec {git}"));
    let synced = machine.sync(&old.source(&repo, options()), "main").unwrap();
    assert_eq!(synced.route, Route::Delta);
    machine.check(&repo, "main");
}

#[test]
fn a_server_without_version_2_sends_only_what_it_lists() {
    let repo = Repo::with_history(3);
    let git = format!("git upload-pack {}", repo.path().display());
    let old = Host::new(&format!("unset GIT_PROTOCOL; exec {git}"));
    let before = repo.id("main~1");
    let error = Machine::new()
        .sync(&old.source(&repo, options()), &before)
        .unwrap_err();
    assert_eq!(code(&error), "source::unknown_commit");
}

/// A key of ssh-keygen's, and what becomes of it.
#[test]
fn a_key_that_ssh_would_ignore_is_named_before_it_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let make = |name: &str, passphrase: &str| {
        let path = directory.path().join(name);
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(["-q", "-t", "ed25519", "-C", "", "-N", passphrase, "-f"]);
        git::succeeds(command.arg(&path));
        path
    };
    let good = make("good", "");
    let text = fs::read_to_string(&good).unwrap();
    let write = |name: &str, content: &str, mode: u32| {
        let path = directory.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    };
    let public = fs::read_to_string(good.with_extension("pub")).unwrap();
    let pem = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nx\n-----END RSA PRIVATE KEY-----\n";
    let open = |path: &Path| {
        let identity = Identity {
            key_file: Some(path.to_owned()),
            ..Identity::default()
        };
        GitSource::ssh("git@host.example:x", identity, &env(), options()).map(drop)
    };
    assert!(open(&good).is_ok());
    for (path, expected) in [
        (directory.path().join("none"), KeyFault::Missing),
        (write("open", &text, 0o644), KeyFault::Mode(0o644)),
        (write("cut", text.trim_end(), 0o600), KeyFault::NoNewline),
        (
            write("dos", &text.replace('\n', "\r\n"), 0o600),
            KeyFault::CarriageReturns,
        ),
        (make("locked", "secret"), KeyFault::Passphrase),
        (write("pem", pem, 0o600), KeyFault::Passphrase),
        (write("public", &public, 0o600), KeyFault::NotAKey),
    ] {
        let error = open(&path).unwrap_err();
        assert!(
            matches!(&error, Error::Ssh(SshError::Key { fault, .. }) if *fault == expected),
            "{error:?}"
        );
    }
}

#[test]
fn a_shell_that_rejects_the_second_command_is_asked_by_version_0() {
    let repo = Repo::small();
    for words in [
        // git-shell.
        "fatal: unrecognized command 'GIT_PROTOCOL=version=2 git-upload-pack'",
        // gitolite.
        "FATAL: unknown git/gitolite command: 'GIT_PROTOCOL=version=2 git-upload-pack'",
        "ERROR: Repository not found.",
    ] {
        let host = Host::new(&format!(
            "case \"$last\" in GIT_PROTOCOL*) echo \"{words}\" >&2; exit 128;; esac
            unset GIT_PROTOCOL; exec git upload-pack {}",
            repo.path().display()
        ));
        let mut machine = Machine::new();
        machine
            .sync(&host.source(&repo, options()), "main")
            .unwrap();
        machine.check(&repo, "main");
        assert_eq!(host.asked().len(), 2, "{words}");
    }
    // A failure of the network is not an answer of the server.
    let host = Host::new(&format!(
        "case \"$last\" in GIT_PROTOCOL*) echo 'ssh: connect to host h port 22: Connection refused' >&2; exit 255;; esac
        unset GIT_PROTOCOL; exec git upload-pack {}",
        repo.path().display()
    ));
    let error = host.source(&repo, options()).resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::unreachable");
}

#[test]
fn messages_of_ssh_become_errors_with_their_cause() {
    let repo = Repo::small();
    for (script, expected) in [
        (
            "echo 'git@host: Permission denied (publickey).' >&2; exit 255",
            "source::ssh_login",
        ),
        (
            "echo 'Host key verification failed.' >&2; exit 255",
            "source::host_key_unknown",
        ),
        (
            "echo '@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @' >&2; echo 'Host key verification failed.' >&2; exit 255",
            "source::host_key",
        ),
        (
            "echo 'ssh: Could not resolve hostname host.example' >&2; exit 255",
            "source::unreachable",
        ),
        ("exit 255", "source::unreachable"),
        ("exec git upload-pack /nonexistent", "source::no_permission"),
        ("echo 'Welcome to host.example!'", "source::protocol"),
    ] {
        let host = Host::new(script);
        let error = host.source(&repo, options()).resolve("main").unwrap_err();
        assert_eq!(code(&error), expected, "{script}: {error}");
    }
    let host = Host::new("");
    fs::write(host.directory.path().join("ssh"), "#!/nonexistent/shell\n").unwrap();
    let error = host.source(&repo, options()).resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::program");
}

#[test]
fn a_silent_host_is_given_up_at_the_deadline() {
    let repo = Repo::small();
    let host = Host::new("read -r _");
    let options = Options {
        deadline: Instant::now() + Duration::from_millis(200),
        ..options()
    };
    let error = host.source(&repo, options).resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::timeout");
}
