"""`systemctl start hyper-sync` returns after the rebuild and with its result."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    assert world.running() == "one"

    # A system that does not build leaves the one that runs, and is reported by the configured unit.
    world.publish("broken")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    assert world.running() == world.boots() == "one"
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")

    world.publish("two")
    world.start()
    assert world.running() == world.boots() == "two"
    machine.fail("systemctl is-failed hyper-sync.service")
