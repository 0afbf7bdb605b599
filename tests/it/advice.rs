//! What the help of an error advises, done: each option that it prints is tried in the same situation, and ends it.
//!
//! Commands in messages are run by `targets::commands`.

use crate::common::repo::Repo;
use crate::common::world::World;

/// A run that is refused, and the options that its help prints.
struct Refusal {
    world: World,
    args: Vec<String>,
    options: &'static [&'static str],
}

impl Refusal {
    fn sync(world: World, options: &'static [&'static str]) -> Self {
        Self {
            world,
            args: vec!["sync".to_owned()],
            options,
        }
    }

    fn with(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }
}

fn rewritten() -> Refusal {
    let world = World::small();
    let first = world.repo.id("main");
    world.repo.write("flake.nix", "{ }").commit("second");
    let world = world.synced();
    world.repo.update_ref("refs/heads/main", &first);
    Refusal::sync(world, &["--allow-rewind"])
}

fn moved_tag() -> Refusal {
    let world = World::small();
    world.repo.tag("v1");
    let _ = world.sync(&["--ref", "v1"]).ok();
    world.repo.write("flake.nix", "{ }").commit("second");
    world.repo.tag("v1");
    Refusal::sync(world, &["--allow-rewind"]).with(&["--ref", "v1"])
}

fn other_repository() -> Refusal {
    let world = World::small().synced();
    let other = Repo::small();
    other.write("other.nix", "{ }").commit("other");
    let path = other.path().display().to_string();
    let mut refusal = Refusal::sync(world, &["--allow-other-repo"]).with(&["--repo", &path]);
    // Keeps its directory.
    refusal.world.repo = other;
    refusal
}

fn lost_flake() -> Refusal {
    let world = World::small().synced();
    world.repo.remove("flake.nix").commit("no flake");
    Refusal::sync(world, &["--allow-mass-delete"])
}

fn misspelt() -> Refusal {
    Refusal::sync(World::small(), &["--ref main"]).with(&["--ref", "mian"])
}

fn name_of_a_clone() -> Refusal {
    Refusal::sync(World::small(), &["--ref main"]).with(&["--ref", "origin/main"])
}

fn no_default_branch() -> Refusal {
    let world = World::small();
    world.repo.branch("trunk").set_default_branch("trunk");
    world.repo.delete_ref("refs/heads/main");
    Refusal::sync(world, &["--ref trunk"])
}

fn no_api() -> Refusal {
    Refusal::sync(World::small(), &["--transport auto"]).with(&["--transport", "api"])
}

fn misspelt_option() -> Refusal {
    Refusal::sync(World::small(), &["--ref main"]).with(&["--branch", "main"])
}

fn copies_of_edits() -> Refusal {
    let world = World::small().with("local_edits = 'replace'").synced();
    world.edit("flake.nix", "mine\n");
    let world = world.synced();
    let target = world.target().display().to_string();
    let mut refusal = Refusal::sync(world, &["--discard-edits"]);
    refusal.args = vec!["forget".to_owned(), target];
    refusal
}

/// The options that a help prints, with their values.
fn printed(help: &str) -> Vec<String> {
    let quoted = help.split('`').skip(1).step_by(2);
    let options = quoted.filter(|text| text.starts_with("--"));
    // One that stands for a setting or is to be taken away.
    let options = options.filter(|text| !matches!(*text, "--ref" | "--repo"));
    options.map(str::to_owned).collect()
}

#[test]
fn an_option_that_a_help_prints_ends_the_refusal() {
    let refusals: &[fn() -> Refusal] = &[
        rewritten,
        moved_tag,
        other_repository,
        lost_flake,
        misspelt,
        name_of_a_clone,
        no_default_branch,
        no_api,
        misspelt_option,
        copies_of_edits,
    ];
    for refusal in refusals {
        let options = refusal().options;
        for option in options {
            let Refusal { world, args, .. } = refusal();
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let refused = world.run(&[&args[..], &["--json"]].concat());
            let help = refused.json()["error"]["help"].as_str().unwrap().to_owned();
            assert_eq!(printed(&help), options, "{help}");
            let words: Vec<&str> = option.split(' ').collect();
            // The option that was wrong is replaced by the one that is advised.
            let replaced = ["--ref", "--branch", "--transport"];
            let at = args.iter().position(|word| replaced.contains(word));
            let at = at
                .filter(|_| replaced.contains(&words[0]))
                .unwrap_or(args.len());
            let mended = [&args[..at], &words].concat();
            let _ = world.run(&mended).ok();
        }
    }
}
