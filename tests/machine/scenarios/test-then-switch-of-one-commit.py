"""What was tried with `test` becomes the boot default with `switch`, though the commit is the same."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    world.publish("two")
    machine.succeed("hyper-sync --rebuild-action test")
    assert (world.running(), world.boots()) == ("two", "one")
    machine.succeed("hyper-sync --rebuild-action switch")
    assert (world.running(), world.boots()) == ("two", "two")
