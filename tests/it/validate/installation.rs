//! A sample installation, and the means to damage it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_sync::git::{BlobId, CommitId, FileMode, Oid, RelPath, TreeId, id::ObjectKind};
use hyper_sync::objects::Store;
use hyper_sync::process::{Command, End, Environment, Finished, Runner};
use hyper_sync::settings::{Env, Overrides, Settings};
use hyper_sync::state::{Index, Owned, StateDir, SyncPoint};
use hyper_sync::validate::{self, CheckContext, Options, Validation};
use tempfile::TempDir;

pub(super) const TARGET: &str = "/etc/hypervisor/src";
pub(super) const LITERAL: &str = r#"{
  inputs = { nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05"; };
  outputs = { self, nixpkgs }: {
    nixosConfigurations.box = nixpkgs.lib.nixosSystem {
      modules = [
        /etc/nixos/hardware-configuration.nix
        /etc/hypervisor/src/profiles/configuration-minimal.nix
      ];
    };
  };
}
"#;
pub(super) const INPUT: &str = r#"{
  inputs = {
    nixpkgs.url = "github:NixOS/nixpkgs/nixos-24.05";
    hypervisor.url = "path:/etc/hypervisor/src";
  };
  outputs = { self, nixpkgs, hypervisor }: {
    nixosConfigurations.box = nixpkgs.lib.nixosSystem {
      modules = [ (hypervisor + "/profiles/configuration-minimal.nix") ];
    };
  };
}
"#;
pub(super) const LOCK: &str = r#"{
  "nodes": {
    "hypervisor": { "flake": false, "locked": { "path": "/etc/hypervisor/src", "type": "path" }, "original": { "type": "path" } },
    "nixpkgs": {
      "locked": { "narHash": "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", "owner": "NixOS", "repo": "nixpkgs", "rev": "x", "type": "github" },
      "original": { "owner": "NixOS", "ref": "nixos-24.05", "repo": "nixpkgs", "type": "github" }
    },
    "root": { "inputs": { "hypervisor": "hypervisor", "nixpkgs": "nixpkgs" } }
  },
  "root": "root",
  "version": 7
}
"#;

/// A healthy Hyper-NixOS, synced once.
pub(super) struct Installation {
    pub(super) root: TempDir,
    flags: Overrides,
    env: Env,
    pub(super) units: BTreeMap<&'static str, &'static str>,
}

impl Installation {
    pub(super) fn new() -> Self {
        let root = TempDir::new().unwrap();
        let home = root.path().join("home");
        let installation = Self {
            env: Env::empty()
                .as_root(true)
                .with("HOME", home)
                .with("PATH", "/run/current-system/sw/bin"),
            // The disk of the machine that runs the test may be nearly full.
            flags: Overrides::none().with("validate.min_free", "--min-free", Some("1 MiB")),
            units: BTreeMap::from([
                ("libvirtd.service", "active"),
                ("libvirtd.socket", "inactive"),
            ]),
            root,
        };
        for directory in [
            "var/lib/hypervisor",
            "run/systemd/system",
            "sys/class/net/br0",
            "nix",
            "boot",
            "home",
        ] {
            fs::create_dir_all(installation.path(directory)).unwrap();
        }
        for (path, content) in [
            ("etc/hypervisor/flake.nix", LITERAL),
            ("etc/hypervisor/flake.lock", LOCK),
            (
                "etc/hypervisor/src/configuration.nix",
                "{ imports = [ ./modules/core.nix ]; }\n",
            ),
            (
                "etc/hypervisor/src/flake.nix",
                "{ outputs = { self }: { }; }\n",
            ),
            (
                "etc/hypervisor/src/modules/core.nix",
                "{ boot.isContainer = false; }\n",
            ),
            ("etc/hypervisor/src/modules/unused.nix", "{ }\n"),
            (
                "etc/hypervisor/src/modules/users-local.nix",
                "{ users.users.me = { }; }\n",
            ),
            (
                "etc/hypervisor/src/modules/system-local.nix",
                "{ networking.hostName = \"box\"; }\n",
            ),
            (
                "etc/hypervisor/src/profiles/configuration-minimal.nix",
                "{ imports = [ ../configuration.nix ]; }\n",
            ),
            ("etc/hypervisor/src/scripts/setup.sh", "#!/bin/sh\n"),
            ("etc/hypervisor/src/scripts/lib/more.sh", "#!/bin/sh\n"),
            ("etc/nixos/hardware-configuration.nix", "{ }\n"),
            (
                "etc/nix/nix.conf",
                "experimental-features = nix-command flakes\n",
            ),
            ("dev/kvm", ""),
            ("proc/cpuinfo", "flags\t\t: fpu vmx sse\n"),
            (
                "proc/net/route",
                "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                 br0\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\n",
            ),
        ] {
            installation.write(path, content);
        }
        for script in ["setup.sh", "lib/more.sh"] {
            installation.mode(&format!("etc/hypervisor/src/scripts/{script}"), 0o755);
        }
        for tool in [
            "nix",
            "nixos-rebuild",
            "curl",
            "wget",
            "git",
            "jq",
            "rsync",
            "virsh",
        ] {
            let path = format!("run/current-system/sw/bin/{tool}");
            installation.write(&path, "");
            installation.mode(&path, 0o755);
        }
        installation.sync();
        installation
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    pub(super) fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub(super) fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(super) fn mode_of(&self, path: &str) -> u32 {
        fs::metadata(self.path(path)).unwrap().permissions().mode() & 0o7777
    }

    pub(super) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        }
        .unwrap();
    }

    pub(super) fn fifo(&self, path: &str) {
        let path = self.path(path);
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    }

    pub(super) fn flag(&mut self, name: &'static str, value: &str) {
        self.flags = std::mem::take(&mut self.flags).with(name, "--flag", Some(value));
    }

    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.env = std::mem::take(&mut self.env).with(name, value);
    }

    fn settings(&self) -> Settings {
        Settings::resolve(&self.flags, &self.env, None)
            .unwrap()
            .settings
    }

    /// Makes the index say that the last sync wrote the target as it is.
    pub(super) fn sync(&self) {
        let settings = self.settings();
        let target = self.path(settings.target.to_str().unwrap());
        let mut entries = BTreeMap::new();
        let mut pending = vec![target.clone()];
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    pending.push(path);
                    continue;
                }
                let below = path.strip_prefix(&target).unwrap();
                let executable = fs::metadata(&path).unwrap().permissions().mode() & 0o100 != 0;
                let owned = Owned {
                    mode: if executable {
                        FileMode::Executable
                    } else {
                        FileMode::Regular
                    },
                    id: BlobId(Oid::of(ObjectKind::Blob, &fs::read(&path).unwrap()).unwrap()),
                    seen: None,
                };
                entries.insert(
                    RelPath::new(below.as_os_str().as_encoded_bytes()).unwrap(),
                    owned,
                );
            }
        }
        let state = StateDir::open(&self.path(settings.state_dir.to_str().unwrap())).unwrap();
        let tree = TreeId(Oid::from_bytes([0xcd; 20]));
        let raw = format!("tree {tree}\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\ns\n");
        let commit = CommitId(Oid::of(ObjectKind::Commit, raw.as_bytes()).unwrap());
        let store = Store::open(state.path(), settings.limits.blob).unwrap();
        let mut writer = store.writer().unwrap();
        writer
            .add(ObjectKind::Commit, commit.0, raw.as_bytes())
            .unwrap();
        writer.finish().unwrap();
        store.make_durable().unwrap();
        let point = SyncPoint {
            commit,
            tree,
            reference: "main".to_owned(),
            repository: None,
        };
        Index::of(point, entries).save(&state).unwrap();
    }

    pub(super) fn run(&self, options: Options) -> Validation {
        self.with_context(|context| validate::run(context, options, &mut |_| {}))
    }

    pub(super) fn with_context<T>(&self, inspect: impl FnOnce(&CheckContext<'_>) -> T) -> T {
        let settings = self.settings();
        inspect(&CheckContext {
            settings: &settings,
            env: &self.env,
            runner: self,
            root: self.root.path(),
        })
    }
}

/// Answers for systemd.
impl Runner for Installation {
    fn run(&self, command: &Command<'_>) -> io::Result<Finished> {
        assert_eq!(command.program, Path::new("/bin/systemctl"));
        let units = command
            .args
            .iter()
            .skip_while(|argument| *argument != "--")
            .skip(1);
        let block = |unit: &std::ffi::OsString| {
            let unit = unit.to_str().unwrap();
            let state = self.units.get(unit);
            let load = state.map_or("not-found", |_| "loaded");
            let active = state.unwrap_or(&"inactive");
            format!("Id={unit}\nLoadState={load}\nActiveState={active}\n")
        };
        let answer = units.map(block).collect::<Vec<_>>().join("\n");
        Ok(Finished {
            end: End::Exited(0),
            answer: answer.into_bytes(),
            tail: String::new(),
            marked: None,
            lasted: Duration::ZERO,
        })
    }

    fn pause(&self, _: Duration) -> bool {
        true
    }

    fn find(&self, program: &str, _: &Environment) -> Option<PathBuf> {
        Some(Path::new("/bin").join(program))
    }
}
