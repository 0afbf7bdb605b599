"""A boot loader that cannot be written leaves the old system, running and booted next, and an error that says why."""

import json

FULL = "#!/bin/sh\necho 'cp: error writing /boot/kernel: No space left on device' >&2\nexit 1\n"


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    first = machine.succeed("ls /nix/var/nix/profiles")

    machine.write("/srv/install-boot-loader", FULL, mode="0755")
    world.publish("two")
    code, said = machine.execute("hyper-sync --json 2>/dev/null")
    assert code == 11, said
    error = json.loads(said)["error"]
    assert error["code"] == "hyper_sync::rebuild::activation", error
    assert "No space left on device; Failed to install bootloader" in error["message"], error
    world.is_at("one", tree="two")
    assert machine.succeed("ls /nix/var/nix/profiles") == first
    # Each run retries it and reports it.
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    # A generation each time would fill the boot menu, and push the good ones out of it.
    assert machine.succeed("ls /nix/var/nix/profiles") == first
    world.is_at("one", tree="two")

    machine.succeed("rm /srv/install-boot-loader")
    world.start()
    world.is_at("two")
