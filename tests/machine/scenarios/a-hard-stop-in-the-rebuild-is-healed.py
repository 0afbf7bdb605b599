"""The machine is stopped while a system is built or activated: it boots the old system or the new one, whole, and the
timer ends with the new one as what runs and what is booted."""

import json

from world import TIMER_SOON

# Where it is stopped, how, what it boots then, and the half state: the boot loader is written before anything is
# activated.
STOPS = [
    ("build", "crash", "old", None),
    ("build", "power_off", "old", None),
    ("boot-loader", "crash", "new", "booted"),
    ("activation", "crash", "new", "booted"),
    ("activation", "power_off", "new", "booted"),
]


def scenario(world):
    machine = world.machine
    world.publish("release-0")
    world.start()
    for number, (place, stop, boots, kind) in enumerate(STOPS, start=1):
        old, new = f"release-{number - 1}", f"release-{number}"
        world.publish(new)
        world.hold(place)
        world.start_later()
        world.held(place)
        getattr(machine, stop)()
        machine.boot()

        expected = {"old": old, "new": new}[boots]
        assert world.running() == world.boot_loader() == expected, (place, world.running())
        # Nix's boot default is of this system or the next, never of none.
        assert world.boots() in (old, new), (place, world.boots())
        world.tree_is(new)
        state = json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["half_state"]
        assert (state and state["kind"]) == kind, (place, state)

        world.timer(TIMER_SOON)
        machine.wait_until_succeeds(
            f"grep -qx {new} /run/current-system/etc/release-text /boot-default/etc/release-text"
            " && hyper-sync status --json 2>/dev/null | grep -q '\"pending_rebuild\": null'"
        )
        machine.succeed("systemctl stop hyper-sync.timer")
        world.finished()
        world.is_at(new)
        assert world.exit_code("hyper-sync.service") == 0
