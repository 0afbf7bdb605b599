"""An activation script that fails is reported, retried by each run, and repaired by a commit that works."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("unactivatable")
    for _ in range(2):
        machine.fail("systemctl start hyper-sync.service")
        assert world.exit_code("hyper-sync.service") == 11
        last = world.said("hyper-sync.service")
        assert "activating the configuration..." in last and "Failed to run activate script" in last, last
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    world.publish("two")
    world.start()
    world.is_at("two")
