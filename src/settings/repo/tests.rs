//! Addresses that people write, and those that must not reach git or ssh.

use std::path::Path;

use super::*;

fn parse(text: &str) -> Result<Repo, Problem> {
    Repo::parse(text, PathBase::Directory(Path::new("/srv")))
}

fn refused(text: &str) -> AddressFault {
    match parse(text) {
        Err(Problem::Repository(fault)) => fault,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn reads_each_form_and_shows_it_so_that_it_reads_the_same() {
    let github = Repo::GitHub {
        owner: "MasterofNull".to_owned(),
        name: "Hyper-NixOS".to_owned(),
    };
    let http = |url: &str| Repo::Http(url.to_owned());
    let ssh = |url: &str| Repo::Ssh(url.to_owned());
    let local = |path: &str| Repo::Local(path.into());
    for (text, repo) in [
        ("MasterofNull/Hyper-NixOS", github.clone()),
        ("MasterofNull/Hyper-NixOS.git", github.clone()),
        (
            "https://github.com/MasterofNull/Hyper-NixOS",
            github.clone(),
        ),
        ("github:MasterofNull/Hyper-NixOS", github.clone()),
        ("github.com/MasterofNull/Hyper-NixOS", github.clone()),
        ("https://github.com/MasterofNull/Hyper-NixOS.git/", github),
        (
            "git+https://git.example.org/a/b",
            http("https://git.example.org/a/b"),
        ),
        ("git+ssh://git@h/o/n", ssh("ssh://git@h/o/n")),
        (
            "https://git.example.org/a/b/c.git",
            http("https://git.example.org/a/b/c.git"),
        ),
        ("https://github.com/a/b/c", http("https://github.com/a/b/c")),
        (
            "http://127.0.0.1:8080/o/n.git",
            http("http://127.0.0.1:8080/o/n.git"),
        ),
        (
            "ssh://git@example.org:2222/o/n",
            ssh("ssh://git@example.org:2222/o/n"),
        ),
        ("ssh://example.org/~/n", ssh("ssh://example.org/~/n")),
        ("git@github.com:o/n.git", ssh("git@github.com:o/n.git")),
        ("/srv/git/n.git", local("/srv/git/n.git")),
        ("file:///srv/git/n%20m", local("/srv/git/n m")),
        (".", local("/srv")),
        ("./n", local("/srv/n")),
        ("../n", local("/n")),
    ] {
        let parsed = parse(text).unwrap();
        assert_eq!(parsed, repo, "{text}");
        assert_eq!(parse(&parsed.to_string()).unwrap(), repo, "{text}");
    }
}

#[test]
fn refuses_credentials_and_does_not_repeat_them() {
    for text in [
        "https://canary@github.com/o/n",
        "https://u:canary@example.org/o/n",
        "ssh://git:canary@example.org/o/n",
        "git@example.org:canary@o/n",
        "https://example.org/o/n?token=canary",
        "https://example.org/o/n#canary",
        "https://canary:canary:canary@:/x",
    ] {
        let problem = parse(text).unwrap_err();
        let shown = format!("{problem} {problem:?}");
        assert!(!shown.contains("canary"), "{text}: {shown}");
    }
    assert_eq!(
        refused("https://x@example.org/o/n"),
        AddressFault::Credentials
    );
    assert_eq!(
        refused("ssh://git:x@example.org/o/n"),
        AddressFault::Credentials
    );
}

#[test]
fn refuses_what_git_or_ssh_would_run_or_take_for_an_option() {
    for text in [
        "-oProxyCommand=touch x",
        "--upload-pack=x",
        "ssh://-oProxyCommand=x/o/n",
        "ssh://-x@host/o/n",
        "git@-oProxyCommand=x:n",
        "-x@host:n",
        "git@host:-n",
    ] {
        assert_eq!(refused(text), AddressFault::Option, "{text}");
    }
    assert_eq!(refused("ext::sh -c touch% x"), AddressFault::Helper);
    assert_eq!(refused("fd::17"), AddressFault::Helper);
    assert_eq!(refused("ssh://%2DoProxyCommand=x/o/n"), AddressFault::Host);
}

#[test]
fn refuses_what_is_no_address() {
    for text in [
        "hyper-nixos",
        "o/n/more",
        "o//n",
        "gitlab:o/n",
        "C:\\n",
        "o/..",
        "o/n m",
        "user@ho st:n",
        "git@host:",
        "https://",
        "https://example.org",
        "https://example.org:port/o/n",
        "file:///",
        "file://host/n",
        "git://example.org/o/n",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
    for text in [
        "file:///x%00",
        "file:///a%0ab",
        "ssh://h/x%00",
        "ssh://h/%1bx",
    ] {
        assert_eq!(refused(text), AddressFault::Control, "{text}");
    }
    assert_eq!(parse("~/n").unwrap_err(), Problem::Tilde);
    assert_eq!(refused("git://h/n"), AddressFault::Scheme("git".to_owned()));
}

#[test]
fn a_relative_path_needs_a_place() {
    let relative = Problem::Relative {
        path: "./n".to_owned(),
    };
    assert_eq!(Repo::parse("./n", PathBase::None).unwrap_err(), relative);
}

#[test]
fn owner_and_name_live_on_the_host_of_the_api() {
    let repo = parse("o/n").unwrap();
    for (api, url) in [
        (None, "https://github.com/o/n.git"),
        (Some("https://api.github.com"), "https://github.com/o/n.git"),
        (
            Some("https://git.example.org/api/v3/"),
            "https://git.example.org/o/n.git",
        ),
        (
            Some("https://api.octo.ghe.com"),
            "https://octo.ghe.com/o/n.git",
        ),
        (
            Some("http://127.0.0.1:1234/api/v3"),
            "http://127.0.0.1:1234/o/n.git",
        ),
    ] {
        assert_eq!(repo.git_url(api), url);
        let host = url.split(['/', ':']).nth(3);
        assert_eq!(repo.web_host(api).as_deref(), host);
    }
    assert_eq!(parse("git@h:n").unwrap().web_host(None), None);
    assert_eq!(
        parse("git@h:n").unwrap().git_url(Some("https://x")),
        "git@h:n"
    );
}

#[test]
fn the_api_is_a_web_address() {
    assert_eq!(
        parse_api_url("https://git.example.org/api/v3/").unwrap(),
        "https://git.example.org/api/v3"
    );
    for text in [
        "git.example.org",
        "ftp://x/",
        "https://u@x/",
        "https://x/?a",
        "https://",
    ] {
        assert!(parse_api_url(text).is_err(), "{text}");
    }
}

#[test]
fn one_repository_has_one_identity() {
    let ghe = Some("https://git.example.org/api/v3");
    for (api_url, identity, addresses) in [
        (
            None,
            "github.com/o/n",
            &[
                "o/n",
                "O/N",
                "https://github.com/o/n.git",
                "git@github.com:o/n.git",
                "ssh://git@github.com/o/n",
                "ssh://git@github.com:22/O/n.git",
            ][..],
        ),
        (
            ghe,
            "git.example.org/o/n",
            &[
                "o/n",
                "https://git.example.org/o/n",
                "git@git.example.org:o/n",
            ],
        ),
        (
            None,
            "git.example.org:8443/o/N",
            &[
                "https://git.example.org:8443/o/N.git",
                "https://Git.Example.org:8443/o/N",
            ],
        ),
        (None, "/srv/n", &["file:///srv/n", "/srv/n", "./n"]),
    ] {
        for address in addresses {
            let repo = parse(address).unwrap();
            assert_eq!(repo.identity(api_url), identity, "{address}");
            assert_eq!(Repo::recorded(&repo.to_string()), Some(repo));
        }
    }
}

#[test]
fn the_origin_of_a_clone_is_cleaned() {
    let work_tree = Path::new("/etc/nixos");
    let cleaned = |address: &str| Repo::of_clone(address, work_tree).map(|repo| repo.to_string());
    for (address, expected) in [
        ("git@github.com:a/b.git", "a/b"),
        ("ssh://git@github.com/a/b.git", "a/b"),
        ("ssh://git@github.com:22/a/b", "a/b"),
        ("https://github.com/a/b.git", "a/b"),
        ("https://user:secret@github.com/a/b", "a/b"),
        (
            "https://user:secret@git.example.org/a/b.git",
            "https://git.example.org/a/b.git",
        ),
        ("git@git.example.org:a/b.git", "git@git.example.org:a/b.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
        // As git writes one that was given as `../a.git`, and one that somebody has set.
        ("/srv/git/x/../a.git", "/srv/git/a.git"),
        ("../a.git", "/etc/a.git"),
    ] {
        assert_eq!(cleaned(address).as_deref(), Some(expected), "{address}");
    }
    for address in ["", "git://example.org/a", "ext::sh -c id", "-upload-pack"] {
        assert_eq!(cleaned(address), None, "{address}");
    }
}

#[test]
fn the_address_of_a_page_is_refused_with_what_to_write() {
    for (text, help) in [
        (
            "https://github.com/you/config/tree/main",
            "write `--repo you/config --ref main`, in a configuration file `repo = \"you/config\"` and `ref = \"main\"`",
        ),
        (
            "github.com/you/config/tree/main",
            "write `--repo you/config --ref main`, ",
        ),
        (
            "github:you/config/main",
            "write `--repo you/config --ref main`, ",
        ),
        (
            "github:you/config/feature/x",
            "write `--repo you/config --ref feature/x`, ",
        ),
        (
            "https://github.com/you/config/tree/main/hosts",
            "write `you/config`; ",
        ),
        (
            "https://github.com/you/config/pull/7",
            "write `you/config`; ",
        ),
        (
            "https://gitlab.com/a/b/c/-/tree/main",
            "write `--repo https://gitlab.com/a/b/c --ref main`, ",
        ),
        (
            "gitlab.com/you/config",
            "write `https://gitlab.com/you/config`",
        ),
        ("github:you/config?ref=main", "remove it; "),
        ("github:you", "write `owner/name` for GitHub, "),
    ] {
        let fault = refused(text);
        assert!(fault.help().starts_with(help), "{text}: {}", fault.help());
    }
}
