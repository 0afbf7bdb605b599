# Another action by hand does not make the unit forget the switch that is configured.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    publish("two")
    for action in ["build", "dry-activate", "test"]:
        machine.succeed(f"hyper-sync --rebuild-action {action} >&2")
        t.assertEqual(boots(), "one")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual((running(), boots()), ("two", "two"))
  '';
}
