# The new system may hold other units of ours: the run that switches ends well, the next one uses the new units.
{ lib, ... }:
{
  specialisations = {
    changed = {
      systemd.services.hyper-sync.description = lib.mkForce "New umbrella";
      systemd.services.hyper-sync-fetch.description = lib.mkForce "New fetch";
      systemd.timers.hyper-sync.description = lib.mkForce "New timer";
    };
    removed.services.hyper-sync.enable = lib.mkForce false;
  };
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")

    with subtest("units that change"):
        publish("changed")
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual(running(), "changed")
        t.assertIn("New umbrella", machine.succeed("systemctl show -p Description hyper-sync.service"))
        publish("three")
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual(running(), "three")

    with subtest("units that are gone"):
        # By the unit it is refused: nobody would ever update this machine again.
        publish("removed")
        machine.fail("systemctl start hyper-sync.service")
        t.assertEqual(running(), "three")
        t.assertIn("11", machine.succeed("systemctl show -p ExecMainStatus hyper-sync.service"))
        # A person may.
        machine.succeed("hyper-sync rebuild --allow-self-removal")
        t.assertEqual(running(), "removed")
  '';
}
