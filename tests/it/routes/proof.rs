//! A commit that the API cannot prove: fetched by git where git works, refused where it does not, and never reported as
//! equal where the settings trust the forge.

use serde_json::json;

use super::*;
use crate::common::forge::fault::{Action, When};

/// A commit whose bytes the API does not give: it has a header of another version control system.
fn publish_hidden(repo: &Repo) -> String {
    let (tree, parent) = (repo.id("main^{tree}"), repo.tip().unwrap());
    let text = format!(
        "tree {tree}\nparent {parent}\nauthor A <a@b> 1700000000 +0000\n\
         committer A <a@b> 1700000000 +0000\nchange-id zzxyz\n\nhidden\n"
    );
    let commit = repo.object("commit", text.as_bytes());
    repo.update_ref("refs/heads/main", &commit);
    commit
}

/// Git answers nothing: for a server that is down, without the waits between attempts.
fn block(forge: &Forge) {
    forge.fault(
        When::any().path("machines.git/"),
        Action::status(501, "down"),
    );
}

fn code(output: &Output) -> (Option<i32>, String) {
    let code = output.json()["error"]["code"].as_str().map(str::to_owned);
    (output.code, code.unwrap_or_default())
}

fn refused() -> (Option<i32>, String) {
    (Some(6), "hyper_sync::source::unproven".to_owned())
}

#[test]
fn a_changed_field_is_refused_by_every_route_that_uses_the_api() {
    for transport in ["api", "auto"] {
        let repo = Repo::with_history(2);
        let forge = Forge::serve(&repo);
        let machine = Machine::github(&forge, &repo, transport);
        machine.sync(&[]);
        let before = machine.world.target_tree();
        let foreign = repo.id("main~1^{tree}");
        let tip = repo.write("flake.nix", "{ new = 1; }\n").commit("new");
        for reference in ["main", &tip] {
            forge.clear_faults();
            block(&forge);
            for (part, pointer) in [
                ("/git/commits/", "/tree/sha"),
                ("/compare/", "/base_commit/commit/tree/sha"),
            ] {
                let foreign = foreign.clone();
                let change = move |answer: &mut serde_json::Value| {
                    *answer.pointer_mut(pointer).unwrap() = json!(foreign);
                };
                forge.fault(When::get(part), Action::mutate_json(change));
            }
            let output = machine.run(&["--json", "--ref", reference]);
            assert_eq!(code(&output), refused(), "{transport} {reference}");
            machine.world.target_tree().assert_same(&before);
        }
        // Nothing of the wrong answer was stored.
        forge.clear_faults();
        machine.sync(&[]);
    }
}

#[test]
fn a_commit_that_the_api_cannot_prove_is_fetched_by_git() {
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    publish_hidden(&repo);
    // Git fails once: for the listing, but not for the whole pack.
    forge.fault(When::ls_refs(), Action::status(501, "down"));
    for trust in ["false", "true"] {
        let machine = Machine::github(&forge, &repo, "auto");
        let output = machine
            .world
            .finish(
                machine
                    .command(&["--json"])
                    .env("HYPER_SYNC_TRUST_FORGE", trust),
            )
            .ok();
        let json = output.json();
        assert_eq!(
            (&json["route"], &json["proven"]),
            (&json!("full"), &json!(true))
        );
        machine.assert_at("main");
    }
}

#[test]
fn an_unproven_commit_is_never_reported_as_equal() {
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    block(&forge);
    let machine = Machine::github(&forge, &repo, "auto");
    let commit = publish_hidden(&repo);
    machine.world.mask_id(&commit, "commit");

    let output = machine.run(&["--json"]);
    assert_eq!(code(&output), refused());
    assert!(!machine.world.target().exists());

    let trusting = |args: &[&str]| {
        let mut command = machine.command(args);
        machine
            .world
            .finish(command.env("HYPER_SYNC_TRUST_FORGE", "true"))
            .ok()
    };
    let output = trusting(&["--json"]);
    machine.assert_at("main");
    assert_eq!(output.json()["proven"], json!(false));
    let again = trusting(&[]);
    insta::assert_snapshot!(again.masked(), @r"
    exit: 0
    --- stdout
    [target] is up to date ([commit], main)
      not proven: whether these are the files of this commit, only the forge says
    --- stderr
    note: the commit is not proven: its bytes could not be had, and `trust.forge` trusts the forge for its content
    ");
    let status = || machine.world.run(&["status", "--json"]).ok().json()["proven"].clone();
    assert_eq!(status(), json!(false));
    insta::assert_snapshot!(machine.world.run(&["status"]).masked(), @"
    exit: 0
    --- stdout
    target    [target]
    commit    [commit]
    follows   main of acme/machines
    changed   [time] ago, 50 files
    proof     none: whether the files are those of this commit is not proven; the next sync by git proves or replaces them
    last run  [time] ago
    rebuild   pending: switch, left [time] ago; `hyper-sync rebuild` does it
    notice    `external-repos/maxos` is a submodule and is left out
    notice    the symlink `result-link` leads out of the tree, to `/nix/store/does-not-exist`
    edits     none
    ");
    let check = |id: &str, args: &[&str]| {
        let args = [&["validate", "--json"], args].concat();
        let validation = machine.world.run(&args).json();
        let checks = validation["checks"].as_array().unwrap().clone();
        let mut checks = checks.into_iter();
        checks.find(|check| check["id"] == id).unwrap()
    };
    let integrity = || check("integrity", &[]);
    let short = &commit[..10];
    let state = check("state", &["--quick"]);
    assert_eq!(
        state["detail"][0]["text"],
        json!(format!(
            "the target was brought to commit {short}, whose files are not proven"
        ))
    );
    let found = integrity();
    assert_eq!(found["status"], json!("warned"));
    assert_eq!(
        found["detail"][0]["text"],
        json!(format!(
            "50 files are as they were written; that they are those of commit {short} is not proven"
        ))
    );

    // Git works again and proves the commit, though nothing changes.
    forge.clear_faults();
    let output = machine.run(&["--json"]).ok().json();
    assert_eq!(
        (&output["proven"], &output["changed"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(status(), json!(true));
    assert_eq!(integrity()["status"], json!("passed"));
}

#[test]
fn a_commit_that_proves_to_have_another_tree_is_not_reported_as_equal() {
    let repo = Repo::with_history(2);
    let forge = Forge::serve(&repo);
    let foreign = repo.id("main~1^{tree}");
    let change = move |answer: &mut serde_json::Value| answer["tree"]["sha"] = json!(foreign);
    forge.fault(When::get("/git/commits/"), Action::mutate_json(change));
    let machine = Machine::github(&forge, &repo, "api").with("HYPER_SYNC_TRUST_FORGE", "true");
    assert_eq!(machine.run(&["--json"]).ok().json()["proven"], json!(false));
    machine.assert_at("main~1");
    // The commit's own bytes come with a check, which writes nothing into the target.
    forge.clear_faults();
    let _ = machine.run(&["--check-only"]).ok();
    let status = machine.world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["proven"], json!(false));
    machine.sync(&[]);
    let status = machine.world.run(&["status", "--json"]).ok().json();
    assert_eq!(status["proven"], json!(true));
}
