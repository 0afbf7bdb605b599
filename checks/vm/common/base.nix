# What the VM tests share: a forge, a machine that follows it, and a few Python functions.
#
# The next systems of a test are specialisations of its machine, so that nothing is evaluated or built in the VM: the
# repository's flake only names the system to switch to. `real-nixos-rebuild` is the one that builds for real.
{
  config,
  hostPkgs,
  lib,
  self,
  ...
}:
let
  inherit (lib) mkOption types;
  certificates = hostPkgs.callPackage ./certificates.nix { };
in
{
  options = {
    systems = mkOption {
      type = types.attrsOf types.deferredModule;
      default = { };
      description = "The systems that commits may name; each one's `/etc/release-text` is its name.";
    };
    token = mkOption {
      type = types.nullOr types.str;
      default = null;
      description = "The token that the forge asks for at first.";
    };
    script = mkOption {
      type = types.lines;
      description = "The test, after the shared functions.";
    };
  };

  config = {
    globalTimeout = 900;

    nodes.forge = {
      imports = [ ./forge.nix ];
      forge = {
        inherit certificates;
        inherit (config) token;
      };
    };

    nodes.machine =
      { lib, ... }:
      {
        imports = [
          self.nixosModules.default
          ./machine.nix
        ];
        security.pki.certificateFiles = [ "${certificates}/ca.crt" ];
        environment.etc.release-text.text = lib.mkDefault "booted";
        specialisation = lib.mapAttrs (name: module: {
          configuration = {
            imports = [ module ];
            environment.etc.release-text.text = name;
          };
        }) config.systems;
      };

    testScript =
      { nodes, ... }:
      let
        paths = lib.mapAttrs (
          name: _: nodes.machine.specialisation.${name}.configuration.system.build.toplevel
        ) config.systems;
      in
      ''
        import shlex

        SYSTEMS: dict[str, str] = ${builtins.toJSON paths}
        # What the driver's network makes of the machine; a system that is built in the VM needs it too.
        network = ${builtins.toJSON (builtins.toJSON nodes.machine.system.build.networkConfig)}


        def publish(system: str | None, files: dict[str, str] | None = None) -> str:
            """A commit with these files, whose flake names one of the test's systems; its id."""
            named = {"system": SYSTEMS[system]} if system else {}
            for path, text in {**named, **(files or {})}.items():
                forge.succeed(f"printf %s {shlex.quote(text)} >/srv/work/{path}")
            return forge.succeed(
                "cd /srv/work && git add --all && git commit --quiet --allow-empty --message next"
                " && git push --quiet origin HEAD:main && git rev-parse HEAD"
            ).strip()


        def running() -> str:
            return machine.succeed("cat /etc/release-text").strip()


        def boots() -> str:
            return machine.succeed("cat /nix/var/nix/profiles/system/etc/release-text").strip()


        def requests() -> int:
            return int(forge.succeed("cat /var/log/nginx/access.log | wc --lines"))


        start_all()
        forge.wait_for_unit("repository.service")
        forge.wait_for_open_port(443)
        machine.wait_for_unit("multi-user.target")

        ${config.script}
      '';
  };
}
