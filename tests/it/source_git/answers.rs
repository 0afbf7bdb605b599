//! Servers that answer as git does not, or as only some of them do.

use super::*;

fn repo() -> Repo {
    let repo = Repo::with_history(5);
    allow_filters(&repo);
    repo
}

#[test]
fn a_server_that_ignores_filters_sends_all_at_once() {
    let repo = repo();
    let source = Altered::requests(&repo, |request| without(request, "filter "));
    let mut machine = Machine::new();
    let synced = machine.sync(&source, "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::SelectGit, 2, 0)
    );
    machine.check(&repo, "main");
}

#[test]
fn a_server_that_fails_on_a_filter_is_asked_for_everything() {
    let repo = Repo::with_history(5);
    let source = Altered::requests(&repo, <[u8]>::to_vec);
    let mut machine = Machine::new();
    let synced = machine.sync(&source, "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Full, 3));
    assert!(
        synced.fallbacks.contains("ends too early"),
        "{}",
        synced.fallbacks
    );
    machine.check(&repo, "main");
}

#[test]
fn a_server_that_sends_whole_packs_instead_of_thin_ones_is_fine() {
    let repo = repo();
    let source = Altered::requests(&repo, |request| {
        // It ignores `thin-pack` and the `have` lines.
        let request = without(&without(request, "thin-pack"), "have ");
        without(&request, "shallow ")
    });
    let mut machine = Machine::new();
    machine.sync(&super::source(&repo), "main").unwrap();
    repo.write("a", "a").commit("next");
    let synced = machine.sync(&source, "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 2));
    machine.check(&repo, "main");
}

#[test]
fn a_file_that_is_not_sent_is_reported_as_missing() {
    let repo = repo();
    // From the third request on, the first wanted file is left out.
    let source = Altered::requests(&repo, |request| {
        let text = String::from_utf8_lossy(request);
        let Some(at) = text.find("want ").filter(|_| !text.contains("deepen")) else {
            return request.to_vec();
        };
        without(request, &text[at..at + 45])
    });
    let mut machine = Machine::holding(&repo, "main:flake.nix");
    let synced = machine.sync(&source, "main").unwrap();
    assert_eq!(synced.route, Route::Full);
    assert!(
        synced.fallbacks.contains("did not send blob"),
        "{}",
        synced.fallbacks
    );
}

#[test]
fn a_cut_answer_is_refused() {
    let repo = repo();
    let source = Altered::answers(&repo, |number, mut answer| {
        if number > 0 {
            answer.truncate(answer.len() / 2);
        }
        answer
    });
    let mut machine = Machine::new();
    let error = machine.sync(&source, "main").unwrap_err();
    assert_eq!(code(&error), "source::protocol");
    assert!(machine.store.commits().is_empty());
    machine.fsck();
}

#[test]
fn a_flipped_bit_in_a_pack_stops_the_run() {
    let repo = repo();
    let source = Altered::answers(&repo, |number, mut answer| {
        if number > 0 {
            let middle = answer.len() / 2;
            answer[middle] ^= 0x10;
        }
        answer
    });
    let mut machine = Machine::new();
    let error = machine.sync(&source, "main").unwrap_err();
    assert_eq!(code(&error), "source::pack");
    assert!(machine.store.commits().is_empty());
}

#[test]
fn the_pack_of_another_commit_is_refused() {
    let repo = repo();
    let other = Repo::small();
    let pack = |repo: &Repo| {
        let request = "0012command=fetch\n0001000ddeepen 1\n";
        let want = format!("0032want {}\n0009done\n0000", repo.tip().unwrap());
        let mut command = git::git(repo.path());
        command
            .env("GIT_PROTOCOL", "version=2")
            .args(["upload-pack", "--stateless-rpc", "."]);
        git::feed(&mut command, (request.to_owned() + &want).as_bytes())
    };
    let foreign = pack(&other);
    let source = Altered::answers(
        &repo,
        move |number, answer| {
            if number > 0 { foreign.clone() } else { answer }
        },
    );
    let error = Machine::new().sync(&source, "main").unwrap_err();
    assert_eq!(code(&error), "source::incomplete");
}

#[test]
fn the_message_of_the_server_is_in_the_error() {
    let repo = repo();
    let source = Altered::answers(&repo, |number, answer| {
        if number == 0 {
            return answer;
        }
        b"0024ERR access denied by policy\x1b[31m0000".to_vec()
    });
    let error = Machine::new().sync(&source, "main").unwrap_err();
    assert_eq!(code(&error), "source::refused");
    assert!(
        error.to_string().contains(r"access denied by policy\u{1b}"),
        "{error}"
    );
}

#[test]
fn pages_and_noise_are_refused_as_answers() {
    let repo = repo();
    for noise in [
        "<!DOCTYPE html><html>",
        "",
        "0000",
        "0005",
        "000",
        "fffffffff",
        "0009hello0000",
    ] {
        let source = Altered::answers(&repo, move |_, _| noise.as_bytes().to_vec());
        let error = source.resolve("main").unwrap_err();
        let code = code(&error);
        assert!(
            matches!(
                code.as_str(),
                "source::protocol" | "source::empty_repository" | "source::unreachable"
            ),
            "{noise:?}: {code}"
        );
    }
}

#[test]
fn an_id_of_the_other_hash_is_refused_as_such() {
    let repo = repo();
    let source = Altered::answers(&repo, |_, _| {
        let line = format!("{} refs/heads/main\n", "a".repeat(64));
        format!("{:04x}{line}0000", line.len() + 4).into_bytes()
    });
    assert_eq!(code(&source.resolve("main").unwrap_err()), "source::sha256");
}

#[test]
fn a_damaged_object_of_the_repository_is_reported_as_damaged() {
    let repo = Repo::small();
    let id = repo.object("blob", b"content\n");
    let tree = repo.raw_tree(&[Entry::file("damaged", &id)]);
    repo.commit_raw_tree(&tree, "two");
    let object = repo.path().join("objects").join(&id[..2]).join(&id[2..]);
    for damaged in [true, false] {
        std::fs::remove_file(&object).unwrap();
        if damaged {
            std::fs::write(&object, "garbage").unwrap();
        }
        for source in [source(&repo), forced(&repo)] {
            let machine = &mut Machine::new();
            let error = machine.sync(&source, "main").unwrap_err();
            assert!(
                matches!(error, Error::DamagedRepository { .. }),
                "{error:?}"
            );
            let exit = hyper_sync::exit::Exit::from(&hyper_sync::Error::from(error));
            assert_eq!(exit, hyper_sync::exit::Exit::Verification);
        }
    }
}
