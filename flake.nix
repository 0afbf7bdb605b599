{
  description = "Keeps a NixOS configuration directory equal to a commit of a git repository, and rebuilds the system from it";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem = f: lib.genAttrs systems (system: f nixpkgs.legacyPackages.${system});
    in
    {
      overlays.default = final: _prev: {
        hyper-sync = final.callPackage ./modules/package.nix { };
      };

      packages = eachSystem (pkgs: rec {
        hyper-sync = pkgs.callPackage ./modules/package.nix {
          tests = self.checks.${pkgs.stdenv.hostPlatform.system};
        };
        default = hyper-sync;
      });

      apps = eachSystem (pkgs: rec {
        hyper-sync = {
          type = "app";
          program = lib.getExe self.packages.${pkgs.stdenv.hostPlatform.system}.hyper-sync;
          meta.description = "Validate, sync and rebuild a NixOS configuration directory";
        };
        default = hyper-sync;
      });

      # The package is this flake's own build, not the host's nixpkgs: a host on an old release has too old a rustc.
      nixosModules = rec {
        hyper-sync =
          { lib, pkgs, ... }:
          {
            # The key lets two parts of a configuration import the module without declaring its options twice.
            key = "hyper-sync#nixosModules.hyper-sync";
            imports = [ ./modules/hyper-sync.nix ];
            services.hyper-sync.package =
              lib.mkDefault
                self.packages.${pkgs.stdenv.hostPlatform.system}.default;
          };
        default = hyper-sync;
      };

      checks = eachSystem (pkgs: (import ./checks { inherit self pkgs; }).checks);

      # VM tests that build a system: `nix build .#vm-real-nixos-rebuild`. And the module on other releases:
      # `nix eval --impure --raw .#onRelease --apply 'on: on (builtins.getFlake "github:NixOS/nixpkgs/nixos-24.05")'`.
      legacyPackages = eachSystem (
        pkgs:
        let
          checks = import ./checks { inherit self pkgs; };
        in
        checks.building // { inherit (checks) onRelease; }
      );

      devShells = eachSystem (pkgs: {
        default = pkgs.callPackage ./modules/shell.nix {
          inherit (self.packages.${pkgs.stdenv.hostPlatform.system}) hyper-sync;
          formatter = self.formatter.${pkgs.stdenv.hostPlatform.system};
        };
      });

      formatter = eachSystem (pkgs: pkgs.callPackage ./modules/formatter.nix { });
    };
}
