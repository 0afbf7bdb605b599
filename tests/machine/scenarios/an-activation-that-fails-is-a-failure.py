"""An activation script that fails is reported, retried by a person only, and repaired by a commit that works."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("unactivatable")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    last = world.said("hyper-sync.service")
    assert "activating the configuration..." in last and "Failed to run activate script" in last, last
    world.start()
    last = world.said("hyper-sync.service")
    assert "rebuild::quarantined" in last and "is not tried again: " in last, last
    code, said = machine.execute("hyper-sync rebuild 2>&1")
    assert code == 11 and "activating the configuration..." in said, said
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    world.publish("two")
    world.start()
    world.is_at("two")
