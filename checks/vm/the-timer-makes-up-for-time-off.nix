# A run that was missed while the machine was off happens after its boot.
{ lib, ... }:
{
  nodes.machine.services.hyper-sync = {
    dates = lib.mkForce "*-*-* *:00:00";
    randomizedDelaySec = "0";
  };
  script = ''
    machine.succeed("systemctl stop hyper-sync.timer")
    machine.wait_until_succeeds("! systemctl is-active hyper-sync.service")
    publish("one")
    # As if the last run had been two hours ago.
    machine.succeed("mkdir -p /var/lib/systemd/timers")
    machine.succeed("touch --date='2 hours ago' /var/lib/systemd/timers/stamp-hyper-sync.timer && sync")
    machine.shutdown()
    machine.start()
    machine.wait_until_succeeds("grep -qx one /run/current-system/release-text")
    machine.wait_until_succeeds("! systemctl is-active hyper-sync.service")
    t.assertEqual(boots(), "one")
  '';
}
