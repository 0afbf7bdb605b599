"""A run that finds somebody's own nixos-rebuild at work does not disturb it, and activates its system after it."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("two")
    world.hold("boot-loader")
    activate = "/run/current-system/bin/switch-to-configuration test"
    machine.succeed(f"systemd-run --quiet --collect --unit=nixos-rebuild-switch-to-configuration {activate}")
    world.held("boot-loader")
    world.start_later()
    # Built, and nothing activated.
    machine.wait_until_succeeds("grep -qx two /var/lib/hyper-sync/result/etc/release-text")
    assert world.running() == "one"
    world.release("boot-loader")
    world.finished()
    world.is_at("two")
    assert world.notified() == [], machine.journal()
