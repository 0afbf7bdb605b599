use std::path::Path;

use miette::Diagnostic;

use super::*;
use crate::git::RelPath;

/// Three values as text for each type that a setting has; a setting is tried with the first that it takes.
const SAMPLES: &[[&str; 3]] = &[
    ["true", "false", "true"],
    ["1s", "2m", "3h"],
    ["1 MiB", "2 GiB", "3 TiB"],
    ["1", "2", "3"],
    ["git", "api", "git"],
    ["keep", "refuse", "keep"],
    ["switch", "test", "boot"],
    ["within", "any", "within"],
    ["https://one/x", "https://two/x", "https://three/x"],
    ["/s/one", "/s/two", "/s/three"],
    ["off", "build", "off"],
    ["01:00-05:00", "22:00-08:00", "00:00-12:00"],
];

fn root() -> Env {
    Env::empty().as_root(true).with("HOME", "/root")
}

fn file(text: &str) -> ConfigFile {
    ConfigFile::new("/etc/hyper-sync/config.toml", text)
}

fn resolve(flags: &Overrides, env: &Env, text: &str) -> Result<ResolvedSettings, Error> {
    Settings::resolve(flags, env, Some(&file(text)))
}

fn from_file(text: &str) -> Result<ResolvedSettings, Error> {
    resolve(&Overrides::none(), &root(), text)
}

fn entry(resolved: &ResolvedSettings, name: &str) -> ResolvedSetting {
    let mut entries = resolved.entries.iter();
    entries.find(|entry| entry.name == name).unwrap().clone()
}

/// A line of TOML in the type that the default of the setting has.
fn line(default: &ResolvedSetting, text: &str) -> String {
    let (_, key) = default.name.rsplit_once('.').unwrap_or(("", &default.name));
    match &default.value {
        Some(toml::Value::Boolean(_) | toml::Value::Integer(_)) => format!("{key} = {text}\n"),
        Some(toml::Value::Array(_)) => format!("{key} = ['{text}']\n"),
        _ => format!("{key} = '{text}'\n"),
    }
}

fn document(default: &ResolvedSetting, text: &str) -> String {
    let section = default
        .name
        .split_once('.')
        .map_or(String::new(), |(section, _)| format!("[{section}]\n"));
    section + &line(default, text)
}

#[test]
fn each_layer_beats_the_next_for_every_setting() {
    let defaults = from_file("").unwrap().entries;
    assert!(defaults.len() > 30);
    for default in defaults {
        assert_eq!(default.origin, Origin::Default);
        let name: &'static str = default.name.clone().into_owned().leak();
        let fits = |sample: &&[&str; 3]| from_file(&document(&default, sample[0])).is_ok();
        let [in_file, in_env, in_flag] = SAMPLES
            .iter()
            .find(fits)
            .unwrap_or_else(|| panic!("`{name}` takes none of the samples: add one of its type"));
        let text = document(&default, in_file);
        let line = text.lines().count();
        let env = root().with(variable(name), *in_env);
        let flags = Overrides::none().with(name, "--flag", Some(in_flag));
        let shown = |env: &Env, flags: &Overrides| {
            let entry = entry(&resolve(flags, env, &text).unwrap(), name);
            let value = match entry.value.unwrap() {
                toml::Value::Array(items) => items[0].as_str().unwrap().to_owned(),
                toml::Value::String(text) => text,
                other => other.to_string(),
            };
            (value, entry.origin)
        };
        let path = "/etc/hyper-sync/config.toml".into();
        let expected = ((*in_file).to_owned(), Origin::File { path, line });
        assert_eq!(shown(&root(), &Overrides::none()), expected);
        let expected = ((*in_env).to_owned(), Origin::Environment(variable(name)));
        assert_eq!(shown(&env, &Overrides::none()), expected);
        let expected = ((*in_flag).to_owned(), Origin::Flag("--flag"));
        assert_eq!(shown(&env, &flags), expected);
    }
}

#[test]
fn the_defaults_of_hyper_nixos_apply_to_its_target_only() {
    let own = from_file("").unwrap().settings;
    assert_eq!(own.repo.unwrap().to_string(), "MasterofNull/Hyper-NixOS");
    assert_eq!(own.local_edits, LocalEdits::Replace);
    assert_eq!(own.state_dir, Path::new("/var/lib/hyper-sync"));
    assert_eq!(own.rebuild.flake, Path::new("/etc/hypervisor"));
    assert_eq!(own.rebuild.extra_args, ["--impure"]);
    assert!(
        own.executable
            .matches(&RelPath::new(b"scripts/a.sh").unwrap())
    );
    assert!(own.state_file.is_some() && own.validate.kvm);

    let other = from_file("target = '/etc/nixos'").unwrap().settings;
    assert_eq!(other.repo, None);
    assert_eq!(other.local_edits, LocalEdits::Refuse);
    assert_eq!(other.rebuild.flake, Path::new("/etc/nixos"));
    assert!(other.rebuild.extra_args.is_empty() && other.executable.is_empty());
    assert!(other.state_file.is_none() && !other.validate.kvm);
    assert!(other.validate.files.is_empty() && other.validate.bridge.is_none());
    assert_eq!(other.require, own.require);
}

#[test]
fn two_targets_never_share_a_state_directory() {
    let home = Env::empty().with("HOME", "/home/a");
    let xdg = home.clone().with("XDG_STATE_HOME", "/home/a/state");
    let mut seen = std::collections::BTreeSet::new();
    for env in [root(), home, xdg] {
        for target in ["/etc/hypervisor/src", "/etc/nixos", "/srv/x"] {
            let flags = Overrides::none().with("target", "--target", Some(target));
            let settings = resolve(&flags, &env, "").unwrap().settings;
            assert!(
                seen.insert(settings.state_dir.clone()),
                "{}",
                settings.state_dir.display()
            );
        }
    }
    assert!(seen.contains(Path::new("/var/lib/hyper-sync")));
    assert!(
        seen.iter()
            .any(|path| path.starts_with("/home/a/.local/state/hyper-sync"))
    );
    assert!(
        seen.iter()
            .any(|path| path.starts_with("/home/a/state/hyper-sync"))
    );
    assert!(
        seen.iter()
            .any(|path| path.starts_with("/var/lib/hyper-sync/targets"))
    );
}

#[test]
fn an_optional_setting_is_taken_away_by_empty_text() {
    let settings = from_file("state_file = ''\n[validate]\nbridge = ''")
        .unwrap()
        .settings;
    assert!(settings.state_file.is_none() && settings.validate.bridge.is_none());
}

#[test]
fn a_flag_may_be_relative() {
    let env = root().in_dir("/srv/here");
    let flags = Overrides::none()
        .with("target", "--target", Some("./demo"))
        .with("repo", "--repo", Some("../upstream"));
    let settings = resolve(&flags, &env, "").unwrap().settings;
    assert_eq!(settings.target, Path::new("/srv/here/demo"));
    assert_eq!(settings.repo, Some(Repo::Local("/srv/upstream".into())));
    let variable = env.with("HYPER_SYNC_TARGET", "demo");
    assert_eq!(
        code(resolve(&Overrides::none(), &variable, "")),
        "relative_path"
    );
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    use std::os::unix::ffi::OsStrExt;
    let env = root().with("HYPER_SYNC_REF", std::ffi::OsStr::from_bytes(b"\xff"));
    assert_eq!(code(resolve(&Overrides::none(), &env, "")), "not_utf8");
}

/// The code of the one error there is, without the prefix that all have.
fn code(result: Result<ResolvedSettings, Error>) -> String {
    let error = result.unwrap_err();
    assert!(error.help().is_some(), "{error}");
    let code = error.code().unwrap().to_string();
    code.strip_prefix("hyper_sync::settings::")
        .unwrap()
        .to_owned()
}

#[test]
fn each_mistake_has_its_code() {
    for (text, expected) in [
        ("targt = '/etc/nixos'", "unknown_key"),
        ("[rebuild]\nzzz = 'build'", "unknown_key"),
        ("[unknown]", "unknown_key"),
        ("rebuild = 'switch'", "unknown_key"),
        ("ref = 'a'\nref = 'b'", "syntax"),
        ("ref = ", "syntax"),
        ("ref = 1", "wrong_type"),
        ("protect = 'x'", "wrong_type"),
        ("protect = [1]", "wrong_type"),
        ("protect = ['[']", "pattern"),
        ("require = ['../x']", "tree_path"),
        ("[[limits]]\nfiles = 1", "unknown_key"),
        ("[limits]\nfiles = -1", "not_a_value"),
        ("[limits]\ntime = '-5min'", "not_a_value"),
        ("[limits]\ntime = 0", "not_a_value"),
        ("[rebuild]\ntimeout = -1", "not_a_value"),
        ("[limits]\nblob = '1 elephant'", "not_a_value"),
        ("[validate]\nkvm = 'yes'", "wrong_type"),
        ("transport = 'pigeon'", "unknown_choice"),
        ("ref = ''", "empty"),
        ("ref = '-x'", "reference"),
        ("ref = 'a..b'", "reference"),
        ("ref = \"a\\nb\"", "control_character"),
        ("target = ''", "empty"),
        ("target = 'demo'", "relative_path"),
        ("target = '/etc/../nixos'", "relative_path"),
        ("target = '~/x'", "tilde"),
        ("target = '/'", "protected_directory"),
        ("target = '/etc'", "protected_directory"),
        ("target = '/nix/store/x'", "protected_directory"),
        ("target = '/root'", "protected_directory"),
        ("target = '/var/lib/hyper-sync/x'", "protected_directory"),
        ("state_dir = '/etc'", "protected_directory"),
        ("state_dir = '/etc/hypervisor/src/state'", "overlap"),
        ("state_dir = '/etc/hypervisor'", "overlap"),
        ("token_file = '/etc/hypervisor/src/token'", "overlap"),
        ("trust.signers = '/etc/hypervisor/src/signers'", "overlap"),
        ("token_file = '/nix/store/x-token'", "secret_in_store"),
        ("repo = 'https://u:p@example.org/o/n'", "repository"),
        ("repo = 'ext::sh -c x'", "repository"),
        ("repo = ''", "empty"),
        ("api_url = 'example.org'", "repository"),
        ("health = true", "unknown_key"),
        ("health.checks = true", "unknown_key"),
        ("health.checks.web = 'x'", "wrong_type"),
        ("[[health.checks.web]]\nurl = 'x'", "wrong_type"),
        ("[health.checks.web]", "health_check"),
        ("[health.checks.web]\ntimeout = '5s'", "health_check"),
        ("[health.checks.'a b']\ntcp = 'h:1'", "health_check"),
        ("[health.checks.'a.b']\ntcp = 'h:1'", "health_check"),
        ("[health.checks.units]\ntcp = 'h:1'", "health_check"),
        (
            "[health.checks.web]\ntcp = 'h:1'\nunit = 'a'",
            "health_check",
        ),
        (
            "[health.checks.web]\ntcp = 'h:1'\nstatus = 200",
            "health_check",
        ),
        ("[health.checks.web]\nurl = 'ftp://h'", "health_check"),
        ("[health.checks.web]\nurl = 'h:8080'", "health_check"),
        ("[health.checks.web]\nurl = 'http://u:p@h/'", "health_check"),
        (
            "[health.checks.web]\nurl = 'http://h/'\nstatus = 42",
            "health_check",
        ),
        (
            "[health.checks.web]\nurl = 'http://h/'\nstatus = 'ok'",
            "wrong_type",
        ),
        (
            "[health.checks.web]\ncommand = ['bin/check']",
            "health_check",
        ),
        ("[health.checks.web]\ncommand = 'check'", "wrong_type"),
        ("[health.checks.web]\ncommand = []", "empty"),
        ("[health.checks.web]\ncommand = ['']", "empty"),
        ("[health.checks.web]\ntcp = 'h'", "not_a_value"),
        ("[health.checks.web]\ntcp = 'h:0'", "not_a_value"),
        ("[health.checks.web]\ntcp = '::1:80'", "not_a_value"),
        ("[health.checks.web]\nunit = 'a b'", "not_a_value"),
        ("[health.checks.web]\nunit = '--now'", "not_a_value"),
        (
            "[health.checks.web]\ntcp = 'h:1'\ntimeout = 0",
            "not_a_value",
        ),
        ("[health.checks.web]\ntcp = 'h:1'\nport = 1", "unknown_key"),
        ("[health.check.web]\ntcp = 'h:1'", "unknown_key"),
    ] {
        assert_eq!(code(from_file(text)), expected, "{text}");
    }
    let nowhere = Env::empty();
    assert_eq!(
        code(resolve(&Overrides::none(), &nowhere, "")),
        "no_state_dir"
    );
}

#[test]
fn checks_are_named_by_the_file_and_each_value_has_its_line() {
    let text = "[health]\ntimeout = '5s'\n\
        [health.checks.web]\nurl = 'http://localhost:8080/up?full'\nstatus = 401\n\
        [health.checks.db]\ntcp = '[::1]:5432'\ntimeout = '1min'\n\
        [health.checks]\nssh.unit = 'sshd'\nbackup.command = ['restic', 'check', '']\n";
    let resolved = from_file(text).unwrap();
    let check = |name: &str, probe: Probe, seconds| HealthCheck {
        name: name.to_owned(),
        probe,
        timeout: std::time::Duration::from_secs(seconds),
    };
    let strings = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    assert_eq!(
        resolved.settings.health.checks,
        [
            check(
                "backup",
                Probe::Command(strings(&["restic", "check", ""])),
                5
            ),
            check(
                "db",
                Probe::Tcp {
                    host: "::1".to_owned(),
                    port: 5432
                },
                60
            ),
            check("ssh", Probe::Unit("sshd.service".to_owned()), 5),
            check(
                "web",
                Probe::Url {
                    url: "http://localhost:8080/up?full".to_owned(),
                    status: Some(401),
                },
                5
            ),
        ]
    );
    let checks = resolved.entries.iter();
    let checks = checks.filter(|entry| entry.name.starts_with("health.checks."));
    let shown: Vec<String> = checks
        .map(|entry| {
            format!(
                "{} = {} {}",
                entry.name,
                entry.value.as_ref().unwrap(),
                entry.origin
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            r#"health.checks.backup.command = ["restic", "check", ""] /etc/hyper-sync/config.toml:11"#,
            r#"health.checks.backup.timeout = "5s" default"#,
            r#"health.checks.db.tcp = "[::1]:5432" /etc/hyper-sync/config.toml:7"#,
            r#"health.checks.db.timeout = "1m" /etc/hyper-sync/config.toml:8"#,
            r#"health.checks.ssh.unit = "sshd.service" /etc/hyper-sync/config.toml:10"#,
            r#"health.checks.ssh.timeout = "5s" default"#,
            r#"health.checks.web.url = "http://localhost:8080/up?full" /etc/hyper-sync/config.toml:4"#,
            "health.checks.web.status = 401 /etc/hyper-sync/config.toml:5",
            r#"health.checks.web.timeout = "5s" default"#,
        ]
    );
    assert!(
        from_file("[health.checks]")
            .unwrap()
            .settings
            .health
            .checks
            .is_empty()
    );
}

#[test]
fn a_variable_names_no_check() {
    let env = root().with("HYPER_SYNC_HEALTH_CHECKS_WEB_URL", "http://other");
    let file = "[health.checks.web]\nurl = 'http://localhost/'";
    let resolved = resolve(&Overrides::none(), &env, file).unwrap();
    let names = { resolved.unknown_variables.iter() }.map(|unknown| unknown.name.as_str());
    assert!(names.eq(["HYPER_SYNC_HEALTH_CHECKS_WEB_URL"]));
    let value = entry(&resolved, "health.checks.web.url").value.unwrap();
    assert_eq!(value.as_str(), Some("http://localhost/"));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let error = from_file("targt = 'x'\nref = '-x'\n[limits]\nfiles = 'many'").unwrap_err();
    let Error::Several { problems } = error else {
        panic!("{error}");
    };
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "/etc/hyper-sync/config.toml:1 has the unknown key `targt`",
            "`ref` (/etc/hyper-sync/config.toml:2) is `-x`, which is not a name git allows: it begins with `-`",
            "`limits.files` (/etc/hyper-sync/config.toml:4) must be a whole number, such as `50000`, not text",
        ]
    );

    let text = "[health.checks.a]\ntcp = 'h'\nunit = '-'\nurll = ''\n[health.checks.b]\n";
    let Error::Several { problems } = from_file(text).unwrap_err() else {
        panic!("one mistake only");
    };
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "/etc/hyper-sync/config.toml:4 has the unknown key `health.checks.a.urll`",
            "`health.checks.a.tcp` (/etc/hyper-sync/config.toml:2) is `h`, which is not a host and a port, such as `localhost:5432` or `[::1]:22`",
            "`health.checks.a.unit` (/etc/hyper-sync/config.toml:3) is `-`, which is not the name of a unit, such as `nginx.service`",
            "`health.checks.a` (/etc/hyper-sync/config.toml:2) has `tcp` and `unit` at the same time",
            "`health.checks.b` (/etc/hyper-sync/config.toml:5) does not say what is checked",
        ]
    );
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    let help = |text: &str| from_file(text).unwrap_err().help().unwrap().to_string();
    assert_eq!(
        help("targt = '/x'"),
        "write `target` if that was meant; nothing was written"
    );
    for (text, meant) in [
        ("branch = 'main'", "ref"),
        ("tag = 'v1'", "ref"),
        ("url = 'https://h/r'", "repo"),
        ("path = '/x'", "target"),
        ("host = 'h'", "rebuild.host"),
        ("localEdits = 'keep'", "local_edits"),
    ] {
        let expected = format!("write `{meant}` if that was meant; nothing was written");
        assert_eq!(help(text), expected, "{text}");
    }
    assert_eq!(
        help("[rebiuld]\naction = 'x'"),
        "write `rebuild.action` if that was meant; nothing was written"
    );
    assert_eq!(
        help("[health.check.web]\nurl = 'http://h/'"),
        "write `health.checks.web.url` if that was meant; nothing was written"
    );
    assert_eq!(
        help("[health.checks.web]\ntcp = 'h:1'\ntimout = 1"),
        "write `health.checks.web.timeout` if that was meant; nothing was written"
    );
    assert_eq!(
        help("[health.checks.web]\ntcp = 'h:1'\nport = 1"),
        "write one of `command`, `status`, `tcp`, `timeout`, `unit`, `url`; nothing was written"
    );
    assert!(help("health.checks = 1").contains("`[health.checks]`"));
    assert!(help("token = 'x'").starts_with("a secret does not belong"));
    assert!(help("limits = 1").contains("`[limits]`"));
    for text in ["zzz = 1", "[rebuild]\nzzz = 'build'"] {
        assert!(help(text).contains("config show"), "{text}");
    }
    for text in ["action = 'boot'", "[limits]\naction = 'boot'"] {
        assert!(help(text).contains("`rebuild.action`"), "{text}");
    }
}

#[test]
fn a_variable_without_a_setting_is_reported() {
    let env = root()
        .with("HYPER_SYNC_CONFIG", "/c")
        .with("HYPER_SYNC_REF", "x")
        .with("HYPER_SYNC_BRANCH", "x")
        .with("HYPER_SYNC_TARGT", "/x")
        .with("HYPER_SYNC_ZZZ", "x");
    let resolved = resolve(&Overrides::none(), &env, "").unwrap();
    let unknown = resolved.unknown_variables.iter();
    let unknown = unknown.map(|unknown| (unknown.name.as_str(), unknown.meant.as_deref()));
    let expected = [
        ("HYPER_SYNC_BRANCH", Some("HYPER_SYNC_REF")),
        ("HYPER_SYNC_TARGT", Some("HYPER_SYNC_TARGET")),
        ("HYPER_SYNC_ZZZ", None),
    ];
    assert!(unknown.eq(expected));
}

#[test]
fn only_the_command_line_makes_it_a_usage_error() {
    let flags = Overrides::none().with("ref", "--ref", Some("-x"));
    assert!(resolve(&flags, &root(), "").unwrap_err().is_usage());
    assert!(
        !resolve(&flags, &root(), "targt = 1")
            .unwrap_err()
            .is_usage()
    );
    assert!(!from_file("ref = '-x'").unwrap_err().is_usage());
}

#[test]
fn no_error_shows_a_secret() {
    for text in [
        "token = 'canary'",
        "token = 'canary'\nref = '-x'",
        "# ghp_canary\nrepo = 'https://canary@example.org/o/n'\nref = '-x'",
        "repo = 'https://u:canary@example.org:port/o/n'",
        "password = 'canary'\nref =",
        "[health.checks.web]\nurl = 'https://u:canary@example.org:port/'",
        "[health.checks.web]\nurl = 'https://u:canary@example.org/'",
    ] {
        let error = from_file(text).unwrap_err();
        let mut shown = String::new();
        miette::NarratableReportHandler::new()
            .render_report(&mut shown, &error)
            .unwrap();
        assert!(!shown.contains("canary"), "{shown}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
}
