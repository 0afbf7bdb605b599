"""A run that hangs in a trial with the lock: the revert that systemd starts kills it, activates the former system and
brings the target back."""

import re

HEALTH = """
[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["sh", "-c", "test ! -p /run/check || { touch /run/checked; read -r _ </run/check; }"]
web.timeout = "10min"
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + HEALTH)

    world.publish("two")
    machine.succeed("mkfifo /run/check")
    world.start_later()
    machine.wait_until_succeeds("ls /run/checked")
    pid = machine.succeed("systemctl show --property=MainPID --value hyper-sync.service").strip()
    assert re.search(f"process {pid},", machine.read("/var/lib/hyper-sync/lock"))
    # Nothing that the program could handle: it does not run any more, and keeps the lock.
    machine.succeed(f"kill -STOP {pid}")
    assert (world.running(), world.boots()) == ("two", "one")

    # By hand, a hung run is not killed.
    code, output = machine.execute("hyper-sync revert")
    assert code == 10 and "another run is active" in output, (code, output)
    machine.succeed(f"test -d /proc/{pid}")

    # What the timer starts.
    machine.succeed("systemctl start hyper-sync-revert.service")
    machine.fail(f"test -d /proc/{pid}")
    said = world.said("hyper-sync-revert.service")
    assert "the new system was reverted" in said, said
    assert "the target is at" in said, said
    machine.succeed("rm /run/check /run/checked")
    world.finished()
    world.is_at("one")
    machine.fail("systemctl is-active hyper-sync-revert.timer")
    machine.fail("ls /var/lib/hyper-sync/trial")
    # The run that was killed is a failure of its unit.
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")

    # The commit stays held; the next one is taken.
    world.start()
    world.is_at("one")
    world.publish("three")
    world.start()
    world.is_at("three")
