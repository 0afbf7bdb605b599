"""Where the repository is the flake itself, it is what is built."""

FLAKE = "{ outputs = _: { nixosConfigurations.machine = import ./configuration.nix; }; }\n"


def scenario(world):
    machine = world.machine
    machine.succeed("sed -i 's|^flake = .*|flake = \"/etc/hypervisor/src\"|' /etc/hyper-sync/config.toml")
    world.publish("one", files={"flake.nix": FLAKE})
    world.start()
    assert world.running() == "one"
    world.publish("two")
    world.start()
    assert world.running() == world.boots() == "two"
