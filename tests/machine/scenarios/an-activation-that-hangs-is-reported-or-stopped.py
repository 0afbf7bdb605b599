"""An activation that does not end is no success for the unit: one of somebody else is waited for and reported, and one
that a run of ours has left behind is stopped before that of a newer commit."""

UNIT = "nixos-rebuild-switch-to-configuration.service"
LIMITS = """[rebuild]
timeout = "10s"
activation_timeout = "5s"
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    config = machine.read("/etc/hyper-sync/config.toml")
    machine.write("/etc/hyper-sync/config.toml", config.replace("[rebuild]\n", LIMITS))

    # A person's, which ends in time: a run that has nothing to do waits for it.
    world.hold("boot-loader")
    by_hand(machine)
    world.held("boot-loader")
    world.start_later()
    machine.wait_until_succeeds("systemctl show --property=SubState --value hyper-sync.service | grep -qx start")
    world.release("boot-loader")
    world.finished()
    said = world.said("hyper-sync.service")
    assert f"another activation was waited for: {UNIT}" in said and "no rebuild waits" in said, said
    assert world.notified() == [], machine.journal()

    # One that does not.
    world.hold("boot-loader")
    by_hand(machine)
    world.held("boot-loader")
    machine.wait_until_succeeds(older(5))
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 12
    said = world.said("hyper-sync.service")
    assert f"`{UNIT}` has been activating a system since " in said, said
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    world.release("boot-loader")
    machine.wait_until_succeeds(f"! systemctl is-active {UNIT}")
    world.start()
    world.is_at("one")
    assert world.notified() == ["hyper-sync.service"]

    # Ours, whose run was killed.
    world.publish("two")
    world.hold("boot-loader")
    world.start_later()
    world.held("boot-loader")
    machine.succeed("systemctl kill --signal=KILL hyper-sync.service")
    world.finished()
    machine.wait_until_succeeds(older(5))
    machine.succeed(f"systemctl is-active {UNIT} && rm /run/hold/boot-loader")
    world.publish("three")
    world.start()
    said = world.said("hyper-sync.service")
    assert f"an earlier activation hung for more than 5s and was stopped (`{UNIT}`)" in said, said
    world.is_at("three")


def by_hand(machine):
    """An activation as `nixos-rebuild test` by hand does it."""
    switch = "/run/current-system/bin/switch-to-configuration test"
    machine.succeed(f"systemd-run --quiet --collect --unit={UNIT} {switch}")


def older(seconds):
    """Whether the activation has been running for longer."""
    process = f"$(systemctl show --property=MainPID --value {UNIT})"
    return f"[ $(ps -o etimes= -p {process}) -gt {seconds} ]"
