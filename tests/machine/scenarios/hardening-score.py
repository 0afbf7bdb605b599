"""The fetch unit is as closed as it can be and still do its work."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    verify = machine.succeed("systemd-analyze verify --man=no hyper-sync.service hyper-sync-fetch.service hyper-sync.timer 2>&1")
    ours = [line for line in verify.splitlines() if "hyper-sync" in line]
    assert ours == [], ours
    # In tenths: 2.0.
    print(machine.succeed("systemd-analyze security --threshold=20 hyper-sync-fetch.service").splitlines()[-1])
