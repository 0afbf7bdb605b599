//! `self.rev` of a tree that is exactly a commit, and only of such a tree.

use serde_json::Value;

use super::update::run;
use super::world::{NixHost, Way, commit, git};

/// What the flake of the target knows of its commit.
const KNOWN: &str =
    r#"(self.rev or "none") + " " + (self.shortRev or "none") + " " + self.lastModifiedDate"#;

/// A machine whose system contains what its tree knows of the commit, and a repository at its first commit.
fn world(way: Way) -> NixHost {
    let world = NixHost::new(way);
    let make = world.system_maker();
    let system = "nixosConfigurations.vm.config.system.build.toplevel";
    let outputs = if way == Way::Own {
        format!("{system} = ({make}) ({KNOWN});")
    } else {
        format!("text = {KNOWN};")
    };
    world.write(
        "target/flake.nix",
        &format!("{{ outputs = {{ self }}: {{ {outputs} }}; }}"),
    );
    std::fs::create_dir(world.path("repo")).unwrap();
    git(&world, &["init", "--quiet", "--initial-branch=main"]);
    commit(&world);
    world
}

/// The id of the last commit, and its time as Nix prints it.
fn last(world: &NixHost) -> (String, String) {
    let output = std::process::Command::new("git")
        .arg("-C")
        .arg(world.path("repo"))
        .args(["log", "-1", "--format=%H %cd"])
        .arg("--date=format-local:%Y%m%d%H%M%S")
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (id, time) = text.trim().split_once(' ').unwrap();
    (id.to_owned(), time.to_owned())
}

/// Updates; the rebuild in the JSON document, and the text of the system.
fn update(world: &NixHost) -> (Value, String) {
    let output = run(world, &["--json", "--local-edits", "keep"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", world.way);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rebuild = document["rebuild"].clone();
    let text = world.read("state/result/text");
    (rebuild, text.trim().to_owned())
}

#[track_caller]
fn assert_is_last(world: &NixHost) {
    let (rebuild, text) = update(world);
    let (id, time) = last(world);
    assert_eq!(text, format!("{id} {} {time}", &id[..7]), "{rebuild}");
    assert_eq!(rebuild["revision"], id, "{:?}", world.way);
}

#[track_caller]
fn assert_has_none(world: &NixHost) -> Value {
    let (rebuild, text) = update(world);
    assert!(text.starts_with("none none "), "{text}: {rebuild}");
    assert_eq!(rebuild["revision"], Value::Null);
    rebuild["notes"].clone()
}

#[test]
fn a_tree_that_is_the_commit_has_its_revision_and_time() {
    for way in [Way::Own, Way::Input] {
        let world = world(way);
        assert_is_last(&world);
        world.write("repo/readme", "more\n");
        git(&world, &["add", "--all"]);
        let date = "--date=2001-02-03T04:05:06Z";
        git(
            &world,
            &["commit", "--quiet", "--message", "old author", date],
        );
        assert_is_last(&world);
    }
}

/// Most often in the same second, which Nix's cache of evaluations takes for the same flake.
#[test]
fn another_commit_of_the_same_tree_is_another_build() {
    for way in [Way::Own, Way::Input] {
        let world = world(way);
        assert_is_last(&world);
        git(
            &world,
            &["commit", "--quiet", "--allow-empty", "--message", "nothing"],
        );
        assert_is_last(&world);
        let (rebuild, _) = update(&world);
        assert_eq!(rebuild["status"], "unchanged");
    }
}

#[test]
fn a_tree_with_local_edits_has_no_revision_and_the_report_names_them() {
    for way in [Way::Own, Way::Input] {
        let world = world(way);
        assert_is_last(&world);
        world.write("target/text.nix", "\"edited\"\n");
        let notes = assert_has_none(&world);
        let edits = serde_json::json!({ "note": "no-revision", "edited": ["text.nix"] });
        assert!(notes.as_array().unwrap().contains(&edits), "{notes}");
        // As it was committed, it is the commit again.
        world.write("target/text.nix", &world.read("repo/text.nix"));
        assert_is_last(&world);
    }
}

#[test]
fn a_tree_with_unmanaged_files_has_no_revision_and_no_note() {
    for way in [Way::Own, Way::Input] {
        let world = world(way);
        update(&world);
        world.write("target/own.nix", "{ }");
        let notes = assert_has_none(&world);
        assert!(!notes.to_string().contains("no-revision"), "{notes}");
        std::fs::remove_file(world.path("target/own.nix")).unwrap();
        std::fs::create_dir(world.path("target/empty")).unwrap();
        assert_has_none(&world);
        std::fs::remove_dir(world.path("target/empty")).unwrap();
        assert_is_last(&world);
    }
}

/// Nix by hand does not know the commit, and up to 2.19 refuses a time that is not that of the files.
#[test]
fn the_lock_file_has_the_time_of_the_files_and_no_revision() {
    let world = world(Way::Input);
    assert_is_last(&world);
    let lock: Value = serde_json::from_str(&world.read("flake/flake.lock")).unwrap();
    let locked = &lock["nodes"]["hv"]["locked"];
    assert_eq!(locked["rev"], Value::Null, "{locked}");
    let newest = ["flake.nix", "module.nix", "text.nix"].map(|name| {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(world.target().join(name))
            .unwrap()
            .mtime()
    });
    let newest = newest.into_iter().max();
    assert!(locked["lastModified"].as_i64() >= newest, "{locked}");
    let text = std::fs::read_to_string(world.by_hand().join("text")).unwrap();
    assert!(text.starts_with("none none "), "{text}");
}
