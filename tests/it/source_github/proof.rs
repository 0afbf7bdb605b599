//! Which parts of a commit are proven, and what happens to a commit that is not.

use hyper_sync::exit::Exit;
use hyper_sync::git::id::ObjectKind;
use serde_json::{Value, json};

use super::*;

/// A repository whose last commit cannot be had from the API: it has a header that no answer contains.
fn hidden() -> (Repo, String) {
    let repo = Repo::small();
    let (tree, parent) = (repo.id("main^{tree}"), repo.tip().unwrap());
    let commit = repo.object(
        "commit",
        format!(
            "tree {tree}\nparent {parent}\nauthor A <a@b> 1700000000 +0000\n\
             committer A <a@b> 1700000000 +0000\nchange-id zzxyz\n\nhidden\n"
        )
        .as_bytes(),
    );
    repo.update_ref("refs/heads/main", &commit);
    (repo, commit)
}

/// Syncs `reference` by the API; returns the result.
fn outcome(source: &GitHub, machine: &Machine, reference: &str) -> Result<Vec<Notice>, Error> {
    let resolved = source.resolve(reference)?;
    machine
        .stage(source, &resolved)
        .map(|staged| staged.notices().to_vec())
}

#[track_caller]
fn assert_unproven(error: Error, commit: &str) {
    assert!(
        matches!(&error, Error::Verification(VerificationError::Unproven { commit: refused, .. }) if refused.to_string() == commit),
        "{error:?}"
    );
    let exit = Exit::from(&hyper_sync::Error::from(error));
    assert_eq!(exit, Exit::Verification);
}

/// A change of an answer that puts a foreign tree into it.
type Change = fn(&mut Value, &str);

#[test]
fn one_changed_field_never_makes_a_foreign_tree_pass() {
    let repo = Repo::small();
    let foreign = repo.id("main^{tree}");
    repo.write("flake.nix", "new").commit("new");
    let tip = repo.tip().unwrap();
    let changes: [(&str, Change); 5] = [
        ("tree", |commit, foreign| {
            commit["tree"]["sha"] = json!(foreign);
        }),
        ("parents", |commit, _| commit["parents"] = json!([])),
        ("message", |commit, _| commit["message"] = json!("other")),
        ("name", |commit, _| commit["author"]["name"] = json!("Eve")),
        ("date", |commit, _| {
            commit["committer"]["date"] = json!("2001-01-01T00:00:00Z");
        }),
    ];
    for (name, change) in changes {
        for reference in ["main", &tip] {
            let forge = Forge::serve(&repo);
            let foreign = foreign.clone();
            let hits = forge.fault(
                When::get("/git/commits/"),
                Action::mutate_json(move |commit| change(commit, &foreign)),
            );
            let machine = Machine::new();
            let error = outcome(&source(&forge), &machine, reference).expect_err(name);
            assert_unproven(error, &tip);
            assert_eq!(hits.count(), 1);
            assert!(
                forge
                    .request_lines()
                    .iter()
                    .all(|line| !line.contains("/git/trees/")),
                "nothing of it is asked for"
            );
            assert!(machine.store.read(ObjectKind::Commit, id(&tip).0).is_none());
        }
    }
}

#[test]
fn a_comparison_proves_no_more_than_the_commit_itself() {
    let repo = Repo::small();
    let first = repo.tip().unwrap();
    let foreign = repo.id("main^{tree}");
    repo.write("flake.nix", "new").commit("new");
    let forge = Forge::serve(&repo);
    let hits = forge.fault(
        When::get("/compare/"),
        Action::mutate_json(move |answer| {
            answer["base_commit"]["commit"]["tree"]["sha"] = json!(foreign);
        }),
    );
    let mut machine = Machine::new();
    machine.last = Some(id(&first));
    let error = outcome(&source(&forge), &machine, "main").unwrap_err();
    assert_unproven(error, &repo.tip().unwrap());
    assert_eq!(hits.count(), 1);
}

#[test]
fn a_commit_whose_bytes_cannot_be_had_is_refused_or_trusted_and_named() {
    let (repo, commit) = hidden();
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    let error = outcome(&source(&forge), &machine, "main").unwrap_err();
    assert_unproven(error, &commit);

    let trusting = source(&forge).trusting(true);
    let notices = outcome(&trusting, &machine, "main").unwrap();
    assert!(notices.contains(&Notice::CommitFromForge));
    assert!(
        !machine.store.is_complete(id(&commit)),
        "a commit without its bytes is not a base"
    );
    // What can be proven is still proven.
    let parent = repo.id("main^");
    let notices = outcome(&trusting, &machine, &parent).unwrap();
    assert!(!notices.contains(&Notice::CommitFromForge));
}

#[test]
fn a_commit_without_optional_fields_is_not_malformed() {
    let repo = Repo::small();
    let tip = repo.tip().unwrap();
    let forge = Forge::serve(&repo);
    let changes: [fn(&mut Value); 8] = [
        |commit| commit["author"] = json!(null),
        |commit| commit["committer"] = json!(null),
        |commit| drop(commit.as_object_mut().unwrap().remove("author")),
        |commit| drop(commit["author"].as_object_mut().unwrap().remove("email")),
        |commit| commit["author"]["name"] = json!(null),
        |commit| commit["committer"]["date"] = json!(null),
        |commit| commit["committer"]["date"] = json!("yesterday"),
        |commit| drop(commit["committer"].as_object_mut().unwrap().remove("date")),
    ];
    for change in changes {
        forge
            .clear_faults()
            .fault(When::get("/git/commits/"), Action::mutate_json(change));
        let error = outcome(&source(&forge), &Machine::new(), "main").unwrap_err();
        assert_unproven(error, &tip);
    }
    let changes: [fn(&mut Value); 4] = [
        |commit| commit["verification"] = json!(null),
        |commit| drop(commit.as_object_mut().unwrap().remove("verification")),
        |commit| commit["verification"] = json!({}),
        |commit| commit["verification"]["payload"] = json!(null),
    ];
    for change in changes {
        forge
            .clear_faults()
            .fault(When::get("/git/commits/"), Action::mutate_json(change));
        let notices = outcome(&source(&forge), &Machine::new(), "main").unwrap();
        assert!(!notices.contains(&Notice::CommitFromForge));
    }
}

/// A commit and what an API says about it against an older one, by which it may pass as its descendant.
fn claim(forge: &Forge, status: &'static str) {
    forge.clear_faults().fault(
        When::get("/compare/"),
        Action::mutate_json(move |answer| answer["status"] = json!(status)),
    );
}

#[test]
fn known_parents_decide_against_a_comparison() {
    let repo = Repo::small();
    let tree = repo.id("main^{tree}");
    let root = repo.tip().unwrap();
    let old = repo.write("a", "1").commit("old");
    let other_root = repo.commit_tree(&tree, &[], "another root");
    let sibling = repo.commit_tree(&tree, &[&root], "a sibling");
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    for known in [&root, &old] {
        let quiet = source(&forge);
        machine.obtain(&quiet, known).unwrap();
    }
    let commit = |text: &str| Commit::verify(id(text), &repo.cat(text)).unwrap();
    for (name, new) in [
        ("a root", &other_root),
        ("a sibling", &sibling),
        ("an ancestor", &root),
    ] {
        for (asked_before, trust) in [(false, false), (true, false), (false, true)] {
            claim(&forge, if asked_before { "behind" } else { "ahead" });
            let source = source(&forge).trusting(trust);
            if asked_before {
                let empty = Machine::new();
                source
                    .obtain(id(new), Some(id(&old)), &empty.store, &empty)
                    .unwrap();
            }
            forge.reset();
            let descends = source.descends(&commit(new), id(&old), &machine.store);
            assert!(!descends.unwrap(), "{name}");
            assert_eq!(forge.count(), 0, "{name}: what is known is not asked for");
        }
    }
}

#[test]
fn unknown_descent_is_proven_by_the_commits_between_or_refused() {
    let repo = Repo::small();
    let tree = repo.id("main^{tree}");
    let old = repo.write("a", "1").commit("old");
    let between = repo.write("a", "2").commit("between");
    let new = repo.write("a", "3").commit("new");
    let elsewhere = repo.commit_tree(&tree, &[&repo.id("main~3")], "elsewhere");
    let rewritten = repo.commit_tree(&tree, &[&elsewhere], "rewritten");
    let forge = Forge::serve(&repo);
    let commit = |text: &str| Commit::verify(id(text), &repo.cat(text)).unwrap();
    let ask = |new: &str, trust: bool| {
        let machine = Machine::new();
        let source = source(&forge).trusting(trust);
        source.descends(&commit(new), id(&old), &machine.store)
    };
    assert!(ask(&new, false).unwrap());
    for status in ["sideways", ""] {
        claim(&forge, status);
        assert!(ask(&new, false).unwrap(), "a comparison is a hint only");
    }
    forge
        .clear_faults()
        .fault(When::get("/compare/"), Action::status(500, "too long"));
    assert!(ask(&new, false).unwrap());

    // The forge calls a rewritten branch one that moved on: the commits it lists say otherwise.
    claim(&forge, "ahead");
    assert!(!ask(&rewritten, false).unwrap());
    assert!(!ask(&rewritten, true).unwrap());
    // So it lists them with other parents.
    let (middle, parent) = (elsewhere.clone(), old.clone());
    let lie = move |listed: &mut Value| {
        let rows = listed.as_array_mut().unwrap();
        let row = rows.iter_mut().find(|row| row["sha"] == middle.as_str());
        row.unwrap()["parents"] = json!([{ "sha": parent }]);
    };
    forge.fault(When::get("/machines/commits"), Action::mutate_json(lie));
    let error = ask(&rewritten, false).unwrap_err();
    assert!(
        matches!(&error, Error::Verification(VerificationError::UnprovenDescent { new, .. }) if new.to_string() == rewritten),
        "{error:?}"
    );
    assert_eq!(
        Exit::from(&hyper_sync::Error::from(error)),
        Exit::Verification
    );
    assert!(ask(&rewritten, true).unwrap(), "its word was asked for");
    // Or leaves them out.
    let absent = between.clone();
    let leave_out = move |listed: &mut Value| {
        listed
            .as_array_mut()
            .unwrap()
            .retain(|row| row["sha"] != absent.as_str());
    };
    claim(&forge, "ahead");
    forge.fault(
        When::get("/machines/commits"),
        Action::mutate_json(leave_out),
    );
    assert!(matches!(
        ask(&new, false),
        Err(Error::Verification(
            VerificationError::UnprovenDescent { .. }
        ))
    ));
}

#[test]
fn many_commits_are_requested_page_by_page_up_to_a_bound() {
    let repo = Repo::small();
    let first = repo.tip().unwrap();
    let mut stream = Vec::new();
    for number in 0..1200 {
        let message = format!("commit {number}");
        stream.extend(
            format!(
                "commit refs/heads/main\ncommitter A <a@b> {} +0100\ndata {}\n{message}\n{}M 100644 inline count\ndata {}\n{number}\n",
                1_700_000_000 + number,
                message.len() + 1,
                if number == 0 { format!("from {first}\n") } else { String::new() },
                number.to_string().len(),
            )
            .bytes(),
        );
    }
    repo.fast_import(&stream);
    let forge = Forge::serve(&repo);
    let commit = |text: &str| Commit::verify(id(text), &repo.cat(text)).unwrap();
    let ask = |old: &str| {
        let machine = Machine::new();
        let new = commit(&repo.tip().unwrap());
        forge.reset();
        let descends = source(&forge).descends(&new, id(&repo.id(old)), &machine.store);
        (descends.ok(), forge.count())
    };
    assert_eq!(ask("main~7"), (Some(true), 2));
    assert_eq!(ask("main~250"), (Some(true), 4));
    assert_eq!(ask("main~1100"), (None, 11));
}
