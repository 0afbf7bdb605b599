# A machine that follows the forge's branch in /etc/nixos, which is the flake too, whenever the test starts it.
{ lib, ... }:
{
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

  nix.settings = {
    experimental-features = [
      "nix-command"
      "flakes"
    ];
    substituters = lib.mkForce [ ];
    hashed-mirrors = null;
    connect-timeout = 1;
    flake-registry = "";
  };
  system.switch.enable = true;
  # The VM is booted by the test driver; a switch has no boot loader to write.
  boot.loader.grub.enable = false;
  documentation.enable = false;
  virtualisation = {
    memorySize = 2048;
    writableStore = true;
  };
}
