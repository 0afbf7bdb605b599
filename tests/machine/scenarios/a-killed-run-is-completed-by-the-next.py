"""Killed while a system is activated: the activation goes on in its own unit, and the next run waits for it and makes
sure of the whole."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("two")
    world.hold("activation")
    world.start_later()
    world.held("activation")
    machine.succeed("systemctl kill --signal=KILL hyper-sync.service")
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    machine.succeed("systemctl is-active nixos-rebuild-switch-to-configuration.service")

    # The units are what the activation has taken away and not put back yet.
    world.release("activation")
    machine.wait_until_succeeds("! systemctl is-active nixos-rebuild-switch-to-configuration.service")
    assert world.running() == world.boots() == "two"
    world.start()
    # It is unknown whether all of it was activated, so it is done again.
    assert "activating the configuration..." in world.said("hyper-sync.service"), machine.journal()
    world.is_at("two")
    world.start()
    assert "no rebuild waits" in world.said("hyper-sync.service"), machine.journal()
