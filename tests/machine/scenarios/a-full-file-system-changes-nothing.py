"""Without room for the objects or for the tree of an update, or for anything at all, the old tree and system stay as they
are; once there is room the next run works."""

from world import TARGET

STATE = "/var/lib/hyper-sync"


def scenario(world):
    machine = world.machine
    machine.succeed("echo 'min_free = \"4 KiB\"' >>/etc/hyper-sync/config.toml")

    def refused(at):
        machine.fail("systemctl start hyper-sync.service")
        assert world.exit_code("hyper-sync-fetch.service") == 9, machine.journal()
        world.is_at(at)

    def publish_large(release, source):
        machine.succeed(f"head -c 20M {source} >/srv/work/large")
        world.publish(release)

    # The state: 16 MiB must be free before anything is begun.
    machine.succeed(f"mkdir -p {STATE} && mount -t tmpfs -o size=18m,mode=0700 tmpfs {STATE}")
    world.publish("one")
    world.start()
    publish_large("two", "/dev/urandom")
    refused("one")
    world.publish("three", remove=["large"])
    world.start()
    world.is_at("three")
    machine.succeed(f"! cat /dev/zero >{STATE}/filler 2>/dev/null")
    world.publish("four")
    refused("three")
    machine.succeed(f"rm {STATE}/filler")
    world.start()
    world.is_at("four")
    machine.succeed(f"cp -a {STATE} /srv/state && umount {STATE} && cp -a /srv/state/. {STATE}")

    # The target.
    machine.succeed(f"cp -a {TARGET} /srv/target && mount -t tmpfs -o size=18m tmpfs {TARGET} && cp -a /srv/target/. {TARGET}")
    publish_large("five", "/dev/zero")
    refused("four")
    world.publish("six", remove=["large"])
    world.start()
    world.is_at("six")
