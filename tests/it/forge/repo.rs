//! Fixture repositories: real, deterministic, and equal to what git makes of the same input.

use crate::common::{
    git,
    repo::{Entry, History, Repo},
    snapshot::{Node, TreeSnapshot},
};

#[test]
fn a_commit_has_the_staged_files() {
    let repo = Repo::new();
    repo.write("a/b.txt", "b\r\n")
        .write_exec("run.sh", "#!/bin/sh\n")
        .symlink("link", "a/b.txt")
        .gitlink("sub", "c9ef8372d193b3c0030902ee02495a2f30c2ba5e")
        .write("größe/\"q\"\n.txt", "")
        .commit("start");
    let rows: Vec<String> = repo
        .ls_tree("main")
        .iter()
        .map(|row| {
            format!(
                "{} {} {}",
                row.mode,
                row.kind,
                String::from_utf8_lossy(&row.path).escape_debug()
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            "100644 blob a/b.txt",
            "100644 blob größe/\\\"q\\\"\\n.txt",
            "120000 blob link",
            "100755 blob run.sh",
            "160000 commit sub",
        ]
    );
    assert_eq!(repo.cat("main:a/b.txt"), b"b\r\n");

    repo.remove("a")
        .chmod("run.sh", "100644")
        .rename("link", "moved/link")
        .commit("second");
    let paths: Vec<Vec<u8>> = repo
        .ls_tree("main")
        .into_iter()
        .map(|row| row.path)
        .collect();
    assert_eq!(paths.len(), 4);
    assert!(paths.contains(&b"moved/link".to_vec()));
    assert_eq!(
        git::line(repo.git().args(["rev-list", "--count", "main"])),
        "2"
    );
    git::succeeds(repo.git().args(["fsck", "--strict", "--full"]));
}

#[test]
fn the_same_calls_give_the_same_ids() {
    let make = || {
        let repo = Repo::small();
        repo.write("x", "1").commit("second");
        repo.annotated_tag("v1")
    };
    assert_eq!(make(), make());
}

#[test]
fn branches_tags_and_amends_move_refs_as_git_does() {
    let repo = Repo::small();
    let first = repo.tip().unwrap();
    repo.branch("develop").checkout("develop").write("d", "d");
    let develop = repo.commit("on develop");
    repo.checkout("main").write("m", "m");
    let main = repo.commit("on main");
    let merge = repo.commit_onto("merge", &[&main, &develop]);
    assert_eq!(repo.parents(&merge), [main.clone(), develop.clone()]);
    assert_eq!(repo.id("refs/heads/develop"), develop);

    let amended = repo.write("m", "other").amend("amended");
    assert_eq!(repo.parents(&amended), [main, develop]);
    assert_eq!(repo.cat("main:m"), b"other");
    assert_eq!(
        repo.cat("main:flake.nix"),
        repo.cat(&format!("{first}:flake.nix"))
    );

    repo.tag("light");
    let tag = repo.annotated_tag("v1");
    let nested = repo.annotated_tag_of("v1-again", &tag);
    assert_eq!(repo.id("v1-again^{commit}"), amended);
    assert_eq!(repo.info(&nested).unwrap().kind, "tag");
    assert_eq!(
        repo.delete_ref("refs/tags/light").info("refs/tags/light"),
        None
    );
    git::succeeds(repo.git().args(["fsck", "--strict"]));
}

#[test]
fn a_root_can_be_amended() {
    let repo = Repo::small();
    let amended = repo.write("new", "n").amend("amended");
    assert!(repo.parents(&amended).is_empty());
    assert_eq!(repo.ls_tree("main").len(), 4);
}

#[test]
fn raw_objects_have_the_ids_git_gives_them() {
    let repo = Repo::new();
    let blob = repo.blob("content\n");
    let by_git = git::feed(
        repo.git().args(["hash-object", "-w", "--stdin"]),
        b"content\n",
    );
    assert_eq!(String::from_utf8(by_git).unwrap().trim(), blob);
    let tree = repo.raw_tree(&[Entry::file("a", &blob), Entry::tree("b", &"1".repeat(40))]);
    let by_git = git::feed(
        repo.git().args(["mktree", "--missing"]),
        format!("100644 blob {blob}\ta\n040000 tree {}\tb\n", "1".repeat(40)).as_bytes(),
    );
    assert_eq!(String::from_utf8(by_git).unwrap().trim(), tree);
}

#[test]
fn hostile_trees_keep_their_bytes() {
    let repo = Repo::small();
    let blob = repo.blob("x");
    let tree = repo.raw_tree(&[
        Entry::file("..", &blob),
        Entry::new("100666", ".git", &blob),
        Entry::file(b"\xff\xfe", &blob),
        Entry::file("a", &blob),
        Entry::file("a", &blob),
    ]);
    repo.commit_raw_tree(&tree, "hostile");
    assert_eq!(repo.id("main^{tree}"), tree);
    assert!(repo.cat(&tree).starts_with(b"100644 ..\0"));
    assert!(
        !git::output(repo.git().args(["fsck", "--strict"]))
            .status
            .success()
    );
}

#[test]
fn a_signed_commit_verifies_with_real_git() {
    let repo = Repo::small();
    let keys = tempfile::tempdir().unwrap();
    let key = keys.path().join("key");
    let mut make = std::process::Command::new("ssh-keygen");
    git::succeeds(
        make.args([
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-C",
            "author@example.org",
            "-f",
        ])
        .arg(&key),
    );
    let commit = repo.signed_commit(&repo.id("main^{tree}"), &[], "signed", |payload| {
        let mut sign = std::process::Command::new("ssh-keygen");
        let signature = git::feed(
            sign.args(["-Y", "sign", "-n", "git", "-f"]).arg(&key),
            payload,
        );
        String::from_utf8(signature).unwrap()
    });
    let allowed = keys.path().join("allowed");
    let public = std::fs::read_to_string(keys.path().join("key.pub")).unwrap();
    std::fs::write(&allowed, format!("author@example.org {public}")).unwrap();
    let setting = format!("gpg.ssh.allowedSignersFile={}", allowed.display());
    git::succeeds(repo.git().args([
        "-c",
        "gpg.format=ssh",
        "-c",
        &setting,
        "verify-commit",
        &commit,
    ]));
}

#[test]
fn a_history_shows_every_kind_of_change_and_is_the_same_every_time() {
    let repo = Repo::with_history(12);
    let again = Repo::new();
    let ids = History::of(12).extend(&again);
    assert_eq!(ids.len(), 12);
    assert_eq!(ids.last(), repo.tip().as_ref());
    git::succeeds(repo.git().args(["fsck", "--strict", "--full"]));

    let raw = git::succeeds(repo.git().args([
        "log",
        "--raw",
        "--no-abbrev",
        "--format=",
        "--no-renames",
        "main",
    ]));
    let raw = String::from_utf8(raw).unwrap();
    let kinds: std::collections::BTreeSet<&str> = raw
        .lines()
        .filter_map(|line| Some((line.get(1..14)?, line.split([' ', '\t']).nth(4)?)))
        .map(|(modes, status)| if status == "M" { "modified" } else { modes })
        .collect();
    for kind in [
        "000000 100644",
        "100644 000000",
        "100644 100755",
        "100644 120000",
        "120000 100644",
        "modified",
    ] {
        let found = kinds.contains(kind) || raw.contains(&format!(":{kind} "));
        assert!(found, "no change of the kind {kind} in\n{raw}");
    }
    assert!(raw.contains("100755 100644"));
    assert!(raw.contains("160000 160000"));
    assert!(raw.contains("modules/empty.nix/inner.nix"));
}

#[test]
fn a_copied_history_is_a_repository_of_its_own() {
    let (one, other) = (Repo::with_history(3), Repo::with_history(3));
    let before = other.tip();
    one.write("only/here", "x").commit("more");
    assert_eq!(other.tip(), before);
    assert_ne!(one.tip(), before);
    other.write("only/there", "y").commit("more");
    git::succeeds(other.git().args(["fsck", "--full"]));
}

#[test]
fn snapshots_of_a_commit_and_of_its_checkout_are_equal() {
    let repo = Repo::with_history(12);
    let directory = tempfile::tempdir().unwrap();
    repo.archive("main", directory.path());
    // An archive has an empty directory where the commit has a submodule.
    let unpacked =
        TreeSnapshot::of(directory.path()).without(|path| path.starts_with("external-repos"));
    let commit = TreeSnapshot::of_commit(&repo, "main");
    unpacked.assert_same(&commit);
    assert!(commit.files().len() > 40);

    std::fs::write(directory.path().join("flake.nix"), "edited").unwrap();
    let edited =
        TreeSnapshot::of(directory.path()).without(|path| path.starts_with("external-repos"));
    let difference = edited.difference(&commit);
    assert_eq!(difference.len(), 1, "{difference:?}");
    assert_eq!(
        edited.get("flake.nix"),
        Some(&Node::File(0o644, b"edited".to_vec()))
    );
}

/// A git server of another user serves it too.
#[test]
fn every_file_of_a_repository_is_readable_by_other_users() {
    let repo = Repo::small();
    repo.blob("raw");
    repo.tag("v1").annotated_tag("v2");
    for (path, node) in TreeSnapshot::of(repo.path()).nodes() {
        if let Node::File(mode, _) = node {
            let path = String::from_utf8_lossy(path);
            assert_eq!(mode & 0o444, 0o444, "{path} has the mode {mode:04o}");
        }
    }
}
