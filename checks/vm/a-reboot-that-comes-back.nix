# A system on trial that fails its checks after a real reboot, by a real boot loader: the machine comes back to the former
# system by itself, once, and the tree goes back with it; a good one stays.
{
  nodes.machine = {
    virtualisation = {
      useBootLoader = true;
      useEFIBoot = true;
      diskSize = 4096;
    };
    boot.loader.systemd-boot.enable = true;
    services.hyper-sync = {
      rebuildAction = "boot";
      allowReboot = true;
      health = {
        confirm = true;
        within = "5s";
        checks.web.command = [
          "sh"
          "-c"
          "test ! -e /var/broken"
        ];
      };
    };
  };
  script = ''
    def reboot() -> None:
        machine.shutdown()
        machine.start()
        machine.wait_for_unit("multi-user.target")


    def confirmed() -> None:
        machine.wait_for_unit("hyper-sync-confirm.service")


    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(boots(), "one")
    reboot()
    t.assertEqual(running(), "one")
    confirmed()
    machine.fail("hyper-sync status | grep '^reboot'")

    publish("two")
    machine.succeed("systemctl start hyper-sync.service")
    machine.succeed("touch /var/broken")
    machine.shutdown()
    machine.start()
    # It goes down by itself a minute after the checks have failed.
    machine.wait_for_shutdown()
    machine.start()
    machine.wait_for_unit("multi-user.target")
    t.assertEqual(running(), "one")
    t.assertEqual(boots(), "one")
    confirmed()
    machine.succeed("hyper-sync status | grep '^held'")
    machine.fail("hyper-sync status | grep '^reboot'")

    machine.succeed("rm /var/broken")
    publish("three")
    machine.succeed("systemctl start hyper-sync.service")
    reboot()
    confirmed()
    t.assertEqual(running(), "three")
    t.assertEqual(boots(), "three")
  '';
}
