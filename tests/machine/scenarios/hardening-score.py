"""The fetch unit is as closed as it can be and still do its work."""


def scenario(world):
    machine = world.machine
    units = "hyper-sync.service hyper-sync-fetch.service hyper-sync.timer"
    verify = machine.succeed(f"systemd-analyze verify --man=no {units} 2>&1")
    ours = [line for line in verify.splitlines() if "hyper-sync" in line]
    assert ours == [], ours
    # In tenths: 2.0.
    machine.succeed("systemd-analyze security --threshold=20 hyper-sync-fetch.service")
    # And with that it does its work.
    world.publish("one")
    world.start()
    world.is_at("one")
