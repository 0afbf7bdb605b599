//! The routes against an honest server, with what each costs.

use super::*;

/// A repository and a machine that is synced with it.
fn synced() -> (Repo, Machine) {
    let repo = Repo::with_history(5);
    allow_filters(&repo);
    let mut machine = Machine::new();
    machine.sync(&source(&repo), "main").unwrap();
    (repo, machine)
}

#[test]
fn a_fresh_machine_selects_what_it_lacks() {
    let (repo, mut machine) = synced();
    machine.check(&repo, "main");
    machine.lose_store();
    machine.last = None;
    // The target has all but two files.
    let rows = repo.ls_tree("main");
    let blobs: Vec<_> = rows.iter().filter(|row| row.kind == "blob").collect();
    for row in &blobs[..2] {
        machine.held.remove(&BlobId(row.id.parse().unwrap()));
    }
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::SelectGit, 3, 2)
    );
    assert_eq!(synced.fallbacks, "");
    assert!(machine.store.is_complete(machine.last.unwrap()));
    machine.check(&repo, "main");
}

#[test]
fn a_target_that_has_every_file_costs_only_the_listing() {
    let (repo, mut machine) = synced();
    machine.lose_store();
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::SelectGit, 2, 0)
    );
    machine.check(&repo, "main");
}

#[test]
fn no_change_costs_one_request() {
    let (repo, mut machine) = synced();
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::Store, 1, 0)
    );
    let tip = repo.tip().unwrap();
    let synced = machine.sync(&source(&repo), &tip).unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Store, 0));
}

#[test]
fn a_change_costs_two_requests_and_little_more_than_itself() {
    let (repo, mut machine) = synced();
    let whole = {
        let mut fresh = Machine::new();
        fresh.sync(&source(&repo), "main").unwrap().received
    };
    repo.write("new.nix", "{ one = 1; }\n").commit("one");
    let one = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((one.route, one.requests, one.blobs), (Route::Delta, 2, 1));
    assert_eq!(one.fallbacks, "");
    assert!(
        one.received < whole / 10,
        "{} of {whole} bytes",
        one.received
    );
    machine.check(&repo, "main");
    for round in 0..12 {
        repo.write("new.nix", format!("{{ round = {round}; }}\n"))
            .commit("more");
    }
    let many = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((many.route, many.requests), (Route::Delta, 2));
    machine.check(&repo, "main");
    // By its full id one request less.
    let tip = repo.remove("new.nix").commit("gone");
    let by_id = machine.sync(&source(&repo), &tip).unwrap();
    assert_eq!((by_id.route, by_id.requests), (Route::Delta, 1));
    machine.check(&repo, "main");
}

#[test]
fn a_local_repository_offers_filters_under_any_configuration() {
    let repo = Repo::with_history(5);
    let mut machine = Machine::new();
    let first = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((first.route, first.requests), (Route::SelectGit, 3));
    assert_eq!(first.fallbacks, "");
    machine.check(&repo, "main");
    repo.write("new.nix", "{ }\n").commit("one");
    let second = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((second.route, second.requests), (Route::Delta, 2));
    machine.check(&repo, "main");
}

/// The search takes longer than anything else, and saves bytes that no network has to carry.
#[test]
fn no_delta_is_searched_for_in_a_local_repository() {
    let (repo, mut machine) = synced();
    let numbers = (0..4000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string());
    let mut lines: Vec<String> = numbers.collect();
    repo.write("numbers", lines.join("\n")).commit("numbers");
    let first = machine.sync(&source(&repo), "main").unwrap();
    lines[2000] = "changed".to_owned();
    repo.write("numbers", lines.join("\n")).commit("one");
    let second = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(second.route, Route::Delta);
    assert!(
        second.received > first.received / 2,
        "{} after {}",
        second.received,
        first.received
    );
    machine.check(&repo, "main");
}

#[test]
fn a_full_fetch_is_done_where_it_is_asked_for() {
    let (repo, mut machine) = synced();
    let full = machine.sync(&forced(&repo), "main").unwrap();
    assert_eq!((full.route, full.requests), (Route::Full, 2));
    let tip = repo.tip().unwrap();
    let by_id = machine.sync(&forced(&repo), &tip).unwrap();
    assert_eq!((by_id.route, by_id.requests), (Route::Full, 1));
    machine.check(&repo, "main");
}

#[test]
fn a_listing_that_shows_all_to_be_missing_is_followed_by_one_pack() {
    // No list of ids: the same number of requests for any number of files.
    let repo = History::of(1).files(5100).repo();
    allow_filters(&repo);
    let mut machine = Machine::new();
    let all = source(&repo);
    let synced = machine.sync(&all, "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::SelectGit, 3));
    assert!(all.traffic().sent < 1000, "{:?}", all.traffic());
    assert!(synced.blobs > 5000, "{}", synced.blobs);
    machine.check(&repo, "main");
}

#[test]
fn select_never_downloads_excluded_files() {
    let repo = Repo::with_history(5);
    allow_filters(&repo);
    repo.write("target/large", "x".repeat(100_000))
        .commit("build output");
    let mut machine = Machine::new();
    machine.excluded = |path| path.starts_with("target/");
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(synced.route, Route::SelectGit);
    let large: Oid = repo.id("main:target/large").parse().unwrap();
    assert!(!machine.store.contains(large));
    assert!(machine.store.is_complete(machine.last.unwrap()));
    machine.check(&repo, "main");
}

#[test]
fn an_amended_commit_is_a_delta() {
    let (repo, mut machine) = synced();
    repo.write("new.nix", "one").commit("one");
    machine.sync(&source(&repo), "main").unwrap();
    repo.write("new.nix", "two").amend("two");
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 2));
    machine.check(&repo, "main");
}

#[test]
fn a_server_with_bitmaps_answers_the_same() {
    let (repo, mut machine) = synced();
    repo.write("new.nix", "one").commit("one");
    git::succeeds(repo.git().args(["repack", "-adbq"]));
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::Delta, 2, 1)
    );
    machine.check(&repo, "main");
}

#[test]
fn a_rewind_is_a_delta_after_asking_twice() {
    let (repo, mut machine) = synced();
    let old = repo.write("deep.nix", "old").commit("old");
    for round in 0..3 {
        repo.write("deep.nix", format!("round {round}"))
            .commit("on");
    }
    machine.sync(&source(&repo), "main").unwrap();
    repo.update_ref("refs/heads/main", &old);
    let synced = machine.sync(&source(&repo), "main").unwrap();
    // Acknowledged without `ready`: once more, with `done`.
    assert_eq!((synced.route, synced.requests), (Route::Delta, 3));
    assert_eq!(synced.fallbacks, "");
    machine.check(&repo, "main");
}

#[test]
fn an_unrelated_history_is_a_delta_as_long_as_the_server_has_our_commit() {
    let (repo, mut machine) = synced();
    repo.branch("kept");
    repo.write("other.nix", "other")
        .commit_onto("unrelated", &[]);
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 3));
    machine.check(&repo, "main");
}

#[test]
fn a_server_that_lost_our_commit_costs_a_listing_not_everything() {
    let (repo, mut machine) = synced();
    repo.write("new.nix", "one").commit("one");
    machine.sync(&source(&repo), "main").unwrap();
    repo.write("new.nix", "two").amend("two");
    prune(&repo);
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::SelectGit, 4, 1)
    );
    let expected = format!(
        "Delta: {} does not have the last commit any more",
        repo.path().display()
    );
    assert_eq!(synced.fallbacks, expected);
    machine.check(&repo, "main");
}

#[test]
fn a_delta_is_based_on_the_store_where_the_last_commit_is_not_known() {
    let (repo, mut machine) = synced();
    machine.last = None;
    repo.write("new.nix", "one").commit("one");
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 2));
}

/// A server that searches for deltas, as one does that is not on this machine.
fn searching(repo: &Repo) -> GitSource {
    Altered::answers(repo, |_, answer| answer)
}

/// A repository with a large file that is excluded, and a machine that never had it.
fn with_left_out() -> (Repo, Machine) {
    let repo = Repo::with_history(5);
    allow_filters(&repo);
    let text: Vec<String> = (0..2000)
        .map(|line| format!("line {}\n", line * 7919))
        .collect();
    repo.write("target/large", text.concat())
        .commit("build output");
    let mut machine = Machine::new();
    machine.excluded = |path| path.starts_with("target/");
    machine.sync(&source(&repo), "main").unwrap();
    repo.write("target/large", text.concat() + "and one more\n")
        .commit("more output");
    (repo, machine)
}

#[test]
fn a_delta_against_what_was_left_out_falls_back_to_selecting() {
    let (repo, mut machine) = with_left_out();
    let synced = machine.sync(&searching(&repo), "main").unwrap();
    assert_eq!(synced.route, Route::SelectGit);
    assert_eq!(
        synced.fallbacks,
        "Delta: the altered server builds on a file that is not here"
    );
    machine.check(&repo, "main");
}

#[test]
fn a_delta_takes_its_base_from_the_target() {
    let (repo, mut machine) = with_left_out();
    let base = repo.id("main~1:target/large");
    machine
        .held
        .insert(BlobId(base.parse().unwrap()), repo.cat(&base));
    let synced = machine.sync(&searching(&repo), "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::Delta, 2));
    machine.check(&repo, "main");
}

#[test]
fn a_file_that_is_no_longer_excluded_is_selected() {
    let (repo, mut machine) = with_left_out();
    machine.excluded = |_| false;
    let tip = repo.tip().unwrap();
    repo.update_ref("refs/heads/main", &repo.id("main~1"));
    // The commit is complete except for what was excluded.
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::SelectGit, 2, 1)
    );
    repo.update_ref("refs/heads/main", &tip);
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(synced.route, Route::Delta);
    machine.check(&repo, "main");
}

#[test]
fn a_damaged_store_costs_a_listing() {
    let (repo, machine) = synced();
    let packs = machine.store.path().join("objects/pack");
    for entry in std::fs::read_dir(packs).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "pack")
        {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle..middle + 40].fill(0x55);
            std::fs::write(path, bytes).unwrap();
        }
    }
    let reopened = |machine: Machine| Machine {
        store: Store::open(machine.directory.path(), Limits::default().blob).unwrap(),
        ..machine
    };
    let mut machine = reopened(machine);
    repo.write("new.nix", "one").commit("one");
    machine.sync(&source(&repo), "main").unwrap();
    // Damage is noticed at the latest when the object is read, and the next run repairs it.
    let rows = repo.ls_tree("main");
    let blobs = rows.iter().filter(|row| row.kind == "blob");
    let is_lost = |id: &str| {
        machine
            .store
            .read(ObjectKind::Blob, id.parse().unwrap())
            .is_none()
    };
    assert!(blobs.filter(|row| is_lost(&row.id)).count() > 0);
    assert!(!machine.store.is_complete(machine.last.unwrap()));
    let mut machine = reopened(machine);
    assert!(machine.store.was_rebuilt());
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!(
        (synced.route, synced.requests, synced.blobs),
        (Route::SelectGit, 2, 0)
    );
    machine.check(&repo, "main");
}

#[test]
fn a_commit_that_is_not_there_is_unknown() {
    let (repo, mut machine) = synced();
    let error = machine.sync(&source(&repo), &"1".repeat(40)).unwrap_err();
    assert_eq!(code(&error), "source::unknown_commit");
    let error = machine.sync(&forced(&repo), &"1".repeat(40)).unwrap_err();
    assert_eq!(code(&error), "source::unknown_commit");
    let error = Machine::new()
        .sync(&source(&repo), &"1".repeat(40))
        .unwrap_err();
    assert_eq!(code(&error), "source::unknown_commit");
}

#[test]
fn a_commit_that_vanishes_after_it_was_resolved_is_unknown() {
    let (repo, machine) = synced();
    let source = source(&repo);
    let before = repo.tip().unwrap();
    repo.write("new.nix", "one").commit("one");
    let resolved = source.resolve("main").unwrap();
    repo.update_ref("refs/heads/main", &before);
    prune(&repo);
    let error = machine.stage(&source, &resolved).unwrap_err();
    assert_eq!(code(&error), "source::unknown_commit");
    // The same source works with the new state.
    let resolved = source.resolve("main").unwrap();
    assert_eq!(
        machine.stage(&source, &resolved).unwrap().route(),
        Route::Store
    );
}

#[test]
fn an_id_of_another_kind_of_object_is_an_unknown_commit() {
    let (repo, mut machine) = synced();
    let blob = repo.blob("just a file");
    repo.annotated_tag_of("file", &blob);
    for name in ["file", &blob] {
        let error = machine.sync(&source(&repo), name).unwrap_err();
        assert_eq!(code(&error), "source::unknown_commit");
    }
}

#[test]
fn a_hostile_tree_is_refused_by_every_route() {
    let (repo, mut machine) = synced();
    let blob = repo.blob("[core]\n");
    let inner = repo.raw_tree(&[Entry::file("config", &blob)]);
    let tree = repo.raw_tree(&[Entry::tree(".git", &inner)]);
    repo.commit_raw_tree(&tree, "hostile");
    for (mut machine, source) in [
        (Machine::new(), source(&repo)),
        (Machine::new(), forced(&repo)),
    ] {
        let error = machine.sync(&source, "main").unwrap_err();
        assert_eq!(code(&error), "source::tree_refused");
    }
    let last = machine.last;
    let error = machine.sync(&source(&repo), "main").unwrap_err();
    assert_eq!(code(&error), "source::tree_refused");
    assert_eq!(machine.store.commits(), [last.unwrap()]);
    // It is in the store now, and is still refused.
    let error = machine.sync(&source(&repo), "main").unwrap_err();
    assert_eq!(code(&error), "source::tree_refused");
}

#[test]
fn a_server_without_all_objects_of_its_commit_fails_for_good() {
    let repo = Repo::small();
    allow_filters(&repo);
    let tree = repo.raw_tree(&[Entry::file("gone", &"1".repeat(40))]);
    repo.commit_raw_tree(&tree, "broken");
    let error = Machine::new().sync(&source(&repo), "main").unwrap_err();
    assert!(
        matches!(error, Error::DamagedRepository { .. }),
        "{error:?}"
    );
}

#[test]
fn limits_hold_and_name_their_setting() {
    let repo = Repo::small();
    // Does not compress.
    let noise: Vec<u8> = (0..200_000u32)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    repo.write("noise", noise).commit("large");
    // What compresses well counts with its size in the tree.
    let hollow = Repo::small();
    hollow.write("zeros", vec![0; 200_000]).commit("hollow");
    let limits = Limits {
        bytes: 100_000,
        ..Limits::default()
    };
    for large in [&repo, &hollow] {
        let tight = GitSource::local(large.path(), &env(), Options::new(limits, Arc::default()));
        let error = Machine::new().sync(&tight, "main").unwrap_err();
        assert!(
            matches!(
                error,
                Error::TooLarge {
                    setting: "limits.bytes",
                    ..
                }
            ),
            "{error:?}"
        );
    }
    let limits = Limits {
        files: 2,
        ..Limits::default()
    };
    let tight = GitSource::local(repo.path(), &env(), Options::new(limits, Arc::default()));
    let error = Machine::new().sync(&tight, "main").unwrap_err();
    assert_eq!(code(&error), "source::tree_refused");
}

#[test]
fn a_signal_and_the_deadline_stop_a_fetch() {
    let repo = Repo::small();
    let interrupt = Arc::new(AtomicBool::new(false));
    let options = Options::new(Limits::default(), interrupt.clone());
    let source = GitSource::local(repo.path(), &env(), options);
    let resolved = source.resolve("main").unwrap();
    interrupt.store(true, Ordering::Relaxed);
    let machine = Machine::new();
    let error = machine.stage(&source, &resolved).unwrap_err();
    assert_eq!(code(&error), "source::interrupted");
    let options = Options {
        deadline: Instant::now(),
        ..super::options()
    };
    let source = GitSource::local(repo.path(), &env(), options);
    let error = source.resolve("main").unwrap_err();
    assert_eq!(code(&error), "source::timeout");
}

#[test]
fn many_files_are_requested_in_a_few_requests() {
    let repo = History::of(1).files(5100).repo();
    allow_filters(&repo);
    let mut machine = Machine::holding(&repo, "main:flake.nix");
    let synced = machine.sync(&source(&repo), "main").unwrap();
    assert_eq!((synced.route, synced.requests), (Route::SelectGit, 4));
    assert!(synced.blobs > 5000, "{}", synced.blobs);
}
