"""switch-to-configuration says 4 for any failed unit of the host; only one that fails anew makes a rebuild fail."""


def scenario(world):
    machine = world.machine
    machine.write("/etc/systemd/system/foreign.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    machine.fail("systemctl daemon-reload && systemctl start foreign.service")
    world.publish("one")
    world.start()
    assert world.running() == "one"
    machine.succeed("systemctl is-failed foreign.service")
