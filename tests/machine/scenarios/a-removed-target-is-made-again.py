"""`rm -rf` of the target, and of the other folders that the sandbox opens, is mended by the next run."""

FOLDERS = ["/etc/hypervisor/src", "/var/lib/hypervisor/cache", "/var/lib/node-exporter-textfiles"]


def scenario(world):
    machine = world.machine
    world.publish("one")
    world.start()
    world.is_at("one")
    for gone in [*FOLDERS, " ".join(FOLDERS), "/var/lib/hyper-sync"]:
        machine.succeed(f"rm -rf {gone}")
        world.start()
        world.is_at("one")
    modes = machine.succeed(f"stat --format='%a %U %n' {' '.join(FOLDERS)}")
    assert modes == "".join(f"755 root {folder}\n" for folder in FOLDERS), modes

    world.publish("two")
    machine.succeed("rm -rf /etc/hypervisor/src")
    world.start()
    world.is_at("two")
    assert world.notified() == [], machine.journal()
