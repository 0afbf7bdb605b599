//! Every route over every kind of host, through the real binary: what an update costs, that the target is the commit
//! to the byte, and how a run ends when something on the way fails.
//!
//! How each route handles each answer is tested by the library (`source_git`, `source_github`, `http`); here is what a
//! user would measure.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::common::env::{Output, Sandbox};
use crate::common::forge::Forge;
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

mod beside;
mod cost;
mod echoes;
mod first;
mod ladder;
mod matrix;
mod missing;
mod moves;
mod proof;
mod secrets;
mod ssh;
mod store;
mod tags;

/// A machine, and the arguments that name its repository.
struct Machine {
    world: Sandbox,
    repo: Repo,
    arguments: Vec<String>,
    variables: Vec<(&'static str, String)>,
}

/// What `sync --json` prints about the route.
#[derive(Debug)]
struct Report {
    route: String,
    requests: u64,
    received: u64,
    downloaded: u64,
    /// `route: cause`, in the order they were given up.
    fallbacks: Vec<String>,
}

impl Machine {
    fn new(repo: &Repo, arguments: &[&str]) -> Self {
        Self {
            world: Sandbox::new(),
            repo: repo.clone(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            variables: Vec::new(),
        }
    }

    /// A plain git host.
    fn git(forge: &Forge, repo: &Repo) -> Self {
        Self::new(repo, &["--repo", &forge.git_url()])
    }

    /// A GitHub.
    fn github(forge: &Forge, repo: &Repo, transport: &str) -> Self {
        let (name, api) = (forge.owner_name(), forge.api_url());
        let machine = Self::new(
            repo,
            &["--repo", &name, "--api-url", &api, "--transport", transport],
        );
        machine.world.mask_forge(forge);
        machine
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.variables.push((name, value.into()));
        self
    }

    fn run(&self, args: &[&str]) -> Output {
        self.world.finish(&mut self.command(args))
    }

    fn command(&self, args: &[&str]) -> assert_cmd::Command {
        let arguments: Vec<&str> = self.arguments.iter().map(String::as_str).collect();
        let mut command = self
            .world
            .cmd(&[&["sync"], arguments.as_slice(), args].concat());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Syncs to the tip of `main` and compares the target with it.
    #[track_caller]
    fn sync(&self, args: &[&str]) -> Report {
        let report = self.report(args);
        self.assert_at("main");
        report
    }

    #[track_caller]
    fn report(&self, args: &[&str]) -> Report {
        let output = self.run(&[&["--json"], args].concat()).ok();
        let json = output.json();
        Report {
            route: json["route"].as_str().unwrap().to_owned(),
            requests: json["traffic"]["requests"].as_u64().unwrap(),
            received: json["traffic"]["received"].as_u64().unwrap(),
            downloaded: json["downloaded"].as_u64().unwrap(),
            fallbacks: given_up(&json),
        }
    }

    #[track_caller]
    fn assert_at(&self, revision: &str) {
        self.world
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(&self.repo, revision));
    }

    /// Sets the branch back by so many commits, and for the time of one sync.
    #[track_caller]
    fn refuses_to_go_back(&self, commits: u32) {
        let tip = self.repo.id("main");
        let earlier = self.repo.id(&format!("main~{commits}"));
        self.repo.update_ref("refs/heads/main", &earlier);
        let refused = self.run(&["--json"]).code(8).json();
        assert_eq!(refused["error"]["code"], "hyper_sync::sync::rewind");
        self.assert_at(&tip);
        self.repo.update_ref("refs/heads/main", &tip);
    }

    fn store(&self) -> PathBuf {
        self.world.state().join("objects.git")
    }

    /// Asserts that `git fsck` accepts the store.
    #[track_caller]
    fn fsck(&self) {
        let mut fsck = git::git(&self.store());
        fsck.arg("--git-dir").arg(self.store());
        git::succeeds(fsck.args(["fsck", "--full", "--strict", "--no-dangling"]));
    }

    fn lose_state(&self) {
        fs::remove_dir_all(self.world.state()).unwrap();
    }

    /// Writes a file that only its owner may read.
    fn private_file(&self, name: &str, content: &str) -> String {
        let path = self.world.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }
}

/// The fallbacks of a report: each route that was given up, with its cause.
fn given_up(json: &serde_json::Value) -> Vec<String> {
    let fallbacks = json["fallbacks"].as_array().unwrap().iter();
    let line = |fallback: &serde_json::Value| {
        let text = |key: &str| fallback[key].as_str().unwrap();
        format!("{}: {}", text("route"), text("cause"))
    };
    fallbacks.map(line).collect()
}

/// The repository lets clients leave objects out, as every forge does; a bare `git init` does not.
fn allow_filters(repo: &Repo) {
    let config = repo.path().join("config");
    let mut text = fs::read_to_string(&config).unwrap();
    text.push_str("[uploadpack]\n\tallowFilter = true\n");
    fs::write(config, text).unwrap();
}
