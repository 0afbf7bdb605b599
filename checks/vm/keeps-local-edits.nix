# An edit in a protected file wins, another one is kept aside and can be put back; strangers' files stay.
{
  nodes.machine.services.hyper-sync = {
    protect = [ "hardware-configuration.nix" ];
    settings.local_edits = "replace";
  };
  script = ''
    publish("one", files={"hardware-configuration.nix": "{ }\n", "notes.md": "one\n"})
    machine.succeed("systemctl start hyper-sync.service")
    machine.succeed("echo '{ imports = [ ]; }' >/etc/nixos/hardware-configuration.nix")
    machine.succeed("echo mine >/etc/nixos/notes.md; echo stranger >/etc/nixos/stranger.md")

    publish("two", files={"hardware-configuration.nix": "{ a = 1; }\n", "notes.md": "two\n"})
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
    t.assertEqual(machine.succeed("cat /etc/nixos/hardware-configuration.nix"), "{ imports = [ ]; }\n")
    t.assertEqual(machine.succeed("cat /etc/nixos/stranger.md"), "stranger\n")
    t.assertEqual(machine.succeed("cat /etc/nixos/notes.md"), "two\n")
    machine.succeed("hyper-sync restore notes.md")
    t.assertEqual(machine.succeed("cat /etc/nixos/notes.md"), "mine\n")
  '';
}
