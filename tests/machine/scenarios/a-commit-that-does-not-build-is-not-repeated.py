"""A commit that does not build is reported once and not built again at each tick; a repairing commit is built at once."""

import json


def scenario(world):
    machine = world.machine
    failed = lambda: json.loads(machine.succeed("hyper-sync status --json 2>/dev/null"))["quarantined"]
    world.publish("one")
    world.start()
    assert failed() == []

    bad = world.publish("broken")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    for _ in range(5):
        world.start()
        last = world.said("hyper-sync.service")
        assert "rebuild::quarantined" in last and "hyper-sync rebuild --retry" in last, last
        code, _ = machine.execute("hyper-sync rebuild --if-pending")
        assert code == 13, code
    [entry] = failed()
    assert (entry["commit"], entry["class"], entry["tries"]) == (bad, "build", 1), entry
    assert world.notified() == ["hyper-sync.service"]
    world.is_at("one", tree="broken")
    assert machine.execute("hyper-sync rebuild")[0] == 11
    assert failed()[0]["tries"] == 2

    world.publish("two")
    world.start()
    world.is_at("two")
    assert failed() == []
    assert world.notified() == ["hyper-sync.service"]
