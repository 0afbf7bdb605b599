# A unit that hangs in its start is named when the activation is stopped, and the next commit repairs the machine.
{
  nodes.machine.services.hyper-sync.settings.rebuild.activation_timeout = "30s";
  specialisations.hanging.systemd.services.hangs = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig = {
      Type = "oneshot";
      TimeoutStartSec = "infinity";
    };
    script = "sleep infinity";
  };
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")

    publish("hanging")
    machine.fail("systemctl start hyper-sync.service")
    t.assertIn("11", machine.succeed("systemctl show -p ExecMainStatus hyper-sync.service"))
    t.assertIn("start of hangs.service", machine.succeed("journalctl --unit=hyper-sync.service"))
    machine.wait_for_file("/run/notified")

    publish("two")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual((running(), boots()), ("two", "two"))
    machine.fail("systemctl is-active hangs.service")
  '';
}
