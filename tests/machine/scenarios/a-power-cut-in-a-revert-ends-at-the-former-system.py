"""The power is cut while a failed trial is reverted, and again while the target is brought back: the machine boots the
former system, and the next run finishes what is left."""

HEALTH = """
[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["test", "!", "-e", "/srv/broken"]
"""


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + HEALTH)

    # While the former system is activated.
    machine.write("/srv/broken", "")
    world.publish("two")
    world.hold("activation")
    world.start_later()
    world.held("activation")
    machine.succeed("rm /run/hold/activation.reached")
    # The next activation, of the former system, stops there too.
    machine.succeed("timeout 10 sh -c ': >/run/hold/activation'")
    world.held("activation")
    assert (world.running(), world.boots()) == ("two", "one")
    machine.crash()
    machine.boot()
    assert world.running() == world.boots() == world.boot_loader() == "one"
    world.tree_is("two")
    world.start()
    world.is_at("one")
    machine.fail("ls /var/lib/hyper-sync/trial")
    for _ in range(5):
        world.start()
    world.is_at("one")

    # After it, while the target is brought back: at the first file that is exchanged.
    world.publish("three")
    machine.succeed("rm -rf /run/hold && hyper-sync sync")
    killed = "strace -f -qq -o /dev/null -e trace=renameat2 -e inject=renameat2:signal=KILL:when=1"
    code, output = machine.execute(f"{killed} hyper-sync rebuild")
    assert code in (137, -9), (code, output)
    assert world.running() == world.boots() == "one"
    machine.crash()
    machine.boot()
    world.start()
    world.is_at("one", tree="one")
    machine.fail("ls /var/lib/hyper-sync/trial")

    machine.succeed("rm /srv/broken")
    world.publish("four")
    world.start()
    world.is_at("four")
