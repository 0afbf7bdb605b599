# A unit that had failed before the switch is not held against it; one that fails anew is.
{
  specialisations.failing.systemd.services.fails = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.Type = "oneshot";
    script = "exit 1";
  };
  script = ''
    machine.fail("systemd-run --wait --unit=foreign --service-type=oneshot false")
    machine.succeed("systemctl is-failed foreign.service")
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "one")

    publish("failing")
    machine.fail("systemctl start hyper-sync.service")
    t.assertIn("11", machine.succeed("systemctl show -p ExecMainStatus hyper-sync.service"))
  '';
}
