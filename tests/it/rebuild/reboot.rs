//! `allowReboot` of the NixOS module: the new system is made the boot default first, then modules/reboot.sh activates
//! it or reboots into it. The unit's two commands, with the real binary and the real script.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use crate::common::env::Sandbox;
use crate::common::repo::Repo;

/// A synced machine with fakes of all that the commands of the unit call.
struct RebootUnit {
    sandbox: Sandbox,
    repo: Repo,
}

/// What the module sets.
#[derive(Clone, Copy)]
struct Module {
    action: &'static str,
    window: Option<(&'static str, &'static str)>,
}

const SWITCH: Module = Module {
    action: "switch",
    window: None,
};

impl RebootUnit {
    fn new() -> Self {
        let world = Self {
            sandbox: Sandbox::new(),
            repo: Repo::new(),
        };
        world
            .repo
            .write(
                "flake.nix",
                "{ outputs = _: { nixosConfigurations.vm = { }; }; }\n",
            )
            .write(
                "flake.lock",
                r#"{"nodes":{"root":{}},"root":"root","version":7}"#,
            )
            .commit("start");
        for system in ["old", "new"] {
            fs::create_dir_all(world.system(system)).unwrap();
            for part in ["initrd", "kernel", "kernel-modules"] {
                symlink(format!("/{part}-1"), world.system(system).join(part)).unwrap();
            }
        }
        symlink(world.system("old"), world.system("booted")).unwrap();
        symlink(world.system("old"), world.system("profile")).unwrap();
        for tool in ["sh", "readlink", "cat"] {
            world.sandbox.link_tool(tool);
        }
        let root = world.sandbox.root().display().to_string();
        world
            .sandbox
            .tool(
                "nixos-rebuild",
                // It builds before anything else.
                &format!("[ $1 = build ] || echo \"rebuild $1\" >> '{root}/log'"),
            )
            .tool(
                "shutdown",
                &format!("echo \"shutdown $1 $2\" >> '{root}/log'"),
            )
            .tool("nix", "exit 0")
            .tool("date", &format!("cat '{root}/now'"))
            // An argument that only `nixos-rebuild` has: nothing else is called to build.
            .follow(
                &world.repo,
                "[rebuild]\nhost = 'vm'\nextra_args = ['--sudo']",
            );
        let _ = world.sandbox.run(&["--skip-rebuild"]).ok();
        world
    }

    fn system(&self, name: &str) -> PathBuf {
        self.sandbox.root().join("systems").join(name)
    }

    /// The new system, which the fake `nixos-rebuild` cannot make, is the boot default; `part` of it is another one.
    fn built(self, part: Option<&str>) -> Self {
        if let Some(part) = part {
            let link = self.system("new").join(part);
            fs::remove_file(&link).unwrap();
            symlink(format!("/{part}-2"), link).unwrap();
        }
        fs::remove_file(self.system("profile")).unwrap();
        symlink(self.system("new"), self.system("profile")).unwrap();
        self
    }

    /// Both commands of the unit, at a time of day; what they called, and what the script printed.
    fn tick(&self, module: Module, now: &str) -> (Vec<String>, String) {
        fs::write(self.sandbox.root().join("now"), now).unwrap();
        fs::write(self.sandbox.root().join("log"), "").unwrap();
        let mut first = self
            .sandbox
            .cmd(&["rebuild", "--if-pending", "--boot-first"]);
        first.env("HYPER_SYNC_REBUILD_ACTION", module.action);
        let _ = self.sandbox.finish(&mut first).ok();

        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/modules/reboot.sh");
        let (lower, upper) = module.window.unwrap_or_default();
        let wrapper = [
            "sh".to_owned(),
            "-c".to_owned(),
            format!(
                "hyper_sync=$0 action={} lower={lower} upper={upper} booted='{}' built='{}'\n. '{script}'",
                module.action,
                self.system("booted").display(),
                self.system("profile").display(),
            ),
        ];
        let wrapper: Vec<&str> = wrapper.iter().map(String::as_str).collect();
        let mut second: Command = self.sandbox.process(&wrapper, &[]);
        let output = second.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{error}");
        let log = fs::read_to_string(self.sandbox.root().join("log")).unwrap();
        let calls = log.lines().map(str::to_owned).collect();
        (calls, String::from_utf8(output.stdout).unwrap())
    }

    fn pending(&self) -> Option<String> {
        let status = self.sandbox.run(&["status", "--json"]).ok().json();
        status["pending_rebuild"]["action"]
            .as_str()
            .map(str::to_owned)
    }
}

#[test]
fn the_same_kernel_is_switched_to_at_once() {
    let world = RebootUnit::new().built(None);
    let (calls, _) = world.tick(SWITCH, "1200");
    assert_eq!(calls, ["rebuild boot", "rebuild switch"]);
    assert_eq!(world.pending(), None);
    // And the next tick has nothing to do.
    let (calls, _) = world.tick(SWITCH, "1300");
    assert!(calls.is_empty(), "{calls:?}");
}

#[test]
fn another_kernel_is_rebooted_into() {
    for part in ["kernel", "initrd", "kernel-modules"] {
        let world = RebootUnit::new().built(Some(part));
        let (calls, _) = world.tick(SWITCH, "1200");
        assert_eq!(calls, ["rebuild boot", "shutdown -r +1"], "{part}");
        // The machine has booted it: no rebuild waits any more.
        fs::remove_file(world.system("booted")).unwrap();
        symlink(world.system("new"), world.system("booted")).unwrap();
        let (calls, _) = world.tick(SWITCH, "1300");
        assert!(
            !calls.iter().any(|call| call.contains("shutdown")),
            "{calls:?}"
        );
        assert_eq!(world.pending(), None, "{part}");
    }
}

#[test]
fn a_system_without_an_initial_ram_disk_is_compared_too() {
    let world = RebootUnit::new();
    for system in ["old", "new"] {
        fs::remove_file(world.system(system).join("initrd")).unwrap();
    }
    let world = world.built(None);
    let (calls, _) = world.tick(SWITCH, "1200");
    assert_eq!(calls, ["rebuild boot", "rebuild switch"]);
}

#[test]
fn a_reboot_waits_for_its_window() {
    let nights = [
        (("0100", "0500"), ["0059", "0500", "1200"], ["0100", "0459"]),
        (("2200", "0800"), ["2159", "0800", "1200"], ["2200", "0759"]),
    ];
    for (window, outside, inside) in nights {
        let module = Module {
            window: Some(window),
            ..SWITCH
        };
        let world = RebootUnit::new().built(Some("kernel"));
        for now in outside {
            let (calls, said) = world.tick(module, now);
            assert!(
                !calls.iter().any(|call| call.contains("shutdown")),
                "{now}: {calls:?}"
            );
            assert!(said.contains("a reboot is needed"), "{now}: {said}");
            assert_eq!(world.pending().as_deref(), Some("switch"), "{now}");
        }
        for now in inside {
            let (calls, _) = world.tick(module, now);
            assert!(
                calls.iter().any(|call| call == "shutdown -r +1"),
                "{now}: {calls:?}"
            );
        }
    }
}

#[test]
fn nothing_is_activated_and_nothing_reboots_while_updates_are_suspended() {
    for part in [None, Some("kernel")] {
        let world = RebootUnit::new().built(part);
        let _ = world.sandbox.run(&["suspend"]).ok();
        let (calls, said) = world.tick(SWITCH, "1200");
        assert!(calls.is_empty(), "{calls:?}");
        assert_eq!(said, "");
        assert_eq!(world.pending().as_deref(), Some("switch"));
        let _ = world.sandbox.run(&["resume"]).ok();
        let (calls, _) = world.tick(SWITCH, "1200");
        let last = part.map_or("rebuild switch", |_| "shutdown -r +1");
        assert_eq!(calls, ["rebuild boot", last]);
    }
}

#[test]
fn with_action_boot_nothing_is_switched() {
    let world = RebootUnit::new().built(None);
    let module = Module {
        action: "boot",
        window: None,
    };
    let (calls, _) = world.tick(module, "1200");
    assert_eq!(calls, ["rebuild boot"]);
    assert_eq!(world.pending(), None);
    let world = RebootUnit::new().built(Some("kernel"));
    let (calls, _) = world.tick(module, "1200");
    assert_eq!(calls, ["rebuild boot", "shutdown -r +1"]);
}
