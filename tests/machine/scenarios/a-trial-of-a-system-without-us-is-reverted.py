"""A system without hyper-sync: the timer's run refuses it before its trial; where a person activates it and it fails its
checks, the former system's program reverts to it, with its units."""

HEALTH = """
[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["test", "!", "-e", "/run/broken"]
"""
UNITS = ("hyper-sync.service", "hyper-sync-fetch.service", "hyper-sync.timer")


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + HEALTH)

    units = {unit: machine.read(f"/srv/work/units/{unit}") for unit in UNITS}
    other = {"units/other.service": "[Service]\nExecStart=sleep infinity\n"}
    world.publish("without us", files=other, remove=[f"units/{unit}" for unit in UNITS])
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    assert world.running() == world.boots() == "one"
    machine.fail("ls /var/lib/hyper-sync/trial")

    # The run is killed in the trial, and the new system has no unit and no program of ours.
    world.hold("activation")
    machine.succeed(
        "systemd-run --quiet --collect --unit=person --setenv=HOME=/root --setenv=PATH=$PATH"
        " hyper-sync rebuild --allow-self-removal"
    )
    world.held("activation")
    machine.succeed("systemctl kill --signal=KILL person.service")
    world.release("activation")
    machine.wait_until_succeeds("! systemctl is-active nixos-rebuild-switch-to-configuration.service")
    assert (world.running(), world.boots()) == ("without us", "one")
    machine.succeed("mv /usr/local/bin/hyper-sync /usr/local/bin/gone")
    machine.fail("systemctl cat hyper-sync.service")
    machine.succeed("systemctl start hyper-sync-revert.service")
    machine.succeed("mv /usr/local/bin/gone /usr/local/bin/hyper-sync")
    world.is_at("one")
    machine.succeed("systemctl cat hyper-sync.service hyper-sync.timer")
    machine.fail("ls /var/lib/hyper-sync/trial")

    # A check of it fails.
    machine.write("/run/broken", "")
    world.publish("still without us")
    code, output = machine.execute("hyper-sync --allow-self-removal")
    assert code == 13, (code, output)
    world.is_at("one")
    machine.succeed("rm /run/broken && systemctl cat hyper-sync.service hyper-sync.timer")
    world.publish("two", files={f"units/{unit}": text for unit, text in units.items()}, remove=["units/other.service"])
    world.start()
    world.is_at("two")
