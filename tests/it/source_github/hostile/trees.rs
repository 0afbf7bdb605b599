//! Listings that lie, and trees that git would store but that are not written.

use super::*;

#[test]
fn a_listing_that_leaves_out_adds_or_changes_something_names_the_directory() {
    let liar = Liar::new();
    let mismatch = |outcome: (Error, Exit)| match outcome {
        (Error::Verification(VerificationError::Listing { path, .. }), Exit::Verification) => path,
        other => panic!("{other:?}"),
    };
    let drop_row = |path: &'static str| {
        liar.listing(move |listing| {
            listing["tree"]
                .as_array_mut()
                .unwrap()
                .retain(|row| row["path"] != path);
        })
    };
    assert_eq!(mismatch(drop_row("flake.nix")), "");
    assert_eq!(mismatch(drop_row("modules/base.nix")), "modules");
    assert_eq!(
        mismatch(liar.listing(|listing| listing["tree"] = json!([]))),
        ""
    );
    assert_eq!(
        mismatch(liar.listing(|listing| row(listing, "scripts/run.sh")["mode"] = json!("100644"))),
        "scripts"
    );
    assert_eq!(
        mismatch(
            liar.listing(|listing| row(listing, "modules/base.nix")["sha"] = json!("1".repeat(40)))
        ),
        "modules"
    );
    assert_eq!(
        mismatch(
            liar.listing(
                |listing| row(listing, "modules/base.nix")["path"] = json!("modules/b.nix")
            )
        ),
        "modules"
    );
    assert_eq!(
        mismatch(liar.listing(|listing| {
            let extra = json!({ "path": "scripts/evil.sh", "mode": "100755", "type": "blob", "sha": "1".repeat(40), "size": 1 });
            listing["tree"].as_array_mut().unwrap().push(extra);
        })),
        "scripts"
    );
}

#[test]
fn a_listing_of_something_else_is_refused() {
    let liar = Liar::new();
    let malformed = |outcome: (Error, Exit)| {
        assert!(
            matches!(
                outcome,
                (
                    Error::Malformed {
                        what: "listing",
                        ..
                    },
                    Exit::Verification
                )
            ),
            "{outcome:?}"
        );
    };
    malformed(liar.listing(|listing| listing["sha"] = json!("1".repeat(40))));
    malformed(liar.listing(|listing| listing["tree"] = json!(null)));
    malformed(liar.listing(|listing| drop(listing.as_object_mut().unwrap().remove("truncated"))));
    malformed(liar.listing(|listing| {
        listing["tree"]
            .as_array_mut()
            .unwrap()
            .retain(|row| row["path"] != "modules");
    }));
    for sha in [
        "",
        "E69DE29BB2D1D6434B8B29AE775AD8C2E48C5391",
        &"1".repeat(39),
        &"1".repeat(41),
        &"1".repeat(64),
    ] {
        let sha = sha.to_owned();
        malformed(liar.listing(move |listing| row(listing, "flake.nix")["sha"] = json!(sha)));
    }
    for (kind, mode) in [
        ("blob", "040000"),
        ("commit", "100644"),
        ("tree", "100644"),
        ("blob", "160000"),
        ("symlink", "120000"),
    ] {
        malformed(liar.listing(move |listing| {
            row(listing, "flake.nix")["type"] = json!(kind);
            row(listing, "flake.nix")["mode"] = json!(mode);
        }));
    }
    for size in [json!(-1), json!("10"), json!(1e40), json!(1.5)] {
        malformed(liar.listing(move |listing| row(listing, "flake.nix")["size"] = size.clone()));
    }
    malformed(liar.listing(|listing| row(listing, "flake.nix")["size"] = json!(7)));
    for body in [
        r#"{"sha":"x""#,
        r#"{"sha":1,"sha":2}"#,
        "[]",
        "{}",
        &"[".repeat(100_000),
        &"{\"a\":".repeat(100_000),
    ] {
        let body = body.as_bytes().to_vec();
        malformed(liar.lie(When::get("/git/trees/"), Action::ReplaceBody(body)));
    }
}

#[test]
fn an_unproven_row_fails_verification_under_any_name() {
    let liar = Liar::new();
    for path in [
        "../x",
        "/etc/passwd",
        "a//b",
        "flake.nix/",
        ".git",
        "modules/.GIT",
        "a\0b",
        "a\nb",
        "\u{1b}[2J",
        "caf\u{fffd}",
        "a\u{202e}b",
    ] {
        let outcome = liar.listing(move |listing| row(listing, "flake.nix")["path"] = json!(path));
        assert!(
            matches!(
                outcome,
                (
                    Error::Verification(VerificationError::Listing { .. })
                        | Error::Malformed { .. },
                    Exit::Verification
                )
            ),
            "{path:?}: {outcome:?}"
        );
        let shown = outcome.0.to_string();
        assert!(
            !shown.contains(|letter: char| letter.is_control() || letter == '\u{202e}'),
            "{shown:?}"
        );
    }
    for mode in [
        "104755", "102755", "101777", "100600", "0100644", "0", "abc", "",
    ] {
        let outcome = liar.listing(move |listing| row(listing, "flake.nix")["mode"] = json!(mode));
        assert!(
            matches!(
                outcome,
                (
                    Error::Verification(VerificationError::Listing { .. })
                        | Error::Malformed { .. },
                    Exit::Verification
                )
            ),
            "{mode}: {outcome:?}"
        );
    }
}

#[test]
fn a_hostile_tree_that_git_would_store_is_refused_too() {
    let refused = |make: &dyn Fn(&Repo, &str) -> Vec<Entry>| {
        let repo = Repo::small();
        let blob = repo.blob("content");
        let tree = repo.raw_tree(&make(&repo, &blob));
        repo.commit_raw_tree(&tree, "hostile");
        let machine = Machine::new();
        let (error, exit) = outcome(&Forge::serve(&repo), &machine);
        assert_eq!(exit, Exit::UnsafeTree, "{error:?}");
        match error {
            Error::Verification(VerificationError::Tree { fault, .. }) => fault,
            error => panic!("{error:?}"),
        }
    };
    assert!(matches!(
        refused(&|_, blob| vec![Entry::file("a", blob), Entry::file("a", blob)]),
        tree::TreeFault::Duplicate { .. }
    ));
    let both = |repo: &Repo, blob: &str| {
        let inner = repo.raw_tree(&[Entry::file("b", blob)]);
        vec![Entry::link("a", blob), Entry::tree("a", &inner)]
    };
    assert!(matches!(refused(&both), tree::TreeFault::Duplicate { .. }));
    for mode in ["104755", "100600", "102755"] {
        assert!(matches!(
            refused(&|_, blob| vec![Entry::new(mode, "a", blob)]),
            tree::TreeFault::Mode { .. }
        ));
    }
    for name in ["..", ".git", "a\nb", "\u{1b}[2J"] {
        assert!(matches!(
            refused(&|_, blob| vec![Entry::file(name, blob)]),
            tree::TreeFault::Path { .. }
        ));
    }
    assert!(matches!(
        refused(&|_, blob| vec![Entry::link(".gitmodules", blob)]),
        tree::TreeFault::Path {
            fault: path::PathFault::SymlinkedGitFile,
            ..
        }
    ));
    assert!(matches!(
        refused(&|_, _| vec![Entry::new("160000", "a", &"0".repeat(40))]),
        tree::TreeFault::NullId { .. }
    ));
    let deep = |repo: &Repo, blob: &str| {
        (0..70).fold(vec![Entry::file("x", blob)], |entries, _| {
            vec![Entry::tree("d", &repo.raw_tree(&entries))]
        })
    };
    assert!(matches!(
        refused(&deep),
        tree::TreeFault::Path {
            fault: path::PathFault::Deep,
            ..
        }
    ));
}

#[test]
fn an_unsorted_tree_does_not_pass_as_the_sorted_one() {
    let repo = Repo::small();
    let blob = repo.blob("content");
    let tree = repo.raw_tree(&[Entry::file("b", &blob), Entry::file("a", &blob)]);
    repo.commit_raw_tree(&tree, "unsorted");
    let outcome = outcome(&Forge::serve(&repo), &Machine::new());
    assert!(
        matches!(
            outcome,
            (
                Error::Verification(VerificationError::Listing { .. }),
                Exit::Verification
            )
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_tree_with_an_old_mode_is_proven_where_the_listing_has_that_mode() {
    let repo = Repo::small();
    let tree = repo.raw_tree(&[Entry::new("100664", "a", &repo.blob("content"))]);
    repo.commit_raw_tree(&tree, "old");
    let forge = Forge::serve(&repo);
    let source = source(&forge);
    let machine = Machine::new();
    let resolved = source.resolve("main").unwrap();
    let staged = machine.stage(&source, &resolved).unwrap();
    assert_eq!(staged.commit().tree.to_string(), tree);
    assert_eq!(staged.files().len(), 1);
    // Some hosts list it with the mode that it means.
    forge.fault(
        When::get("/git/trees/"),
        Action::mutate_json(|listing| row(listing, "a")["mode"] = json!("100644")),
    );
    let outcome = outcome(&forge, &Machine::new());
    assert!(
        matches!(
            outcome,
            (
                Error::Verification(VerificationError::Listing { .. }),
                Exit::Verification
            )
        ),
        "{outcome:?}"
    );
}

#[test]
fn a_listing_is_bounded_before_anything_is_downloaded() {
    let liar = Liar::new();
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let limited = |limits: Limits| {
        forge.reset();
        let source = Asking {
            limits,
            ..Asking::default()
        }
        .at(&forge);
        let error = Machine::new()
            .obtain(&source, &repo.tip().unwrap())
            .unwrap_err();
        assert!(
            forge
                .request_lines()
                .iter()
                .all(|line| !line.contains("/blobs/"))
        );
        match error {
            Error::TooLarge { setting, .. } => setting,
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(
        limited(Limits {
            files: 4,
            ..Limits::default()
        }),
        "limits.files"
    );
    assert_eq!(
        limited(Limits {
            blob: 10,
            ..Limits::default()
        }),
        "limits.blob"
    );
    assert_eq!(
        limited(Limits {
            bytes: 40,
            ..Limits::default()
        }),
        "limits.bytes"
    );
    for size in [u64::MAX, 1 << 63, 200 << 20] {
        let outcome = liar.listing(move |listing| row(listing, "flake.nix")["size"] = json!(size));
        assert!(
            matches!(
                outcome,
                (
                    Error::TooLarge {
                        setting: "limits.blob" | "limits.bytes",
                        ..
                    },
                    Exit::UnsafeTree
                )
            ),
            "{outcome:?}"
        );
    }
}
