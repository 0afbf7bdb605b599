//! Resolving names to commits.

use super::*;

fn resolved(repo: &Repo, reference: &str) -> (String, RefKind, u64) {
    let source = source(repo);
    let resolved = source.resolve(reference).unwrap();
    (
        resolved.commit.to_string(),
        resolved.kind,
        source.traffic().requests,
    )
}

fn refused(repo: &Repo, reference: &str) -> String {
    code(&source(repo).resolve(reference).unwrap_err())
}

#[test]
fn a_name_is_a_branch_before_it_is_a_tag() {
    let repo = Repo::small();
    let old = repo.tip().unwrap();
    repo.tag("both").tag("v1");
    repo.write("a", "a").commit("second");
    repo.branch("both").branch("main-2").branch("deep/name");
    let new = repo.tip().unwrap();
    assert_eq!(resolved(&repo, "both"), (new.clone(), RefKind::Branch, 1));
    assert_eq!(resolved(&repo, "v1"), (old.clone(), RefKind::Tag, 1));
    assert_eq!(resolved(&repo, "refs/tags/both"), (old, RefKind::Tag, 1));
    assert_eq!(
        resolved(&repo, "deep/name"),
        (new.clone(), RefKind::Branch, 1)
    );
    assert_eq!(resolved(&repo, "HEAD"), (new, RefKind::Branch, 1));
}

#[test]
fn a_prefix_of_a_name_is_unknown() {
    let repo = Repo::small();
    repo.branch("main-2");
    repo.delete_ref("refs/heads/main");
    assert_eq!(refused(&repo, "main"), "source::unknown_ref");
    assert_eq!(refused(&repo, "heads/main-2"), "source::unknown_ref");
}

#[test]
fn annotated_tags_resolve_to_their_commit() {
    let repo = Repo::small();
    let tip = repo.tip().unwrap();
    let tag = repo.annotated_tag("v1");
    repo.annotated_tag_of("v1-signed-off", &tag);
    assert_eq!(resolved(&repo, "v1"), (tip.clone(), RefKind::Tag, 1));
    assert_eq!(resolved(&repo, "v1-signed-off"), (tip, RefKind::Tag, 1));
}

#[test]
fn a_full_id_is_a_commit_and_costs_nothing() {
    let repo = Repo::small();
    let tip = repo.tip().unwrap();
    // Even where a branch is called so.
    repo.write("a", "a").commit("second");
    repo.branch(&tip);
    assert_eq!(resolved(&repo, &tip), (tip.clone(), RefKind::Commit, 0));
    assert_eq!(refused(&repo, &tip[..10]), "source::unknown_ref");
}

#[test]
fn repositories_that_cannot_be_read_have_distinct_errors() {
    assert_eq!(refused(&Repo::new(), "main"), "source::empty_repository");
    let repo = Repo::small();
    assert_eq!(refused(&repo, "nowhere"), "source::unknown_ref");

    let directory = tempfile::tempdir().unwrap();
    let at = |path: &Path, env: &Env| {
        let source = GitSource::local(path, env, options());
        code(&source.resolve("main").unwrap_err())
    };
    assert_eq!(at(directory.path(), &env()), "source::no_repository");
    assert_eq!(
        at(Path::new("/nonexistent"), &env()),
        "source::no_repository"
    );
    let sha256 = ["init", "--quiet", "--bare", "--object-format=sha256", "."];
    git::succeeds(git::git(directory.path()).args(sha256));
    assert_eq!(at(directory.path(), &env()), "source::sha256");
}

#[test]
fn a_work_tree_is_a_repository_too() {
    let directory = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| git::succeeds(git::git(directory.path()).args(args));
    git(&["init", "--quiet", "-b", "main", "."]);
    std::fs::write(directory.path().join("a"), "a").unwrap();
    git(&["add", "a"]);
    git(&["commit", "--quiet", "-m", "start"]);
    let source = GitSource::local(directory.path(), &env(), options());
    let mut machine = Machine::new();
    let synced = machine.sync(&source, "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::SelectGit, 3));
}

#[test]
fn a_default_branch_that_was_renamed_is_named_by_its_new_name() {
    let repo = Repo::small();
    git::succeeds(repo.git().args(["branch", "-m", "main", "trunk"]));
    git::succeeds(
        repo.git()
            .args(["symbolic-ref", "HEAD", "refs/heads/trunk"]),
    );
    let error = source(&repo).resolve("main").unwrap_err();
    let help = miette::Diagnostic::help(&error).unwrap().to_string();
    assert!(help.contains("`--ref trunk`"), "{help}");
    assert!(source(&repo).resolve("trunk").is_ok(), "the advice works");
}
