# modules/reboot.sh with its parameters; tests/it/rebuild/reboot.rs runs it.
{
  config,
  lib,
  pkgs,
}:
let
  cfg = config.services.hyper-sync;
  window =
    if cfg.rebootWindow == null then
      {
        lower = "";
        upper = "";
      }
    else
      lib.mapAttrs (_: lib.replaceStrings [ ":" ] [ "" ]) { inherit (cfg.rebootWindow) lower upper; };
in
pkgs.writeShellScript "hyper-sync-reboot" ''
  ${lib.toShellVars (
    window
    // {
      hyper_sync = lib.getExe cfg.package;
      action = cfg.rebuildAction;
      booted = "/run/booted-system";
      built = "/nix/var/nix/profiles/system";
    }
  )}
  ${builtins.readFile ./reboot.sh}
''
