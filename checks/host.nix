# As much of NixOS as the module touches, for cases of which there are many: a whole NixOS for each would take gigabytes
# of memory to evaluate. checks/units.nix and the VM tests use the real one.
{
  lib,
  package,
  pkgs,
}:
configuration:
let
  inherit (lib) mkOption types;
  of =
    type: default:
    mkOption {
      inherit type default;
    };
  any = of (types.attrsOf types.anything) { };
in
lib.evalModules {
  specialArgs = {
    inherit pkgs;
    utils = import (pkgs.path + "/nixos/lib/utils.nix") {
      inherit lib pkgs;
      config = { };
    };
  };
  modules = [
    ../modules/hyper-sync.nix
    configuration
    { services.hyper-sync.package = package; }
    {
      options = {
        assertions = of (types.listOf types.unspecified) [ ];
        warnings = of (types.listOf types.str) [ ];
        meta.maintainers = of (types.listOf types.raw) [ ];
        boot.isContainer = of types.bool false;
        environment = {
          etc = any;
          sessionVariables = any;
          systemPackages = of (types.listOf types.package) [ ];
        };
        networking.proxy.envVars = any;
        nix = {
          enable = of types.bool true;
          envVars = any;
          extraOptions = of types.lines "";
          package = of types.package pkgs.nix;
          settings = of (types.attrsOf types.anything) {
            experimental-features = [
              "nix-command"
              "flakes"
            ];
          };
        };
        programs.ssh.package = of types.package pkgs.openssh;
        system = {
          autoUpgrade.enable = of types.bool false;
          build = of (types.attrsOf types.raw) { nixos-rebuild = pkgs.nixos-rebuild-ng; };
          switch.enable = of types.bool true;
        };
        systemd = {
          services = any;
          timers = any;
        };
      };
    }
  ];
}
