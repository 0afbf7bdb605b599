# A system that the running one cannot be switched to becomes the boot default at once; later runs add no generation.
{
  nodes.machine.system.switch.inhibitors.component = "1";
  specialisations.other =
    { lib, ... }:
    {
      system.switch.inhibitors.component = lib.mkForce "2";
    };
  script = ''
    generations = "ls -d /nix/var/nix/profiles/system-*-link | wc --lines"

    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual((running(), boots()), ("one", "one"))
    before = int(machine.succeed(generations))

    publish("other")
    for _ in range(3):
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual((running(), boots()), ("one", "other"))
    t.assertEqual(int(machine.succeed(generations)), before + 1)
    t.assertIn("component", machine.succeed("hyper-sync status"))
    machine.fail("test -e /run/notified")
  '';
}
