//! The settings through the real binary: `config show`, `config check`, and how a wrong setting ends a run.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use proptest::prelude::*;

use hyper_sync::settings::{Env, MEANINGS, Overrides, Settings};

use crate::common::env::{Output, Sandbox};
use crate::common::git;

fn check(text: &str) -> (Sandbox, Output) {
    let sandbox = Sandbox::new();
    sandbox.config(text);
    let output = sandbox.run(&["config", "check"]);
    (sandbox, output)
}

#[test]
fn shows_every_setting_with_its_origin() {
    let sandbox = Sandbox::new();
    sandbox.config("# ours\nref = 'develop'\n\n[limits]\nblob = '1 MiB'\n");
    let mut command = sandbox.cmd(&["config", "show", "--repo", "../upstream"]);
    command
        .env_remove("HYPER_SYNC_TARGET")
        .env("HYPER_SYNC_REBUILD_ACTION", "boot")
        .env("HYPER_SYNC_VALIDATE_TOOLS", "git\nvim");
    let output = sandbox.finish(&mut command).ok();
    insta::assert_snapshot!(output.masked(), @r#"
    exit: 0
    --- stdout
    repo = "[root]/upstream"  # --repo
    ref = "develop"                               # [config.toml]:2
    target = "/etc/hypervisor/src"                # default
    transport = "auto"                            # default
    local_edits = "replace"                       # default
    protect = ["modules/*-local.nix", "hardware-configuration.nix", "scripts/hardware_detect.sh"]  # default
    exclude = ["/.git/", "result", "/target/", "tools/target/", "/var/", "*.socket"]  # default
    executable = ["scripts/**/*.sh"]              # default
    require = ["flake.nix", "configuration.nix"]  # default
    state_dir = "[state]"  # HYPER_SYNC_STATE_DIR
    state_file = "/var/lib/hypervisor/cache/sync-state.json"  # default
    # metrics_file is not set                     # default
    failure_grace = "24h"                         # default
    # token_file is not set                       # default
    # api_url is not set                          # default
    # ssh_key_file is not set                     # default
    # known_hosts_file is not set                 # default
    # ca_file is not set                          # default

    [health]
    units = true                                  # default
    remote = false                                # default
    within = "2m"                                 # default
    timeout = "[time]"                               # default
    confirm = false                               # default

    [rebuild]
    action = "boot"                               # HYPER_SYNC_REBUILD_ACTION
    flake = "/etc/hypervisor"                     # default
    # host is not set                             # default
    extra_args = ["--impure"]                     # default
    gate = "off"                                  # default
    timeout = "4h"                                # default
    activation_timeout = "30m"                    # default

    [reboot]
    allow = false                                 # default
    # window is not set                           # default
    when_idle = false                             # default

    [hooks]
    changed = []                                  # default
    failed = []                                   # default
    # url is not set                              # default

    [validate]
    directories = ["/etc/hypervisor", "/etc/hypervisor/src", "/var/lib/hypervisor"]  # default
    files = ["/etc/hypervisor/flake.nix", "configuration.nix", "/etc/nixos/hardware-configuration.nix"]  # default
    tools = ["git", "vim"]                        # HYPER_SYNC_VALIDATE_TOOLS
    kvm = true                                    # default
    bridge = "br0"                                # default
    services = ["libvirtd.service"]               # default
    min_free = "5 GiB"                            # default

    [limits]
    files = 150000                                # default
    bytes = "1 GiB"                               # default
    blob = "1 MiB"                                # [config.toml]:5
    time = "15m"                                  # default

    [trust]
    # signers is not set                          # default
    symlinks = "any"                              # default
    rewind = false                                # default
    moving_tags = false                           # default
    forge = false                                 # default

    # token: none is used, the repository is not read over HTTP
    "#);
}

#[test]
fn the_shown_settings_are_a_configuration_with_the_same_meaning() {
    let sandbox = Sandbox::new();
    sandbox.config("repo = 'git@example.org:a/b.git'\nprotect = [\"a'b\", 'c\"d']\n[rebuild]\nhost = 'h'\ntimeout = 90\nextra_args = ['']\n");
    let shown = sandbox.run(&["config", "show"]).ok().stdout;
    let values = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .map(|line| line.rsplit_once("  # ").map_or(line, |(value, _)| value));
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    sandbox.config(&shown);
    let again = sandbox.run(&["config", "show"]).ok().stdout;
    assert_ne!(shown, again, "the origins are lines of the file now");
    assert_eq!(values(&shown), values(&again));
}

#[test]
fn shows_json() {
    let sandbox = Sandbox::new();
    let json = sandbox
        .run(&["--json", "config", "show", "--repo", "/srv/x"])
        .ok()
        .json();
    let setting = |name: &str| json["settings"][name].clone();
    assert_eq!(setting("repo")["value"], "/srv/x");
    assert_eq!(setting("repo")["origin"], "--repo");
    assert_eq!(setting("target")["origin"], "HYPER_SYNC_TARGET");
    assert_eq!(setting("limits.files")["value"], 150_000);
    assert_eq!(setting("rebuild.host")["value"], serde_json::Value::Null);
    assert_eq!(
        json["token"],
        "none is used, the repository is not read over HTTP"
    );
}

#[test]
fn shows_where_the_token_is_and_never_the_token() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.cmd(&["config", "show", "--repo", "o/n"]);
    let output = sandbox
        .finish(command.env("GITHUB_TOKEN", "ghp_canary"))
        .ok();
    assert!(
        output
            .stdout
            .ends_with("# token: the token in `GITHUB_TOKEN`, for github.com\n")
    );
    assert!(!output.stdout.contains("canary"));

    let file = sandbox.root().join("token");
    fs::write(&file, "ghp_canary").unwrap();
    for (mode, expected) in [
        (
            0o600,
            "# token: the token in `[root]/token`, for github.com\n",
        ),
        (
            0o644,
            "# token: others may read or change `[root]/token` (mode 0644)\n",
        ),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let mut command = sandbox.cmd(&["config", "show", "--repo", "o/n", "--token-file"]);
        let output = sandbox.finish(command.arg(&file)).ok();
        assert!(output.out().ends_with(expected), "{}", output.out());
        assert!(!output.stdout.contains("canary"));
    }
}

#[test]
fn a_right_file_passes_the_check() {
    let (_, output) = check("repo = 'a/b'\ntarget = '/etc/nixos'\n[rebuild]\naction = 'test'\n");
    insta::assert_snapshot!(output.masked(), @"
    exit: 0
    --- stderr
    `[config.toml]` is valid
    ");
}

#[test]
fn the_check_needs_no_environment() {
    let sandbox = Sandbox::new();
    let file = sandbox.root().join("checked.toml");
    fs::write(&file, "target = '/etc/nixos'\n").unwrap();
    let mut command = sandbox.cmd(&["config", "check"]);
    command
        .arg(&file)
        .env_clear()
        // The machine that checks is not the one it is for.
        .env("HYPER_SYNC_TARGET", "/")
        .env("HYPER_SYNC_CONFIG", "/nonexistent");
    assert_eq!(sandbox.finish(&mut command).ok().stdout, "");
}

#[test]
fn each_mistake_is_shown_with_its_line() {
    let (_, output) = check(
        "repo = 'a/b'\ntargt = '/etc/nixos'\ntoken = 'ghp_canary'\n[rebuild]\naction = 'swich'\ngoal = 'build'\n",
    );
    insta::assert_snapshot!(output.code(2).masked(), @"
    exit: 2
    --- stderr
    error: 4 settings are wrong
    help: correct each
    [settings::several]

    error: [config.toml]:2 has the unknown key `targt`
      1 | repo = 'a/b'
      2 | targt = '/etc/nixos'
        | ^^^^^ unknown key
      3 | token =*************
    help: write `target` if that was meant
    [settings::unknown_key]

    error: [config.toml]:3 has the unknown key `token`
      2 | targt = '/etc/nixos'
      3 | token =*************
        | ^^^^^ unknown key
      4 | [rebuild]
    help: a secret does not belong in this file: put it into a file of its own and give its path as `token_file`
    [settings::unknown_key]

    error: [config.toml]:6 has the unknown key `rebuild.goal`
      5 | action = 'swich'
      6 | goal = 'build'
        | ^^^^ unknown key
    help: `hyper-sync config show` lists all there are
    [settings::unknown_key]

    error: `rebuild.action` ([config.toml]:5) is `swich`, which is none of `build`, `test`, `switch`, `boot`, `dry-activate`, `none`
      4 | [rebuild]
      5 | action = 'swich'
        |          ^^^^^^^ this value
      6 | goal = 'build'
    help: use one of them
    [settings::unknown_choice]
    ");
}

#[test]
fn a_syntax_error_is_shown_with_its_line() {
    let (_, output) = check("ref = 'main'\nref = 'develop'\n");
    insta::assert_snapshot!(output.code(2).masked(), @"
    exit: 2
    --- stderr
    error: [config.toml]:2 is not valid TOML: duplicate key
      1 | ref = 'main'
      2 | ref = 'develop'
        | ^^^ here
    help: correct the marked place
    [settings::syntax]
    ");
}

#[test]
fn an_error_is_one_json_document() {
    let sandbox = Sandbox::new();
    sandbox.config("targt = '/etc/nixos'\n");
    let output = sandbox.run(&["--json", "config", "check"]).code(2);
    assert_eq!(output.stderr, "");
    insta::assert_snapshot!(output.out(), @r#"
    {
      "schema": 1,
      "command": "config check",
      "error": {
        "causes": [],
        "code": "hyper_sync::settings::unknown_key",
        "exit": 2,
        "help": "write `target` if that was meant",
        "message": "[config.toml]:1 has the unknown key `targt`",
        "related": []
      }
    }
    "#);
}

#[test]
fn credentials_are_refused_and_not_repeated() {
    for repo in [
        "https://canary@example.org/o/n",
        "ssh://git:canary@example.org/o/n",
    ] {
        let sandbox = Sandbox::new();
        sandbox.config(&format!("repo = '{repo}'\n"));
        let in_file = sandbox.run(&["config", "show"]).code(2);
        let flag = sandbox.run(&["config", "show", "--repo", repo]).code(64);
        for output in [in_file, flag] {
            let shown = output.masked();
            assert!(shown.contains("settings::repository"), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}

#[test]
fn a_wrong_option_is_a_usage_error_with_its_reason() {
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["sync", "--ref=-x"]).code(64);
    insta::assert_snapshot!(output.stderr, @"
    error: `ref` (--ref) is `-x`, which is not a name git allows: it begins with `-`
    help: give a branch, a tag or a commit id, such as `main`; nothing was written
    [settings::reference]
    ");
    let output = sandbox
        .run(&["config", "show", "--target", "/etc"])
        .code(64);
    insta::assert_snapshot!(output.stderr, @"
    error: `target` (--target) is `/etc`, which holds much more than one configuration
    help: choose a directory of its own, such as `/etc/nixos`
    [settings::protected_directory]
    ");
}

#[test]
fn a_wrong_configuration_never_exits_as_warnings_only() {
    let sandbox = Sandbox::new();
    sandbox.config("targt = '/etc/nixos'\n");
    let _ = sandbox.run(&["validate"]).code(1);
    let _ = sandbox.run(&["sync"]).code(2);
}

#[test]
fn a_file_that_is_named_must_exist() {
    let sandbox = Sandbox::new();
    let output = sandbox
        .run(&["config", "show", "--config", "nowhere.toml"])
        .code(2);
    insta::assert_snapshot!(output.masked(), @"
    exit: 2
    --- stderr
    error: there is no configuration file `[home]/nowhere.toml`
    help: `hyper-sync init --config [home]/nowhere.toml` writes one; or correct `--config`: without it, a missing `/etc/hyper-sync/config.toml` is fine
    [settings::file_missing]
    ");
    fs::remove_file(sandbox.root().join("config.toml")).unwrap();
    let output = sandbox.run(&["config", "show"]).code(2);
    assert!(
        output.stderr.contains("HYPER_SYNC_CONFIG"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_file_that_is_not_text_is_refused() {
    for (content, why) in [
        (vec![0xff, 0xfe], "not UTF-8"),
        (vec![b'#'; (1 << 20) + 1], "1 MiB"),
    ] {
        let sandbox = Sandbox::new();
        fs::write(sandbox.root().join("config.toml"), content).unwrap();
        let output = sandbox.run(&["config", "check"]).code(2);
        assert!(output.stderr.contains(why), "{}", output.stderr);
    }
    let sandbox = Sandbox::new();
    let output = sandbox.run(&["config", "check", "."]).code(2);
    assert!(
        output.stderr.contains("file_unreadable"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_variable_that_is_not_a_setting_gets_a_warning() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.cmd(&["config", "show"]);
    let output = sandbox.finish(command.env("HYPER_SYNC_TARGT", "/x")).ok();
    assert_eq!(
        output.stderr,
        "warning: `HYPER_SYNC_TARGT` is set, but is not a setting; write `HYPER_SYNC_TARGET` if that was meant\n"
    );
}

/// Whether git would have a branch or tag of this name.
fn git_allows(name: &str) -> bool {
    let mut git = std::process::Command::new(git::program());
    let status = git
        .args(["check-ref-format", "--allow-onelevel", name])
        .status();
    status.unwrap().success()
}

fn we_allow(name: &str) -> bool {
    let env = Env::empty().as_root(true);
    let flags = Overrides::none().with("ref", "--ref", Some(name));
    Settings::resolve(&flags, &env, None).is_ok()
}

#[test]
fn listed_names_are_allowed_as_by_git() {
    for name in [
        "main", "a/b", "HEAD", "@", "a@b", "@a", "a@{b", "a..b", "a.b", ".a", "a.", "a/.b",
        "a.lock", "a.lock/b", "a//b", "/a", "a/", "a b", "a~", "a^", "a:", "a?", "a*", "a[", "a]",
        "a\\", "ü", "a{", "a\u{7f}", "a\tb", "-",
    ] {
        if name.starts_with('-') {
            assert!(!we_allow(name), "stricter than git: it would be an option");
        } else {
            assert_eq!(we_allow(name), git_allows(name), "{name:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn random_names_are_allowed_as_by_git(name in "[a-b./@{~^:?*\\[\\\\ -]{1,6}") {
        prop_assume!(!name.starts_with('-'));
        prop_assert_eq!(we_allow(&name), git_allows(&name));
    }
}

#[test]
fn each_setting_has_a_meaning() {
    let root = Env::empty().as_root(true).with("HOME", "/root");
    let resolved = Settings::resolve(&Overrides::none(), &root, None).unwrap();
    let resolved = resolved.entries.iter().map(|entry| entry.name.as_ref());
    let explained = MEANINGS.iter().map(|(name, _)| *name);
    let explained = explained.filter(|name| !name.starts_with("health.checks."));
    assert_eq!(
        explained.collect::<Vec<_>>(),
        resolved.collect::<Vec<_>>(),
        "src/settings/meaning.rs"
    );
}

#[test]
fn explains_a_setting() {
    let sandbox = Sandbox::new();
    sandbox.config("local_edits = 'keep'\n[health.checks.web]\ntcp = 'localhost:80'");
    let explain = |key: &str| sandbox.run(&["config", "explain", key]);
    insta::assert_snapshot!(explain("local_edits").ok().masked(), @r#"
    exit: 0
    --- stdout
    local_edits
      What happens to a file that was edited in the target: `replace` keeps a copy and writes the commit's file, `keep` leaves the edit, `merge` merges it with the commit's change as git does and stops the run where both change the same lines, `refuse` stops the run if the commit changes that file.
      takes     `replace`, `keep`, `merge`, `refuse`
      default   "refuse"
      here      "keep"  # [config.toml]:1
      variable  HYPER_SYNC_LOCAL_EDITS
      option    --local-edits
    "#);
    let of_a_check = explain("health.checks.NAME.tcp").ok().stdout;
    assert!(
        of_a_check.contains("in the configuration file only"),
        "{of_a_check}"
    );
    let unknown = explain("local_edit");
    assert_eq!(unknown.code, Some(64));
    assert!(
        unknown.stderr.contains("`local_edits`"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn explains_a_setting_where_the_file_is_wrong() {
    let sandbox = Sandbox::new();
    sandbox.config("local_edits = 'kept'");
    let output = sandbox.run(&["config", "explain", "local_edits"]).ok();
    assert!(
        output
            .stdout
            .contains("`replace`, `keep`, `merge`, `refuse`"),
        "{}",
        output.stdout
    );
}

/// A setting as `config explain --json` prints it.
#[derive(serde::Deserialize)]
struct Explained {
    name: String,
    meaning: String,
    takes: Option<String>,
    default: Option<serde_json::Value>,
    variable: Option<String>,
    option: Option<String>,
}

/// `docs/settings.md` is what `config explain` says, with the defaults of both kinds of target.
#[test]
fn docs_settings_lists_every_setting() {
    let explained = |target: &str| {
        let sandbox = Sandbox::new();
        let mut command = sandbox.cmd(&["config", "explain", "--json", "--target", target]);
        command
            .env_remove("HYPER_SYNC_TARGET")
            .env_remove("HYPER_SYNC_STATE_DIR");
        let output = sandbox.finish(&mut command).ok();
        let settings = output.json()["settings"].clone();
        serde_json::from_value::<Vec<Explained>>(settings).unwrap()
    };
    let (ours, other) = (explained("/etc/hypervisor/src"), explained("/etc/nixos"));
    let mut text = String::from(SETTINGS_HEAD);
    let mut section = "";
    for (other, ours) in other.iter().zip(&ours) {
        let (of, _) = other.name.split_once('.').unwrap_or(("", ""));
        if of != section {
            section = of;
            let _ = write!(text, "\n## `[{section}]`\n");
        }
        let _ = write!(text, "\n### `{}`\n\n{}\n", other.name, other.meaning);
        let Some(takes) = &other.takes else {
            continue;
        };
        let mut rows = vec![format!("takes: {takes}")];
        // It depends on the user and the target.
        if other.name != "state_dir" {
            let shown = |default: &Option<serde_json::Value>| match default {
                Some(value) => format!("`{value}`"),
                None => "not set".to_owned(),
            };
            rows.push(format!("default: {}", shown(&other.default)));
            if other.default != ours.default {
                rows.push(format!("for Hyper-NixOS: {}", shown(&ours.default)));
            }
        }
        let names = [&other.option, &other.variable].into_iter().flatten();
        let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
        rows.push(names.join(", "));
        let _ = write!(text, "\n- {}\n", rows.join("\n- "));
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "docs/settings.md is out of date: run `UPDATE_DOCS=1 cargo test --test it -- settings`"
    );
}

const SETTINGS_HEAD: &str = "# Settings

What is set once goes into `/etc/hyper-sync/config.toml` (`--config` names another file). Every setting has an environment
variable too, and many an option. The precedence is: option, variable, file, default. In a variable a list has one item
a line. A `~` or a relative path is for options only; in the file paths are absolute.

```toml
repo = \"you/your-config\"
ref = \"main\"
target = \"/etc/nixos\"

[rebuild]
action = \"switch\"
```

`hyper-sync config show` prints every setting and where its value is from, `hyper-sync config explain KEY` what is written
here, and `hyper-sync config check FILE` refuses a file with the line that is wrong. On NixOS the module writes the file:
[its options](options.md).

This file is made by `UPDATE_DOCS=1 cargo test --test it -- settings`. The defaults are those of any target; those of
`/etc/hypervisor/src` are given where they differ.
";
