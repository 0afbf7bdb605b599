"""A sync that does not reach the forge is tried again soon, not at the timer's next hour, and the whole update with it;
for a rate limit that is of no use."""

# Soon enough for a test.
SOON = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n"


def scenario(world):
    machine = world.machine
    url = world.forge()
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.start()
    machine.fail("systemctl is-active hyper-sync-retry.timer")

    # The timer as the module makes it.
    machine.succeed("systemctl stop forge.service")
    world.publish("two")
    world.start()
    machine.succeed("systemctl is-active hyper-sync-retry.timer && systemctl stop hyper-sync-retry.timer")

    machine.write("/etc/systemd/system/hyper-sync-retry.timer.d/soon.conf", SOON)
    machine.succeed("systemctl daemon-reload")
    world.start()
    # It goes on until there is a network.
    machine.wait_until_succeeds("hyper-sync status | grep -E 'unreached.*syncs: ([4-9]|[0-9]{2})'")
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
    assert world.notified() == [], machine.journal()
    world.forge()
    machine.wait_until_succeeds("grep -qx two /run/current-system/etc/release-text")
    world.finished()
    world.is_at("two")
    machine.fail("systemctl is-active hyper-sync-retry.timer")

    machine.write("/srv/forge-status", "429")
    world.start()
    machine.fail("systemctl is-active hyper-sync-retry.timer")
