"""What is built is the commit that was synced, whatever is written into the target meanwhile; the edit stays."""

import json


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("two")
    for place in ("evaluation", "build"):
        world.hold(place)
    world.start_later()
    # Before Nix has read the tree, and once more after it.
    for place in ("evaluation", "build"):
        world.held(place)
        machine.write("/etc/hypervisor/src/release-text", "edited\n")
        machine.write("/etc/hypervisor/src/units/edited.service", "[Service]\nExecStart=/bin/true\n")
        world.release(place)
    world.finished()
    assert world.exit_code("hyper-sync.service") == 0
    assert world.running() == world.boots() == world.boot_loader() == "two", machine.journal()
    machine.fail("test -e /run/current-system/etc/systemd/system/edited.service")

    assert machine.read("/etc/hypervisor/src/release-text") == "edited\n"
    edits = json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["local_edits"]
    assert [edit["path"] for edit in edits] == ["release-text"], edits

    # As this target is the commit's mirror, the next one replaces the edit, which can be had back.
    world.publish("three")
    world.start()
    assert world.running() == "three"
    machine.succeed("hyper-sync restore release-text")
    assert machine.read("/etc/hypervisor/src/release-text") == "edited\n"
    machine.succeed("test -e /etc/hypervisor/src/units/edited.service")
