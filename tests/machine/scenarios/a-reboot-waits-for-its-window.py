"""With `reboot.allow`, a system with another kernel is the boot default and waits for its window, for a program that blocks
a shutdown, for a user, and for the end of a suspension; then the machine reboots, once, also where it comes up with another system."""

import datetime

SCHEDULED = (
    "busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager ScheduledShutdown"
)


def scenario(world):
    machine = world.machine
    config = machine.read("/etc/hyper-sync/config.toml")
    now = datetime.datetime.strptime(machine.succeed("date +%H:%M").strip(), "%H:%M")

    def window(begin, end):
        times = [(now + datetime.timedelta(hours=hours)).strftime("%H:%M") for hours in (begin, end)]
        policy = f'\n[reboot]\nallow = true\nwhen_idle = true\nwindow = "{times[0]}-{times[1]}"\n'
        machine.write("/etc/hyper-sync/config.toml", config + policy)

    # As the module writes it with `allowReboot`.
    machine.write("/etc/systemd/system/hyper-sync.service.d/reboot.conf", "[Service]\nExecStart=hyper-sync reboot\n")
    machine.succeed("systemctl daemon-reload")
    world.publish("one", files={"kernel": "/kernel-1"})
    window(8, 9)
    world.start()
    reboot(machine)
    world.is_at("one")

    world.publish("two", files={"kernel": "/kernel-2"})
    world.start()
    assert (world.running(), world.boots(), world.boot_loader()) == ("one", "two", "two")
    assert "it waits for its window" in world.said("hyper-sync.service")
    machine.succeed("systemctl is-active hyper-sync-reboot.timer")
    generations = machine.succeed("ls /nix/var/nix/profiles")
    world.start()
    assert machine.succeed("ls /nix/var/nix/profiles") == generations

    # Inside the window, by the unit of the timer.
    window(-1, 8)
    machine.succeed(
        "systemd-run --quiet --unit=blocks systemd-inhibit --what=shutdown --mode=block --who=dnf --why=upgrade sleep infinity"
    )
    machine.wait_until_succeeds("systemd-inhibit --list | grep dnf")
    said = decide(world)
    assert "`dnf` (upgrade)" in said, said
    machine.succeed("systemctl stop blocks.service")
    # A login on a terminal, as `login` makes it.
    machine.succeed(
        "systemd-run --quiet --unit=session sh -c 'sleep infinity | script -qfc \"login -f root\" /dev/null'"
    )
    machine.wait_until_succeeds("loginctl list-sessions | grep root")
    said = decide(world)
    assert "until nobody is logged in: `root`" in said, said
    machine.succeed("systemctl stop session.service")
    machine.wait_until_succeeds("! loginctl list-sessions | grep root")
    said = decide(world)
    assert "the machine reboots in a minute" in said, said
    assert "reboot" in machine.succeed(SCHEDULED)
    assert "scheduled" in machine.succeed("hyper-sync suspend 2>&1")
    assert "reboot" not in machine.succeed(SCHEDULED)
    assert "nothing is done" in decide(world)
    machine.succeed("hyper-sync resume")
    decide(world)
    assert "reboot" in machine.succeed(SCHEDULED)
    # Before the minute is over.
    reboot(machine)
    world.is_at("two")
    assert "no reboot is needed" in decide(world)
    machine.fail("systemctl is-active hyper-sync-reboot.timer")
    machine.fail("ls /var/lib/hyper-sync/reboot")

    # The boot loader starts the former system.
    former = machine.succeed("readlink /boot-default").strip()
    world.publish("three", files={"kernel": "/kernel-3"})
    world.start()
    assert "the machine reboots in a minute" in world.said("hyper-sync.service")
    machine.succeed(f"ln -sfn {former} /boot-default")
    reboot(machine)
    assert (world.running(), world.boots()) == ("two", "three")
    said = decide(world)
    assert "the machine was to boot the new system and came up with" in said, said
    assert "is not rebooted again" in decide(world)
    world.start()
    assert "is not rebooted again" in world.said("hyper-sync.service")
    assert "reboot" not in machine.succeed(SCHEDULED)
    assert world.notified() == [], machine.journal()


def reboot(machine):
    machine.power_off()
    machine.boot()


def decide(world):
    """What the unit of the timer has printed."""
    world.machine.succeed("systemctl start hyper-sync-reboot.service")
    return world.said("hyper-sync-reboot.service")
