//! `hyper-sync status`, and what `diff` shows of the same.

use std::fs;

use serde_json::json;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

/// A repository with files that a machine had before the first sync, and that machine.
fn adopting(settings: &str) -> (Sandbox, Repo) {
    let (sandbox, repo) = (Sandbox::new(), Repo::small());
    let commit = repo
        .write("modules/host-local.nix", "{ theirs = true; }\n")
        .write("modules/own/a.nix", "{ }\n")
        .commit("more");
    sandbox
        .follow(&repo, settings)
        .mask_id(&commit, "commit")
        .edit("modules/host-local.nix", "{ mine = true; }\n");
    (sandbox, repo)
}

#[test]
fn a_kept_file_that_was_here_before_is_listed_until_it_is_removed() {
    let (sandbox, _repo) = adopting("protect = ['modules/*-local.nix']");
    let _ = sandbox.run(&["sync"]).ok();
    insta::assert_snapshot!(sandbox.run(&["status"]).masked(), @r#"
    exit: 0
    --- stdout
    target    [target]
    commit    [commit] (main of [repo])
    changed   [date], 4 files
    last run  [date]
    built     unknown
    running   unknown
    booted    unknown
    rebuild   switch waits since [date]
    kept      modules/host-local.nix: it is not as in the commit, and a pattern of `protect` matches
    edits     none
    "#);
    insta::assert_snapshot!(sandbox.run(&["diff"]).masked(), @r#"
    exit: 0
    --- stdout
    diff --git a/modules/host-local.nix b/modules/host-local.nix
    --- a/modules/host-local.nix
    +++ b/modules/host-local.nix
    @@ -1 +1 @@
    -{ theirs = true; }
    +{ mine = true; }
    "#);
    let kept = |command: &str| sandbox.run(&[command, "--json"]).ok().json()["kept"].clone();
    let expected = json!([{ "path": "modules/host-local.nix", "reason": "protected" }]);
    assert_eq!(kept("status"), expected);
    assert_eq!(
        kept("sync"),
        expected,
        "nothing has changed, and it is still so"
    );

    fs::remove_file(sandbox.target().join("modules/host-local.nix")).unwrap();
    assert_eq!(kept("status"), json!([]));
    assert_eq!(sandbox.run(&["diff"]).ok().stdout, "");
    let _ = sandbox.run(&["sync"]).ok();
    sandbox.edit("modules/host-local.nix", "{ mine = true; }\n");
    assert_eq!(kept("status"), json!([]), "it is ours now, and edited");
}

#[test]
fn a_reverted_edit_is_no_longer_kept() {
    let (sandbox, _repo) = adopting("local_edits = 'keep'");
    sandbox.edit("modules/own", "a file\n");
    let _ = sandbox.run(&["sync"]).ok();
    let kept = || sandbox.run(&["status", "--json"]).ok().json()["kept"].clone();
    assert_eq!(
        kept(),
        json!([
            { "path": "modules/host-local.nix", "reason": "policy" },
            { "path": "modules/own/a.nix", "reason": "blocked" },
        ])
    );
    sandbox.edit("modules/host-local.nix", "{ theirs = true; }\n");
    let changed = || {
        let state = fs::read_to_string(sandbox.state().join("sync-state.json")).unwrap();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap();
        state["last_sync"].clone()
    };
    let before = changed();
    let _ = sandbox.run(&["sync"]).ok();
    assert_eq!(
        kept(),
        json!([{ "path": "modules/own/a.nix", "reason": "blocked" }])
    );
    assert_eq!(changed(), before, "nothing was written into the target");
}
