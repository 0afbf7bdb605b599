# What the VM tests share: a forge, a machine that follows it, and a few Python functions.
#
# The systems that commits name are made with the test, so that nothing is evaluated or built in the VM: the repository's
# flake only names it. A text distinguishes them, in the system's own folder; where a test needs more than that, it
# asks for a specialisation. (Every specialisation is a NixOS to evaluate, and `nix flake check` holds all of them in
# memory.) vm-building/ is for tests that build in the VM.
{
  config,
  hostPkgs,
  lib,
  self,
  ...
}:
let
  inherit (lib) mkOption types;
  inherit (config) releases specialisations;
  certificates = hostPkgs.callPackage ./certificates.nix { };

  # A copy of the system with another text. Its own path stands in its scripts.
  releasesOf =
    machine:
    let
      inherit (machine.system.build) toplevel;
    in
    lib.genAttrs releases (
      name:
      # The same name makes paths of the same length, so that they can be replaced in any file.
      hostPkgs.runCommand toplevel.name { } ''
        cp --recursive --no-dereference --preserve=mode ${toplevel} $out
        chmod --recursive u+w $out
        grep --recursive --files-with-matches --fixed-strings ${toplevel} $out |
          xargs --no-run-if-empty sed --in-place "s|${toplevel}|$out|g"
        echo ${name} >$out/release-text
      ''
    );
in
{
  options = {
    releases = mkOption {
      type = types.listOf types.str;
      default = [
        "one"
        "two"
        "three"
      ];
      description = "Systems that are the machine's own but for their `release-text`, which is their name.";
    };
    specialisations = mkOption {
      type = types.attrsOf types.deferredModule;
      default = { };
      description = "Systems that differ in more; the name is their release too.";
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
      { config, ... }:
      {
        imports = [
          self.nixosModules.default
          ./machine.nix
        ];
        security.pki.certificateFiles = [ "${certificates}/ca.crt" ];
        virtualisation.additionalPaths = lib.attrValues (releasesOf config);
        specialisation = lib.mapAttrs (name: module: {
          configuration = {
            imports = [ module ];
            environment.etc.release-text.text = name;
          };
        }) specialisations;
      };

    testScript =
      { nodes, ... }:
      let
        paths =
          releasesOf nodes.machine
          // lib.mapAttrs (
            name: _: nodes.machine.specialisation.${name}.configuration.system.build.toplevel
          ) specialisations;
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


        def release(system: str) -> str:
            return machine.succeed(f"cd {system} && cat release-text || cat etc/release-text").strip()


        def running() -> str:
            return release("/run/current-system")


        def boots() -> str:
            return release("/nix/var/nix/profiles/system")


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
