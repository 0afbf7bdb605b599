"""A rebuild that failed for a cause outside of the commit is done with `--retry`, without a new commit."""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    machine.succeed("touch /srv/no-builds")
    world.publish("two")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    assert world.running() == "one"

    machine.succeed("rm /srv/no-builds")
    # Its pause is not over.
    world.start()
    assert world.running() == "one"
    machine.succeed("hyper-sync rebuild --if-pending --retry")
    assert world.running() == world.boots() == "two"
    # And once it is done, a run without news does nothing.
    before = machine.succeed("readlink /nix/var/nix/profiles/system")
    world.start()
    assert machine.succeed("readlink /nix/var/nix/profiles/system") == before
