//! The files that tokens are searched in: netrc, Nix's settings, and the file of users, which has the home directory.
//!
//! The parts are divided by lines `---`: a netrc, a `nix.conf`, `NIX_CONFIG`, and `/etc/passwd`. A token that is
//! found is in one of them.
#![no_main]

use std::fs;

use hyper_sync::settings::Env;
use hyper_sync::token::TokenSearch;
use hyper_sync_fuzz::{directory, parts};
use libfuzzer_sys::fuzz_target;
use secrecy::ExposeSecret as _;

fuzz_target!(|data: &[u8]| {
    let parts: Vec<&[u8]> = parts(data, b"\n---\n").collect();
    let part = |number: usize| parts.get(number).copied().unwrap_or_default();
    let root = directory();
    fs::create_dir_all(root.path().join("etc/nix")).expect("a disk in memory");
    for (name, number) in [
        ("etc/nix/netrc", 0),
        ("etc/nix/nix.conf", 1),
        ("etc/passwd", 3),
    ] {
        let path = root.path().join(name);
        fs::write(&path, part(number)).expect("a disk in memory");
        private(&path);
    }
    let mut env = Env::empty()
        .as_root(true)
        .with("SUDO_USER", "me")
        .with("SUDO_UID", "1000");
    if let Ok(config) = std::str::from_utf8(part(2)) {
        env = env.with("NIX_CONFIG", config);
    }
    for host in ["github.com", "git.example.org"] {
        let search = TokenSearch {
            root: root.path(),
            ..TokenSearch::new(host, &env)
        };
        match search.run() {
            Ok(Some(token)) => {
                let secret = token.secret().expose_secret().as_bytes();
                let is_there = data.windows(secret.len()).any(|window| window == secret);
                assert!(is_there && !secret.is_empty(), "a token from nowhere");
                assert!(token.belongs_to(host));
                let _ = token.basic();
            }
            Ok(None) => {}
            Err(error) => drop(error.to_string()),
        }
    }
});

/// Only we can read it.
fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("a disk in memory");
}
