//! What the whole update costs: the programs of Nix that it starts. How long it takes: `benches/rebuild`.

use super::update::{run, run_by};
use super::world::{NixHost, WAYS, Way, commit, git};

/// A machine whose `nix` notes each call, and a repository at its first commit.
fn noting(way: Way) -> NixHost {
    let world = NixHost::new(way);
    let path = std::env::var_os("PATH").unwrap();
    let real = std::env::split_paths(&path).map(|directory| directory.join("nix"));
    let real = { real.into_iter() }.find(|nix| nix.exists()).unwrap();
    let (log, real) = (world.path("calls"), real.display());
    let note = format!(
        "#!/bin/sh\necho \"$1 $2\" >>{}\nexec {real} \"$@\"\n",
        log.display()
    );
    world.program("bin/nix", &note);
    std::fs::create_dir(world.path("repo")).unwrap();
    git(&world, &["init", "--quiet", "--initial-branch=main"]);
    commit(&world);
    world
}

/// The calls of Nix in one update, without their options.
fn calls(world: &NixHost) -> Vec<String> {
    world.write("calls", "");
    let output = run(world, &[]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {errors}", world.way);
    let calls = world.read("calls");
    let calls = calls.lines().map(|call| match call.split_once(' ') {
        Some((command, option)) if option.starts_with('-') => command.to_owned(),
        _ => call.to_owned(),
    });
    calls.collect()
}

/// Each call of Nix reads the whole tree once more, and takes longer than a sync.
#[test]
fn an_update_evaluates_once_and_asks_nix_for_nothing_twice() {
    for way in WAYS {
        for gate in [false, true] {
            let world = noting(way);
            let world = if gate { world.with_gate() } else { world };
            calls(&world);
            world.write("repo/text.nix", "\"two\"\n");
            git(&world, &["commit", "--quiet", "--all", "--message", "two"]);
            let expected: &[&str] = match (way, gate) {
                // Nix reads literal paths in place: there is nothing to ask.
                (Way::Literal, _) => &["build"],
                (Way::Own | Way::Input, false) | (Way::Own, true) => &["flake metadata", "build"],
                // The lock file of a host flake is written only with the target.
                (Way::Input, true) => &["flake metadata", "build", "flake metadata"],
            };
            assert_eq!(calls(&world), expected, "{way:?}, gate: {gate}");
            // Nothing to do.
            assert_eq!(calls(&world), [""; 0], "{way:?}, gate: {gate}");
        }
    }
}

/// Into the snapshot, in which nobody else writes, and by Nix into its store, where it evaluates.
#[test]
fn an_update_copies_each_file_once_here_and_once_into_the_store() {
    for way in WAYS {
        let world = noting(way);
        calls(&world);
        world.write("repo/text.nix", "\"two\"\n");
        git(&world, &["commit", "--quiet", "--all", "--message", "two"]);
        let trace = world.path("trace").display().to_string();
        let binary = env!("CARGO_BIN_EXE_hyper-sync");
        let strace = ["strace", "-f", "-o", &trace, "-e", "trace=openat,openat2"];
        let output = run_by(&world, &[&strace[..], &[binary]].concat(), &[]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{way:?}: {errors}");
        let trace = world.read("trace");
        let written = { trace.lines() }.filter(|call| {
            let is_done = !call.contains(" = -1 ");
            call.contains("module.nix\"") && call.contains("O_CREAT") && is_done
        });
        let written: Vec<&str> = written.collect();
        let into = |place: &str| written.iter().filter(|call| call.contains(place)).count();
        // Literal paths are read in place.
        let stored = usize::from(way != Way::Literal);
        let counted = (into("/snapshots/"), into("/nix/store/"), written.len());
        assert_eq!(counted, (1, stored, 1 + stored), "{way:?}: {written:#?}");
    }
}
