//! Servers that are reached by ssh: OpenSSH with a shell, git-shell, gitolite, and JGit.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::common::git;
use crate::common::repo::Repo;
use crate::daemon::{Daemon, free_port, listens, program};
use crate::java;
use crate::life::{Machine, WITH_FILTERS, WITHOUT_FILTERS, allow_filters, live, repository};

/// An sshd that lets one key in.
struct Sshd {
    port: u16,
    directory: TempDir,
    homes: Vec<TempDir>,
    _daemon: Daemon,
}

/// What lets the protocol version through.
const VERSION_2: &str = "AcceptEnv GIT_PROTOCOL\n";

impl Sshd {
    /// `config` are lines of `sshd_config(5)`; `prepare` may write into the directory, where the user's key is.
    fn start(config: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (path, port) = (directory.path(), free_port());
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            git::succeeds(keygen.arg(path.join(key)));
        }
        fs::copy(path.join("user.pub"), path.join("authorized_keys")).unwrap();
        let host = fs::read_to_string(path.join("host.pub")).unwrap();
        fs::write(
            path.join("known_hosts"),
            format!("[127.0.0.1]:{port} {host}"),
        )
        .unwrap();
        prepare(path);
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host\nAuthorizedKeysFile {dir}/authorized_keys\n\
             PermitRootLogin yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\n\
             StrictModes no\nPidFile none\n{config}",
            dir = path.display(),
        );
        fs::write(path.join("sshd_config"), text).unwrap();
        // Its privileges are separated there.
        fs::create_dir_all("/run/sshd").unwrap();
        let daemon = Daemon::start(
            Command::new(program("sshd"))
                .args(["-D", "-e", "-f"])
                .arg(path.join("sshd_config")),
            &path.join("sshd.log"),
            || listens(port),
        );
        Self {
            port,
            directory,
            homes: Vec::new(),
            _daemon: daemon,
        }
    }

    fn machine(&self, repo: &Repo, path: &str) -> Machine {
        let directory = self.directory.path().display();
        Machine::new(
            repo,
            &format!("ssh://root@127.0.0.1:{}{path}", self.port),
            &format!(
                "ssh_key_file = '{directory}/user'\nknown_hosts_file = '{directory}/known_hosts'\n"
            ),
        )
    }

    /// A machine that follows a repository by its path on the server.
    fn machine_at(&self, repo: &Repo) -> Machine {
        self.machine(repo, &repo.path().display().to_string())
    }
}

/// A machine whose deploy key was made by the commands of `docs/private-repositories.md`, and is registered for one
/// repository, as hosts do: it may fetch that and nothing else. The settings are those of the same page.
fn with_deploy_key(server: &Sshd, repo: &Repo) -> Machine {
    let page = include_str!("../../docs/private-repositories.md");
    let (_, section) = page.split_once("## A deploy key\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let directory = server.directory.path();
    let commands: Vec<&str> = { section.lines() }
        .filter_map(|line| line.strip_prefix("$ "))
        .collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    for command in commands {
        let mut shell = Command::new("sh");
        git::succeeds(shell.args(["-ec", command]).current_dir(directory));
    }
    let public = fs::read_to_string(directory.join("deploy-key.pub")).unwrap();
    let upload = format!("git-upload-pack '{}'", repo.path().display());
    fs::write(
        directory.join("authorized_keys"),
        format!("restrict,command=\"{upload}\" {public}"),
    )
    .unwrap();
    // As `ssh-keyscan` prints it, which the page has its reader compare.
    let mut scan = Command::new("ssh-keyscan");
    scan.args([
        "-T",
        "30",
        "-t",
        "ed25519",
        "-p",
        &server.port.to_string(),
        "127.0.0.1",
    ]);
    let known = scan.output().unwrap().stdout;
    fs::write(directory.join("known-hosts"), known).unwrap();

    let (_, settings) = section.split_once("```toml\n").unwrap();
    let (settings, _) = settings.split_once("```").unwrap();
    let (repo_line, keys) = settings.split_once('\n').unwrap();
    assert!(repo_line.starts_with("repo = "), "{settings}");
    let keys = keys.replace("/etc/hyper-sync", &directory.display().to_string());
    let address = format!(
        "ssh://root@127.0.0.1:{}{}",
        server.port,
        repo.path().display()
    );
    Machine::new(repo, &address, &keys)
}

fn git_shell() -> String {
    let shell = program("git-shell");
    format!(
        "ForceCommand {} -c \"$SSH_ORIGINAL_COMMAND\"\n",
        shell.display()
    )
}

/// A gitolite with one user and the repository `config`, in a home of its own.
fn gitolite(repo: &Repo, directory: &Path, home: &Path) {
    let run = |args: &[&str]| {
        let mut gitolite = Command::new(program("gitolite"));
        gitolite.env_clear().envs(git::environment(home));
        git::succeeds(gitolite.env("HOME", home).env("USER", "git").args(args));
    };
    let key = home.join("alice.pub");
    fs::copy(directory.join("user.pub"), &key).unwrap();
    run(&["setup", "-pk", &key.display().to_string()]);
    fs::write(
        home.join(".gitolite/conf/gitolite.conf"),
        "repo gitolite-admin\n  RW+ = alice\nrepo config\n  R = alice\n",
    )
    .unwrap();
    // It links its own hook there.
    fs::create_dir_all(repo.path().join("hooks")).unwrap();
    let served = home.join("repositories/config.git");
    std::os::unix::fs::symlink(repo.path(), served).unwrap();
    run(&["compile"]);
    fs::copy(
        home.join(".ssh/authorized_keys"),
        directory.join("authorized_keys"),
    )
    .unwrap();
}

/// gitolite as a shell of root, whose home is the server's directory here.
fn with_gitolite(repo: &Repo, config: &str) -> Sshd {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    fs::create_dir(&home).unwrap();
    let config = format!("{config}SetEnv HOME={} USER=git\n", home.display());
    let mut server = Sshd::start(&config, |path| gitolite(repo, path, &home));
    server.homes.push(directory);
    server
}

#[test]
fn openssh_with_a_shell() {
    let repo = repository();
    allow_filters(&repo);
    let server = Sshd::start(VERSION_2, |_| {});
    live(&server.machine_at(&repo), WITH_FILTERS);
}

#[test]
fn openssh_as_it_comes_with_a_shell() {
    let repo = repository();
    let server = Sshd::start("", |_| {});
    live(&server.machine_at(&repo), WITHOUT_FILTERS);
}

#[test]
fn a_deploy_key_of_the_docs_reads_its_repository() {
    let repo = repository();
    allow_filters(&repo);
    let server = Sshd::start(VERSION_2, |_| {});
    let machine = with_deploy_key(&server, &repo);
    live(&machine, WITH_FILTERS);

    // A key that is not registered, and one that others can read.
    let directory = server.directory.path();
    let key = fs::read(directory.join("user")).unwrap();
    fs::write(directory.join("deploy-key"), key).unwrap();
    machine.refused(4, "source::ssh_login");
    let readable = fs::Permissions::from_mode(0o644);
    fs::set_permissions(directory.join("deploy-key"), readable).unwrap();
    machine.refused(2, "source::ssh_key");
}

#[test]
fn openssh_with_git_shell() {
    let repo = repository();
    let server = Sshd::start(&format!("{VERSION_2}{}", git_shell()), |_| {});
    live(&server.machine_at(&repo), WITHOUT_FILTERS);
}

#[test]
fn openssh_as_it_comes_with_git_shell() {
    let repo = repository();
    let server = Sshd::start(&git_shell(), |_| {});
    live(&server.machine_at(&repo), WITHOUT_FILTERS);
}

#[test]
fn gitolite_over_openssh() {
    let repo = repository();
    let server = with_gitolite(&repo, VERSION_2);
    live(&server.machine(&repo, "/config"), WITHOUT_FILTERS);
}

#[test]
fn gitolite_over_openssh_as_it_comes() {
    let repo = repository();
    let server = with_gitolite(&repo, "");
    live(&server.machine(&repo, "/config"), WITHOUT_FILTERS);
}

#[test]
fn gitolite_hides_what_a_user_may_not_read() {
    let repo = repository();
    let server = with_gitolite(&repo, VERSION_2);
    server
        .machine(&repo, "/other")
        .refused(4, "source::no_permission");
}

#[test]
fn jgit_over_openssh() {
    let repo = repository();
    let jgit = format!("java -cp {} org.eclipse.jgit.pgm.Main", java::class_path());
    let command = format!(
        "ForceCommand eval \"set -- $SSH_ORIGINAL_COMMAND\"; exec {jgit} upload-pack \"$2\"\n"
    );
    let server = Sshd::start(&format!("{VERSION_2}{command}"), |_| {});
    live(&server.machine_at(&repo), WITHOUT_FILTERS);
}
