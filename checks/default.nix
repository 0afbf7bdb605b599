# Everything that `nix flake check` runs. NixOS tests are found by reading the folder, so that none can be forgotten.
#
# The VM tests need KVM and a binary cache. They were written where neither is to be had: there they are evaluated and
# their scripts linted, and tests/machine shows the same promises on a real systemd. The workflow is where they run; all
# of one system take about 10 GB of memory to evaluate.
#
# The checks named `module`, `options-doc` and `units` compare while they are evaluated and build nothing: a mismatch
# shows even with `nix flake check --no-build`.
{ self, pkgs }:
let
  inherit (pkgs) lib;
  package = self.packages.${pkgs.stdenv.hostPlatform.system}.default;

  # The module, as a flake's user would import it, and just enough else to be a NixOS.
  host = {
    imports = [ self.nixosModules.default ];
    boot.loader.grub.enable = false;
    fileSystems."/" = {
      device = "/dev/disk/by-label/root";
      fsType = "ext4";
    };
    nix.settings.experimental-features = [
      "nix-command"
      "flakes"
    ];
    system.stateVersion = "24.05";
  };

  nixos =
    configuration:
    pkgs.nixos {
      imports = [
        host
        configuration
      ];
    };

  # A derivation that cannot be instantiated while `problems` are left.
  evaluated =
    name: problems: passthru:
    pkgs.runCommand name { inherit passthru; } (
      if problems == [ ] then
        "touch $out"
      else
        throw "check ${name}:\n${lib.concatMapStringsSep "\n" (problem: "- ${problem}") problems}"
    );

  call =
    file:
    import file {
      inherit
        evaluated
        lib
        nixos
        package
        pkgs
        self
        ;
    };

  # One test for each file of a folder.
  vmTests =
    folder:
    lib.mapAttrs' (
      file: _:
      let
        name = lib.removeSuffix ".nix" file;
      in
      lib.nameValuePair "vm-${name}" (
        pkgs.testers.runNixOSTest {
          imports = [
            ./vm/common/base.nix
            (folder + "/${file}")
          ];
          inherit name;
          _module.args = { inherit self; };
        }
      )
    ) (lib.filterAttrs (_: type: type == "regular") (builtins.readDir folder));
in
{
  checks = {
    inherit package;
    clippy = call ./clippy.nix;
    deny = call ./deny.nix;
    formatting = call ./formatting.nix;
    module = call ./module.nix;
    options-doc = call ./options-doc.nix;
    units = call ./units.nix;
  }
  // vmTests ./vm;

  # These put the build closure of a system into a VM, which cannot be evaluated without writing to the store: among the
  # checks they would break `nix flake check --no-build`.
  building = vmTests ./vm-building;

  # A host on another release of NixOS, given as a flake; for the workflow, which can fetch them.
  onRelease =
    nixpkgs:
    (nixpkgs.lib.nixosSystem {
      inherit (pkgs.stdenv.hostPlatform) system;
      modules = [
        host
        {
          services.hyper-sync = {
            enable = true;
            allowReboot = true;
            tokenFile = "/run/secrets/hyper-sync-token";
            metricsFile = "/var/lib/node-exporter-textfiles/hyper-sync.prom";
            signers = "/etc/hyper-sync-signers";
          };
        }
      ];
    }).config.system.build.toplevel.drvPath;
}
