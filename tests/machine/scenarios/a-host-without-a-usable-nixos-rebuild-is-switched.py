"""Older ones do not know `--store-path`, and some hosts have none: the system is built and activated without it."""


def scenario(world):
    machine = world.machine
    machine.write("/usr/local/bin/nixos-rebuild", "#!/bin/sh\necho called >>/run/calls\nexit 1\n", mode="0755")
    world.publish("one")
    world.start()
    world.is_at("one")
    # Asked once what it knows, and nothing else.
    assert machine.read("/run/calls") == "called\n"

    machine.succeed("rm /usr/local/bin/nixos-rebuild")
    world.publish("two")
    world.start()
    world.is_at("two")
    world.publish("three", files={"units/bad.service": "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n"})
    machine.fail("systemctl start hyper-sync.service")
    assert "had not failed before: bad.service" in machine.journal("hyper-sync.service")
    world.is_at("three")
