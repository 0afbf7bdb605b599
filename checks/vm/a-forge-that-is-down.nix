# Without the forge there is no sync and no rebuild; the failure is passed on, and the next run works.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    tree = machine.succeed("ls -lR --time-style=full-iso /etc/nixos")

    publish("two")
    forge.systemctl("stop nginx.service")
    machine.fail("systemctl start hyper-sync.service")
    machine.wait_for_file("/run/notified")
    t.assertIn("3", machine.succeed("systemctl show -p ExecMainStatus hyper-sync-fetch.service"))
    t.assertEqual(machine.succeed("ls -lR --time-style=full-iso /etc/nixos"), tree)
    t.assertEqual(running(), "one")

    forge.systemctl("start nginx.service")
    forge.wait_for_open_port(443)
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
  '';
}
