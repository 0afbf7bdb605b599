"""Without the forge there is no sync, no rebuild, a failure that is passed on, and a next run that works."""


def scenario(world):
    machine = world.machine
    url = world.forge()
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.start()
    tree = machine.succeed("cd /etc/hypervisor/src && ls -lR --time-style=full-iso")

    machine.succeed("systemctl stop forge.service")
    world.publish("two")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync-fetch.service") == 3
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    # The rebuild was not even begun: the last one that ran is the good one.
    assert world.exit_code("hyper-sync.service") == 0
    assert world.running() == "one"
    assert machine.succeed("cd /etc/hypervisor/src && ls -lR --time-style=full-iso") == tree

    world.forge()
    world.start()
    assert world.running() == "two"
