"""The power goes while files are put in place: each is the old one or the new one, and the next run makes the tree
whole again, without the network; the timer ends with the new system."""

from world import TARGET, TIMER_SOON

# Stops the program at its Nth rename; in the folder for units of this boot only. strace is a debugger, which the unit's
# filter does not let in.
STOP = """
[Service]
SystemCallFilter=
ExecStart=
ExecStart=/usr/bin/strace -f -qq -o /dev/null -e trace=renameat2 -e inject=renameat2:signal=SIGSTOP:when={} \
  /opt/program/hyper-sync --skip-rebuild --sandboxed
"""
STOPPED = "ps -C hyper-sync -o stat= | grep -qi ^t"
# The first renames are the state's own.
RENAMES = (2, 5, 8)


def scenario(world):
    machine = world.machine

    def publish(release):
        return world.publish(release, files={f"modules/{n}.nix": f"# {release}\n{{ }}\n" for n in range(6)})

    publish("release-0")
    world.start()
    between = 0
    for number, renames in enumerate(RENAMES, start=1):
        old, new = f"release-{number - 1}", f"release-{number}"
        publish(new)
        machine.write("/run/systemd/system/hyper-sync-fetch.service.d/stop.conf", STOP.format(renames))
        machine.succeed("systemctl daemon-reload")
        world.start_later()
        machine.wait_until_succeeds(STOPPED)
        machine.crash()
        machine.boot()

        releases = machine.succeed(f"cat {TARGET}/release-text {TARGET}/modules/*").replace("{ }\n", "").split()
        releases = [word for word in releases if word != "#"]
        assert set(releases) <= {old, new} and len(releases) == 7, (renames, releases)
        between += len(set(releases)) == 2
        assert world.running() == world.boots() == world.boot_loader() == old

        # The forge cannot be reached: nothing new can be had, and the tree is made whole all the same.
        machine.succeed("mv /srv/config.git /srv/gone.git")
        machine.fail("systemctl start hyper-sync.service")
        machine.succeed("mv /srv/gone.git /srv/config.git")
        world.tree_is(machine.read(f"{TARGET}/release-text").strip())

        world.timer(TIMER_SOON)
        machine.wait_until_succeeds(f"grep -qx {new} /run/current-system/etc/release-text")
        machine.succeed("systemctl stop hyper-sync.timer")
        world.finished()
        world.is_at(new)
    assert between > 0, "no stop was in the middle: other renames must be chosen"
