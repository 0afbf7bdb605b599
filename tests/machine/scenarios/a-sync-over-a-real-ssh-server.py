"""The sandboxed unit reaches a repository through the system's own ssh and a real sshd, with its key and the known
hosts as credentials; each refusal is reported with its cause."""

import json

KEYS = "/srv/ssh"
REPO = "ssh://root@127.0.0.1:2222/srv/config.git"
CONFIG = f"""
Port 2222
ListenAddress 127.0.0.1
HostKey {KEYS}/host
AuthorizedKeysFile {KEYS}/user.pub
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
"""
# As the module writes them.
CREDENTIALS = """
[Service]
Environment="HYPER_SYNC_SSH_KEY_FILE=%d/ssh_key" "HYPER_SYNC_KNOWN_HOSTS_FILE=%d/known_hosts"
LoadCredential=ssh_key:/srv/ssh/key
LoadCredential=known_hosts:/srv/ssh/known
"""


def scenario(world):
    machine = world.machine

    def serve(more=""):
        machine.write(f"{KEYS}/config", CONFIG + more)
        machine.execute("systemctl stop sshd-test.service")
        machine.succeed(
            "mkdir -p /run/sshd && systemd-run --quiet --collect --unit=sshd-test --property=Type=notify"
            f" /usr/sbin/sshd -D -f {KEYS}/config"
        )

    def cost():
        state = json.loads(machine.read("/var/lib/hypervisor/cache/sync-state.json"))
        return state["route"], state["requests"]

    def knows(host="host", key="user"):
        machine.succeed(
            f"cd {KEYS} && echo \"[127.0.0.1]:2222 $(cat {host}.pub)\" >known && install -m 0400 {key} key"
        )

    machine.succeed(
        f"mkdir {KEYS} && cd {KEYS} && for key in host user stranger; do ssh-keygen -q -t ed25519 -N '' -f $key; done"
    )
    machine.write("/etc/systemd/system/hyper-sync-fetch.service.d/ssh.conf", CREDENTIALS)
    machine.succeed("systemctl daemon-reload")
    world.configure(repo=REPO)
    knows()

    # As forges do.
    serve("AcceptEnv GIT_PROTOCOL\n")
    world.publish("one")
    world.start()
    world.is_at("one")
    # The target of Hyper-NixOS leaves files out by default, so that the listing is read first.
    assert cost() == ("select (git)", 3), cost()
    world.publish("two")
    world.start()
    world.is_at("two")
    assert cost() == ("delta", 2), cost()

    # The default of sshd: the account's shell gets the protocol variable.
    serve()
    world.publish("three")
    world.start()
    world.is_at("three")
    assert cost() == ("delta", 2), cost()

    def refused(code):
        machine.fail("systemctl start hyper-sync.service")
        assert world.exit_code("hyper-sync-fetch.service") == 4
        said = world.said("hyper-sync-fetch.service")
        assert f"[source::{code}]" in said, said
        world.is_at("three")

    knows(key="stranger")
    refused("ssh_login")
    knows(host="stranger")
    refused("host_key")
    machine.succeed(f": >{KEYS}/known")
    refused("host_key_unknown")
    knows()
    machine.succeed("mv /srv/config.git /srv/gone.git")
    machine.fail("systemctl start hyper-sync.service")
    machine.succeed("mv /srv/gone.git /srv/config.git")
    said = world.said("hyper-sync-fetch.service")
    assert "source::no_permission" in said, said
    world.start()
