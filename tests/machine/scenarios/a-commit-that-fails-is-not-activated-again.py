"""A commit whose activation fails, and one that fails its trial, are tried once: five ticks later nothing was activated
again, the failure is in `status` and in the metrics, and the alarm was given once at most."""

import json

HEALTH = """
[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["test", "!", "-e", "/run/broken"]
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    bad = world.publish("unactivatable")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    five_ticks(world, bad, "activation")
    assert "rebuild::quarantined" in world.said("hyper-sync.service")
    assert world.notified() == ["hyper-sync.service"]
    world.publish("two")
    world.start()
    world.is_at("two")

    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + HEALTH)
    machine.write("/run/broken", "")
    bad = world.publish("three")
    world.start()
    five_ticks(world, bad, "health")
    world.is_at("two")
    assert world.notified() == ["hyper-sync.service"]
    machine.succeed("rm /run/broken")
    world.publish("four")
    world.start()
    world.is_at("four")
    assert json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["quarantined"] == []


def five_ticks(world, commit, kind):
    """Nothing is activated in them, and the failure stays visible."""
    machine = world.machine
    activations = "journalctl --sync; journalctl --output=cat | grep -c 'activating the configuration' || true"
    before = machine.succeed(activations)
    for _ in range(5):
        world.start()
        [entry] = json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["quarantined"]
        assert (entry["commit"], entry["class"], entry["tries"]) == (commit, kind, 1), entry
    assert machine.succeed(activations) == before
    metrics = machine.read("/var/lib/node-exporter-textfiles/hyper-sync.prom")
    lines = [line for line in metrics.splitlines() if line.startswith("hyper_sync_quarantined{")]
    assert any(f'class="{kind}"' in line and line.endswith(" 1") for line in lines), lines
