//! Files of Nix: `flake.lock`, `flake.nix` and other expressions, `nix.conf`.
#![no_main]

use std::path::Path;

use hyper_sync::fuzzing;
use hyper_sync::nix::{Flake, Layout, Lock, Names, NarHash, conf, names, syntax};
use hyper_sync_fuzz::directory;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static NAR: LazyLock<NarHash> = LazyLock::new(|| {
    let empty = directory();
    NarHash::of(empty.path()).expect("the hash of an empty directory")
});

fuzz_target!(|text: &str| {
    let (one, two) = text.split_once("\n---\n").unwrap_or((text, ""));
    lock(one, two);
    expression(one);
    let mut on = Vec::new();
    conf::experimental_features(one, &mut on, &|name| (name != one).then(|| two.to_owned()));
});

fn lock(text: &str, old: &str) {
    if let Ok(lock) = Lock::parse(text) {
        for name in ["nixpkgs", "hypervisor"] {
            let _ = lock.input(name);
        }
    }
    let names = ["hypervisor", "nixpkgs", ""].map(str::to_owned);
    if let Some(written) = fuzzing::lock_file(text, old, &names, &NAR) {
        let again = fuzzing::lock_file(&written, old, &names, &NAR);
        assert!(again.is_some(), "what is written can be read: {written}");
    }
}

fn expression(source: &str) {
    let checked = syntax::check(source);
    if let Err(error) = &checked {
        let _ = error.to_string();
    }
    let (directory, target) = (
        Path::new("/etc/hypervisor"),
        Path::new("/etc/hypervisor/src"),
    );
    if let Ok(flake) = Flake::parse(source) {
        let _ = Layout::of(&flake, directory, target);
        let _ = flake.names_path_in(directory, target);
    }
    let _ = Names::parse(source);
    let _ = names::sets_attribute(source, &["services", "hyper-sync", "enable"]);
}
