"""With `health.remote`, a new system that does not reach the repository any more is reverted, and the machine is updated
again: the revert needs no network."""

CONFIRM = """
[health]
confirm = true
remote = true
within = "1s"
timeout = "5s"
"""
CUT = """
[Service]
Type=oneshot
RemainAfterExit=true
ExecStart=ip link set lo down
ExecStop=ip link set lo up

[Install]
WantedBy=multi-user.target
"""


def scenario(world):
    machine = world.machine
    url = world.forge()
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.start()
    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + CONFIRM)

    world.publish("two")
    world.start()
    world.is_at("two")

    bad = world.publish("three", files={"units/cut.service": CUT})
    world.start()
    said = world.said("hyper-sync.service")
    assert "it failed the health checks `remote`" in said, said
    world.is_at("two")
    assert "inactive" in machine.execute("systemctl is-active cut.service")[1]
    machine.fail("ls /var/lib/hyper-sync/trial")
    status = machine.succeed("hyper-sync status --json 2>/dev/null")
    assert bad in status and '"class":"health"' in status.replace(" ", ""), status
    assert world.notified() == [], machine.journal()

    # It reaches the repository, and the next commit.
    world.publish("four", remove=["units/cut.service"])
    world.start()
    world.is_at("four")
