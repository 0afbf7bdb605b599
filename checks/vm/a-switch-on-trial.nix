# With `health.confirm`: a good system becomes the boot default, one that fails a check is reverted with its tree, and
# after a power cut in a trial the former system is still the boot default.
{
  nodes.machine = {
    services.hyper-sync.health = {
      confirm = true;
      within = "1s";
      checks.flag.command = [
        "test"
        "!"
        "-e"
        "/etc/broken"
      ];
      # While there is a pipe, the check waits.
      checks.pause = {
        command = [
          "sh"
          "-c"
          "test ! -p /run/pause || { touch /run/paused; read -r _ </run/pause; }"
        ];
        timeout = "5min";
      };
    };
  };
  script = ''
    with subtest("a good system"):
        publish("one")
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual((running(), boots()), ("one", "one"))
        machine.fail("systemctl is-active hyper-sync-revert.timer")

    with subtest("a bad system"):
        good = machine.succeed("cat /etc/nixos/system")
        machine.succeed("touch /etc/broken")
        publish("two")
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual((running(), boots()), ("one", "one"))
        t.assertEqual(machine.succeed("cat /etc/nixos/system"), good)
        t.assertIn("was reverted", machine.succeed("journalctl --unit=hyper-sync.service"))
        machine.fail("systemctl is-active hyper-sync-revert.timer")
        machine.fail("test -e /run/notified")
        for _ in range(5):
            machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual((running(), boots()), ("one", "one"))
        machine.succeed("rm /etc/broken")

    with subtest("a power cut"):
        publish("three")
        machine.succeed("mkfifo /run/pause")
        machine.succeed("systemctl start --no-block hyper-sync.service")
        machine.wait_for_file("/run/paused")
        t.assertEqual((running(), boots()), ("three", "one"))
        machine.succeed("systemctl is-active hyper-sync-revert.timer && sync")
        machine.crash()
        machine.start()
        machine.wait_for_unit("multi-user.target")
        t.assertEqual(boots(), "one")
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual((running(), boots()), ("three", "three"))
  '';
}
