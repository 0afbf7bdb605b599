"""The sandboxed sync and the rebuild write one file of metrics, and neither removes what the other has written."""

FILE = "/var/lib/node-exporter-textfiles/hyper-sync.prom"


def scenario(world):
    machine = world.machine

    def metric(name, stage=None):
        # As the collector, which is not root, reads it.
        text = machine.succeed(f"runuser -u nobody -- cat {FILE}")
        lines = [line for line in text.splitlines() if line.startswith(name + "{")]
        if stage:
            lines = [line for line in lines if f'stage="{stage}"' in line]
        assert len(lines) == 1, text
        return lines[0]

    first = world.publish("one")
    world.start()
    assert f'commit="{first}"' in metric("hyper_sync_info")
    for stage in ["sync", "rebuild"]:
        assert metric("hyper_sync_last_exit_code", stage).endswith(" 0")
        assert metric("hyper_sync_last_success_timestamp_seconds", stage)
    assert metric("hyper_sync_rebuild_pending").endswith(" 0")
    success = metric("hyper_sync_last_success_timestamp_seconds", "rebuild")

    machine.succeed("touch /srv/no-builds")
    second = world.publish("two")
    machine.fail("systemctl start hyper-sync.service")
    assert f'commit="{second}"' in metric("hyper_sync_info")
    assert metric("hyper_sync_last_exit_code", "sync").endswith(" 0")
    assert metric("hyper_sync_last_exit_code", "rebuild").endswith(" 11")
    assert metric("hyper_sync_consecutive_failures", "rebuild").endswith(" 1")
    assert metric("hyper_sync_last_success_timestamp_seconds", "rebuild") == success
    assert metric("hyper_sync_rebuild_pending").endswith(" 1")
    assert machine.succeed(f"ls -A $(dirname {FILE})") == "hyper-sync.prom\n"
