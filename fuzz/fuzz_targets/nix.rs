//! Files of Nix: `flake.lock`, `flake.nix` and other expressions, `nix.conf`.
#![no_main]

use std::path::Path;

use hyper_sync::nix::{Flake, FlakeLock, Layout, Names, NarHash, conf, names, syntax};
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

/// Changes a lock file in every way a rebuild does; `old` is the lock file of before.
fn lock(text: &str, old: &str) {
    let mut lock = match FlakeLock::parse(text) {
        Ok(lock) => lock,
        Err(fault) => return drop(fault.to_string()),
    };
    assert!(lock.keeps(&lock, &[]));
    let old = FlakeLock::parse(old).ok();
    let old = old.or_else(|| FlakeLock::of_metadata(text.as_bytes()));
    let names = ["hypervisor", "nixpkgs", ""].map(str::to_owned);
    for name in &names {
        let _ = lock.input(name);
        let _ = lock.has_nested(name, names.iter().map(String::as_str));
        lock.relocate(name, old.as_ref(), 1);
        if lock.refresh(name, &NAR, 1) {
            assert_eq!(lock.nar_hash(name), Some(NAR.to_string().as_str()));
        }
    }
    let _ = lock.has_inputs(names.iter().map(String::as_str));
    let _ = old.is_some_and(|old| lock.keeps(&old, &names));
    let written = lock.text();
    assert_eq!(FlakeLock::parse(&written), Ok(lock), "{written}");
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
