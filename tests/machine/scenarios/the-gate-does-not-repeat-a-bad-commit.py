"""With `rebuild.gate`, a commit that does not build changes nothing, is reported once, and is not built at each tick."""

import json


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    config = machine.read("/etc/hyper-sync/config.toml")
    # A path that the host's flake has written out is read from a namespace of mounts, which the sandbox forbids; the
    # module leaves the sandbox away where there is a gate.
    machine.write("/etc/hyper-sync/config.toml", config.replace("[rebuild]", '[rebuild]\ngate = "build"'))
    unit = "/etc/systemd/system/hyper-sync-fetch.service"
    kept = [line for line in machine.read(unit).splitlines() if not line.startswith(SANDBOX)]
    machine.write(unit, "\n".join(kept) + "\n")
    machine.write(f"{unit}.d/gate.conf", "[Service]\nEnvironment=HOME=/root\n")
    machine.succeed("systemctl daemon-reload")

    bad = world.publish("broken")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync-fetch.service") == 11
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    for _ in range(3):
        world.start()
        last = world.said("hyper-sync-fetch.service")
        assert "rebuild::quarantined" in last and "was not brought into the target" in last, last
    [entry] = json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["quarantined"]
    assert (entry["commit"], entry["class"], entry["tries"], entry["before_update"]) == (bad, "build", 1, True), entry
    assert world.notified() == ["hyper-sync.service"]
    world.is_at("one")
    assert machine.execute("hyper-sync sync")[0] == 11

    world.publish("two")
    world.start()
    world.is_at("two")
    assert json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["quarantined"] == []
    assert world.notified() == ["hyper-sync.service"]


# The options of modules/hardening.nix that a build cannot do with.
SANDBOX = (
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "KeyringMode=",
    "Lock",
    "Memory",
    "NoNewPrivileges=",
    "Private",
    "Proc",
    "Protect",
    "ReadWritePaths=",
    "Remove",
    "Restrict",
    "SystemCall",
    "TasksMax=",
    "UMask=",
)
