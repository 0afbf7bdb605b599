# checks/units/ holds the units as the module makes them. A change of the module shows there in a review, and the
# machine tests (tests/machine) run those very files on a systemd without NixOS.
#
# Paths of this build are replaced by names, and the variables that NixOS sets for every service are left out.
# To write one anew: nix eval --raw '.#checks.x86_64-linux.units.text."hyper-sync.service"' >checks/units/hyper-sync.service
{
  evaluated,
  lib,
  nixos,
  package,
  ...
}:
let
  machineWith =
    settings:
    (nixos {
      services.hyper-sync = {
        enable = true;
        tokenFile = "/run/secrets/hyper-sync-token";
        metricsFile = "/var/lib/node-exporter-textfiles/hyper-sync.prom";
        onFailure = [ "notify-admin@%n.service" ];
      }
      // settings;
    }).config;
  plain = machineWith { };
  # With all that may reboot.
  rebooting = machineWith {
    allowReboot = true;
    health.confirm = true;
  };

  keep =
    line:
    !(lib.any (name: lib.hasPrefix "Environment=\"${name}=" line) [
      "LOCALE_ARCHIVE"
      "NIX_PATH"
      "PATH"
      "TZDIR"
    ]);

  normal =
    text:
    lib.replaceStrings [ (toString package) ] [ "@package@" ] (
      lib.concatStringsSep "\n" (lib.filter keep (lib.splitString "\n" text))
    );

  textOf =
    system: units:
    lib.genAttrs units (
      unit: builtins.unsafeDiscardStringContext (normal system.systemd.units.${unit}.text)
    );

  text =
    textOf plain [
      "hyper-sync-fetch.service"
      "hyper-sync.service"
      "hyper-sync.timer"
      "hyper-sync-retry.timer"
    ]
    // textOf rebooting [
      "hyper-sync-confirm.service"
      "hyper-sync-reboot.service"
      "hyper-sync-reboot.timer"
    ];

  differs = unit: text.${unit} != builtins.readFile (./units + "/${unit}");
in
evaluated "units" (map (
  unit: "checks/units/${unit} differs from the module's unit; regenerate it as described in checks/units.nix"
) (lib.filter differs (lib.attrNames text))) { inherit text; }
