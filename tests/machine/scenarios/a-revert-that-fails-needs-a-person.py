"""Where the former system cannot be activated again, the run ends with exit code 12 and says what to do; systemd tries it
again, and a reboot starts the former system."""

HEALTH = """
[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["test", "!", "-e", "/run/broken"]
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + HEALTH)

    for release, reboots in (("two", False), ("three", True)):
        former = machine.succeed("readlink /run/current-system").strip()
        program = f"{former}/bin/switch-to-configuration"
        machine.succeed(f"touch /run/broken && cp -a {program} /srv/program && chmod u+w {former}/bin {program}")
        machine.write(program, "#!/bin/sh\necho the disk is gone >&2\nexit 1\n", mode="0755")
        world.publish(release)
        machine.fail("systemctl start hyper-sync.service")
        assert world.exit_code("hyper-sync.service") == 12
        said = " ".join(world.said("hyper-sync.service").split())
        assert "rebuild::not_reverted" in said, said
        assert "it failed the health checks `web`" in said and "the disk is gone" in said, said
        assert f"reboot, which starts the former system, or correct what failed and run `{program} switch`" in said, said
        assert (world.running(), world.boots(), world.boot_loader()) == (release, "one", "one")
        machine.succeed("systemctl is-active hyper-sync-revert.timer")
        machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified && rm /run/notified")
        # Until somebody helps, neither a sync nor a tick changes the target; each tick tries to go back.
        assert machine.execute("hyper-sync sync")[0] == 10
        assert machine.execute("hyper-sync rebuild --if-pending")[0] == 12
        world.tree_is(release)
        status = machine.succeed("hyper-sync status")
        assert "trial" in status, status

        if reboots:
            machine.crash()
            machine.boot()
            assert world.running() == "one"
        machine.succeed(f"cp -a /srv/program {program} && rm -f /run/broken")
        if not reboots:
            machine.succeed("systemctl start hyper-sync-revert.service")
        world.start()
        world.is_at("one")
        machine.fail("systemctl is-active hyper-sync-revert.timer")
        machine.fail("ls /var/lib/hyper-sync/trial")

    world.publish("four")
    world.start()
    world.is_at("four")
