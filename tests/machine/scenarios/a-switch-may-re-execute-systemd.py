"""A switch to another systemd re-executes it: that may cut `systemctl start` off, and never the update; `hyper-sync` by
hand returns with the update's own result."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    world.is_at("one")

    world.publish("two re-executes systemd")
    code, said = machine.execute("systemctl start hyper-sync.service")
    assert code == 0 or "Failed to wait for response" in said, said
    world.finished()
    world.is_at("two re-executes systemd")
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
    assert world.notified() == [], machine.journal()

    world.publish("three re-executes systemd")
    machine.succeed("hyper-sync")
    world.is_at("three re-executes systemd")
