# The power fails while files are being written; after the boot the next run makes the tree whole, without the forge.
{
  nodes.machine.virtualisation.diskSize = 4096;
  script = ''
    many = {f"file-{number}.nix": "{ }\n" for number in range(200)}
    publish("one", files=many)
    machine.succeed("systemctl start hyper-sync.service")
    machine.succeed("sync")

    publish("two", files={name: "{ a = 2; }\n" for name in many})
    machine.succeed("systemctl start --no-block hyper-sync-fetch.service")
    # As soon as the first file is new, so that others are still old.
    machine.wait_until_succeeds("grep -rlq 'a = 2' /etc/nixos")
    machine.crash()
    machine.start()
    machine.wait_for_unit("multi-user.target")

    machine.succeed("hyper-sync status")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(machine.succeed("cat /etc/nixos/file-*.nix | sort -u"), "{ a = 2; }\n")
    t.assertEqual(running(), "two")
  '';
}
