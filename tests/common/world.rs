//! A machine that follows a repository: the fixture of most tests of the binary.
//!
//! A [`World`] is a [`Sandbox`] whose configuration file names a [`Repo`], directly or as a [`Forge`] serves it. All that
//! a sandbox can do it can do too. What only one area does with it stands there, as a function that takes a `&World`,
//! or as a type around it where the area has a state of its own.

use std::{fs, ops::Deref};

use super::{
    env::{Output, Sandbox},
    forge::Forge,
    repo::Repo,
    snapshot::TreeSnapshot,
};

/// A repository whose flake has the host `host`, for programs in place of Nix: there is nothing to evaluate.
pub fn flake_repo() -> Repo {
    let repo = Repo::small();
    let flake = "{ outputs = _: { nixosConfigurations.host = { }; }; }\n";
    repo.write("flake.nix", flake).commit("a host");
    repo
}

/// A sandbox, the repository that it follows, and the server of that repository if there is one.
pub struct World {
    sandbox: Sandbox,
    pub repo: Repo,
    forge: Option<Forge>,
    /// The lines of the configuration file that say where the repository is.
    address: String,
}

impl World {
    /// Follows [`Repo::small`] by its path.
    pub fn small() -> Self {
        Self::local(&Repo::small())
    }

    /// Follows a repository by its path, which is printed as `[repo]`.
    pub fn local(repo: &Repo) -> Self {
        let path = repo.path().display().to_string();
        let world = Self::at(repo, None, &format!("repo = '{path}'"));
        world.mask(&path, "[repo]");
        world
    }

    /// Follows a repository on a git host that is served here; its address is printed as `[forge]`.
    pub fn served(repo: &Repo) -> Self {
        Self::of_forge(repo, Forge::serve(repo))
    }

    /// As [`World::served`], by a forge of any kind.
    pub fn of_forge(repo: &Repo, forge: Forge) -> Self {
        let address = format!("repo = '{}'", forge.git_url());
        Self::at(repo, Some(forge), &address)
    }

    /// Follows a repository on a GitHub that is served here, by this transport (`auto`, `api`, `git`).
    pub fn github(repo: &Repo, transport: &str) -> Self {
        let forge = Forge::serve(repo);
        let address = format!(
            "repo = '{}'\napi_url = '{}'\ntransport = '{transport}'",
            forge.owner_name(),
            forge.api_url()
        );
        Self::at(repo, Some(forge), &address)
    }

    /// Follows a repository by lines of the configuration file that say where it is.
    pub fn at(repo: &Repo, forge: Option<Forge>, address: &str) -> Self {
        let sandbox = Sandbox::new();
        if let Some(forge) = &forge {
            sandbox.mask_forge(forge);
        }
        sandbox.config(address);
        Self {
            sandbox,
            repo: repo.clone(),
            forge,
            address: format!("{address}\n"),
        }
    }

    /// Writes the configuration file again: where the repository is, and these settings.
    pub fn set(&self, settings: &str) -> &Self {
        self.config(&format!("{}{settings}\n", self.address));
        self
    }

    /// [`World::set`], where the target is the flake of the system; `rebuild` are more settings of `[rebuild]`.
    pub fn set_flake(&self, settings: &str, rebuild: &str) -> &Self {
        let target = self.target();
        self.set(&format!(
            "{settings}\n[rebuild]\nflake = '{}'\n{rebuild}",
            target.display()
        ))
    }

    /// [`World::set`], when a world is made.
    pub fn with(self, settings: &str) -> Self {
        self.set(settings);
        self
    }

    /// The first sync has been done.
    #[track_caller]
    pub fn synced(self) -> Self {
        let _ = self.sync(&[]).ok();
        self
    }

    /// The server of the repository.
    #[track_caller]
    pub fn forge(&self) -> &Forge {
        self.forge.as_ref().expect("a world with a forge")
    }

    /// Runs `sync` with these arguments to its end.
    pub fn sync(&self, args: &[&str]) -> Output {
        self.run(&[&["sync"], args].concat())
    }

    /// What a command that succeeds prints with `--json`.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        self.run(&[args, &["--json"]].concat()).ok().json()
    }

    /// The target is equal to a commit.
    #[track_caller]
    pub fn assert_at(&self, revision: &str) {
        let commit = TreeSnapshot::of_commit(&self.repo, revision);
        self.target_tree().assert_same(&commit);
    }

    /// A file of the target.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.target().join(path)).unwrap()
    }

    /// `sync-state.json`.
    #[track_caller]
    pub fn sync_state(&self) -> serde_json::Value {
        let text = fs::read(self.state().join("sync-state.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }
}

/// A world is a sandbox that has a repository: `world.edit(…)`, `world.run(…)`.
impl Deref for World {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}
