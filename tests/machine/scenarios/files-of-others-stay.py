"""What hyper-sync did not write it neither changes nor removes, and a file that is protected stays as it was edited;
all of it is part of the system that is built."""

import json

from world import TARGET


def scenario(world):
    machine = world.machine
    world.publish("one", files={"hardware-configuration.nix": "{ }\n", "hosts/a.nix": "{ }\n"})
    world.start()

    machine.write(f"{TARGET}/units/mine.service", "[Service]\nExecStart=/bin/true\n")
    machine.write(f"{TARGET}/hardware-configuration.nix", "{ mine = true; }\n")
    machine.write(f"{TARGET}/hosts/b.nix", "{ other = true; }\n", mode="0600")
    machine.succeed(f"ln -s /nowhere {TARGET}/link && mkdir {TARGET}/empty && touch -d 2001-01-01 {TARGET}/hosts/b.nix")
    ours = f"cd {TARGET} && ls -lid --time-style=full-iso units/mine.service hardware-configuration.nix hosts/b.nix link empty"
    before = machine.succeed(ours)

    # Upstream edits what is protected, and removes the folder beside the other's file.
    world.publish("two", files={"hardware-configuration.nix": "{ theirs = true; }\n"}, remove=["hosts/a.nix"])
    world.start()
    assert world.running() == world.boots() == "two"
    assert machine.succeed(ours) == before
    assert machine.read(f"{TARGET}/hardware-configuration.nix") == "{ mine = true; }\n"
    machine.fail(f"test -e {TARGET}/hosts/a.nix")
    machine.succeed("test -e /run/current-system/etc/systemd/system/mine.service")
    state = json.loads(machine.read("/var/lib/hypervisor/cache/sync-state.json"))
    assert state["stats"]["errors"] == 0, state
