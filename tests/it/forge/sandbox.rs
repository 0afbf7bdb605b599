//! The sandbox: nothing of the machine gets in, and what comes out is the same every time.

use assert_cmd::Command;

use crate::common::{env::Sandbox, forge::Forge, repo::Repo};

/// Runs a script in the sandbox's environment in place of the binary.
fn script(sandbox: &Sandbox, text: &str) -> crate::common::env::Output {
    let real = sandbox.cmd(&[]);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", text]).env_clear();
    for (name, value) in real.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    sandbox.finish(&mut command)
}

#[test]
fn the_real_binary_runs() {
    let output = Sandbox::new().run(&["--help"]).ok();
    assert!(output.masked().starts_with("exit: 0\n"));
}

#[test]
fn changing_parts_of_the_output_are_masked() {
    let sandbox = Sandbox::new();
    let repo = Repo::small();
    let forge = Forge::serve(&repo);
    let tip = repo.tip().unwrap();
    sandbox.mask_id(&tip, "tip").mask_forge(&forge);
    let text = format!(
        "echo {target}/flake.nix {url} {tip} {short} {other}; echo took 0.19 s, 12 ms, 3s of 954 files, v1.2s 7 steps >&2; exit 3",
        target = sandbox.target().display(),
        url = forge.git_url(),
        short = &tip[..10],
        other = "0123456789".repeat(4),
    );
    let output = script(&sandbox, &text).code(3);
    insta::assert_snapshot!(output.masked(), @r"
    exit: 3
    --- stdout
    [target]/flake.nix http://[forge]/acme/machines.git [tip] [tip] [id]
    --- stderr
    took [time], [time], [time] of 954 files, v1.2s 7 steps
    ");
}

#[test]
fn the_environment_has_only_the_variables_of_the_sandbox() {
    let sandbox = Sandbox::new();
    let output = script(&sandbox, "export -p").ok();
    let mut names: Vec<&str> = output
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("export ")?.split('=').next())
        .filter(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "COLUMNS",
            "HOME",
            "HYPER_SYNC_CONFIG",
            "HYPER_SYNC_STATE_DIR",
            "HYPER_SYNC_TARGET",
            "LC_ALL",
            "NO_COLOR",
            "PATH",
            "TMPDIR",
            "TZ",
        ]
    );
}

#[test]
fn only_chosen_programs_are_in_the_path() {
    let sandbox = Sandbox::new();
    sandbox.tool("nixos-rebuild", "echo rebuilt \"$@\"; exit 7");
    let output = script(&sandbox, "nixos-rebuild switch").code(7);
    assert_eq!(output.out(), "rebuilt switch\n");
    assert!(
        script(&sandbox, "git --version")
            .ok()
            .stdout
            .starts_with("git version")
    );
    let missing = script(&sandbox, "systemctl").code(127);
    assert!(missing.err().contains("systemctl"));
}

#[test]
fn an_edit_is_a_file_of_the_target() {
    let sandbox = Sandbox::new();
    assert!(sandbox.target_tree().is_empty());
    sandbox.edit("modules/host-local.nix", "{ }\n");
    assert_eq!(sandbox.target_tree().files(), ["modules/host-local.nix"]);
}

#[test]
fn the_fake_ssh_serves_git_as_a_server_does() {
    let sandbox = Sandbox::new();
    let repo = Repo::small();
    sandbox.fake_ssh();
    let url = format!("someone@host:{}", repo.path().display());
    let list = format!("GIT_CONFIG_GLOBAL=/dev/null git ls-remote '{url}' main");
    let output = script(&sandbox, &list).ok();
    assert_eq!(
        output.stdout,
        format!("{}\trefs/heads/main\n", repo.tip().unwrap())
    );
    let calls = sandbox.ssh_calls();
    assert_eq!(calls.len(), 1);
    assert!(
        calls[0].contains("someone@host git-upload-pack"),
        "{calls:?}"
    );

    // Asked bare, without the option that passes the variable on, it answers in the old protocol.
    let bare = format!(
        "printf 0000 | GIT_PROTOCOL=version=2 ssh x \"git-upload-pack '{}'\"",
        repo.path().display()
    );
    assert!(!script(&sandbox, &bare).stdout.contains("version 2"));
    let with = bare.replace("ssh x", "ssh -o SendEnv=GIT_PROTOCOL x");
    assert!(script(&sandbox, &with).stdout.contains("version 2"));
}
