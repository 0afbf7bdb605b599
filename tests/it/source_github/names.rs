//! Names, addresses and descent.

use super::*;

#[test]
fn names_are_branches_then_tags_then_commits() {
    let repo = Repo::small();
    let first = repo.tip().unwrap();
    repo.tag("v1").branch("feature/x#1").branch("both");
    repo.write("a", "a").commit("second");
    let annotated = repo.annotated_tag("v2");
    repo.annotated_tag_of("nested", &annotated);
    repo.tag("both").tag("tag/with/slash");
    let second = repo.tip().unwrap();
    let forge = Forge::serve(&repo);
    let source = source(&forge);
    for (name, commit, kind, requests) in [
        ("main", &second, RefKind::Branch, 1),
        ("feature/x#1", &first, RefKind::Branch, 1),
        ("both", &first, RefKind::Branch, 1),
        ("refs/heads/main", &second, RefKind::Branch, 1),
        ("refs/tags/both", &second, RefKind::Tag, 1),
        ("HEAD", &second, RefKind::Branch, 1),
        ("v1", &first, RefKind::Tag, 2),
        ("v2", &second, RefKind::Tag, 2),
        ("nested", &second, RefKind::Tag, 2),
        ("tag/with/slash", &second, RefKind::Tag, 2),
        (&first[..7], &first, RefKind::Commit, 3),
        (&first, &first, RefKind::Commit, 0),
    ] {
        forge.reset();
        assert_eq!(
            source.resolve(name).unwrap(),
            ResolvedRef {
                commit: id(commit),
                kind,
                is_tag_too: false,
            },
            "{name}"
        );
        assert_eq!(forge.count(), requests, "{name}");
    }
    for name in ["nothing", "mai", "main-2", "abcdef0", "refs/heads/v1"] {
        let error = source.resolve(name).unwrap_err();
        assert!(
            matches!(&error, Error::UnknownRef { reference, .. } if reference == name),
            "{error:?}"
        );
    }
    let tree = repo.id("main^{tree}");
    assert!(
        matches!(source.resolve(&tree[..8]), Err(Error::UnknownRef { .. })),
        "a tree is not a commit"
    );
}

#[test]
fn a_repository_that_cannot_be_read_says_why() {
    let repo = Repo::small();
    let empty = Forge::serve(&Repo::new());
    assert!(matches!(
        source(&empty).resolve("main"),
        Err(Error::EmptyRepository { .. })
    ));

    let private = Forge::private(&repo, TOKEN);
    let error = source(&private).resolve("main").unwrap_err();
    assert!(
        matches!(&error, Error::NoPermission { remote, token } if remote == "acme/machines" && token == "none"),
        "{error:?}"
    );
    let allowed = Asking {
        token: true,
        ..Asking::default()
    };
    assert!(allowed.at(&private).resolve("main").is_ok());

    private.configure(|config| config.token = Some("renewed".into()));
    private.reset();
    let error = allowed.at(&private).resolve("main").unwrap_err();
    assert!(
        matches!(&error, Error::Unauthorized { token, .. } if token.contains("GH_ENTERPRISE_TOKEN")),
        "{error:?}"
    );
    assert_eq!(private.count(), 1, "no second try without the token");

    let unknown = Asking {
        owner_name: Some("acme/other"),
        ..Asking::default()
    };
    assert!(matches!(
        unknown.at(&empty).resolve("main"),
        Err(Error::NoPermission { .. })
    ));

    let plain = Forge::serve(&repo);
    plain.configure(|config| config.api = false);
    assert!(
        matches!(source(&plain).resolve("main"), Err(Error::NotAForge { .. })),
        "a host without the API"
    );
}

#[test]
fn a_missing_commit_is_distinguished_from_a_missing_repository() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    let gone = "1".repeat(40);
    assert!(matches!(
        machine.obtain(&source(&forge), &gone),
        Err(Error::UnknownCommit { .. })
    ));
    let other = Asking {
        owner_name: Some("acme/other"),
        ..Asking::default()
    };
    assert!(matches!(
        machine.obtain(&other.at(&forge), &gone),
        Err(Error::NoPermission { .. })
    ));
}

#[test]
fn a_renamed_repository_is_followed_once() {
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names.push("acme/old".into()));
    let machine = Machine::new();
    let source = Asking {
        owner_name: Some("acme/old"),
        token: true,
        ..Asking::default()
    }
    .at(&forge);
    let resolved = source.resolve("main").unwrap();
    assert_same(&machine.stage(&source, &resolved).unwrap(), &repo, "main");
    assert_eq!(forge.count(), 1 + 3 + 3);
    assert!(
        forge.request_lines()[2..]
            .iter()
            .all(|line| line.contains("/repositories/1000/"))
    );
}

#[test]
fn descent_is_found_by_the_parents_the_store_or_two_requests() {
    let repo = Repo::small();
    let first = repo.tip().unwrap();
    let second = repo.write("a", "1").commit("second");
    let third = repo.write("a", "2").commit("third");
    let amended = repo.write("a", "3").amend("amended");
    let forge = Forge::serve(&repo);
    let machine = Machine::new();
    let source = source(&forge);
    let commit = |text: &str| Commit::verify(id(text), &repo.cat(text)).unwrap();
    let gone = "2".repeat(40);
    for (new, old, expected, requests) in [
        (&third, &third, true, 0),
        (&third, &second, true, 0),
        (&third, &first, true, 2),
        // It has no parents.
        (&first, &third, false, 0),
        (&amended, &third, false, 1),
        (&third, &gone, false, 1),
    ] {
        forge.reset();
        assert_eq!(
            source
                .descends(&commit(new), id(old), &machine.store)
                .unwrap(),
            expected
        );
        assert_eq!(forge.count(), requests, "{new} {old}");
    }
    machine.obtain(&source, &second).unwrap();
    forge.reset();
    assert!(
        source
            .descends(&commit(&third), id(&first), &machine.store)
            .unwrap()
    );
    assert_eq!(forge.count(), 0, "the store has the commit between");
}

#[test]
fn the_new_commit_is_received_with_its_descent() {
    let repo = Repo::small();
    let first = repo.tip().unwrap();
    repo.write("a", "1").commit("second");
    let third = repo.write("a", "2").commit("third");
    let amended = repo.write("b", "3").amend("amended");
    let forge = Forge::serve(&repo);
    let commit = |text: &str| Commit::verify(id(text), &repo.cat(text)).unwrap();
    let gone = "2".repeat(40);
    // Listing and files beside it: as many requests as without a last commit.
    for (new, last, expected, requests) in [
        (&third, &first, true, 2),
        (&third, &third, true, 1),
        (&first, &third, false, 1),
        (&amended, &third, false, 1),
        (&third, &gone, false, 2),
    ] {
        let machine = Machine::new();
        let source = source(&forge);
        forge.reset();
        source
            .obtain(id(new), Some(id(last)), &machine.store, &machine)
            .unwrap();
        let descends = source.descends(&commit(new), id(last), &machine.store);
        assert_eq!(descends.unwrap(), expected, "{new} {last}");
        let files = distinct_blobs(&repo, new);
        assert_eq!(forge.count(), requests + 1 + files, "{new} {last}");
    }
    // Where it is not received with them, it is requested.
    for action in [
        Action::status(500, "This diff is taking too long to generate."),
        Action::status(406, "{}"),
        Action::mutate_json(|answer| drop(answer.as_object_mut().unwrap().remove("base_commit"))),
        Action::mutate_json(|answer| answer["base_commit"]["sha"] = "2".repeat(40).into()),
        Action::mutate_json(|answer| {
            answer["base_commit"]["commit"]["tree"] = serde_json::Value::Null;
        }),
        Action::mutate_json(|answer| *answer = serde_json::json!({})),
        Action::ReplaceBody(b"[1]".to_vec()),
    ] {
        let machine = Machine::new();
        let source = source(&forge);
        forge.clear_faults().fault(When::get("/compare/"), action);
        let obtained = source.obtain(id(&third), Some(id(&first)), &machine.store, &machine);
        assert_eq!(
            obtained.unwrap().commit,
            Provenance::Verified(commit(&third))
        );
        forge.clear_faults();
        let descends = source.descends(&commit(&third), id(&first), &machine.store);
        assert!(descends.unwrap());
    }
}

#[test]
fn addresses_are_those_of_the_api() {
    let make = |api: Option<&str>| {
        let client = Client::new(options(), Interrupt::default()).unwrap();
        GitHub::new(
            client,
            ("acme", "machines"),
            api,
            None,
            Limits::default(),
            None,
        )
    };
    assert_eq!(make(None).unwrap().describe(), "acme/machines");
    for api in [
        "https://u:p@git.example.org/api/v3",
        "ftp://git.example.org",
        "git.example.org",
    ] {
        assert!(
            matches!(make(Some(api)), Err(Error::Address { .. })),
            "{api}"
        );
    }
}
