//! Every layout builds what was synced: neither the tree before it nor an edit after it.

use hyper_sync::rebuild::{ErrorKind, RebuildNote, RebuildStatus, UnpinnedReason};
use hyper_sync::settings::Action;

use super::world::{NixHost, WAYS, Way, is_text};

#[test]
fn each_layout_builds_and_activates_what_was_synced() {
    for way in WAYS {
        let world = NixHost::new(way);
        assert_eq!(world.text(Action::Switch), "one dep-1", "{way:?}");
        world.sync("two");
        assert_eq!(world.text(Action::Switch), "two dep-1", "{way:?}");
        assert_eq!(
            world.activations(),
            ["switch one dep-1", "switch two dep-1"],
            "{way:?}"
        );
        let system = world.link("current").unwrap();
        assert!(is_text(&system, "two dep-1"), "{way:?}");
        assert_eq!(world.link("profile").as_ref(), Some(&system), "{way:?}");
        assert_eq!(
            world.link("state/result").as_ref(),
            Some(&system),
            "{way:?}"
        );
    }
}

/// Nix itself builds the old tree here, and reports success.
#[test]
fn a_lock_file_older_than_the_tree_does_not_build_the_old_tree() {
    let world = NixHost::new(Way::Input);
    world.text(Action::Build);
    world.sync("two");
    assert!(is_text(&world.by_hand(), "one dep-1"));
    assert_eq!(world.text(Action::Build), "two dep-1");
    assert!(is_text(&world.by_hand(), "two dep-1"));
}

/// An edit in place, through another name of the same file, in the middle of the evaluation.
#[test]
fn an_edit_during_the_build_is_not_built_and_not_lost() {
    for way in WAYS {
        let world = NixHost::new(way);
        std::fs::hard_link(world.path("target/text.nix"), world.path("alias")).unwrap();
        let alias = world.path("alias");
        world.write(
            "target/module.nix",
            &format!(
                "let edit = derivation {{ name = \"edit\"; system = \"{}-linux\"; builder = \"/bin/sh\"; \
                 args = [ \"-c\" \"echo '\\\"edited\\\"' >{}; echo done >$out\" ]; }}; in \
                 {{ text = builtins.seq (builtins.readFile edit) (import ./text.nix); }}",
                std::env::consts::ARCH,
                alias.display()
            ),
        );
        assert_eq!(world.text(Action::Switch), "one dep-1", "{way:?}");
        assert_eq!(world.read("target/text.nix"), "\"edited\"\n", "{way:?}");
        // The target is not what was built any more, so the next rebuild is not skipped.
        assert_eq!(world.text(Action::Switch), "edited dep-1", "{way:?}");
    }
}

#[test]
fn a_fifo_in_the_target_does_not_stop_the_build() {
    for way in WAYS {
        let world = NixHost::new(way);
        world.fifo("target/pipe");
        let outcome = world.rebuild(Action::Build).unwrap();
        let system = outcome.system.unwrap();
        assert!(is_text(&system, "one dep-1"), "{way:?}");
        let paths = vec!["pipe".to_owned().try_into().unwrap()];
        assert!(
            outcome.notes.contains(&RebuildNote::LeftOut { paths }),
            "{way:?}"
        );
    }
}

#[test]
fn a_fifo_beside_the_hosts_flake_does_not_stop_the_build() {
    for way in [Way::Input, Way::Literal] {
        let world = NixHost::new(way);
        world.fifo("flake/pipe");
        assert_eq!(world.text(Action::Build), "one dep-1", "{way:?}");
    }
}

/// As in Hyper-NixOS: the target is in the directory of the flake, which Nix copies as a whole.
#[test]
fn a_target_inside_the_directory_of_the_flake_is_frozen_in_its_place() {
    let world = NixHost::new(Way::Literal);
    let flake = world.read("flake/flake.nix");
    let inner = world.target().join("host").display().to_string();
    std::fs::create_dir_all(&inner).unwrap();
    let world_root = world.path("target");
    // The other way round: the flake's directory becomes the parent of the target.
    world.write("flake.nix", &flake);
    world.write("flake.lock", "");
    std::fs::remove_file(world.path("flake.lock")).unwrap();
    world.fifo("target/pipe");
    let outcome = world
        .rebuild_with(Action::Build, |settings| {
            settings.rebuild.flake = world_root.parent().unwrap().to_owned();
        })
        .unwrap();
    assert!(is_text(&outcome.system.unwrap(), "one dep-1"));
}

#[test]
fn what_is_excluded_is_not_built() {
    let world = NixHost::new(Way::Own);
    world.write("target/var/secret", "canary");
    world.write(
        "target/module.nix",
        "{ text = if builtins.pathExists ./var/secret then \"published\" else import ./text.nix; }",
    );
    assert_eq!(world.text(Action::Build), "one dep-1");
}

#[test]
fn a_build_that_needs_an_excluded_file_fails_with_that_cause() {
    for way in WAYS {
        let world = NixHost::new(way);
        world.write("target/var/text", "x");
        world.write(
            "target/module.nix",
            "{ text = builtins.readFile ./var/text; }",
        );
        let error = world.rebuild(Action::Build).unwrap_err();
        match &error.kind {
            ErrorKind::LeftOut { path, .. } => assert_eq!(path.as_str(), "var/text", "{way:?}"),
            _ => panic!("{way:?}: {error}: {:?}", error.tail()),
        }
    }
}

#[test]
fn the_flake_of_a_git_checkout_sees_files_that_git_does_not_know() {
    let world = NixHost::new(Way::Own);
    world.text(Action::Build);
    let git = |args: &[&str]| {
        let status = std::process::Command::new("git")
            .arg("-C")
            .arg(world.target())
            .args(args)
            .status();
        assert!(status.unwrap().success());
    };
    git(&["init", "-q"]);
    git(&["add", "flake.nix"]);
    world.sync("two");
    assert_eq!(world.text(Action::Build), "two dep-1");
}

#[test]
fn a_flake_deeper_in_the_target_reaches_the_whole_of_it() {
    let world = NixHost::new(Way::Own);
    let flake = world.read("target/flake.nix");
    world.write(
        "target/hosts/vm/flake.nix",
        &flake.replace("./module.nix", "../../module.nix"),
    );
    std::fs::remove_file(world.path("target/flake.nix")).unwrap();
    let outcome = world
        .rebuild_with(Action::Build, |settings| {
            settings.rebuild.flake = world.path("target/hosts/vm");
        })
        .unwrap();
    assert!(is_text(&outcome.system.unwrap(), "one dep-1"));
}

#[test]
fn a_state_directory_with_a_space_is_escaped_for_nix() {
    for way in WAYS {
        let world = NixHost::new(way).with_state_dir("a state");
        assert_eq!(world.text(Action::Build), "one dep-1", "{way:?}");
    }
}

#[test]
fn a_linked_flake_is_built_at_its_real_path() {
    let world = NixHost::new(Way::Input);
    std::fs::create_dir(world.path("etc")).unwrap();
    std::os::unix::fs::symlink(world.path("flake/flake.nix"), world.path("etc/flake.nix")).unwrap();
    let outcome = world
        .rebuild_with(Action::Build, |settings| {
            settings.rebuild.flake = world.path("etc");
        })
        .unwrap();
    assert!(is_text(&outcome.system.unwrap(), "one dep-1"));
}

/// Where no namespace can be made, an override and the snapshot itself still pin two of the three.
#[test]
fn without_a_namespace_only_path_literals_are_not_pinned() {
    for way in [Way::Own, Way::Input] {
        let world = NixHost::new(way).without("unshare");
        world.text(Action::Build);
        world.sync("two");
        assert_eq!(world.text(Action::Build), "two dep-1", "{way:?}");
    }
    let world = NixHost::new(Way::Literal).without("unshare");
    // The fallback is `nixos-rebuild`, which is not here.
    let error = world.rebuild(Action::Build).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`nixos-rebuild` is not in the search path"
    );
}

#[test]
fn an_override_of_an_input_that_is_not_there_is_an_error() {
    let world = NixHost::new(Way::Literal);
    let error = world
        .rebuild_with(Action::Build, |settings| {
            let target = format!("path:{}", world.target().display());
            settings.rebuild.extra_args = vec![
                "--override-input".to_owned(),
                "hypervisor".to_owned(),
                target,
            ];
        })
        .unwrap_err();
    assert!(matches!(error.kind, ErrorKind::OtherTree { .. }), "{error}");
}

#[test]
fn an_override_of_our_own_input_is_an_error() {
    let world = NixHost::new(Way::Input);
    world.write(
        "elsewhere/flake.nix",
        "{ outputs = { self }: { text = \"elsewhere\"; }; }",
    );
    let error = world
        .rebuild_with(Action::Build, |settings| {
            let target = format!("path:{}", world.path("elsewhere").display());
            settings.rebuild.extra_args =
                vec!["--override-input".to_owned(), "hv".to_owned(), target];
        })
        .unwrap_err();
    assert!(matches!(error.kind, ErrorKind::OtherTree { .. }), "{error}");
}

#[test]
fn an_argument_of_nixos_rebuild_alone_leaves_the_build_to_it() {
    let world = NixHost::new(Way::Input);
    let rebuild = |argument: &str| {
        world.rebuild_with(Action::Build, |settings| {
            settings.rebuild.extra_args = vec![argument.to_owned()];
        })
    };
    assert_eq!(rebuild("--fast").unwrap().status, RebuildStatus::Built);
    world.sync("two");
    let error = rebuild("--rollback").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`nixos-rebuild` is not in the search path"
    );
    let argument = "--rollback".to_owned();
    assert_eq!(
        UnpinnedReason::Argument { argument }.to_string(),
        "`--rollback` is an argument of `nixos-rebuild` alone"
    );
}
