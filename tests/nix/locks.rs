//! `flake.lock`: made where it is missing, our own hash refreshed, and no other input changed.

use hyper_sync::nix::NarHash;
use hyper_sync::rebuild::{LockChange, Outcome, RebuildNote};
use hyper_sync::settings::Action;

use super::world::{NixHost, WAYS, Way, is_text};

fn changes(outcome: &Outcome) -> Vec<LockChange> {
    let changes = outcome.notes.iter().filter_map(|note| match note {
        RebuildNote::Lock { change } => Some(*change),
        _ => None,
    });
    changes.collect()
}

/// Nix itself would use the newest inputs at each rebuild.
#[test]
fn a_missing_lock_file_is_made_once_and_reported() {
    for way in WAYS {
        let world = NixHost::new(way);
        let outcome = world.rebuild(Action::Build).unwrap();
        assert_eq!(changes(&outcome), [LockChange::Made], "{way:?}");
        world.write(
            "dep/flake.nix",
            r#"{ outputs = { self }: { v = "dep-2"; }; }"#,
        );
        world.sync("two");
        assert_eq!(world.text(Action::Build), "two dep-1", "{way:?}");
        let outcome = world.rebuild(Action::Build).unwrap();
        assert_eq!(changes(&outcome), [], "{way:?}");
    }
}

/// A flake of its own belongs to the tree, and the tree to the commit.
#[test]
fn the_lock_file_of_a_tree_that_has_none_is_kept_outside_it() {
    let world = NixHost::new(Way::Own);
    world.text(Action::Build);
    assert!(!world.path("target/flake.lock").exists());
    assert!(world.path("state/flake.lock").exists());
    // One that comes with a commit is taken instead.
    std::fs::copy(
        world.path("state/flake.lock"),
        world.path("target/flake.lock"),
    )
    .unwrap();
    world.write("state/flake.lock", "nonsense");
    world.sync("two");
    assert_eq!(world.text(Action::Build), "two dep-1");
}

#[test]
fn an_input_that_a_commit_adds_is_locked_and_the_others_stay() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Build);
    world.write(
        "dep/flake.nix",
        r#"{ outputs = { self }: { v = "dep-2"; }; }"#,
    );
    world.write(
        "new/flake.nix",
        r#"{ outputs = { self }: { v = "new-1"; }; }"#,
    );
    world.write(
        "target/flake.nix",
        &format!(
            "{{ inputs.dep.url = \"path:{0}\"; inputs.new.url = \"path:{1}\"; outputs = {{ self, dep, new }}: \
             {{ text = (import ./module.nix).text + \" \" + dep.v + \" \" + new.v; }}; }}",
            world.path("dep").display(),
            world.path("new").display()
        ),
    );
    assert_eq!(world.text(Action::Build), "one dep-1 new-1");
    let by_hand = world.by_hand();
    assert!(is_text(&by_hand, "one dep-1 new-1"));
    let lock = world.read("flake/flake.lock");
    world.write(
        "new/flake.nix",
        r#"{ outputs = { self }: { v = "new-2"; }; }"#,
    );
    world.sync("two");
    assert_eq!(world.text(Action::Build), "two dep-1 new-1");
    assert_eq!(
        without_ours(&lock),
        without_ours(&world.read("flake/flake.lock"))
    );
}

#[test]
fn another_input_that_is_behind_stays_where_it_is_locked() {
    for way in WAYS {
        let world = NixHost::new(way);
        world.text(Action::Build);
        let lock = world.flake().join("flake.lock");
        let before = std::fs::read_to_string(&lock).unwrap_or_default();
        world.write(
            "dep/flake.nix",
            r#"{ outputs = { self }: { v = "dep-2"; }; }"#,
        );
        world.sync("two");
        assert_eq!(world.text(Action::Build), "two dep-1", "{way:?}");
        let after = std::fs::read_to_string(&lock).unwrap_or_default();
        assert_eq!(without_ours(&before), without_ours(&after), "{way:?}");
    }
}

#[test]
fn our_own_hash_is_refreshed_so_that_a_rebuild_by_hand_agrees() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Build);
    world.sync("two");
    let outcome = world.rebuild(Action::Build).unwrap();
    assert_eq!(changes(&outcome), [LockChange::Refreshed]);
    let lock = world.read("flake/flake.lock");
    assert!(lock.contains(&outcome.nar_hash.unwrap().to_string()));
    assert_eq!(world.by_hand(), outcome.system.unwrap());
    // Nix did not change the lock file.
    assert_eq!(world.read("flake/flake.lock"), lock);
}

/// `--skip-rebuild`, then a rebuild by hand, as the guide says.
#[test]
fn after_a_sync_alone_a_rebuild_by_hand_finds_the_new_tree() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Build);
    world.sync("two");
    let refresh = || hyper_sync::rebuild::refresh_lock(&world.settings(), &world.target());
    let change = LockChange::Refreshed;
    assert_eq!(refresh(), Some(RebuildNote::Lock { change }));
    assert_eq!(refresh(), None);
    assert!(is_text(&world.by_hand(), "two dep-1"));
    for way in [Way::Own, Way::Literal] {
        let world = NixHost::new(way);
        let note = hyper_sync::rebuild::refresh_lock(&world.settings(), &world.target());
        assert_eq!(note, None, "{way:?}");
    }
}

#[test]
fn a_lock_file_that_cannot_be_written_is_reported_and_the_build_is_still_right() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Build);
    world.sync("two");
    let lock = world.path("flake/flake.lock");
    let read_only = |path: &std::path::Path| {
        let bind = |args: &[&str]| {
            let status = std::process::Command::new("mount")
                .args(args)
                .arg(path)
                .status();
            assert!(status.unwrap().success());
        };
        bind(&["--bind", &path.display().to_string()]);
        bind(&["-o", "remount,bind,ro"]);
    };
    read_only(lock.parent().unwrap());
    let outcome = world.rebuild(Action::Build);
    let status = std::process::Command::new("umount")
        .arg(lock.parent().unwrap())
        .status();
    assert!(status.unwrap().success());
    let outcome = outcome.unwrap();
    assert!(is_text(&outcome.system.unwrap(), "two dep-1"));
    assert!(
        outcome
            .notes
            .iter()
            .any(|note| matches!(note, RebuildNote::LockFailed { .. })),
        "{:?}",
        outcome.notes
    );
}

#[test]
fn the_hash_of_a_tree_is_the_one_that_nix_computes() {
    let world = NixHost::new(Way::Own);
    world.write("odd/empty", "");
    world.write("odd/eight by", "12345678");
    world.write("odd/a/b/c/deep", "x");
    world.write("odd/-rf", "y");
    world.write("odd/é", "z");
    world.program("odd/run", "#!/bin/sh\n");
    std::fs::create_dir(world.path("odd/nothing")).unwrap();
    std::os::unix::fs::symlink("/nowhere", world.path("odd/dangling")).unwrap();
    let ours = NarHash::of(&world.path("odd")).unwrap().to_string();
    let nix = world.nix(["hash", "path", &world.path("odd").display().to_string()]);
    assert_eq!(ours, nix);
}

/// A lock file without what is ours to write.
fn without_ours(lock: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in lock.lines() {
        if line.starts_with("    \"hv\"") {
            inside = true;
        } else if line.starts_with("    \"") {
            inside = false;
        }
        let ours = line.contains("narHash") || line.contains("lastModified");
        if !(inside && ours) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}
