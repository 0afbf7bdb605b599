# A switch that renames the machine does not lose the host's attribute in the flake.
{
  specialisations.renamed.networking.hostName = "another-name";
  script = ''
    publish("renamed")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(machine.succeed("hostname").strip(), "another-name")
    publish("two")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
  '';
}
