# The one test in which Nix evaluates nixpkgs and builds a NixOS system in the VM, offline, by the real nixos-rebuild.
#
# The build inputs of the machine's own system are in its store; the systems of the repository differ from it in texts
# only, so that no more than /etc, the units and the top level are built. There is no flake.lock at first.
{
  hostPkgs,
  lib,
  self,
  ...
}:
let
  nixpkgs = builtins.path {
    inherit (hostPkgs) path;
    name = "source";
  };
  package = self.packages.${hostPkgs.stdenv.hostPlatform.system}.default;

  text = ''
    { lib, ... }: { environment.etc.release-text.text = lib.mkForce "@release@"; }
  '';
  flake = ''
    {
      inputs.nixpkgs.url = "path:${nixpkgs}";
      outputs = { nixpkgs, ... }: {
        nixosConfigurations.machine = nixpkgs.lib.nixosSystem {
          system = "${hostPkgs.stdenv.hostPlatform.system}";
          modules = [ ./configuration.nix ./release.nix ];
        };
      };
    }
  '';
  configuration = ''
    { lib, modulesPath, pkgs, ... }: {
      imports = [
        (modulesPath + "/virtualisation/qemu-vm.nix")
        (modulesPath + "/testing/test-instrumentation.nix")
        (lib.modules.importJSON ./network.json)
      ]
      # Where it is, what the driver's network sets is declared there, and qemu-vm.nix does not bring it.
      ++ lib.filter builtins.pathExists [ (modulesPath + "/virtualisation/guest-networking-options.nix") ]
      ++ [
        (lib.modules.importJSON ./offline.json)
        ./hyper-sync.nix
      ];
      services.hyper-sync = {
        enable = true;
        repo = "https://forge/config.git";
        target = "/etc/nixos";
        dates = "2100-01-01";
        caFile = "/var/lib/authorities.crt";
        # The program is in the store already; nothing of Rust is built here.
        package = pkgs.runCommand "hyper-sync" { meta.mainProgram = "hyper-sync"; } '''
          mkdir -p $out/bin
          ln -s ''${builtins.appendContext "${package}" { "${package}" = { path = true; }; }}/bin/hyper-sync $out/bin/
        ''';
      };
    }
  '';
  # Pure evaluation reads no path outside of the flake, so the module comes with it.
  module = lib.genAttrs [
    "hyper-sync.nix"
    "options.nix"
    "hardening.nix"
  ] (file: builtins.readFile (../../modules + "/${file}"));
in
{
  node.pkgsReadOnly = false;
  releases = [ ];
  nodes.machine = {
    system.includeBuildDependencies = true;
    system.extraDependencies = [
      nixpkgs
      package
    ];
    virtualisation = {
      cores = 2;
      memorySize = lib.mkForce 4096;
      diskSize = 8192;
    };
  };
  script =
    let
      json = value: builtins.toJSON (builtins.toJSON value);
    in
    ''
      shared = {
          "flake.nix": ${builtins.toJSON flake},
          "configuration.nix": ${builtins.toJSON configuration},
          "offline.json": ${json (import ../vm/common/offline.nix { inherit lib; })},
          "network.json": network,
          **${builtins.toJSON module},
      }


      def publish_release(name: str) -> None:
          publish(None, files={**shared, "release.nix": ${builtins.toJSON text}.replace("@release@", name)})


      machine.succeed("cp --dereference /etc/ssl/certs/ca-certificates.crt /var/lib/authorities.crt")
      for name in ["one", "two"]:
          publish_release(name)
          machine.succeed("systemctl start hyper-sync.service")
          t.assertEqual(running(), name)
          t.assertEqual(boots(), name)
      # The lock was made once, and locks the path that the flake names. It is no file of the commit, so it lies in the
      # state directory.
      machine.fail("test -e /etc/nixos/flake.lock")
      state = machine.succeed("hyper-sync config show | sed -n 's/^state_dir = \"\\(.*\\)\".*/\\1/p'").strip()
      t.assertIn("${nixpkgs}", machine.succeed(f"cat {state}/flake.lock"))
    '';
}
