# A switch that renames the machine does not lose the host's attribute in the flake.
{
  systems = {
    one.networking.hostName = "another-name";
    two.networking.hostName = "another-name";
  };
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    publish("two")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
  '';
}
