//! The checks over a whole sample installation in a directory that is used as `/`, one fault at a time.

use std::fs;
use std::os::unix::fs::symlink;

use hyper_sync::exit::Exit;
use hyper_sync::fs::Target;
use hyper_sync::validate::{
    self, CHECKS, CheckStatus, Error, Extent, Options, Severity, Validation,
};

use crate::common::snapshot::TreeSnapshot;

mod command;
mod faults;
mod installation;

use faults::FAULTS;
use installation::{INPUT, Installation, TARGET};

/// All findings but those that passed, in one text.
fn complaints(validation: &Validation) -> String {
    let mut lines = Vec::new();
    for check in validation.checks() {
        for detail in check
            .details
            .iter()
            .filter(|detail| detail.status > CheckStatus::Passed)
        {
            let place = detail
                .place
                .as_ref()
                .map_or(String::new(), |place| format!(" at {}", place.position));
            lines.push(format!(
                "{:?} {}: {}{place}",
                detail.status, check.id, detail.text
            ));
        }
    }
    lines.join("\n")
}

fn status(validation: &Validation, id: &str) -> CheckStatus {
    validation
        .checks()
        .iter()
        .find(|check| check.id == id)
        .unwrap()
        .status
}

const ALL: Options = Options {
    extent: Extent::All,
    sandboxed: false,
    fix: false,
};
const FIX: Options = Options { fix: true, ..ALL };

/// The old validator ended with exit code 1 after the first check that passed.
#[test]
fn a_healthy_installation_passes_every_check() {
    let installation = Installation::new();
    let before = TreeSnapshot::of(installation.root.path());
    let validation = installation.run(ALL);
    assert_eq!(complaints(&validation), "");
    let passed: Vec<_> = validation
        .checks()
        .iter()
        .map(|check| (check.id, check.status))
        .collect();
    let all: Vec<_> = CHECKS
        .iter()
        .map(|check| (check.id, CheckStatus::Passed))
        .collect();
    assert_eq!(passed, all);
    assert_eq!(validation.exit(Severity::Warning), Exit::Done);
    assert!(validation.allows_rebuild().is_ok());
    assert_eq!(
        TreeSnapshot::of(installation.root.path()),
        before,
        "checking changes nothing"
    );
}

/// Without what differs from run to run and from machine to machine.
fn masked(installation: &Installation, text: &str) -> String {
    let text = text.replace(installation.root.path().to_str().unwrap(), "[root]");
    match (text.find(" has "), text.find(" free, ")) {
        (Some(start), Some(end)) => format!("{} has [size]{}", &text[..start], &text[end..]),
        _ => text,
    }
}

#[test]
fn each_fault_is_found_by_its_check_and_by_no_other() {
    for (name, damage, expected) in FAULTS {
        let mut installation = Installation::new();
        damage(&mut installation);
        let validation = installation.run(ALL);
        let found = masked(&installation, &complaints(&validation));
        assert_eq!(found, *expected, "{name}");
        let is_critical = expected.contains("Failed");
        let exit = if is_critical {
            Exit::Failure
        } else {
            Exit::Configuration
        };
        assert_eq!(validation.exit(Severity::Warning), exit, "{name}");
        let exit = if is_critical {
            Exit::Failure
        } else {
            Exit::Done
        };
        assert_eq!(validation.exit(Severity::Critical), exit, "{name}");
        assert_eq!(validation.allows_rebuild().is_err(), is_critical, "{name}");
        for check in validation
            .checks()
            .iter()
            .filter(|check| check.status > CheckStatus::Passed)
        {
            assert!(
                !check.hints.is_empty() && !check.hints.contains(&String::new()),
                "{name}: {}",
                check.id
            );
        }
    }
}

#[test]
fn every_check_fails_with_its_severity_in_some_case() {
    for check in CHECKS.iter().filter(|check| check.id != "target") {
        let word = match check.severity {
            Severity::Critical => "Failed",
            Severity::Warning => "Warned",
        };
        let found = format!("{word} {}: ", check.id);
        assert!(
            FAULTS
                .iter()
                .any(|(_, _, expected)| expected.contains(&found)),
            "{found}"
        );
        let worse = format!("Failed {}: ", check.id);
        let is_worse = FAULTS
            .iter()
            .any(|(_, _, expected)| expected.contains(&worse));
        assert_eq!(
            is_worse,
            check.severity == Severity::Critical,
            "{}",
            check.id
        );
    }
}

#[test]
fn a_missing_target_fails_and_what_needs_it_is_skipped() {
    let installation = Installation::new();
    installation.remove(TARGET);
    let validation = installation.run(ALL);
    for id in ["target", "directories", "files"] {
        assert_eq!(status(&validation, id), CheckStatus::Failed, "{id}");
    }
    for id in ["nix-syntax", "special-files", "scripts", "integrity"] {
        assert_eq!(status(&validation, id), CheckStatus::Skipped, "{id}");
    }
    assert_eq!(status(&validation, "flake"), CheckStatus::Passed);
    assert_eq!(validation.exit(Severity::Warning), Exit::Failure);
}

#[test]
fn all_three_layouts_are_accepted() {
    let installation = Installation::new();
    assert!(complaints(&installation.run(ALL)).is_empty(), "literal");

    installation.write("etc/hypervisor/flake.nix", INPUT);
    assert_eq!(complaints(&installation.run(ALL)), "", "input");

    let mut installation = Installation::new();
    installation.flag("target", "/etc/nixos");
    installation.flag("rebuild.flake", "/etc/nixos");
    installation.write(
        "etc/nixos/flake.nix",
        "{ outputs = { self }: { nixosConfigurations.box = 1; }; }",
    );
    installation.write("etc/nixos/configuration.nix", "{ }");
    installation.sync();
    let validation = installation.run(ALL);
    assert_eq!(complaints(&validation), "", "self");
    // Nothing is assumed about a repository that is not Hyper-NixOS.
    for id in [
        "directories",
        "files",
        "scripts",
        "users",
        "system",
        "virtualisation",
        "services",
    ] {
        assert_eq!(status(&validation, id), CheckStatus::Skipped, "{id}");
    }
    assert_eq!(validation.exit(Severity::Warning), Exit::Done);
}

#[test]
fn before_the_first_sync_integrity_is_skipped_and_everything_else_checked() {
    let installation = Installation::new();
    installation.remove("var/lib/hyper-sync");
    let validation = installation.run(ALL);
    assert_eq!(complaints(&validation), "");
    assert_eq!(status(&validation, "integrity"), CheckStatus::Skipped);
    assert_eq!(status(&validation, "nix-syntax"), CheckStatus::Passed);
    assert_eq!(status(&validation, "scripts"), CheckStatus::Passed);
    assert_eq!(validation.exit(Severity::Warning), Exit::Done);

    installation.write("etc/hypervisor/src/modules/new.nix", "{ a = }");
    assert_eq!(
        complaints(&installation.run(ALL)),
        "Warned nix-syntax: unexpected `}` (in a file that nothing is seen to use) at 1:7"
    );
}

#[test]
fn an_edit_of_a_protected_file_or_an_execute_bit_is_not_reported() {
    let installation = Installation::new();
    installation.write("etc/hypervisor/src/modules/system-local.nix", "{ }\n");
    assert_eq!(complaints(&installation.run(ALL)), "");
    installation.mode("etc/hypervisor/src/scripts/setup.sh", 0o644);
    let validation = installation.run(ALL);
    assert_eq!(status(&validation, "integrity"), CheckStatus::Passed);
    assert_eq!(status(&validation, "scripts"), CheckStatus::Warned);
}

#[test]
fn unmanaged_files_are_not_checked_for_syntax_and_integrity() {
    let installation = Installation::new();
    installation.write("etc/hypervisor/src/notes.nix", "not nix at all {");
    installation.write("etc/hypervisor/src/result/x.nix", "{");
    installation.fifo("etc/hypervisor/src/agent.socket");
    assert_eq!(complaints(&installation.run(ALL)), "");
}

#[test]
fn a_service_that_starts_on_demand_is_healthy() {
    let mut installation = Installation::new();
    installation.units.insert("libvirtd.service", "inactive");
    installation.units.insert("libvirtd.socket", "active");
    assert_eq!(complaints(&installation.run(ALL)), "");
}

#[test]
fn flakes_may_be_enabled_in_any_file_that_nix_reads() {
    let places: &[fn(&mut Installation)] = &[
        |i| {
            i.set(
                "NIX_CONFIG",
                "extra-experimental-features = nix-command flakes",
            );
        },
        |i| i.write("etc/nix/nix.conf", "!include more.conf\n"),
        |i| {
            i.set("NIX_CONF_DIR", "/etc/other");
            i.write(
                "etc/other/nix.conf",
                "experimental-features = flakes nix-command\n",
            );
        },
        |i| {
            i.set("XDG_CONFIG_HOME", "/home/x");
            i.write(
                "home/x/nix/nix.conf",
                "experimental-features = flakes nix-command\n",
            );
        },
    ];
    for (index, place) in places.iter().enumerate() {
        let mut installation = Installation::new();
        installation.write("etc/nix/nix.conf", "");
        installation.write(
            "etc/nix/more.conf",
            "experimental-features = flakes nix-command\n",
        );
        place(&mut installation);
        assert_eq!(complaints(&installation.run(ALL)), "", "{index}");
    }
}

#[test]
fn fix_repairs_reports_what_it_did_and_leaves_nothing_to_do() {
    let mut installation = Installation::new();
    installation.remove("var/lib/hypervisor");
    installation.mode("etc/hypervisor/src/scripts/setup.sh", 0o640);
    installation.mode("etc/hypervisor/src/scripts/lib/more.sh", 0o644);
    installation.mode("etc/hypervisor/src/modules", 0o777);
    installation.mode("etc/hypervisor/src/modules/core.nix", 0o646);
    installation.mode("etc/nixos", 0o777);
    installation.mode("var/lib/hyper-sync", 0o755);
    installation.write("etc/token", "canary\n");
    installation.mode("etc/token", 0o644);
    installation.flag("token_file", "/etc/token");
    installation.flag("rebuild.flake", "/etc/hypervisor");

    let mut announced = Vec::new();
    let validation = installation.with_context(|context| {
        validate::run(context, FIX, &mut |repair| {
            announced.push(repair.to_string());
        })
    });
    assert_eq!(complaints(&validation), "");
    assert_eq!(validation.exit(Severity::Warning), Exit::Done);
    assert_eq!(
        announced,
        [
            "make the directory `/var/lib/hypervisor`",
            "set the mode of `/etc/hypervisor/src/scripts/lib/more.sh` to 0755",
            "set the mode of `/etc/hypervisor/src/scripts/setup.sh` to 0750",
            "set the mode of `/etc/hypervisor/src/modules` to 0775",
            "set the mode of `/etc/hypervisor/src/modules/core.nix` to 0644",
            "set the mode of `/etc/token` to 0600",
            "set the mode of `/var/lib/hyper-sync` to 0700",
        ]
    );
    let done: Vec<_> = validation
        .repairs()
        .iter()
        .map(|repair| (repair.text.clone(), &repair.error))
        .collect();
    assert_eq!(
        done,
        announced
            .iter()
            .map(|text| (text.clone(), &None))
            .collect::<Vec<_>>()
    );
    assert_eq!(installation.mode_of("etc/token"), 0o600);
    assert_eq!(
        installation.mode_of("etc/nixos"),
        0o777,
        "no path of ours goes through it"
    );

    let before = TreeSnapshot::of(installation.root.path());
    let again = installation.run(FIX);
    assert_eq!(complaints(&again), "");
    assert!(again.repairs().is_empty());
    assert_eq!(TreeSnapshot::of(installation.root.path()), before);
}

#[test]
fn fix_closes_a_directory_above_the_target() {
    let installation = Installation::new();
    installation.mode("etc/hypervisor", 0o777);
    let validation = installation.run(ALL);
    assert!(
        complaints(&validation)
            .contains("Failed permissions: everybody may write into `/etc/hypervisor`")
    );
    let validation = installation.run(FIX);
    assert_eq!(complaints(&validation), "");
    assert_eq!(installation.mode_of("etc/hypervisor"), 0o775);
}

#[test]
fn fix_makes_the_target_of_a_fresh_machine() {
    let installation = Installation::new();
    installation.remove(TARGET);
    installation.remove("var/lib/hyper-sync");
    let validation = installation.run(FIX);
    assert_eq!(status(&validation, "target"), CheckStatus::Passed);
    assert_eq!(status(&validation, "directories"), CheckStatus::Passed);
    assert!(Target::open(&installation.path(TARGET)).is_ok());
}

#[test]
fn fix_follows_no_symlink_out_of_the_target() {
    let mut installation = Installation::new();
    installation.flag("validate.directories", "modules/link/made");
    fs::create_dir(installation.path("outside")).unwrap();
    symlink(
        installation.path("outside"),
        installation.path("etc/hypervisor/src/modules/link"),
    )
    .unwrap();
    let validation = installation.run(FIX);
    assert_eq!(validation.repairs().len(), 1);
    assert!(validation.repairs()[0].error.is_some());
    assert_eq!(status(&validation, "directories"), CheckStatus::Failed);
    assert_eq!(
        fs::read_dir(installation.path("outside")).unwrap().count(),
        0
    );
}

#[test]
fn a_repair_that_fails_is_reported_and_the_fault_stays() {
    let installation = Installation::new();
    installation.remove("var/lib/hypervisor");
    installation.write("elsewhere", "");
    symlink("nowhere", installation.path("var/lib/hypervisor")).unwrap();
    let validation = installation.run(FIX);
    assert_eq!(validation.repairs().len(), 1);
    assert!(
        validation.repairs()[0]
            .error
            .as_deref()
            .unwrap()
            .contains("cannot create")
    );
    assert_eq!(status(&validation, "directories"), CheckStatus::Failed);
}

#[test]
fn quick_and_sandboxed_runs_skip_the_checks_marked_in_the_table() {
    let installation = Installation::new();
    let quick = installation.run(Options {
        extent: Extent::Quick,
        ..ALL
    });
    let sandboxed = installation.run(Options {
        sandboxed: true,
        ..ALL
    });
    for check in CHECKS {
        let skipped = |is_in: bool| {
            if is_in {
                CheckStatus::Passed
            } else {
                CheckStatus::Skipped
            }
        };
        assert_eq!(
            status(&quick, check.id),
            skipped(check.quick),
            "{}",
            check.id
        );
        assert_eq!(
            status(&sandboxed, check.id),
            skipped(check.sandbox_ok),
            "{}",
            check.id
        );
    }
    let left_out = |is_out: fn(&validate::Check) -> bool| -> Vec<&str> {
        CHECKS
            .iter()
            .filter(|check| is_out(check))
            .map(|check| check.id)
            .collect()
    };
    assert_eq!(
        left_out(|check| !check.quick),
        [
            "nix-syntax",
            "special-files",
            "network",
            "services",
            "integrity",
            "permissions"
        ]
    );
    assert_eq!(
        left_out(|check| !check.sandbox_ok),
        [
            "nix",
            "virtualisation",
            "network",
            "services",
            "tools",
            "permissions"
        ]
    );
}

#[test]
fn of_a_thousand_faults_some_are_listed() {
    let installation = Installation::new();
    for n in 0..1000 {
        installation.write(&format!("etc/hypervisor/src/scripts/{n}.sh"), "");
    }
    installation.sync();
    let validation = installation.run(ALL);
    let scripts = validation
        .checks()
        .iter()
        .find(|check| check.id == "scripts")
        .unwrap();
    assert_eq!(scripts.details.len(), 21);
    assert_eq!(scripts.details[20].text, "and 980 more");
}

#[test]
fn before_a_sync_only_faults_that_make_it_unsafe_stop_it() {
    let preflight = |installation: &Installation| installation.with_context(validate::preflight);
    // However damaged the installation is, a sync may repair it.
    let installation = Installation::new();
    for path in [
        "etc/hypervisor/flake.nix",
        "dev/kvm",
        "etc/nixos",
        "run",
        "etc/hypervisor/src/configuration.nix",
    ] {
        installation.remove(path);
    }
    assert!(preflight(&installation).is_ok());
    installation.remove(TARGET);
    installation.remove("var/lib/hyper-sync");
    assert!(
        preflight(&installation).is_ok(),
        "a first sync makes the target"
    );

    let installation = Installation::new();
    installation.mode("var/lib/hyper-sync", 0o777);
    assert!(matches!(preflight(&installation), Err(Error::State(_))));

    let installation = Installation::new();
    installation.remove(TARGET);
    installation.write(TARGET, "");
    assert!(matches!(preflight(&installation), Err(Error::Target(_))));

    // A file system that cannot be written, or has no room at all.
    let installation = Installation::new();
    installation.with_context(|context| {
        let mut settings = context.settings.clone();
        settings.target = "/proc/sys".into();
        // Not the machine's own state, which may be root's.
        settings.state_dir = "/nonexistent/state".into();
        let context = validate::CheckContext {
            settings: &settings,
            root: std::path::Path::new("/"),
            ..*context
        };
        let refused = validate::preflight(&context);
        assert!(
            matches!(refused, Err(Error::NoRoom { .. } | Error::ReadOnly { .. })),
            "{refused:?}"
        );
    });

    // Root may write everywhere.
    if !rustix::process::geteuid().is_root() {
        let installation = Installation::new();
        installation.mode(TARGET, 0o555);
        assert!(matches!(
            preflight(&installation),
            Err(Error::NotWritable { .. })
        ));
        installation.mode(TARGET, 0o755);
    }
}

#[test]
fn programs_get_stable_names_and_places() {
    let installation = Installation::new();
    installation.write("etc/hypervisor/flake.nix", "{ a = 1 }");
    let validation = installation.run(Options {
        extent: Extent::Quick,
        ..ALL
    });
    let json = serde_json::to_value(&validation).unwrap();
    let flake = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["id"] == "flake")
        .unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(flake).unwrap(), @r#"
    {
      "detail": [
        {
          "column": 9,
          "line": 1,
          "path": "/etc/hypervisor/flake.nix",
          "status": "failed",
          "text": "unexpected `}`, expected `;`"
        }
      ],
      "hint": [
        "correct it: Nix cannot read it either"
      ],
      "id": "flake",
      "severity": "critical",
      "status": "failed",
      "title": "flake"
    }
    "#);
    let ids: Vec<_> = CHECKS.iter().map(|check| check.id).collect();
    insta::assert_debug_snapshot!(ids, @r#"
    [
        "directories",
        "target",
        "files",
        "flake",
        "flake-lock",
        "nix-syntax",
        "special-files",
        "scripts",
        "git-dir",
        "hardware",
        "users",
        "system",
        "nix",
        "virtualisation",
        "network",
        "services",
        "tools",
        "integrity",
        "permissions",
        "disk-space",
        "state",
    ]
    "#);
}
