"""Without the forge nothing changes and no unit fails, until that has lasted for too long; then a failure is passed
on. The next run that reaches it works."""


def scenario(world):
    machine = world.machine
    url = world.forge()
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.start()
    tree = machine.succeed("cd /etc/hypervisor/src && ls -lR --time-style=full-iso")

    def changed_nothing():
        assert world.running() == "one"
        assert machine.succeed("cd /etc/hypervisor/src && ls -lR --time-style=full-iso") == tree

    machine.succeed("systemctl stop forge.service")
    world.publish("two")
    world.start()
    assert "source::unreachable" in world.said("hyper-sync-fetch.service"), machine.journal()
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
    assert world.notified() == [], machine.journal()
    changed_nothing()
    machine.succeed("hyper-sync overdue; test $? = 75 && hyper-sync status | grep unreached")

    # As if it had lasted for days.
    world.configure(repo=url, ca_file="/srv/tls/ca.crt", failure_grace="1ms")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 3
    assert "sync::overdue" in world.said("hyper-sync.service"), machine.journal()
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")
    changed_nothing()

    world.forge()
    world.start()
    world.is_at("two")
    machine.succeed("hyper-sync overdue")
