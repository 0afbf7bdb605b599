"""With `health.confirm`, a system that fails its checks, whose run is killed, whose activation hangs or that loses power is
reverted with its tree, and a good one becomes the boot default."""

HEALTH = """
[health]
confirm = true
within = "1s"

[health.checks]
web.command = ["sh", "-c", "test ! -e /run/broken || { echo no answer; exit 1; }"]
"""
HANGS = """
[Service]
Type=oneshot
ExecStart=sleep infinity

[Install]
WantedBy=multi-user.target
"""
TIMER = "systemctl is-active hyper-sync-revert.timer"


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    config = machine.read("/etc/hyper-sync/config.toml") + HEALTH
    machine.write("/etc/hyper-sync/config.toml", config.replace("[rebuild]", '[rebuild]\nactivation_timeout = "5s"'))

    # A good one.
    world.publish("two")
    world.start()
    world.is_at("two")
    ended(world)

    # One that fails a check; the timer brings the next commit.
    machine.write("/run/broken", "")
    world.publish("three")
    journal = taken_back(world)
    assert "`web`: exit code 1" in journal and "it has printed: no answer" in journal, journal
    world.is_at("two")
    ended(world)
    world.start()
    world.is_at("two")
    machine.succeed("rm /run/broken")
    world.publish("four")
    world.start()
    world.is_at("four")

    # One whose activation waits for a unit that does not start.
    world.publish("five", files={"units/hangs.service": HANGS})
    journal = taken_back(world)
    assert "the activation took more than 5s and was stopped; it waited for `start of hangs.service`" in journal, journal
    assert "inactive" in machine.execute("systemctl is-active hangs.service")[1]
    world.is_at("four")
    ended(world)

    # The run is killed in the trial: the revert does not need it, and the next run reverts too.
    for release, back in (("six", "systemctl start hyper-sync-revert.service"), ("seven", None)):
        world.publish(release, remove=["units/hangs.service"] if release == "six" else [])
        world.hold("activation")
        world.start_later()
        world.held("activation")
        machine.succeed("systemctl kill --signal=KILL hyper-sync.service")
        world.finished()
        world.release("activation")
        machine.wait_until_succeeds("! systemctl is-active nixos-rebuild-switch-to-configuration.service")
        assert (world.running(), world.boots()) == (release, "four")
        machine.succeed(TIMER)
        if back:
            machine.succeed(back)
        else:
            taken_back(world)
        world.is_at("four")
        ended(world)

    # The power is cut in the trial: the former system boots, and the new one gets another trial.
    world.publish("eight")
    world.hold("activation")
    world.start_later()
    world.held("activation")
    machine.crash()
    machine.boot()
    assert world.running() == world.boots() == world.boot_loader() == "four"
    world.start()
    world.is_at("eight")
    ended(world)

    # So does the next commit, if there is one: the sandboxed sync does not take the trial for an open one.
    world.publish("nine")
    world.hold("activation")
    world.start_later()
    world.held("activation")
    machine.crash()
    machine.boot()
    world.publish("ten")
    world.start()
    world.is_at("ten")
    ended(world)


def taken_back(world):
    """An update that ends with the former system; what it has logged."""
    # For the unit, exit code 13 is a success.
    world.start()
    journal = world.said("hyper-sync.service")
    assert "the new system was reverted" in journal, journal
    return journal


def ended(world):
    """No trial is left, and nothing would revert."""
    world.machine.fail(TIMER)
    for name in ("trial", "former"):
        world.machine.fail(f"ls /var/lib/hyper-sync/{name}")
