"""Nix cannot copy a named pipe; one that lies in the target stops neither the sync nor the build."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    machine.succeed("mkfifo /etc/hypervisor/src/monitor")
    world.publish("two")
    world.start()
    assert world.running() == "two"
    machine.succeed("test -p /etc/hypervisor/src/monitor")
