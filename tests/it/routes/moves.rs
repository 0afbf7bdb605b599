//! A repository that has moved: it is read from its new address, which is reported and expires.

use super::*;
use crate::common::forge::fault::{Action, When};

#[test]
fn a_repository_that_has_moved_is_named_and_its_old_name_is_asked_again_after_a_surprise() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
    let asked = forge.git_url().replace("acme/machines", "acme/before");
    let machine = Machine::new(&repo, &["--repo", &asked]);
    for _ in 0..2 {
        let moved = machine.run(&[]).ok();
        let advice = format!("set `repo = \"{}\"`", forge.git_url());
        assert!(moved.stderr.contains(&advice), "{}", moved.stderr);
    }
    let state = state(&machine);
    assert_eq!(state["repository"], asked);
    assert_eq!(state["read_from"], forge.git_url());
    assert!(machine.world.state().join("git-base").exists());
    machine.refuses_to_go_back(1);
    assert!(!machine.world.state().join("git-base").exists());
    // The advice works.
    let there = Machine::git(&forge, &repo).run(&[]).ok();
    assert!(!there.stderr.contains("moved"), "{}", there.stderr);
}

fn state(machine: &Machine) -> serde_json::Value {
    let state = fs::read_to_string(machine.world.state().join("sync-state.json")).unwrap();
    serde_json::from_str(&state).unwrap()
}

#[test]
fn every_command_that_asks_the_host_forgets_the_address_after_a_surprise() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
    let asked = forge.git_url().replace("acme/machines", "acme/before");
    let machine = Machine::new(&repo, &["--repo", &asked]);
    let memory = machine.world.state().join("git-base");
    for command in [
        &["sync"][..],
        &["sync", "--check-only"],
        &["sync", "--dry-run"],
        &["diff", "--remote"],
        &["--check-only"],
    ] {
        let _ = machine.run(&[]).ok();
        assert!(memory.exists(), "{command:?}");
        let mut gone = machine.world.cmd(&[command, &["--repo", &asked]].concat());
        let _ = machine
            .world
            .finish(gone.env("HYPER_SYNC_REF", "gone"))
            .code(2);
        assert!(!memory.exists(), "{command:?}");
    }
}

#[test]
fn a_move_that_only_the_api_sees_is_reported_and_is_in_the_state() {
    let repo = Repo::with_history(3);
    let forge = Forge::serve(&repo);
    let api = forge.api_url();
    let arguments = |name: &str, transport: &str| {
        let words = ["--repo", name, "--api-url", &api, "--transport", transport];
        words.map(str::to_owned)
    };
    let machine = |arguments: &[String; 6]| {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Machine::new(&repo, &arguments)
    };
    for transport in ["api", "auto"] {
        forge.clear_faults();
        forge.configure(|config| config.former_names = Vec::new());
        if transport == "auto" {
            for request in [When::post("git-upload-pack"), When::get("info/refs")] {
                forge.fault(request, Action::status(501, "no"));
            }
        }
        let mut github = machine(&arguments("acme/machines", transport));
        let _ = github.run(&[]).ok();
        assert_eq!(state(&github)["read_from"], serde_json::Value::Null);

        // Nothing else has changed: the state names it all the same.
        forge.configure(|config| config.former_names = vec!["acme/before".to_owned()]);
        github.arguments = arguments("acme/before", transport).to_vec();
        for options in [&["--allow-other-repo"][..], &[]] {
            let moved = github.run(options).ok();
            let advice = "set `repo = \"acme/machines\"`";
            assert!(moved.stderr.contains(advice), "{}", moved.stderr);
            assert_eq!(state(&github)["repository"], "acme/before");
            assert_eq!(state(&github)["read_from"], "acme/machines");
        }
        let status = github.world.run(&["status"]).ok();
        assert!(
            status
                .stdout
                .contains("read from acme/machines: the repository has moved"),
            "{}",
            status.stdout
        );
        let status = github.world.run(&["status", "--json"]).ok().json();
        assert_eq!(status["last_sync"]["read_from"], "acme/machines");

        // The advice works.
        github.arguments = arguments("acme/machines", transport).to_vec();
        let there = github.run(&[]).ok();
        assert!(!there.stderr.contains("moved"), "{}", there.stderr);
        assert_eq!(state(&github)["repository"], "acme/machines");
        assert_eq!(state(&github)["read_from"], serde_json::Value::Null);
    }
    // A name that cannot be written as `repo` is not advised.
    forge.clear_faults();
    forge.fault(
        When::get("/repositories/1000"),
        Action::mutate(|body| match String::from_utf8(body) {
            Ok(text) => {
                let bad = r#""full_name":"a/b\"; x""#;
                text.replace(r#""full_name":"acme/machines""#, bad).into()
            }
            Err(content) => content.into_bytes(),
        }),
    );
    let github = machine(&arguments("acme/before", "api"));
    let moved = github.run(&[]).ok();
    let advice = format!("read from {api}/repositories/1000: set `repo` to its new name");
    assert!(moved.stderr.contains(&advice), "{}", moved.stderr);
}
