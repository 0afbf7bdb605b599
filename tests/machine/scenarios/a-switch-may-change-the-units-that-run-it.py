"""The system that a run switches to may hold other units of ours, or none: the run ends well, the next one uses the new
ones."""


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

    # The timer is what a run does not let go; the rest may have other names one day.
    world.publish("four", remove=["units/hyper-sync.service", "units/hyper-sync-fetch.service"])
    world.start()
    world.is_at("four")
    assert "Stop" not in world.said("hyper-sync.service"), machine.journal()
    machine.fail("systemctl cat hyper-sync.service")
