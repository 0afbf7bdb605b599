# Everything that `nix flake check` runs. NixOS tests are found by reading the folder, so that none can be forgotten.
#
# The checks named `module`, `options-doc` and `units` compare while they are evaluated and build nothing: a mismatch
# shows even with `nix flake check --no-build`.
{ self, pkgs }:
let
  inherit (pkgs) lib;
  package = self.packages.${pkgs.stdenv.hostPlatform.system}.default;

  # A NixOS system with the module, as a flake's user would import it, and just enough else to be one.
  nixos =
    configuration:
    pkgs.nixos {
      imports = [
        self.nixosModules.default
        configuration
      ];
      boot.loader.grub.enable = false;
      fileSystems."/" = {
        device = "/dev/disk/by-label/root";
        fsType = "ext4";
      };
      nix.settings.experimental-features = [
        "nix-command"
        "flakes"
      ];
      system.stateVersion = "26.05";
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
  # A derivation and nothing else. A test holds on to the evaluation of all its machines, and `nix flake check` holds on to
  # all tests: with the attributes that lead there gone, that memory is free again before the next test is evaluated.
  bare =
    test:
    let
      inherit (test) drvPath name outPath;
    in
    builtins.deepSeq
      [
        drvPath
        name
        outPath
      ]
      {
        inherit drvPath name outPath;
        inherit (pkgs.stdenv.hostPlatform) system;
        type = "derivation";
        outputName = "out";
        outputs = [ "out" ];
      };
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
  // lib.mapAttrs (_: bare) (vmTests ./vm);

  # All VM tests with everything nixpkgs gives them, such as `driverInteractive`. Those of vm-building are only here: they
  # put the build closure of a system into a VM, which cannot be evaluated without writing to the store, and among the
  # checks they would break `nix flake check --no-build`.
  vm = vmTests ./vm // vmTests ./vm-building;
}
