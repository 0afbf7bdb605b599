# Polling an unchanged branch sends one request, writes nothing and builds nothing.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")

    before = requests()
    tree = machine.succeed("ls -lR --time-style=full-iso /etc/nixos /nix/var/nix/profiles")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(requests() - before, 1)
    t.assertEqual(machine.succeed("ls -lR --time-style=full-iso /etc/nixos /nix/var/nix/profiles"), tree)
  '';
}
