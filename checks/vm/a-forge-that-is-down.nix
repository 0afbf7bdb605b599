# Without the forge there is no sync and no rebuild, and that is no failure before it has lasted for `failureGrace`; then it
# is passed on. The next run that reaches the forge works.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    tree = machine.succeed("ls -lR --time-style=full-iso /etc/nixos")

    publish("two")
    forge.systemctl("stop nginx.service")
    machine.succeed("systemctl start hyper-sync.service")
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
    machine.succeed("systemctl is-active hyper-sync-retry.timer")
    machine.fail("test -e /run/notified")
    t.assertEqual(machine.succeed("ls -lR --time-style=full-iso /etc/nixos"), tree)

    # As if it had lasted for a day.
    machine.succeed("sed 's/^failure_grace = .*/failure_grace = \"1ms\"/' /etc/hyper-sync/config.toml >/run/config.toml")
    machine.succeed("mount --bind /run/config.toml /etc/hyper-sync/config.toml")
    machine.fail("systemctl start hyper-sync.service")
    machine.wait_for_file("/run/notified")
    t.assertIn("=3", machine.succeed("systemctl show -p ExecMainStatus hyper-sync.service"))
    t.assertEqual(running(), "one")

    forge.systemctl("start nginx.service")
    forge.wait_for_open_port(443)
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
  '';
}
