# After `rebuild` made the new system the boot default: activate it at once where the running kernel, its modules and
# the initial ram disk are the same, else reboot into it inside the window. Outside the window the next run tries again.
{
  config,
  lib,
  pkgs,
}:
let
  cfg = config.services.hyper-sync;
in
pkgs.writeShellScript "hyper-sync-reboot" ''
  set -eu
  booted=$(readlink /run/booted-system/{initrd,kernel,kernel-modules})
  built=$(readlink /nix/var/nix/profiles/system/{initrd,kernel,kernel-modules})
  if [ "$booted" = "$built" ]; then
    ${lib.optionalString (cfg.rebuildAction == "switch") ''
      exec ${lib.getExe cfg.package} rebuild --if-pending --rebuild-action switch
    ''}
    exit 0
  fi
  ${lib.optionalString (cfg.rebootWindow != null) ''
    now=$(date +%H%M) lower=${lib.replaceStrings [ ":" ] [ "" ] cfg.rebootWindow.lower} upper=${
      lib.replaceStrings [ ":" ] [ "" ] cfg.rebootWindow.upper
    }
    # A window may cross midnight: then its lower end is the later time of day.
    if [ "$lower" -lt "$upper" ]; then
      [ "$now" -ge "$lower" ] && [ "$now" -lt "$upper" ] || outside=1
    else
      [ "$now" -ge "$lower" ] || [ "$now" -lt "$upper" ] || outside=1
    fi
    if [ -n "''${outside-}" ]; then
      echo "a reboot is needed; it waits for ${cfg.rebootWindow.lower}"
      exit 0
    fi
  ''}
  exec shutdown -r +1 "the system was updated and needs a reboot"
''
