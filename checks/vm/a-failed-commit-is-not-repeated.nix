# A commit that cannot be built is reported once; the gate keeps the next one out of the target as well.
{
  nodes.machine.virtualisation.diskSize = 4096;
  specialisations.gated.services.hyper-sync.gate = "build";
  script = ''
    broken = {"flake.nix": "{ outputs = _: { nixosConfigurations.machine = throw \"broken\"; }; }\n"}
    good = {"flake.nix": forge.succeed("cat /srv/work/flake.nix")}

    publish("one")
    machine.succeed("systemctl start hyper-sync.service")

    with subtest("a quarantine"):
        publish("two", files=broken)
        machine.fail("systemctl start hyper-sync.service")
        t.assertIn("11", machine.succeed("systemctl show -p ExecMainStatus hyper-sync.service"))
        machine.wait_for_file("/run/notified")
        machine.succeed("rm /run/notified")
        for _ in range(5):
            machine.succeed("systemctl start hyper-sync.service")
        machine.fail("test -e /run/notified")
        t.assertIn("is not tried again before", machine.succeed("hyper-sync status"))
        t.assertEqual((running(), boots()), ("one", "one"))

    with subtest("the gate"):
        publish("gated", files=good)
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual(running(), "gated")
        before = machine.succeed("cat /etc/nixos/flake.nix /var/lib/hyper-sync/sync-state.json")
        publish("two", files=broken)
        machine.fail("systemctl start hyper-sync.service")
        t.assertEqual(machine.succeed("cat /etc/nixos/flake.nix /var/lib/hyper-sync/sync-state.json"), before)
        publish("two", files=good)
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual((running(), boots()), ("two", "two"))
  '';
}
