"""A run that is active is no failure of the unit that meets it, until it has held the lock for longer than it may."""

LIMITS = """[health]
within = "1s"

[rebuild]
timeout = "30s"
activation_timeout = "1s"
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    config = machine.read("/etc/hyper-sync/config.toml")
    machine.write("/etc/hyper-sync/config.toml", config.replace("[rebuild]\n", LIMITS))

    world.publish("two")
    world.hold("build")
    machine.succeed("systemd-run --quiet --collect --unit=person --property=Type=exec hyper-sync")
    world.held("build")
    machine.succeed("systemctl kill --signal=STOP person.service")
    code, said = machine.execute("hyper-sync overdue")
    assert code == 0, said
    # It waits for the lock for a minute.
    machine.fail("systemctl start hyper-sync.service")
    assert "lock::busy" in machine.journal("hyper-sync-fetch.service"), machine.journal()
    said = world.said("hyper-sync.service")
    assert "lock::hangs" in said and "another run has been active for more than 33s (process " in said, said
    assert world.exit_code("hyper-sync.service") == 12
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")

    machine.succeed("systemctl kill --signal=KILL person.service && rm /run/hold/build")
    machine.write("/etc/hyper-sync/config.toml", config)
    world.start()
    world.is_at("two")
    assert world.notified() == ["hyper-sync.service"]
