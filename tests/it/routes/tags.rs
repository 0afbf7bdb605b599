//! What a name was at the last sync, by the API: a tag must not move, and a name must not become another kind of ref.

use super::*;

#[track_caller]
fn refused(machine: &Machine, name: &str, code: &str) {
    let refused = machine.run(&["--ref", name, "--json"]).code(8).json();
    assert_eq!(
        refused["error"]["code"],
        format!("hyper_sync::sync::{code}")
    );
}

#[test]
fn a_name_that_becomes_another_kind_of_thing_is_refused_by_the_api_too() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let first = repo.id("main");
    repo.update_ref("refs/tags/tag", &first);
    repo.update_ref("refs/heads/branch", &first);
    let machine = Machine::github(&forge, &repo, "api");
    for name in ["tag", "branch"] {
        let _ = machine.run(&["--ref", name]).ok();
    }
    let second = repo
        .write("flake.nix", "{ second = true; }\n")
        .commit("second");
    repo.update_ref("refs/heads/tag", &second);
    repo.delete_ref("refs/heads/branch");
    repo.update_ref("refs/tags/branch", &second);
    for name in ["tag", "branch"] {
        refused(&machine, name, "ref_kind");
        machine.assert_at(&first);
    }
    // The advice works.
    let _ = machine.run(&["--ref", "refs/tags/tag"]).ok();
    machine.assert_at(&first);
    let _ = machine.run(&["--ref", "branch", "--allow-rewind"]).ok();
    machine.assert_at(&second);
}

#[test]
fn names_written_by_an_older_version_are_read() {
    let repo = Repo::small();
    repo.tag("v1").branch("v7");
    let forge = Forge::serve(&repo);
    for transport in ["api", "auto"] {
        let machine = Machine::github(&forge, &repo, transport);
        machine.sync(&[]);
        let followed = machine.world.state().join("followed");
        fs::copy("tests/data/state/followed-v1", &followed).unwrap();
        refused(&machine, "v1", "moved_tag");
        refused(&machine, "v7", "ref_kind");
        machine.sync(&[]);
        let before = fs::read("tests/data/state/followed-v1").unwrap();
        assert_eq!(fs::read(&followed).unwrap(), before, "nothing has changed");
    }
}
