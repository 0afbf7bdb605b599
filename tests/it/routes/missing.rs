//! Names that a repository does not have: the help lists those that it has, by every route.

use super::*;

/// The routes to the repository.
fn routes(forge: &Forge, repo: &Repo) -> Vec<(&'static str, Machine)> {
    let path = repo.path().display().to_string();
    let ssh = Machine::new(repo, &["--repo", &format!("ssh://git@host.example{path}")]);
    ssh.world.fake_ssh();
    vec![
        ("path", Machine::new(repo, &["--repo", &path])),
        ("ssh", ssh),
        ("http", Machine::git(forge, repo)),
        ("auto", Machine::github(forge, repo, "auto")),
        ("api", Machine::github(forge, repo, "api")),
    ]
}

/// The help for a name that is missing.
#[track_caller]
fn advice(machine: &Machine, name: &str) -> String {
    let refused = machine.run(&["--ref", name, "--json"]).code(2).json();
    let error = &refused["error"];
    assert_eq!(error["code"], "hyper_sync::source::unknown_ref", "{error}");
    error["help"].as_str().unwrap().to_owned()
}

const GONE: &str = "check `--ref`: it may have been renamed or deleted";

#[test]
fn a_missing_name_is_reported_with_those_that_exist() {
    let repo = Repo::small();
    repo.branch("feature/x");
    let forge = Forge::serve(&repo);
    let default = "the default branch is `main` (`--ref main`); nothing was written";
    let digits =
        "a commit needs its full 40 digits, and a branch or tag may have been renamed or deleted";
    for (route, machine) in routes(&forge, &repo) {
        for (name, expected) in [
            ("nothing", format!("{GONE}; {default}")),
            ("origin/nothing", format!("{GONE}; {default}")),
            ("refs/heads/nothing", format!("{GONE}; {default}")),
            ("feed", format!("check `--ref`: {digits}; {default}")),
            (
                "origin/feature/x",
                "write the branch as the repository itself has it: `--ref feature/x`; nothing was written".to_owned(),
            ),
        ] {
            assert_eq!(advice(&machine, name), expected, "{route} {name}");
        }
        let _ = machine.run(&["--ref", "feature/x"]).ok();
    }
}

#[test]
fn a_missing_default_branch_is_reported_with_those_that_exist() {
    let repo = Repo::small();
    repo.branch("trunk");
    repo.delete_ref("refs/heads/main");
    let forge = Forge::serve(&repo);
    let missing = format!("{GONE}; the default branch `main` does not exist, but");
    let one = format!("{missing} `trunk` does (`--ref trunk`); nothing was written");
    let three = format!("{missing} `a`, `b`, `c` do (`--ref a`); nothing was written");
    for (route, machine) in routes(&forge, &repo) {
        for name in ["main", "HEAD", "origin/main"] {
            assert_eq!(advice(&machine, name), one, "{route} {name}");
        }
        let _ = machine.run(&["--ref", "trunk"]).ok();
    }
    for name in ["c", "b", "a"] {
        repo.update_ref(&format!("refs/heads/{name}"), &repo.id("trunk"));
    }
    for (route, machine) in routes(&forge, &repo) {
        assert_eq!(advice(&machine, "main"), three, "{route}");
    }
}
