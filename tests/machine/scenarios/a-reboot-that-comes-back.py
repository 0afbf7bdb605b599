"""With `health.confirm`, a system that needs a reboot is checked after it: a healthy one stays, one that fails a check is left
for the former one by another reboot, with its tree, and so is one that the boot loader did not start; a power cut during the
checks repeats them."""

HEALTH = """
[reboot]
allow = true

[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["sh", "-c", "test ! -e /srv/broken || { echo no answer; exit 1; }"]
web.timeout = "60s"
"""
SCHEDULED = (
    "busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager ScheduledShutdown"
)


def scenario(world):
    machine = world.machine
    config = machine.read("/etc/hyper-sync/config.toml")
    machine.write("/etc/hyper-sync/config.toml", config + HEALTH)
    # As the module has it with `allowReboot` and `health.confirm`.
    machine.write("/etc/systemd/system/hyper-sync.service.d/reboot.conf", "[Service]\nExecStart=hyper-sync reboot\n")
    machine.succeed(
        "mkdir -p /etc/systemd/system/multi-user.target.wants"
        " && ln -s ../hyper-sync-confirm.service /etc/systemd/system/multi-user.target.wants/"
        " && systemctl daemon-reload"
    )
    world.publish("one", files={"kernel": "/kernel-1"})
    world.start()
    reboot(world)
    world.is_at("one")

    # A good one.
    update(world, "two", "/kernel-2")
    reboot(world)
    assert "has passed its health checks after the boot" in world.said("hyper-sync-confirm.service")
    world.is_at("two")
    ended(world)

    # One that fails a check: the machine schedules its way back, boots the former system, and the tree follows.
    machine.write("/srv/broken", "")
    update(world, "three", "/kernel-3")
    reboot(world)
    assert world.running() == "three"
    said = world.said("hyper-sync-confirm.service")
    assert "failed its trial after the boot" in said and "`web`: exit code 1" in said and "no answer" in said, said
    assert "reboot" in machine.succeed(SCHEDULED)
    assert (world.boots(), world.boot_loader()) == ("two", "two")
    machine.succeed("hyper-sync status | grep '^reboot .*a reboot starts the former one'")
    assert "hyper-sync-confirm.service" in world.notified(), machine.journal()
    reboot(world)
    assert "the new system was reverted" in world.said("hyper-sync-confirm.service")
    world.is_at("two")
    ended(world)
    # Nothing of it is tried again.
    world.start()
    world.is_at("two")
    assert "reboot" not in machine.succeed(SCHEDULED)

    # One that the boot loader does not start.
    machine.succeed("rm /srv/broken")
    former = machine.succeed("readlink /boot-default").strip()
    update(world, "four", "/kernel-4")
    machine.succeed(f"ln -sfn {former} /boot-default")
    reboot(world)
    said = world.said("hyper-sync-confirm.service")
    assert "was to boot it" in said or "was to boot the new system" in said, said
    world.is_at("two")
    ended(world)
    assert "reboot" not in machine.succeed(SCHEDULED)

    # A power cut during the checks: they are repeated after the next boot.
    check = 'web.command = ["sh", "-c", "while test -e /srv/slow; do sleep 0.1; done; test ! -e /srv/broken"]'
    slow = HEALTH.replace(HEALTH.splitlines()[9], check)
    machine.write("/etc/hyper-sync/config.toml", config + slow)
    update(world, "five", "/kernel-5")
    machine.write("/srv/slow", "")
    machine.power_off()
    machine.boot()
    machine.wait_until_succeeds("hyper-sync status | grep '^reboot .*has not passed its health checks yet'")
    machine.crash()
    machine.boot()
    assert world.running() == "five"
    machine.succeed("rm /srv/slow")
    judged(world)
    world.is_at("five")
    ended(world)


def update(world, release, kernel):
    """A commit that is the boot default after it, and whose reboot is scheduled."""
    world.publish(release, files={"kernel": kernel})
    world.start()
    assert world.boots() == world.boot_loader() == release
    assert "the machine reboots in a minute" in world.said("hyper-sync.service")


def reboot(world):
    """Instead of waiting for the minute; the boot is judged after that."""
    world.machine.power_off()
    world.machine.boot()
    judged(world)


def judged(world):
    world.machine.wait_until_succeeds(
        "! systemctl list-jobs | grep hyper-sync-confirm"
        " && test $(systemctl show --property=ActiveState --value hyper-sync-confirm.service) != activating"
    )


def ended(world):
    """No trial is left."""
    for name in ("reboot", "former-boot"):
        world.machine.fail(f"ls /var/lib/hyper-sync/{name}")
