"""`hyper-sync health` reports a unit that failed, one that systemd restarts for ever, a port that is closed, an address that
is not answered and a program that hangs, all of them at once; and it does not count what had failed before."""

import json
import sys
from pathlib import Path

SERVICE = """
[Service]
ExecStart={}
{}

[Install]
WantedBy=multi-user.target
"""
WEB = f"{Path(sys.executable).resolve()} -m http.server 8080 --bind 127.0.0.1 --directory /srv"
CHECKS = """
[health]
remote = true
within = "1s"

[health.checks]
address.url = "http://127.0.0.1:8080/"
port.tcp = "localhost:8080"
program = { command = ["sh", "-c", "echo waits; exec sleep \\"$(cat /run/delay)\\""], timeout = "2s" }
web.unit = "web"
"""


def scenario(world):
    machine = world.machine
    machine.write("/etc/hyper-sync/config.toml", machine.read("/etc/hyper-sync/config.toml") + CHECKS)
    machine.write("/run/delay", "0")
    machine.fail("systemd-run --unit=early --wait false")

    world.publish("one", files={"units/web.service": SERVICE.format(WEB, "")})
    world.start()
    world.is_at("one")
    machine.wait_until_succeeds("hyper-sync health")

    machine.write("/run/delay", "600")
    broken = {
        "units/web.service": SERVICE.format("/bin/false", ""),
        "units/looping.service": SERVICE.format("/bin/sh -c 'echo again; exit 1'", "Restart=always\nRestartSec=1h"),
    }
    world.publish("two", files=broken)
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync.service") == 11
    status, output = machine.execute("hyper-sync health --json")
    assert status == 1, output
    document = json.loads(output[output.index("{") :])
    assert document["healthy"] is False, output
    checks = {check["name"]: check for check in document["checks"]}
    assert [name for name, check in checks.items() if check["passed"]] == ["remote"], output
    assert checks["units"]["cause"] == "failed: looping.service, web.service", output
    assert "looping.service: again" in checks["units"]["lines"], output
    assert checks["program"]["cause"] == "no end after 2s", output
    assert checks["program"]["lines"] == ["waits"], output
    assert "refused" in checks["port"]["cause"], output

    machine.write("/run/delay", "0")
    world.publish("three", files={"units/web.service": SERVICE.format(WEB, "")}, remove=["units/looping.service"])
    world.start()
    world.is_at("three")
    machine.wait_until_succeeds("hyper-sync health")
    machine.fail("systemd-run --unit=late --wait false")
    journal = machine.fail("hyper-sync health")
    assert "failed: late.service" in journal, journal
