"""A tree whose system no longer has the timer is not activated by the timer: the machine would not be updated again."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    units = ("hyper-sync.service", "hyper-sync-fetch.service", "hyper-sync.timer")
    world.publish("without us", remove=[f"units/{unit}" for unit in units])
    machine.write("/srv/work/units/other.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    world.publish("without us", files={"units/other.service": "[Service]\nExecStart=/bin/true\n"})
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    assert world.running() == world.boots() == "one"
    assert "--allow-self-removal" in machine.journal("hyper-sync.service")
