//! The changes that a repository may see over the years, and how a machine syncs each.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::env::{Output, Sandbox};
use crate::common::git;
use crate::common::repo::Repo;
use crate::common::snapshot::TreeSnapshot;

/// A machine that follows a repository on some server.
pub(crate) struct Machine {
    world: Sandbox,
    repo: Repo,
    settings: String,
    netrc: Option<String>,
}

/// What `sync --json` prints about the route.
pub(crate) struct Synced {
    pub(crate) route: String,
    pub(crate) changed: bool,
}

impl Machine {
    /// `settings` are lines of a configuration file.
    pub(crate) fn new(repo: &Repo, address: &str, settings: &str) -> Self {
        let world = Sandbox::new();
        world.link_tool("ssh");
        Self {
            settings: format!("repo = '{address}'\n{settings}"),
            netrc: None,
            world,
            repo: repo.clone(),
        }
    }

    /// Another machine with the same settings and the same credentials.
    fn fresh(&self) -> Self {
        let world = Sandbox::new();
        world.link_tool("ssh");
        let fresh = Self {
            settings: self.settings.clone(),
            netrc: None,
            world,
            repo: self.repo.clone(),
        };
        match &self.netrc {
            Some(netrc) => fresh.with_netrc(netrc),
            None => fresh,
        }
    }

    /// With a netrc file in the home directory.
    pub(crate) fn with_netrc(mut self, content: &str) -> Self {
        let path = self.world.home().join(".netrc");
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        self.netrc = Some(content.to_owned());
        self
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.world.config(&self.settings);
        self.world.run(&[&["sync", "--json"], args].concat())
    }

    /// Syncs, and compares the target with what git has at `revision`.
    #[track_caller]
    pub(crate) fn sync_to(&self, revision: &str, args: &[&str]) -> Synced {
        let json = self.run(args).ok().json();
        self.assert_at(revision);
        Synced {
            route: json["route"].as_str().unwrap().to_owned(),
            changed: json["changed"].as_bool().unwrap(),
        }
    }

    #[track_caller]
    pub(crate) fn sync(&self) -> Synced {
        self.sync_to("main", &[])
    }

    #[track_caller]
    pub(crate) fn assert_at(&self, revision: &str) {
        self.world
            .target_tree()
            .assert_same(&TreeSnapshot::of_commit(&self.repo, revision));
    }

    /// Asserts that a sync is refused with this code and changes nothing.
    #[track_caller]
    pub(crate) fn refused(&self, exit: i32, code: &str) -> String {
        let before = self.world.target_tree();
        let json = self.run(&[]).code(exit).json();
        assert_eq!(
            json["error"]["code"],
            format!("hyper_sync::{code}"),
            "{json:#}"
        );
        self.world.target_tree().assert_same(&before);
        json["error"]["help"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Asserts that `git fsck` accepts the store.
    #[track_caller]
    fn fsck(&self) {
        let store = self.world.state().join("objects.git");
        let mut fsck = git::git(&store);
        fsck.arg("--git-dir").arg(&store);
        git::succeeds(fsck.args(["fsck", "--full", "--strict", "--no-dangling"]));
    }

    fn lose_store(&self) {
        fs::remove_dir_all(self.world.state().join("objects.git")).unwrap();
    }

    fn lose_state(&self) {
        fs::remove_dir_all(self.world.state()).unwrap();
    }
}

/// A repository with a history, links, modes, and files of many sizes; readable by a server that is not root.
pub(crate) fn repository() -> Repo {
    let repo = Repo::with_history(11);
    let noise: Vec<u8> = (0..300_000_u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes())
        .collect();
    repo.write("large.bin", noise)
        .write("empty", "")
        .symlink("link", "large.bin")
        .write_exec("bin/run", "#!/bin/sh\n")
        .commit("many kinds of files");
    let directory = repo.path().parent().unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    repo
}

/// The repository lets clients leave objects out, as every forge does; a bare `git init` does not.
pub(crate) fn allow_filters(repo: &Repo) {
    git::succeeds(
        repo.git()
            .args(["config", "uploadpack.allowFilter", "true"]),
    );
}

/// The route of a sync to files that are there, without a commit to build on.
pub(crate) const WITH_FILTERS: &str = "select-git";
/// The same, where the server cannot leave objects out.
pub(crate) const WITHOUT_FILTERS: &str = "full";

/// All steps, for the repository that `machine` syncs. `listed` is the route to files that are there, without a commit to
/// build on.
#[track_caller]
pub(crate) fn live(machine: &Machine, listed: &str) {
    let repo = &machine.repo;

    assert_eq!(machine.sync().route, "full");
    let again = machine.sync();
    assert_eq!((again.route.as_str(), again.changed), ("store", false));

    repo.write("flake.nix", "{ second = true; }\n")
        .commit("one commit");
    assert_eq!(machine.sync().route, "delta");
    for round in 0..12 {
        repo.write("new/one.nix", format!("{{ round = {round}; }}\n"))
            .write(format!("new/{round}.nix"), format!("{round}\n"))
            .commit("one of twelve");
    }
    // The commits between are asked for beside, where the server can.
    machine.world.age();
    assert_eq!(machine.sync().route, "delta");
    repo.rename("new", "old")
        .remove("empty")
        .chmod("bin/run", "100644")
        .symlink("link", "flake.nix")
        .commit("renamed, removed, another mode, another link");
    assert_eq!(machine.sync().route, "delta");

    // A merge, and a branch whose name has a slash.
    let base = repo.id("main");
    repo.branch("feature/one").checkout("feature/one");
    repo.write("feature.nix", "{ }\n").commit("on a branch");
    let branch = machine.fresh();
    branch.sync_to("feature/one", &["--ref", "feature/one"]);
    repo.checkout("main").write("main.nix", "{ }\n");
    let ours = repo.commit("on main meanwhile");
    let theirs = repo.id("feature/one");
    repo.commit_onto("merge", &[&ours, &theirs]);
    assert_eq!(machine.sync().route, "delta");

    repo.tag("v1").annotated_tag("v2");
    for tag in ["v1", "v2"] {
        machine.fresh().sync_to(tag, &["--ref", tag]);
    }
    let id = repo.id("main");
    machine.fresh().sync_to(&id, &["--ref", &id]);

    machine.lose_store();
    repo.write("flake.nix", "{ third = true; }\n")
        .commit("while the store was lost");
    assert_eq!(machine.sync().route, listed);
    machine.lose_state();
    assert_eq!(machine.sync().route, listed);
    assert_eq!(machine.sync_to("main", &["--force-full"]).route, "full");
    machine.fsck();

    // Set back to a commit that the machine had, and one that it never saw as its own.
    let tip = repo.id("main");
    machine.world.age();
    for back in ["main~1", base.as_str()] {
        repo.update_ref("refs/heads/main", &repo.id(back));
        machine.refused(8, "sync::rewind");
        machine.assert_at(&tip);
        repo.update_ref("refs/heads/main", &tip);
    }
    // Another history.
    repo.write("flake.nix", "{ other = true; }\n")
        .commit_onto("another history", &[]);
    machine.refused(8, "sync::rewind");
    machine.sync_to("main", &["--allow-rewind", "--allow-mass-delete"]);
    repo.delete_ref("refs/heads/feature/one");
    let gone = branch.run(&["--ref", "feature/one"]).code(2).json();
    assert_eq!(gone["error"]["code"], "hyper_sync::source::unknown_ref");
    branch.assert_at(&theirs);
}
