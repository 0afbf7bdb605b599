# While updates are suspended, a run of the unit asks nobody and changes nothing; afterwards it goes on, also after a boot.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    publish("two")
    machine.succeed("hyper-sync suspend --reason 'a test' && sync")
    before = requests()
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual((running(), boots(), requests()), ("one", "one", before))
    t.assertIn("a test", machine.succeed("hyper-sync status"))

    machine.shutdown()
    machine.start()
    machine.wait_for_unit("multi-user.target")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual((boots(), requests()), ("one", before))

    machine.succeed("hyper-sync resume")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual((running(), boots()), ("two", "two"))
  '';
}
