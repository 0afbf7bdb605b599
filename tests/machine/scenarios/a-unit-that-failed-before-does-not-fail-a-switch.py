"""switch-to-configuration says 4 for any unit that fails, though it failed before; only one that fails anew makes a
rebuild fail."""

FAILS = "[Service]\nType=oneshot\nExecStart=/bin/false\n\n[Install]\nWantedBy=multi-user.target\n"


def scenario(world):
    machine = world.machine
    machine.write("/etc/systemd/system/foreign.service", FAILS)
    machine.fail("systemctl daemon-reload && systemctl start foreign.service")
    # The switch starts it once more, and says 4.
    world.publish("one", files={"units/foreign.service": FAILS})
    world.start()
    world.is_at("one")
    machine.succeed("systemctl is-failed foreign.service")
    journal = machine.journal("hyper-sync.service")
    assert "non-zero exit status 4" in journal and "had failed before still fail: foreign.service" in journal, journal

    world.publish("two", files={"units/other.service": FAILS})
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    assert "had not failed before: other.service" in machine.journal("hyper-sync.service")
    world.is_at("two")
