# A system with another host name does not lose the host's attribute in the flake: neither once it is switched to, which
# changes /etc/hostname and leaves the running name, nor once the machine has the new name, as after a boot.
{
  specialisations.renamed.networking.hostName = "another-name";
  script = ''
    name = machine.succeed("hostname").strip()
    publish("renamed")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "renamed")
    t.assertEqual(machine.succeed("cat /etc/hostname").strip(), "another-name")
    t.assertEqual(machine.succeed("hostname").strip(), name)

    machine.succeed("hostname another-name")
    publish("two")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
  '';
}
