"""A component that cannot be replaced in a running system (`system.switch.inhibitors`) makes the new system the boot
default, named, once; a check of the new system that fails (`system.preSwitchChecks`) changes nothing."""

import json


def scenario(world):
    machine = world.machine
    generations = lambda: machine.succeed("ls /nix/var/nix/profiles")
    world.publish("one", files={"switch-inhibitors": '{"dbus-implementation":"dbus"}'})
    world.start()

    world.publish("two", files={"switch-inhibitors": '{"dbus-implementation":"broker"}'})
    world.start()
    assert world.running() == "one"
    assert world.boots() == world.boot_loader() == "two"
    assert "`dbus-implementation`" in machine.journal("hyper-sync.service")
    first = generations()
    for _ in range(3):
        world.start()
    assert generations() == first

    machine.power_off()
    machine.boot()
    world.is_at("two")
    world.start()
    assert generations() == first

    # The fixture's own check.
    world.publish("unchecked")
    for _ in range(3):
        code, said = machine.execute("hyper-sync --retry --json 2>/dev/null")
        error = json.loads(said)["error"]
        assert (code, error["code"]) == (11, "hyper_sync::rebuild::pre_switch_check"), said
        assert "`release`" in error["message"], error
    assert generations() == first
    world.is_at("two", tree="unchecked")
    world.publish("three")
    world.start()
    world.is_at("three")
