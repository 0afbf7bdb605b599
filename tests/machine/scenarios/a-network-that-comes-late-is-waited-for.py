"""A tick before the network is up waits for it: no request that must fail, and no failure to pass on."""

from world import TIMER_SOON

LATE = """
[Unit]
DefaultDependencies=no
Before=network-online.target

[Service]
Type=oneshot
ExecStart=/bin/sh -c 'touch /run/hold/network.reached; cat /run/hold/network'
"""


def scenario(world):
    machine = world.machine
    url = world.forge()
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    units = "/etc/systemd/system"
    machine.write(f"{units}/late.service", LATE)
    machine.succeed(
        f"mkdir {units}/network-online.target.wants && ln -s ../late.service {units}/network-online.target.wants"
        " && systemctl daemon-reload && systemctl stop network-online.target"
    )
    world.hold("network")
    world.timer(TIMER_SOON)
    world.held("network")
    # The update has begun and is in the queue.
    jobs = machine.succeed("systemctl list-jobs --plain --no-legend")
    for unit in ("hyper-sync.service", "hyper-sync-fetch.service"):
        assert [line.split()[2:] for line in jobs.splitlines() if f" {unit} " in line] == [["start", "waiting"]], jobs
    machine.fail("test -e /run/forge-requests")

    world.release("network")
    machine.wait_until_succeeds("grep -qx one /run/current-system/etc/release-text")
    machine.succeed("systemctl stop hyper-sync.timer")
    world.finished()
    world.is_at("one")
    assert world.notified() == [], machine.journal()
