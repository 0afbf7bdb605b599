//! The forms of honest answers.

use super::*;

#[test]
fn the_commit_is_proven_where_its_bytes_can_be_had() {
    let repo = Repo::small();
    let tree = repo.id("main^{tree}");
    let plain = repo.commit_tree(&tree, &[&repo.tip().unwrap()], "plain");
    let signed = repo.signed_commit(&tree, &[], "signed\n\nbody", |_| {
        "-----BEGIN SSH SIGNATURE-----\n\nAAAA\n-----END SSH SIGNATURE-----\n".into()
    });
    let headers = format!(
        "tree {tree}\nauthor A <a@b> 1700000000 -0330\ncommitter C <c@d> 1700000001 +0545\n"
    );
    let zones = repo.object(
        "commit",
        format!("{headers}\nno newline at its end").as_bytes(),
    );
    let encoded = repo.object(
        "commit",
        format!("{headers}encoding ISO-8859-1\n\nin another encoding\n").as_bytes(),
    );
    let forge = Forge::serve(&repo);
    for commit in [&plain, &signed, &zones, &encoded] {
        let machine = Machine::new();
        let resolved = ResolvedRef {
            commit: id(commit),
            kind: RefKind::Commit,
            is_tag_too: false,
        };
        let staged = machine.stage(&source(&forge), &resolved).unwrap();
        assert!(staged.is_proven());
        assert_eq!(staged.commit().tree.to_string(), tree);
        assert!(!staged.notices().contains(&Notice::CommitFromForge));
        let raw = machine
            .store
            .read(hyper_sync::git::id::ObjectKind::Commit, id(commit).0);
        assert_eq!(raw.unwrap(), repo.cat(commit));
        assert!(machine.store.is_complete(id(commit)));
    }
}

#[test]
fn a_listing_that_is_cut_off_is_taken_part_by_part() {
    let repo = Repo::new();
    for directory in 0..4 {
        for file in 0..5 {
            repo.write(
                format!("d{directory}/sub{}/f{file}", file % 2),
                format!("{directory} {file}"),
            );
        }
    }
    repo.write("top", "top").commit("start");
    let forge = Forge::serve(&repo);
    // A directory has 7 entries and the whole 33: the root is cut off, its parts are not.
    forge.configure(|config| config.tree_entries = 10);
    let mut machine = Machine::new();
    let resolved = source(&forge).resolve("main").unwrap();
    let staged = machine.stage(&source(&forge), &resolved).unwrap();
    assert_same(&staged, &repo, "main");
    let listings = || {
        forge
            .request_lines()
            .iter()
            .filter(|line| line.contains("/git/trees/"))
            .count()
    };
    assert_eq!(listings(), 2 + 4);
    let held = contents(&staged);
    machine.apply(&held);

    repo.write("d2/sub1/f1", "changed").commit("one file");
    forge.reset();
    let resolved = source(&forge).resolve("main").unwrap();
    let staged = machine.stage(&source(&forge), &resolved).unwrap();
    assert_same(&staged, &repo, "main");
    assert_eq!(
        (listings(), staged.downloaded()),
        (2 + 1, 1),
        "parts that are here are not listed"
    );

    // So small that even the parts are cut off, and theirs are not.
    forge.configure(|config| config.tree_entries = 3);
    forge.reset();
    let fresh = Machine::new();
    assert_same(
        &fresh.stage(&source(&forge), &resolved).unwrap(),
        &repo,
        "main",
    );
    assert_eq!(listings(), 2 + 4 * 2 + 8);
}

#[test]
fn a_host_that_answers_in_json_only_is_read() {
    let repo = Repo::new();
    let content: Vec<u8> = (0..=255).cycle().take(1000).collect();
    repo.write("data", &content).commit("one file");
    let forge = Forge::serve(&repo);
    let id = repo.id("main:data");
    let mut coded = data_encoding::BASE64.encode(&content);
    coded.insert(60, '\n');
    coded.push('\n');
    let json =
        serde_json::json!({ "content": coded, "encoding": "base64", "sha": id, "size": 1000 });
    let answer = Action::status_with(
        200,
        "content-type",
        "application/json; charset=utf-8",
        json.to_string(),
    );
    forge.fault(When::get("/git/blobs/"), answer);
    let machine = Machine::new();
    let staged = source(&forge);
    let resolved = staged.resolve("main").unwrap();
    assert_same(&machine.stage(&staged, &resolved).unwrap(), &repo, "main");
    assert_eq!(forge.count(), 4);
}

#[test]
fn a_file_that_is_json_is_read_as_a_file() {
    let repo = Repo::new();
    repo.write("a.json", r#"{"content":"QQ==","encoding":"base64"}"#)
        .write("b.html", "<!DOCTYPE html>")
        .commit("files");
    let forge = Forge::serve(&repo);
    forge.fault(
        When::get(&repo.id("main:a.json")),
        Action::status_with(
            200,
            "content-type",
            "application/json",
            repo.cat("main:a.json"),
        ),
    );
    let html = Action::status_with(200, "content-type", "text/html", repo.cat("main:b.html"));
    forge.fault(When::get(&repo.id("main:b.html")), html);
    let machine = Machine::new();
    let resolved = source(&forge).resolve("main").unwrap();
    assert_same(
        &machine.stage(&source(&forge), &resolved).unwrap(),
        &repo,
        "main",
    );
}

#[test]
fn an_answer_without_the_content_falls_back_to_another_route() {
    let repo = Repo::small();
    let flake = repo.id("main:flake.nix");
    let forge = Forge::serve(&repo);
    for (content, encoding) in [
        (serde_json::json!(null), serde_json::json!(null)),
        (serde_json::json!(""), serde_json::json!("none")),
    ] {
        let answer = serde_json::json!({ "sha": flake, "content": content, "encoding": encoding });
        let answer =
            Action::status_with(200, "content-type", "application/json", answer.to_string());
        forge.clear_faults().fault(When::get(&flake), answer);
        let error = Machine::new()
            .obtain(&source(&forge), &repo.tip().unwrap())
            .unwrap_err();
        assert!(matches!(error, Error::Unsuited { .. }), "{error:?}");
    }
}

#[test]
fn a_large_file_whose_size_is_not_known_is_requested_again_alone() {
    let repo = Repo::small();
    let large: Vec<u8> = (0..3_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0])
        .collect();
    repo.write("large", &large).commit("large");
    let forge = Forge::serve(&repo);
    let (machine, source) = (Machine::new(), source(&forge));
    let tip = repo.tip().unwrap();
    let failed = forge.fault(When::get("/git/blobs/"), Action::status(401, "no"));
    assert!(machine.obtain(&source, &tip).is_err());
    assert!(failed.count() > 0);
    // The trees are stored now, and are not listed again.
    forge.clear_faults().reset();
    let resolved = source.resolve("main").unwrap();
    assert_same(&machine.stage(&source, &resolved).unwrap(), &repo, "main");
    assert_eq!(forge.count(), 1 + 4 + 1);
}
