"""A service that fails over and over runs for a moment between two tries, and the switch may end just then; it is told
all the same, once, and a service that systemd has mended is not."""

ALWAYS = """
[Service]
ExecStart=/bin/sh -c '{}'
Restart=always
RestartSec={}

[Install]
WantedBy=multi-user.target
"""
# Works from the second try on.
MENDED = "[ -e /run/tried ] && exec sleep infinity; touch /run/tried; exit 1"


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()

    mended = {"units/mended.service": ALWAYS.format(MENDED, "100ms")}
    world.publish("two", files=mended)
    world.start()
    world.is_at("two")
    machine.succeed("systemctl show --property=NRestarts --value mended.service | grep -qx 1")

    # The one fails for good soon, the other is tried for ever.
    failing = {
        "units/fast.service": ALWAYS.format("sleep 0.1; exit 1", "100ms"),
        "units/slow.service": ALWAYS.format("exit 1", "1h"),
    }
    world.publish("three", files=failing)
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    journal = machine.journal("hyper-sync.service")
    assert "units failed that had not failed before: fast.service, slow.service" in journal, journal
    # It is the new system that runs; who comes next does nothing.
    world.is_at("three")
    world.start()
    world.is_at("three")

    # Units that fail already are no news of the next switch.
    world.publish("four")
    world.start()
    world.is_at("four")
