# Validate, sync and rebuild, from a forge over TLS: the machine runs the branch's system, and no root shell was killed.
{
  script = ''
    first = publish("one")
    # Waits for the whole update.
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "one")
    t.assertEqual(boots(), "one")
    t.assertIn(first, machine.succeed("hyper-sync status --json"))

    with subtest("the next commit"):
        second = publish("two", files={"notes.md": "two\n"})
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual(running(), "two")
        t.assertEqual(machine.succeed("cat /etc/nixos/notes.md"), "two\n")
        t.assertIn(second, machine.succeed("hyper-sync status --json"))

    with subtest("without a failure"):
        machine.fail("test -e /run/notified")
        machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
  '';
}
