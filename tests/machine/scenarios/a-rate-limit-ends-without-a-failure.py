"""A forge that says 429 is not a failure of this machine: nothing changes, no unit fails, a later run works."""


def scenario(world):
    machine = world.machine
    url = world.forge()
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.start()

    world.publish("two")
    machine.write("/srv/forge-status", "429")
    world.start()
    assert "source::rate_limited" in world.said("hyper-sync-fetch.service"), machine.journal()
    assert " 429 " in machine.read("/run/forge-requests")
    world.is_at("one")
    machine.fail("systemctl is-failed hyper-sync.service hyper-sync-fetch.service")
    assert world.notified() == [], machine.journal()

    # A limit that has lasted for days.
    world.configure(repo=url, ca_file="/srv/tls/ca.crt", failure_grace="1ms")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 5
    machine.wait_until_succeeds("grep -qx hyper-sync.service /run/notified")

    machine.succeed("rm /srv/forge-status")
    world.start()
    world.is_at("two")
