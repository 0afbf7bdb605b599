"""An update that is started while the timer's runs waits for it; a second program reports that it is active."""

import threading

from world import TIMER_SOON


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    world.publish("two")
    world.hold("build")
    world.timer(TIMER_SOON)
    world.held("build")
    machine.succeed("systemctl stop hyper-sync.timer")

    code, said = machine.execute("hyper-sync")
    assert code == 10, said
    assert world.running() == "one"
    ended = []
    person = threading.Thread(target=lambda: ended.append(machine.execute("systemctl start hyper-sync.service")))
    person.start()
    # It waits, with the run that is active.
    machine.wait_until_succeeds("pgrep -f '^systemctl start hyper-sync.service'")
    machine.wait_until_succeeds("systemctl show --property=Job --value hyper-sync.service | grep -qv '^0*$'")
    assert ended == []
    world.release("build")
    person.join()
    assert ended == [(0, "")], ended
    world.finished()
    world.is_at("two")
    builds = machine.journal("hyper-sync.service").count("nixos-system-machine.drv'...")
    assert builds == 2, builds

    # The other way round: a tick that finds a person's run is no failure.
    world.publish("three")
    world.hold("build")
    machine.succeed("systemd-run --quiet --unit=person --property=Type=exec hyper-sync")
    world.held("build")
    world.start_later()
    machine.wait_until_succeeds("systemctl show --property=SubState --value hyper-sync.service | grep -qx start")
    assert "lock::busy" in world.said("hyper-sync-fetch.service"), machine.journal()
    world.release("build")
    world.finished()
    machine.wait_until_succeeds("! systemctl is-active --quiet person.service")
    machine.fail("systemctl is-failed person.service hyper-sync.service hyper-sync-fetch.service")
    world.is_at("three")
    assert world.notified() == [], machine.journal()
