"""The fetch unit writes the target and its own state, and sees and changes nothing else."""

# Each must fail inside of the unit.
FORBIDDEN = [
    "touch /etc/passwd",
    "touch /etc/hypervisor/flake.nix",
    "touch /nix/x",
    "touch /usr/bin/x",
    "ls /root/",
    "test -e /dev/kvm",
    "unshare --mount true",
    "chown nobody /etc/hypervisor/src",
    "test -e /tmp/somebody-elses",
    "cat /proc/1/environ",
]
ALLOWED = [
    "touch /etc/hypervisor/src/x && rm /etc/hypervisor/src/x",
    "touch /var/lib/hyper-sync/x && rm /var/lib/hyper-sync/x",
    "touch /var/lib/hypervisor/cache/x && rm /var/lib/hypervisor/cache/x",
    'test "$(cat $HYPER_SYNC_TOKEN_FILE)" = token-one',
]


def scenario(world):
    machine = world.machine
    machine.succeed("touch /tmp/somebody-elses")
    script = "".join(f"if {line} 2>/dev/null; then echo 'possible: {line}'; fi\n" for line in FORBIDDEN)
    script += "".join(f"if ! {{ {line}; }} then echo 'impossible: {line}'; fi\n" for line in ALLOWED)
    machine.write("/srv/probe", script + "echo probed\n")
    machine.write(
        "/etc/systemd/system/hyper-sync-fetch.service.d/probe.conf",
        "[Service]\nExecStart=\nExecStart=/bin/bash /srv/probe\n",
    )
    machine.succeed("systemctl daemon-reload && systemctl start hyper-sync-fetch.service")
    said = [line for line in machine.journal("hyper-sync-fetch.service").splitlines() if "possible" in line or "probed" in line]
    assert said == ["probed"], said
