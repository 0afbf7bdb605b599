"""An activation that was cut off is repeated by the next run, unless somebody has gone back to the former system since."""

import json

UNIT = "nixos-rebuild-switch-to-configuration.service"


def scenario(world):
    machine = world.machine
    kind = lambda: (half_state(machine) or {}).get("kind")
    world.publish("one")
    world.start()
    assert kind() is None

    # The run and its activation are killed when the boot loader is written and nothing is activated.
    cut_off(world, "two")
    assert (world.running(), world.boots(), world.boot_loader()) == ("one", "two", "two")
    assert kind() == "boot-default"
    world.start()
    said = world.said("hyper-sync.service")
    assert "is the boot default, perhaps not in the boot loader" in said and "; this run has ended that" in said, said
    world.is_at("two")
    assert kind() is None

    # A person goes back: the next runs leave it so, and say why.
    cut_off(world, "three")
    machine.succeed("nix-env --profile /nix/var/nix/profiles/system --rollback")
    machine.succeed("/nix/var/nix/profiles/system/bin/switch-to-configuration switch")
    assert kind() == "changed-since"
    for code in ("changed_since", "quarantined"):
        world.start()
        said = world.said("hyper-sync.service")
        assert f"[rebuild::{code}]" in said and "somebody has changed the system since" in said, said
        world.is_at("two", tree="three")
    status = machine.succeed("hyper-sync status 2>/dev/null")
    assert "it is repeated by `hyper-sync rebuild` only" in status, status
    machine.succeed("hyper-sync rebuild")
    world.is_at("three")
    assert kind() is None
    # Those that were killed.
    assert world.notified() == ["hyper-sync.service"] * 2, machine.journal()


def cut_off(world, release):
    machine = world.machine
    world.publish(release)
    world.hold("boot-loader")
    world.start_later()
    world.held("boot-loader")
    machine.succeed(f"systemctl kill --signal=KILL hyper-sync.service && systemctl kill --signal=KILL {UNIT}")
    world.finished()
    machine.wait_until_succeeds(f"! systemctl is-active {UNIT}")
    machine.succeed("rm /run/hold/boot-loader* && systemctl reset-failed")


def half_state(machine):
    return json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["half_state"]
