"""A system that the running one cannot be switched to is the boot default, is not built again and again, and runs after
the next boot."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("two", files={"init-interface-version": "systemd 3\n"})
    world.start()
    assert world.running() == "one"
    assert world.boots() == world.boot_loader() == "two"
    assert "reboot" in machine.journal("hyper-sync.service")
    profile = machine.succeed("readlink /nix/var/nix/profiles/system")
    world.start()
    assert machine.succeed("readlink /nix/var/nix/profiles/system") == profile

    machine.power_off()
    machine.boot()
    world.is_at("two")
    world.start()
    assert machine.succeed("readlink /nix/var/nix/profiles/system") == profile
    world.publish("three")
    world.start()
    world.is_at("three")
