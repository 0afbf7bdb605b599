"""Older installs name the tree as an input: a lock that is older than the tree must not bring the old tree back."""

FLAKE = """
{
  inputs.hypervisor = {
    url = "path:/etc/hypervisor/src";
    flake = false;
  };
  outputs = { hypervisor, ... }: {
    nixosConfigurations.machine = import (hypervisor + "/configuration.nix");
  };
}
"""


def scenario(world):
    world.machine.write("/etc/hypervisor/flake.nix", FLAKE)
    for release in ("one", "two", "three"):
        world.publish(release)
        world.start()
        assert world.running() == world.boots() == release, release
