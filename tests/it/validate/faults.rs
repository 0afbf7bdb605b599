//! One fault each, and the findings for it.

use std::os::unix::fs::symlink;

use super::installation::{Installation, LITERAL, LOCK};

pub(super) type Break = fn(&mut Installation);

/// Only commits with a signature by one of these keys pass.
fn trust(installation: &mut Installation, keys: &str) {
    installation.write("etc/signers", keys);
    installation.mode("etc/signers", 0o644);
    installation.flag("trust.signers", "/etc/signers");
}

/// One fault each: its name, how it is made, and all findings.
pub(super) const FAULTS: &[(&str, Break, &str)] = &[
    (
        "a directory is missing",
        |i| i.remove("var/lib/hypervisor"),
        "Failed directories: `/var/lib/hypervisor` is missing",
    ),
    (
        "a file stands in place of a directory",
        |i| {
            i.remove("var/lib/hypervisor");
            i.write("var/lib/hypervisor", "");
        },
        "Failed directories: `/var/lib/hypervisor` is not a directory",
    ),
    (
        "a file outside the target is missing",
        |i| i.remove("etc/nixos/hardware-configuration.nix"),
        "Failed files: `/etc/nixos/hardware-configuration.nix` is missing",
    ),
    (
        "a FIFO stands in place of a file",
        |i| {
            i.remove("etc/nixos/hardware-configuration.nix");
            i.fifo("etc/nixos/hardware-configuration.nix");
        },
        "Failed files: `/etc/nixos/hardware-configuration.nix` is not a regular file",
    ),
    (
        "a managed file that must be there is missing",
        |i| i.remove("etc/hypervisor/src/configuration.nix"),
        "Failed files: `configuration.nix` is missing\n\
         Failed integrity: `configuration.nix` is missing",
    ),
    (
        "there is no flake",
        |i| i.remove("etc/hypervisor/flake.nix"),
        "Failed files: `/etc/hypervisor/flake.nix` is missing\n\
         Failed flake: `/etc/hypervisor/flake.nix` is missing",
    ),
    (
        "a FIFO is named flake.nix",
        |i| {
            i.remove("etc/hypervisor/flake.nix");
            i.fifo("etc/hypervisor/flake.nix");
        },
        "Failed files: `/etc/hypervisor/flake.nix` is not a regular file\n\
         Failed flake: `/etc/hypervisor/flake.nix` cannot be read: it is not a regular file",
    ),
    (
        "the flake does not parse",
        |i| {
            i.write(
                "etc/hypervisor/flake.nix",
                "{\n  outputs = { self }: { nixosConfigurations.a = 1 };\n}\n",
            );
        },
        "Failed flake: unexpected `}`, expected `;` at 2:51",
    ),
    (
        "the flake defines an attribute twice",
        |i| {
            i.write(
                "etc/hypervisor/flake.nix",
                "{ description = \"a\"; description = \"b\"; }",
            );
        },
        "Failed flake: `description` is already defined at 1:3 at 1:22",
    ),
    (
        "the flake has no hosts",
        |i| {
            i.write(
                "etc/hypervisor/flake.nix",
                "{ outputs = { self }: { x = /etc/hypervisor/src; }; }",
            );
        },
        "Failed flake: it has no `nixosConfigurations`",
    ),
    (
        "the flake has no outputs",
        |i| i.write("etc/hypervisor/flake.nix", "{ x = /etc/hypervisor/src; }"),
        "Failed flake: it has no `outputs`",
    ),
    (
        "the host that is set is not in the flake",
        |i| i.flag("rebuild.host", "other"),
        "Failed flake: it has no `nixosConfigurations.other`, only `box`",
    ),
    (
        "nothing in the flake leads to the target",
        |i| {
            i.write(
                "etc/hypervisor/flake.nix",
                &LITERAL.replace("/etc/hypervisor/src", "/etc/other"),
            );
        },
        "Failed flake: nothing in it leads to the target `/etc/hypervisor/src`",
    ),
    (
        "another file may lead to the target",
        |i| {
            i.write(
                "etc/hypervisor/flake.nix",
                &LITERAL.replace("/etc/hypervisor/src", "./host"),
            );
        },
        "Warned flake: nothing in it leads to the target `/etc/hypervisor/src`, as far as its own text shows",
    ),
    (
        "there is no lock file",
        |i| i.remove("etc/hypervisor/flake.lock"),
        "Warned flake-lock: `/etc/hypervisor/flake.lock` is missing",
    ),
    (
        "the lock file was cut off",
        |i| i.write("etc/hypervisor/flake.lock", &LOCK[..LOCK.len() / 2]),
        "Failed flake-lock: EOF while parsing a string at 5:107",
    ),
    (
        "the lock file lost a merge",
        |i| i.write("etc/hypervisor/flake.lock", "{\n<<<<<<< HEAD\n}"),
        "Failed flake-lock: key must be a string at 2:1",
    ),
    (
        "a node of the lock file is missing",
        |i| {
            i.write(
                "etc/hypervisor/flake.lock",
                &LOCK.replace("\"nixpkgs\": \"nixpkgs\"", "\"nixpkgs\": \"np\""),
            );
        },
        "Failed flake-lock: `/etc/hypervisor/flake.lock` is broken: the input `nixpkgs` of `root` leads nowhere",
    ),
    (
        "an input is not locked",
        |i| {
            i.write(
                "etc/hypervisor/flake.nix",
                &LITERAL.replace("inputs = {", "inputs = { more.url = \"github:o/r\";"),
            );
        },
        "Warned flake-lock: the input `more` is not locked",
    ),
    (
        "a module that the configuration imports does not parse",
        |i| {
            i.write("etc/hypervisor/src/modules/core.nix", "{\n  a = 1\n}\n");
            i.sync();
        },
        "Failed nix-syntax: unexpected `}`, expected `;` at 3:1",
    ),
    (
        "a module of the machine's own that is imported does not parse",
        |i| {
            i.write(
                "etc/hypervisor/src/configuration.nix",
                "{ imports = [ ./modules/core.nix ./modules/mine ]; }",
            );
            i.sync();
            i.write("etc/hypervisor/src/modules/mine/default.nix", "{ a = }");
        },
        "Failed nix-syntax: unexpected `}` at 1:7",
    ),
    (
        "a file outside the target that is imported does not parse",
        |i| i.write("etc/nixos/hardware-configuration.nix", "{ a = }"),
        "Failed nix-syntax: unexpected `}` at 1:7",
    ),
    (
        "a module that nothing imports does not parse",
        |i| {
            i.write("etc/hypervisor/src/modules/unused.nix", "{ a = 1; a = 2; }");
            i.sync();
        },
        "Warned nix-syntax: `a` is already defined at 1:3 (in a file that nothing is seen to use) at 1:10",
    ),
    (
        "a FIFO lies in the target",
        |i| i.fifo("etc/hypervisor/src/modules/pipe"),
        "Warned special-files: `modules/pipe` is a socket, a FIFO or a device",
    ),
    (
        "a script is not executable",
        |i| i.mode("etc/hypervisor/src/scripts/lib/more.sh", 0o644),
        "Warned scripts: `scripts/lib/more.sh` is not executable",
    ),
    (
        "there are no scripts",
        |i| {
            i.remove("etc/hypervisor/src/scripts");
            i.sync();
        },
        "Warned scripts: no file matches `executable`",
    ),
    (
        "the target has a `.git` that no sync updates",
        |i| i.write("etc/hypervisor/src/.git/HEAD", "ref: refs/heads/main\n"),
        "Warned git-dir: `/etc/hypervisor/src/.git` is not at the commit of the target: git, and with it \
         `nixos-rebuild --flake /etc/hypervisor/src`, does not see new files",
    ),
    (
        "the host has another hardware configuration than the machine",
        |i| {
            i.write(
                "etc/hypervisor/src/hardware-configuration.nix",
                "{ mine = true; }\n",
            );
            i.write(
                "etc/hypervisor/src/hosts/box/hardware-configuration.nix",
                "{ }\n",
            );
            i.flag("rebuild.host", "box");
        },
        "Warned hardware: `hardware-configuration.nix` of this machine is not used, and \
         `hosts/box/hardware-configuration.nix` is another one",
    ),
    (
        "there is no module for users",
        |i| {
            i.remove("etc/hypervisor/src/modules/users-local.nix");
            i.sync();
        },
        "Warned users: `modules/users-local.nix` is missing",
    ),
    (
        "no user is defined",
        |i| {
            i.write(
                "etc/hypervisor/src/modules/users-local.nix",
                "{ } # users.users.me",
            );
            i.sync();
        },
        "Warned users: `modules/users-local.nix` defines no user",
    ),
    (
        "there is no module for the machine",
        |i| {
            i.remove("etc/hypervisor/src/modules/system-local.nix");
            i.sync();
        },
        "Warned system: `modules/system-local.nix` is missing",
    ),
    (
        "Nix is not installed",
        |i| i.remove("run/current-system/sw/bin/nix"),
        "Failed nix: `nix` is not in the search path",
    ),
    (
        "flakes are off",
        |i| i.write("etc/nix/nix.conf", "experimental-features = nix-command\n"),
        "Warned nix: the feature `flakes` is off",
    ),
    (
        "there is no KVM though the processor has it",
        |i| i.remove("dev/kvm"),
        "Failed virtualisation: `/dev/kvm` is missing",
    ),
    (
        "the processor offers no virtualisation",
        |i| {
            i.remove("dev/kvm");
            i.write("proc/cpuinfo", "flags\t\t: fpu sse\n");
        },
        "Failed virtualisation: `/dev/kvm` is missing, and the processor offers no virtualisation",
    ),
    (
        "the bridge is missing",
        |i| i.remove("sys/class/net/br0"),
        "Warned network: the bridge `br0` is missing",
    ),
    (
        "there is no default route",
        |i| {
            i.write(
                "proc/net/route",
                "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n",
            );
            // No resolver knows such a name (RFC 6761).
            i.flag("repo", "https://git.invalid/o/n");
        },
        "Warned network: there is no default route, and the address of `git.invalid` is not found",
    ),
    (
        "a service does not run",
        |i| i.units.extend([("libvirtd.service", "failed")]),
        "Warned services: `libvirtd.service` is failed",
    ),
    (
        "a service is not installed",
        |i| i.units.clear(),
        "Warned services: `libvirtd.service` is not installed",
    ),
    (
        "a tool is missing",
        |i| i.remove("run/current-system/sw/bin/rsync"),
        "Warned tools: `rsync` is not in the search path",
    ),
    (
        "a tool is not executable",
        |i| i.mode("run/current-system/sw/bin/jq", 0o644),
        "Warned tools: `jq` is not in the search path",
    ),
    (
        "what rebuilds is missing",
        |i| i.remove("run/current-system/sw/bin/nixos-rebuild"),
        "Failed tools: neither `nixos-rebuild` nor `nix-env` is in the search path, and a rebuild needs either",
    ),
    (
        "a rebuild can do without what is missing",
        |i| {
            i.write("run/current-system/sw/bin/nix-env", "");
            i.mode("run/current-system/sw/bin/nix-env", 0o755);
            i.remove("run/current-system/sw/bin/nixos-rebuild");
        },
        "Warned tools: `nixos-rebuild` is not in the search path: a rebuild does without it, but not where the build cannot be pinned to a snapshot",
    ),
    (
        "what checks signatures is missing",
        |i| {
            trust(
                i,
                "ada ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
            );
        },
        "Failed tools: `ssh-keygen` is not in the search path, but `trust.signers` needs it",
    ),
    (
        "what checks signatures by OpenPGP is missing",
        |i| trust(i, include_str!("../../data/openpgp/keys.asc")),
        "Failed tools: `gpgv` is not in the search path, but `trust.signers` needs it",
    ),
    (
        "a file was edited",
        |i| i.write("etc/hypervisor/src/modules/core.nix", "{ }\n"),
        "Warned integrity: `modules/core.nix` is not as in commit 7dc53755a3",
    ),
    (
        "a file was deleted",
        |i| i.remove("etc/hypervisor/src/modules/core.nix"),
        "Failed integrity: `modules/core.nix` is missing",
    ),
    (
        "a symlink stands in place of a file",
        |i| {
            i.remove("etc/hypervisor/src/modules/core.nix");
            symlink("unused.nix", i.path("etc/hypervisor/src/modules/core.nix")).unwrap();
        },
        "Warned integrity: `modules/core.nix` is not as in commit 7dc53755a3",
    ),
    (
        "everybody may write a file of the target",
        |i| i.mode("etc/hypervisor/src/modules/core.nix", 0o666),
        "Failed permissions: everybody may write `modules/core.nix`",
    ),
    (
        "a managed file has the setuid bit",
        |i| i.mode("etc/hypervisor/src/modules/core.nix", 0o4644),
        "Warned permissions: `modules/core.nix` has the mode 4644, which no sync writes",
    ),
    (
        "a group may write a managed file",
        |i| i.mode("etc/hypervisor/src/modules/core.nix", 0o664),
        "Warned permissions: `modules/core.nix` has the mode 0664, which no sync writes",
    ),
    (
        "everybody may write into a directory of the target",
        |i| i.mode("etc/hypervisor/src/modules", 0o777),
        "Failed permissions: everybody may write `modules`",
    ),
    (
        "everybody may read the token",
        |i| {
            i.write("etc/token", "canary\n");
            i.mode("etc/token", 0o644);
            i.flag("token_file", "/etc/token");
        },
        "Failed permissions: others may read or change `[root]/etc/token` (mode 0644)",
    ),
    (
        "there is not enough room",
        |i| i.flag("validate.min_free", "900 TiB"),
        "Failed disk-space: `/etc/hypervisor/src` has [size] free, less than 900 TiB",
    ),
    (
        "others can look into the state",
        |i| i.mode("var/lib/hyper-sync", 0o755),
        "Warned state: `/var/lib/hyper-sync` can be read by others (mode 755)",
    ),
    (
        "others can write into the state",
        |i| i.mode("var/lib/hyper-sync", 0o770),
        "Failed state: the state directory `[root]/var/lib/hyper-sync` can be written by others (mode 770)",
    ),
    (
        "the index is damaged",
        |i| i.write("var/lib/hyper-sync/index", "garbage"),
        "Warned state: what was synced last is not known any more: the index is damaged, its checksum does not match",
    ),
    (
        "the published state is damaged",
        |i| i.write("var/lib/hypervisor/cache/sync-state.json", "{"),
        "Warned state: `/var/lib/hypervisor/cache/sync-state.json` cannot be read",
    ),
    (
        "an update was interrupted",
        |i| i.write("var/lib/hyper-sync/tx/active", ""),
        "Warned state: an update was interrupted",
    ),
];
