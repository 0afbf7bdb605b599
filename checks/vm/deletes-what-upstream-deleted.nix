# A file that the branch no longer has is gone from the machine, and only that.
{
  script = ''
    publish("one", files={"old.nix": "{ }\n", "kept.nix": "{ }\n"})
    machine.succeed("systemctl start hyper-sync.service")
    machine.succeed("test -e /etc/nixos/old.nix; touch /etc/nixos/local.nix")

    forge.succeed("rm /srv/work/old.nix")
    publish("two")
    machine.succeed("systemctl start hyper-sync.service")
    machine.fail("test -e /etc/nixos/old.nix")
    machine.succeed("test -e /etc/nixos/kept.nix && test -e /etc/nixos/local.nix")
  '';
}
