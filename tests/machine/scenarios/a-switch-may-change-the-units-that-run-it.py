"""The system that a run switches to may hold other units of ours: the run ends well, the next one uses the new ones."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    changed = {}
    for unit in ("hyper-sync.service", "hyper-sync-fetch.service", "hyper-sync.timer"):
        text = machine.read(f"/etc/systemd/system/{unit}")
        changed[f"units/{unit}"] = text.replace("Description=", "Description=New: ")
    world.publish("two", files=changed)
    world.start()
    assert world.running() == world.boots() == "two"
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
    # Not stopped on the way and begun anew.
    for unit in ("hyper-sync.service", "hyper-sync-fetch.service"):
        assert "Stop" not in machine.journal(unit), machine.journal(unit)

    world.publish("three")
    world.start()
    assert world.running() == "three"
    for unit in ("hyper-sync.service", "hyper-sync-fetch.service"):
        assert "New: " in machine.succeed(f"systemctl show --property=Description {unit}")
