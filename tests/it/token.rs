//! Where a token is found, which places are refused, and that its content is never shown.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use hyper_sync::settings::Env;
use hyper_sync::token::{Error, Token, TokenSearch};
use hyper_sync::vetted::{Untrusted, UntrustedReason};
use secrecy::ExposeSecret;
use tempfile::TempDir;

/// Why the file of a token is not read.
fn refusal(error: &Error) -> Option<&UntrustedReason> {
    match error {
        Error::File(Untrusted { refusal, .. }) => Some(refusal),
        Error::Content { .. } => None,
    }
}

const CANARY: &str = "ghp_canary0123456789";

/// A root directory with a home in it, and an environment without anything else.
struct FakeRoot {
    root: TempDir,
}

impl FakeRoot {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home")).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, mode: u32, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn env(&self) -> Env {
        Env::empty().with("HOME", self.path("home"))
    }

    fn search<'a>(&'a self, host: &'a str, env: &'a Env) -> TokenSearch<'a> {
        TokenSearch {
            root: self.root.path(),
            ..TokenSearch::new(host, env)
        }
    }

    /// Where the token for github.com is found, with its text.
    fn find(&self, env: &Env) -> Option<(String, String)> {
        self.search("github.com", env)
            .run()
            .unwrap()
            .map(|token| self.shown(&token))
    }

    fn shown(&self, token: &Token) -> (String, String) {
        let origin = token
            .origin()
            .to_string()
            .replace(&self.root.path().display().to_string(), "");
        (origin, token.secret().expose_secret().to_owned())
    }
}

fn read(path: &Path) -> Result<Token, Error> {
    let env = Env::empty();
    let search = TokenSearch {
        token_file: Some(path),
        ..TokenSearch::new("git.example.org", &env)
    };
    search.run().map(Option::unwrap)
}

#[test]
fn the_first_place_that_has_a_token_decides() {
    let world = FakeRoot::new();
    let mut env = world.env();
    let nothing: Option<(String, String)> = None;
    assert_eq!(world.find(&env), nothing);

    world.write(
        "etc/nix/netrc",
        0o600,
        "machine api.github.com login me password t1\n",
    );
    assert_eq!(
        world.find(&env).unwrap(),
        ("the netrc file `/etc/nix/netrc`".into(), "t1".into())
    );
    world.write("home/.netrc", 0o600, "machine github.com password t2\n");
    assert_eq!(
        world.find(&env).unwrap(),
        ("the netrc file `/home/.netrc`".into(), "t2".into())
    );
    // Read again by each of its includes it would be read a billion times.
    world.write("etc/nix/nix.conf", 0o444, "include nix.conf\n".repeat(14));
    assert_eq!(
        world.find(&env).unwrap(),
        ("the netrc file `/home/.netrc`".into(), "t2".into())
    );
    world.write(
        "etc/nix/nix.conf",
        0o444,
        "!include tokens.conf\n!include missing.conf\n",
    );
    world.write(
        "etc/nix/tokens.conf",
        0o444,
        "access-tokens = gitlab.com=x github.com=t3\n!include nix.conf\n",
    );
    assert_eq!(
        world.find(&env).unwrap(),
        (
            "the `access-tokens` of `/etc/nix/tokens.conf`".into(),
            "t3".into()
        )
    );
    world.write(
        "home/.config/nix/nix.conf",
        0o644,
        "extra-access-tokens = github.com=t4\n",
    );
    assert_eq!(
        world.find(&env).unwrap(),
        (
            "the `access-tokens` of `/home/.config/nix/nix.conf`".into(),
            "t4".into()
        )
    );
    env = env.with("NIX_CONFIG", "cores = 4\naccess-tokens = github.com=t5");
    assert_eq!(
        world.find(&env).unwrap(),
        ("the `access-tokens` of `NIX_CONFIG`".into(), "t5".into())
    );
    world.write("home/.config/github/token", 0o600, "t6\n");
    assert_eq!(
        world.find(&env).unwrap(),
        (
            "the token in `/home/.config/github/token`".into(),
            "t6".into()
        )
    );
    env = env.with("GH_TOKEN", "t7");
    assert_eq!(
        world.find(&env).unwrap(),
        ("the token in `GH_TOKEN`".into(), "t7".into())
    );
    env = env.with("GITHUB_TOKEN", "t8");
    assert_eq!(
        world.find(&env).unwrap(),
        ("the token in `GITHUB_TOKEN`".into(), "t8".into())
    );
    world.write("creds/token", 0o440, "t9");
    env = env.with("CREDENTIALS_DIRECTORY", world.path("creds"));
    assert_eq!(
        world.find(&env).unwrap(),
        ("the token in `/creds/token`".into(), "t9".into())
    );
    let file = world.write("set", 0o400, "t10\r\n");
    let search = TokenSearch {
        token_file: Some(&file),
        ..world.search("github.com", &env)
    };
    assert_eq!(
        world.shown(&search.run().unwrap().unwrap()),
        ("the token in `/set`".into(), "t10".into())
    );
}

#[test]
fn a_token_of_github_is_not_found_for_another_host() {
    let world = FakeRoot::new();
    world.write("home/.config/github/token", 0o600, CANARY);
    world.write(
        "home/.netrc",
        0o600,
        format!("machine github.com password {CANARY}\ndefault password {CANARY}\n"),
    );
    world.write(
        "etc/nix/nix.conf",
        0o444,
        format!("access-tokens = github.com={CANARY} hub.com={CANARY}\n"),
    );
    let env = world
        .env()
        .with("GITHUB_TOKEN", CANARY)
        .with("GH_TOKEN", CANARY);
    for host in [
        "github.com.evil.example",
        "git.example.org",
        "evilgithub.com",
        "gitlab.com",
        "127.0.0.1",
    ] {
        for enterprise in [false, true] {
            let search = TokenSearch {
                enterprise,
                ..world.search(host, &env)
            };
            assert!(search.run().unwrap().is_none(), "{host}");
        }
    }
}

#[test]
fn other_hosts_have_their_own_places() {
    let world = FakeRoot::new();
    world.write(
        "home/.netrc",
        0o600,
        "machine git.example.org login me password mine\n",
    );
    world.write(
        "etc/nix/nix.conf",
        0o444,
        "access-tokens = gitlab.example=PAT:pat\n",
    );
    let env = world.env();
    let found = |host: &str| world.search(host, &env).run().unwrap().unwrap();
    let (netrc, nix) = (found("git.example.org"), found("GitLab.example"));
    assert_eq!(
        (netrc.login(), netrc.secret().expose_secret()),
        ("me", "mine")
    );
    assert_eq!(
        (nix.login(), nix.secret().expose_secret()),
        ("oauth2", "pat")
    );
    assert!(nix.belongs_to("gitlab.example") && !nix.belongs_to("git.example.org"));
    let named = world
        .env()
        .with("GH_HOST", "git.corp.example")
        .with("GITHUB_ENTERPRISE_TOKEN", "corp");
    let token = world
        .search("git.corp.example", &named)
        .run()
        .unwrap()
        .unwrap();
    assert_eq!(token.secret().expose_secret(), "corp");
}

#[test]
fn a_file_that_others_may_read_is_refused_with_the_command_that_repairs_it() {
    use miette::Diagnostic;
    let world = FakeRoot::new();
    for mode in [0o644, 0o640, 0o604, 0o660, 0o666, 0o620] {
        let path = world.write("token", mode, CANARY);
        let error = read(&path).unwrap_err();
        assert!(
            matches!(refusal(&error), Some(UntrustedReason::Mode(found)) if *found == mode),
            "{error:?}"
        );
        let help = error.help().unwrap().to_string();
        assert!(
            help.contains(&format!("chmod 600 {}", path.display())),
            "{help}"
        );
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_waiting() {
    let world = FakeRoot::new();
    let file = world.write("token", 0o600, CANARY);
    let link = world.path("link");
    symlink(&file, &link).unwrap();
    let pipe = world.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let socket = world.path("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    for (path, expected) in [
        (link, "a symlink"),
        (world.path("home"), "a directory"),
        (pipe, "a pipe"),
        (socket, "a socket or device"),
        ("/dev/null".into(), "a socket or device"),
    ] {
        let error = read(&path).unwrap_err();
        assert!(
            matches!(refusal(&error), Some(UntrustedReason::NotAFile(kind)) if *kind == expected),
            "{error:?}"
        );
    }
    assert!(matches!(
        refusal(&read(&world.path("none")).unwrap_err()),
        Some(UntrustedReason::Absent)
    ));
    assert!(matches!(
        refusal(&read(&file.join("below")).unwrap_err()),
        Some(UntrustedReason::Absent)
    ));
}

#[test]
fn content_that_is_not_a_token_is_refused_and_never_shown() {
    let world = FakeRoot::new();
    let large = CANARY.repeat(60_000);
    for content in [
        "",
        "\n",
        " \r\n\t",
        &format!("{CANARY}\nX-Evil: 1"),
        &format!("{CANARY}\u{0}"),
        &format!("{CANARY} {CANARY}"),
        &format!("{CANARY}\u{7f}"),
        &format!("{CANARY}\u{e9}"),
        &large,
    ] {
        let path = world.write("token", 0o600, content);
        let error = read(&path).unwrap_err();
        assert!(
            matches!(error, Error::Content { .. })
                || matches!(refusal(&error), Some(UntrustedReason::TooLarge(_))),
            "{error:?}"
        );
        let report = format!("{error} {error:?}") + &format!("{:?}", miette::Report::new(error));
        assert!(!report.contains("canary"), "{report}");
        let env = Env::empty().with("GH_TOKEN", content);
        let found = TokenSearch {
            root: world.root.path(),
            ..TokenSearch::new("github.com", &env)
        }
        .run();
        match found {
            Ok(None) => assert_eq!(content, "", "an empty variable is unset"),
            Err(error) => assert!(!format!("{error:?}").contains("canary"), "{error:?}"),
            Ok(Some(token)) => panic!("{token:?}"),
        }
    }
}

#[test]
fn a_found_token_is_shown_by_its_place_only() {
    let world = FakeRoot::new();
    let path = world.write("token", 0o600, CANARY);
    let token = read(&path).unwrap();
    assert_eq!(token.secret().expose_secret(), CANARY);
    let shown = format!("{token:?} {} {:?}", token.origin(), token.secret());
    assert!(
        shown.contains("token") && !shown.contains("canary"),
        "{shown}"
    );
}

#[test]
fn a_place_in_a_bad_state_is_an_error_and_is_not_skipped() {
    let world = FakeRoot::new();
    world.write("home/.config/github/token", 0o644, CANARY);
    world.write(
        "etc/nix/netrc",
        0o600,
        "machine github.com password other\n",
    );
    let env = world.env();
    assert!(matches!(
        refusal(&world.search("github.com", &env).run().unwrap_err()),
        Some(UntrustedReason::Mode(_))
    ));
    fs::remove_file(world.path("home/.config/github/token")).unwrap();
    assert_eq!(world.find(&env).unwrap().1, "other");
    world.write("home/.netrc", 0o644, "machine github.com password open\n");
    assert!(matches!(
        refusal(&world.search("github.com", &env).run().unwrap_err()),
        Some(UntrustedReason::Mode(_))
    ));
    // The mode of a file without a token for this host does not matter.
    world.write(
        "home/.netrc",
        0o644,
        "machine elsewhere.example password open\n",
    );
    assert_eq!(world.find(&env).unwrap().1, "other");
}

#[test]
fn under_sudo_the_callers_token_is_used_if_it_is_the_callers() {
    let world = FakeRoot::new();
    let home = world.path("users/ada");
    fs::create_dir_all(&home).unwrap();
    let uid = fs::metadata(&home).unwrap().uid();
    world.write(
        "etc/passwd",
        0o644,
        format!(
            "root:x:0:0::/root:/bin/sh\nada:x:{uid}:100:Ada:{}:/bin/sh\n",
            home.display()
        ),
    );
    world.write("users/ada/.config/github/token", 0o600, CANARY);
    let sudo = |name: &str, uid: &str| {
        world
            .env()
            .with("SUDO_USER", name)
            .with("SUDO_UID", uid)
            .as_root(true)
    };
    let uid = uid.to_string();
    assert_eq!(
        world.find(&sudo("ada", &uid)).unwrap(),
        (
            "the token in `/users/ada/.config/github/token`".into(),
            CANARY.into()
        )
    );
    let nothing = None;
    assert_eq!(
        world.find(&sudo("ada", "4242")),
        nothing,
        "name and id must agree"
    );
    assert_eq!(world.find(&sudo("bob", &uid)), nothing);
    assert_eq!(
        world.find(&sudo("ada", &uid).as_root(false)),
        nothing,
        "only root acts for others"
    );
    world.write("home/.config/github/token", 0o600, "own");
    assert_eq!(
        world.find(&sudo("ada", &uid)).unwrap().1,
        "own",
        "one's own comes first"
    );
    fs::remove_file(world.path("home/.config/github/token")).unwrap();
    world.write("users/ada/.config/github/token", 0o644, CANARY);
    assert!(matches!(
        refusal(
            &world
                .search("github.com", &sudo("ada", &uid))
                .run()
                .unwrap_err()
        ),
        Some(UntrustedReason::Mode(_))
    ));
}
