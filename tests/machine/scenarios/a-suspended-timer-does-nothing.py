"""While updates are suspended the timer goes on, and its runs end well without changing anything; then one resumes."""

from world import TIMER_SOON


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("two")
    machine.succeed("hyper-sync suspend --for 1h --reason 'a migration'")
    world.timer(TIMER_SOON)
    # Several runs of both units.
    for unit in ("hyper-sync-fetch.service", "hyper-sync.service"):
        machine.wait_until_succeeds(
            f"test $(journalctl --unit={unit} | grep -c 'nothing is done: updates are suspended since .* a migration') -ge 3"
        )
    world.is_at("one")
    machine.succeed("hyper-sync status | grep '^suspended .*: a migration; `hyper-sync resume` ends that'")
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")

    machine.succeed("hyper-sync resume")
    machine.wait_until_succeeds("grep -qx two /run/current-system/etc/release-text")
    machine.succeed("systemctl stop hyper-sync.timer")
    world.finished()
    world.is_at("two")
    assert world.notified() == [], machine.journal()
