//! A tour: a machine follows a branch, without a machine.
//!
//! ```text
//! cargo run --release --example tour
//! ```
//!
//! Starts the git server of the tests with a sample configuration, and shows a first sync, an update with a rebuild, a local
//! edit, a hostile commit, a crash and a rollback. Everything is in a temporary directory; `nixos-rebuild` is a script that
//! prints what it is asked for. Needs git, and runs on any Linux.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "a demonstration that cannot set up its world has failed"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use common::forge::Forge;
use common::repo::Entry;
use common::repo::Repo;
use hyper_sync::report::Stdio;
use hyper_sync::settings::Env;
use hyper_sync::source::Interrupt;
use hyper_sync::{cli, signals};

/// The first argument with which this program is hyper-sync itself.
const ITSELF: &str = "hyper-sync";
/// How many files the sample configuration has beside those that are shown: so many that a crash in the middle of an
/// update is not over before it begins.
const MODULES: usize = 2000;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if args.first().is_some_and(|first| first == ITSELF) {
        let interrupt = Interrupt::default();
        signals::watch(&interrupt);
        let env = Env::from_process();
        let stdio = Stdio::of_process(&env);
        return cli::main(args, &env, stdio, &interrupt).into();
    }
    let tour = Tour::new();
    tour.first_sync();
    tour.update();
    tour.local_edit();
    tour.hostile_commit();
    tour.crash();
    tour.rollback();
    ExitCode::SUCCESS
}

struct Tour {
    repo: Repo,
    forge: Forge,
    directory: tempfile::TempDir,
}

impl Tour {
    fn new() -> Self {
        let repo = Repo::new();
        repo.write(
            "flake.nix",
            "{ outputs = _: { nixosConfigurations.web1 = { }; }; }\n",
        )
        .write(
            "flake.lock",
            r#"{"nodes":{"root":{}},"root":"root","version":7}"#,
        )
        .write("configuration.nix", "{ services.nginx.enable = true; }\n");
        for number in 0..MODULES {
            repo.write(
                format!("modules/{:02}/{number}.nix", number % 40),
                format!("{{ n = {number}; }}\n"),
            );
        }
        repo.commit("a machine with nginx");
        let directory = tempfile::tempdir().unwrap();
        let tour = Self {
            forge: Forge::serve(&repo),
            repo,
            directory,
        };
        // An argument that only `nixos-rebuild` has, so that no Nix is needed.
        let settings = format!(
            "repo = '{}'\ntarget = '{}'\nstate_dir = '{}'\n[rebuild]\nhost = 'web1'\nextra_args = ['--sudo']\n",
            tour.forge.git_url(),
            tour.path("nixos").display(),
            tour.path("state").display(),
        );
        fs::write(tour.path("config.toml"), settings).unwrap();
        fs::create_dir(tour.path("bin")).unwrap();
        tour.program("nixos-rebuild", "echo \"(nixos-rebuild $1)\"");
        tour.program("nix", "exit 0");
        tour
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg(ITSELF)
            .args(args)
            .current_dir(self.directory.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("HYPER_SYNC_CONFIG", self.path("config.toml"));
        command
    }

    /// Shows a command and what it prints, and insists on its exit code.
    fn run(&self, args: &[&str], code: i32) {
        println!("\n$ hyper-sync {}", args.join(" "));
        let status = self.command(args).status().unwrap();
        assert_eq!(status.code(), Some(code), "the tour is not as it should be");
        if code != 0 {
            println!("[exit code {code}]");
        }
    }

    fn first_sync(&self) {
        say(
            "A first sync",
            "The configuration is on a git server; the target directory does not exist yet. Every byte is verified from the \
             commit's id before the first file is written. This computer may have no Nix: what `validate` says of that \
             stops no sync.",
        );
        self.run(&["sync"], 0);
        self.run(&["status"], 0);
    }

    fn update(&self) {
        say(
            "An update",
            "Somebody pushes. Checking for news costs one request, and only the difference is downloaded. Then the system is \
             rebuilt, here by a script in the place of nixos-rebuild.",
        );
        self.repo
            .write(
                "configuration.nix",
                "{ services.nginx.enable = true; services.openssh.enable = true; }\n",
            )
            .commit("enable ssh");
        self.run(&["sync", "--dry-run"], 0);
        self.run(&["--quiet"], 0);
        self.run(&["sync"], 0);
    }

    fn local_edit(&self) {
        say(
            "A local edit",
            "An administrator edits a file on the machine, and the next commit changes the same file. By default the update \
             stops and says so; nothing is written, and nothing is lost.",
        );
        let file = self.path("nixos").join("configuration.nix");
        fs::write(file, "{ services.nginx.enable = false; }\n").unwrap();
        self.repo
            .write("configuration.nix", "{ services.openssh.enable = true; }\n")
            .commit("remove nginx");
        self.run(&["sync"], 8);
        self.run(&["diff"], 0);
        println!("\nThe commit's file, please; the edit is kept aside, and can be put back.");
        self.run(&["sync", "--local-edits", "replace"], 0);
        self.run(&["restore", "configuration.nix"], 0);
        self.run(&["sync", "--local-edits", "replace", "--quiet"], 0);
    }

    fn hostile_commit(&self) {
        say(
            "A hostile commit",
            "Who can push could try to write elsewhere: here a directory named `..`. The whole commit is refused before \
             anything is written.",
        );
        let parent = self.repo.id("main");
        let blob = self.repo.blob("owned\n");
        let etc = self.repo.raw_tree(&[Entry::file("passwd", &blob)]);
        let up = self.repo.raw_tree(&[Entry::tree("etc", &etc)]);
        let tree = self
            .repo
            .raw_tree(&[Entry::tree("..", &up), Entry::file("flake.nix", &blob)]);
        self.repo.commit_raw_tree(&tree, "surprise");
        self.run(&["sync"], 7);
        self.repo.update_ref("refs/heads/main", &parent);
    }

    fn crash(&self) {
        say(
            "A crash",
            "The power fails in the middle of an update of many files: here the process is killed once it has begun to \
             change the target. The next run finishes or undoes the update, without the network.",
        );
        for number in 0..MODULES {
            self.repo.write(
                format!("modules/{:02}/{number}.nix", number % 40),
                format!("{{ m = {number}; }}\n"),
            );
        }
        self.repo.commit("every module");
        println!("\n$ hyper-sync sync &");
        let mut child = self.command(&["sync", "--quiet"]).spawn().unwrap();
        let journal = self.path("state").join("tx/active");
        // A run that ends meanwhile was not interrupted, which the next lines show as well.
        while !journal.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        println!("$ kill -9 %1");
        self.run(&["status"], 0);
        self.run(&["sync"], 0);
    }

    fn rollback(&self) {
        say(
            "Back again",
            "The update was not good. The files go back to what they were before it, without the network, and the commit is \
             not taken again until the branch has a newer one.",
        );
        self.run(&["history"], 0);
        self.run(&["rollback"], 0);
        self.run(&["sync"], 0);
        println!(
            "\nThe directory of this tour is removed now: {}",
            shown(self.directory.path())
        );
    }
}

fn say(title: &str, text: &str) {
    println!("\n\n=== {title} ===\n\n{text}");
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
