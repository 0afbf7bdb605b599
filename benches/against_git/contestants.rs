//! The programs that are measured, and their commands.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::bare;
use crate::common::{
    env::Sandbox,
    forge::{self, OWNER_NAME},
    git,
    snapshot::TreeSnapshot,
};

/// One way to bring a directory to the tip of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// The binary under test.
    HyperSync,
    /// `git fetch --depth 1` and `git reset --hard`.
    Git,
    /// The requests alone.
    Bare,
    /// `git clone --depth 1`, into nothing.
    Clone,
    /// A tarball of the tip, unpacked into nothing.
    Archive,
}

impl Contestant {
    /// The name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::HyperSync => "hyper-sync",
            Self::Git => "git fetch + reset",
            Self::Bare => "the bare requests",
            Self::Clone => "git clone",
            Self::Archive => "archive",
        }
    }
}

/// What a directory is at before the timed run, and so what the run has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At an earlier commit.
    Behind,
    /// At the tip; only whether that is so is asked.
    Check,
    /// At the tip; an update is run all the same.
    Same,
    /// There is no directory.
    Nothing,
    /// At the tip, but what the tool knew of it is gone.
    Forgotten,
}

/// The directories of all contestants, and the server they talk to.
pub struct World {
    sandbox: Sandbox,
    url: String,
    archive: String,
}

impl World {
    /// `origin` is where the server is reached.
    pub fn new(origin: &str) -> Self {
        let sandbox = Sandbox::new();
        let url = format!("{origin}/{OWNER_NAME}.git");
        sandbox.config(&format!(
            "repo = \"{url}\"\nca_file = \"{}\"\n",
            forge::ca_file().display()
        ));
        Self {
            archive: format!("{origin}/codeload/{OWNER_NAME}/legacy.tar.gz/main"),
            url,
            sandbox,
        }
    }

    /// The directory that one of them keeps.
    fn directory(&self, who: Contestant) -> PathBuf {
        match who {
            Contestant::HyperSync => self.sandbox.target(),
            Contestant::Git => self.sandbox.root().join("fetched"),
            Contestant::Bare => self.sandbox.root().to_owned(),
            Contestant::Clone => self.sandbox.root().join("cloned"),
            Contestant::Archive => self.sandbox.root().join("unpacked"),
        }
    }

    /// Brings the directory from where the last run left it to the start of the next one. Not timed.
    pub fn prepare(&self, who: Contestant, start: Start) {
        let directory = self.directory(who);
        match (who, start) {
            (Contestant::HyperSync, Start::Nothing) => {
                remove(&directory);
                remove(&self.sandbox.state());
            }
            (Contestant::HyperSync, Start::Forgotten) => remove(&self.sandbox.state()),
            (Contestant::Git, Start::Forgotten) => remove(&directory.join(".git")),
            (Contestant::Git, Start::Nothing) | (Contestant::Clone | Contestant::Archive, _) => {
                remove(&directory);
            }
            (Contestant::HyperSync | Contestant::Git | Contestant::Bare, _) => {}
        }
        if who == Contestant::Archive {
            fs::create_dir(&directory).unwrap();
        }
    }

    /// Makes hyper-sync's last update one of long ago.
    pub fn age(&self) {
        self.sandbox.age();
    }

    /// The commands of the timed run.
    pub fn commands(&self, who: Contestant, start: Start) -> Vec<Command> {
        let directory = self.directory(who);
        match who {
            Contestant::HyperSync if start == Start::Check => {
                vec![self.hyper_sync(&["sync", "--check-only"])]
            }
            Contestant::HyperSync => vec![self.hyper_sync(&["sync"])],
            Contestant::Git => {
                let begin = self.git(&["init", "--quiet"], &directory);
                let fetch = self.git(&["fetch", "--depth", "1", &self.url, "main"], &directory);
                let reset = self.git(&["reset", "--quiet", "--hard", "FETCH_HEAD"], &directory);
                match start {
                    Start::Check => vec![fetch],
                    Start::Behind | Start::Same => vec![fetch, reset],
                    Start::Nothing | Start::Forgotten => vec![begin, fetch, reset],
                }
            }
            Contestant::Bare => {
                let check = matches!(start, Start::Check | Start::Same);
                let bare = bare::command(&self.url, &forge::ca_file(), &directory, check);
                vec![bare]
            }
            Contestant::Clone => {
                let mut clone = git::git(self.sandbox.root());
                clone
                    .args(["clone", "--quiet", "--depth", "1", &self.url])
                    .arg(&directory)
                    .env("GIT_SSL_CAINFO", forge::ca_file());
                vec![clone]
            }
            Contestant::Archive => self.archive(&directory),
        }
    }

    /// Asserts that a directory is the commit.
    pub fn check(&self, who: Contestant, commit: &TreeSnapshot) {
        // git makes an empty directory for a submodule; its own data is not part of the tree.
        let foreign = |path: &str| path == ".git" || path == "external-repos";
        TreeSnapshot::of(&self.directory(who))
            .without(foreign)
            .git_modes()
            .assert_same(commit);
    }

    fn hyper_sync(&self, args: &[&str]) -> Command {
        let made = self.sandbox.cmd(args);
        let mut command = Command::new(made.get_program());
        command
            .args(made.get_args())
            .env_clear()
            .current_dir(self.sandbox.home());
        for (name, value) in made.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command
    }

    fn git(&self, args: &[&str], directory: &Path) -> Command {
        let mut command = git::git(self.sandbox.root());
        command
            .args(["-c", "init.defaultBranch=main", "-C"])
            .arg(directory)
            .args(args)
            .env("GIT_SSL_CAINFO", forge::ca_file());
        // `git -C` needs the directory; making it takes no time.
        fs::create_dir_all(directory).unwrap();
        command
    }

    fn archive(&self, directory: &Path) -> Vec<Command> {
        let file = self.sandbox.root().join("archive.tar.gz");
        let mut download = Command::new("curl");
        download
            .args(["--silent", "--fail", "--cacert"])
            .arg(forge::ca_file())
            .arg("--output")
            .arg(&file)
            .arg(&self.archive);
        let mut unpack = Command::new("tar");
        unpack
            .args(["--extract", "--strip-components=1", "--file"])
            .arg(&file)
            .arg("--directory")
            .arg(directory);
        vec![download, unpack]
    }
}

fn remove(directory: &Path) {
    if directory.exists() {
        fs::remove_dir_all(directory).unwrap();
    }
}
