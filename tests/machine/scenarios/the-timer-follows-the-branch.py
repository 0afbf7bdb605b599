"""A timer's tick validates, syncs from the forge and rebuilds with Nix, and the next one follows the branch."""

import json

from world import TIMER_SOON


def scenario(world):
    machine = world.machine
    url = world.forge(token="token-one")
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.timer(TIMER_SOON)
    machine.wait_until_succeeds("grep -qx one /run/current-system/etc/release-text")

    second = world.publish("two")
    machine.wait_until_succeeds("grep -qx two /run/current-system/etc/release-text")
    machine.succeed("systemctl stop hyper-sync.timer")
    world.finished()
    world.is_at("two")
    generations = machine.succeed("cd /nix/var/nix/profiles && ls -d system-*-link").split()
    assert generations == ["system-1-link", "system-2-link"], generations
    requests = machine.read("/run/forge-requests").splitlines()
    assert all(line.endswith("200 with credentials") for line in requests[1:]), requests
    # Each run has looked at the machine.
    said = machine.journal("hyper-sync-fetch.service").splitlines()
    assert sum(line.startswith("validate: ") for line in said) == sum(line.startswith("Finished ") for line in said), said

    # At the path of the Hyper-NixOS guide, readable by all users; the rest of the state is private.
    state = machine.succeed("runuser -u nobody -- cat /var/lib/hypervisor/cache/sync-state.json")
    assert json.loads(state)["last_sync"]["commit_sha"] == second, state
    assert json.loads(state)["last_sync"]["ref"] == "main", state
    machine.fail("runuser -u nobody -- ls /var/lib/hyper-sync")
    assert world.notified() == [], machine.journal()
