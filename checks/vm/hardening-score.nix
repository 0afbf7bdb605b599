# The fetch unit is as closed as it can be, and above all does not open /etc for /etc/nixos.
{
  script = ''
    machine.succeed("systemd-analyze security --threshold=20 hyper-sync-fetch.service")
    machine.succeed("mkdir -p /run/systemd/system/hyper-sync-fetch.service.d")
    probe = "touch /etc/nixos/x && ! touch /etc/x && ! touch /etc/systemd/x && ! ls /root/"
    machine.succeed(
        f"printf '[Service]\nExecStart=\nExecStart=/bin/sh -c \"{probe}\"\n'"
        " >/run/systemd/system/hyper-sync-fetch.service.d/probe.conf && systemctl daemon-reload"
    )
    machine.succeed("systemctl start hyper-sync-fetch.service")
    machine.succeed("test -e /etc/nixos/x")
    machine.fail("test -e /etc/x")
  '';
}
