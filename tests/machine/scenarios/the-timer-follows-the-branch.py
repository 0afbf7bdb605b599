"""A timer's tick validates, syncs and rebuilds, and the next one follows the branch."""

import json

SOON = """
[Timer]
OnCalendar=
OnCalendar=*:*:*
RandomizedDelaySec=0
AccuracySec=100ms
Persistent=false
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    machine.write("/etc/systemd/system/hyper-sync.timer.d/soon.conf", SOON)
    machine.succeed("systemctl daemon-reload && systemctl start hyper-sync.timer")
    machine.wait_until_succeeds("grep -qx one /run/current-system/etc/release-text")

    second = world.publish("two")
    machine.wait_until_succeeds("grep -qx two /run/current-system/etc/release-text")
    machine.succeed("systemctl stop hyper-sync.timer")
    machine.wait_until_succeeds("! systemctl is-active --quiet hyper-sync.service hyper-sync-fetch.service")
    assert world.boots() == "two"
    assert machine.read("/etc/hypervisor/src/release-text") == "two\n"

    # Where the guide of Hyper-NixOS says, for everybody; the rest of the state for nobody.
    state = machine.succeed("runuser -u nobody -- cat /var/lib/hypervisor/cache/sync-state.json")
    assert json.loads(state)["last_sync"]["commit_sha"] == second, state
    assert json.loads(state)["last_sync"]["ref"] == "main", state
    machine.fail("runuser -u nobody -- ls /var/lib/hyper-sync")
    assert world.notified() == [], machine.journal()
