# What a machine without network has in common with a system that is built on it: Nix finds a thing in the store or
# fails at once, and nothing is built that no test needs. No functions in it, so that it is also JSON.
{ lib, ... }:
{
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
}
