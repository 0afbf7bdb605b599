# A machine that follows the forge's branch in /etc/nixos, which is the flake too, whenever the test starts it.
{ lib, ... }:
{
  imports = [ ./offline.nix ];
  services.hyper-sync = {
    enable = true;
    repo = "https://forge/config.git";
    target = lib.mkDefault "/etc/nixos";
    # Far away, but there: a run that would remove the timer is refused.
    dates = "2100-01-01";
    onFailure = [ "notified.service" ];
    settings.validate.min_free = 0;
  };
  systemd.services.notified = {
    serviceConfig.Type = "oneshot";
    script = "touch /run/notified";
  };

  virtualisation = {
    memorySize = 2048;
    writableStore = true;
  };
}
