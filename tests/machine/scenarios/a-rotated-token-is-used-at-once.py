"""The token of a private repository is read at each run, and is nowhere to be found but in its file."""

TOKENS = ["first-token-8d1f", "second-token-77aa"]


def scenario(world):
    machine = world.machine
    machine.write("/run/secrets/hyper-sync-token", TOKENS[0] + "\n", mode="0400")
    url = world.forge(token=TOKENS[0])
    world.configure(repo=url, ca_file="/srv/tls/ca.crt")
    world.publish("one")
    world.start()
    assert world.running() == "one"

    # The forge takes another one; ours is refused until the file is changed.
    machine.write("/srv/accepted-token", TOKENS[1])
    world.publish("two")
    machine.fail("systemctl start hyper-sync.service")
    assert world.exit_code("hyper-sync-fetch.service") == 4
    assert world.running() == "one"
    machine.write("/run/secrets/hyper-sync-token", TOKENS[1] + "\n", mode="0400")
    world.start()
    assert world.running() == "two"

    for token in TOKENS:
        machine.fail(f"journalctl --output=export | grep -a {token}")
        machine.fail(f"grep -r {token} /etc /nix/store /var/lib/hyper-sync /var/lib/hypervisor")
