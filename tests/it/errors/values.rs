//! The settings: each error as the settings themselves report it, from a file, a variable or an option.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use hyper_sync::Error;
use hyper_sync::settings::{
    self, ConfigFile, Env, Origin, Overrides, Records, Settings, TargetRecord,
};

use super::denied;

fn env() -> Env {
    Env::empty().with("HOME", "/root").as_root(true)
}

fn resolve(flags: &Overrides, env: &Env, text: &str) -> Error {
    let file = ConfigFile::new("/etc/hyper-sync/config.toml", text);
    Settings::resolve(flags, env, Some(&file))
        .unwrap_err()
        .into()
}

fn in_file(text: &str) -> Error {
    resolve(&Overrides::none(), &env(), text)
}

fn in_variable(name: &str, value: &[u8]) -> Error {
    let env = env().with(name, OsStr::from_bytes(value));
    resolve(&Overrides::none(), &env, "")
}

fn given(name: &'static str, flag: &'static str, value: &str) -> Error {
    let flags = Overrides::none().with(name, flag, Some(value));
    resolve(&flags, &env(), "")
}

fn several_given() -> Error {
    let flags =
        Overrides::none()
            .with("ref", "--ref", Some("a..b"))
            .with("target", "--target", Some("/"));
    resolve(&flags, &env(), "")
}

/// Two targets of a user.
struct Two;

impl Records for Two {
    fn read(&self, state_dir: &Path) -> Option<TargetRecord> {
        Some(TargetRecord {
            target: Path::new("/srv").join(state_dir.file_name()?),
            repo: None,
            api_url: None,
        })
    }

    fn list(&self, directory: &Path) -> Vec<PathBuf> {
        ["mail", "www"].map(|name| directory.join(name)).to_vec()
    }
}

fn which_target() -> Error {
    let env = Env::empty().with("HOME", "/home/a");
    Settings::resolve_with(&Overrides::none(), &env, None, &Two)
        .unwrap_err()
        .into()
}

pub(super) fn cli() -> Vec<Error> {
    let message = "`--bogus` is not an option of `hyper-sync sync`".to_owned();
    let help = "`hyper-sync sync --help` lists its options".to_owned();
    vec![hyper_sync::UsageError { message, help }.into()]
}

pub(super) fn settings() -> Vec<Error> {
    let path = PathBuf::from("/etc/hyper-sync/config.toml");
    let missing = Path::new("/nonexistent/config.toml");
    let missing = ConfigFile::read(missing, &env(), Origin::Flag("--config"));
    let mut all = vec![
        missing.err().unwrap().into(),
        settings::Error::FileUnreadable {
            path: path.clone(),
            source: denied(),
        }
        .into(),
        settings::Error::FileNotText {
            path,
            why: "it is not UTF-8",
        }
        .into(),
        in_file("repo = 'o/n'\nref = main\n"),
        in_file("targt = '/etc/nixos'"),
        in_file("[rebuild]\nzzz = 1"),
        in_file("[rebuild]\nref = 'main'"),
        in_file("token = 'secret'"),
        in_file("[health.checks.web]\ntcp = 'localhost:80'\nport = 80"),
        in_file("[health.check.web]\ntcp = 'localhost:80'"),
        in_file("[health.checks.web]\n"),
        in_file("[health.checks.'my web']\ntcp = 'localhost:80'"),
        in_file("[health.checks.units]\ntcp = 'localhost:80'"),
        in_file("[health.checks.web]\ntcp = 'localhost:80'\nunit = 'nginx'"),
        in_file("[health.checks.web]\ntcp = 'localhost:80'\nstatus = 200"),
        in_file("[health.checks.web]\nurl = 'http://localhost/'\nstatus = 42"),
        in_file("[health.checks.web]\nurl = 'localhost:8080'"),
        in_file("[health.checks.web]\nurl = 'http://u:p@localhost/'"),
        in_file("[health.checks.web]\ncommand = ['bin/check']"),
        in_file("limits = 1"),
        in_file("targt = '/etc/nixos'\n[limits]\nfiles = 'many'\n"),
        several_given(),
        in_file("target = 1"),
        in_variable("HYPER_SYNC_REF", b"\xff"),
        in_file("target = \"/etc/nixos\\n\""),
        given("target", "--target", ""),
        in_file("local_edits = 'ask'"),
        in_variable("HYPER_SYNC_LIMITS_BLOB", b"big"),
        in_file("exclude = ['a[']"),
        in_file("require = ['../flake.nix']"),
        in_file("target = 'nixos'"),
        in_file("target = '~/nixos'"),
        given("ref", "--ref", "a..b"),
        in_file("target = '/'"),
        in_file("target = '/etc/nixos'\nstate_dir = '/etc/nixos/state'"),
        in_file("token_file = '/nix/store/x-token'"),
        resolve(&Overrides::none(), &Env::empty(), ""),
        settings::Error::NoTarget.into(),
        settings::Error::NoRebuild.into(),
        settings::Error::FileExists {
            path: "/etc/hyper-sync/config.toml".into(),
        }
        .into(),
        settings::Error::NoRepository {
            target: "/etc/nixos".into(),
        }
        .into(),
        which_target(),
    ];
    for repo in [
        "https://me:secret@example.org/o/n",
        "https://example.org/o/n?ref=main",
        "ext::sh -c date",
        "ssh://-oProxyCommand=date/o/n",
        "gopher://example.org/o/n",
        "https://",
        "https://example.org",
        "https://example.org:port/o/n",
        "hyper-nixos",
    ] {
        all.push(given("repo", "--repo", repo));
    }
    all
}
