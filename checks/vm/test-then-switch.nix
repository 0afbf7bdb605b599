# What was tried with `test` becomes the boot default with `switch`, though the commit is the same.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    publish("two")
    machine.succeed("hyper-sync --rebuild-action test >&2")
    t.assertEqual((running(), boots()), ("two", "one"))
    machine.succeed("hyper-sync --rebuild-action switch >&2")
    t.assertEqual((running(), boots()), ("two", "two"))
  '';
}
