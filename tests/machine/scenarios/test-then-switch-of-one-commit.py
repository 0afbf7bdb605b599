"""What was tried with `test` becomes the boot default with `switch`, though the commit is the same; and by the
timer, which waits until the configured action holds."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    world.publish("two")
    machine.succeed("hyper-sync --rebuild-action test")
    assert (world.running(), world.boots()) == ("two", "one")
    machine.succeed("hyper-sync --rebuild-action switch")
    assert (world.running(), world.boots()) == ("two", "two")

    # What a person tries does not make the timer forget what the configuration wants.
    for action in ("build", "dry-activate", "test"):
        world.publish(action)
        machine.succeed(f"hyper-sync --rebuild-action {action}")
        assert world.boots() != action
        world.start()
        world.is_at(action)
