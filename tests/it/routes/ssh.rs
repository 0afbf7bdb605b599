//! Ssh servers that differ from those of a forge, and the errors for their refusals.
//!
//! The `ssh` here is a script with the words of OpenSSH 9.2; real ones are tested in
//! `tests/machine`.

use super::*;

/// A machine whose `ssh` is this script; `$command` is what the server is asked to run.
fn machine(repo: &Repo, script: &str) -> Machine {
    let address = format!("ssh://git@host.example{}", repo.path().display());
    let machine = Machine::new(repo, &["--repo", &address]);
    machine
        .world
        .tool("ssh", &format!("eval \"command=\\${{$#}}\"\n{script}"));
    machine
}

#[test]
fn a_server_that_drops_the_protocol_variable_gets_it_by_its_shell() {
    let repo = Repo::with_history(3);
    // As sshd without `AcceptEnv GIT_PROTOCOL`: the account's shell runs the command.
    let shell = r#"unset GIT_PROTOCOL; eval "$(echo "$command" | sed 's/git-upload-pack/git upload-pack/')""#;
    let machine = machine(&repo, shell);
    machine.world.link_tool("sed");
    let first = machine.sync(&[]);
    assert_eq!((first.route.as_str(), first.requests), ("full", 2));
    repo.write("flake.nix", "{ }").commit("next");
    let next = machine.sync(&[]);
    assert_eq!((next.route.as_str(), next.requests), ("delta", 2));
}

#[test]
fn a_refusal_is_reported_with_its_cause_and_nothing_is_written() {
    for (code, says) in [
        (
            "ssh_login",
            "git@host.example: Permission denied (publickey).",
        ),
        (
            "host_key_unknown",
            "No ED25519 host key is known for host.example and you have requested strict checking.\r\n\
             Host key verification failed.",
        ),
        (
            "no_permission",
            "fatal: '/srv/gone' does not appear to be a git repository\n\
             fatal: Could not read from remote repository.",
        ),
    ] {
        let machine = machine(
            &Repo::small(),
            &format!("cat >&2 <<'EOT'\n{says}\nEOT\nexit 255"),
        );
        machine.world.link_tool("cat");
        let output = machine.run(&["--json"]).code(4);
        let report = output.json();
        assert_eq!(
            report["error"]["code"],
            format!("hyper_sync::source::{code}"),
            "{report:#}"
        );
        assert!(machine.world.target_tree().is_empty());
    }
}
