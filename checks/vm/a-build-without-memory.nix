# A build that the kernel kills for lack of memory is reported with the kernel's count, and is tried again by the next run.
{
  nodes.machine =
    { lib, pkgs, ... }:
    {
      systemd.services.hyper-sync.serviceConfig = {
        MemoryMax = "64M";
        MemorySwapMax = 0;
      };
      # Evaluates in the unit's own control group, as Nix does without its daemon for root.
      systemd.services.hyper-sync.path = lib.mkBefore [
        (pkgs.writeShellScriptBin "nix" ''
          if [ "$1" = build ] && [ -e /run/greedy ]; then
            exec ${pkgs.coreutils}/bin/tail /dev/zero
          fi
          exec ${pkgs.nix}/bin/nix "$@"
        '')
      ];
    };
  script = ''
    publish("one")
    machine.succeed("touch /run/greedy")
    for _ in range(2):
        machine.fail("systemctl start hyper-sync.service")
        t.assertIn("11", machine.succeed("systemctl show -p ExecMainStatus hyper-sync.service"))
        journal = machine.succeed("journalctl --unit=hyper-sync.service")
        t.assertIn("probably out of memory", journal)
        t.assertIn("processes that the kernel killed for it meanwhile", " ".join(journal.split()))
    machine.succeed("rm /run/greedy")
    machine.succeed("systemctl set-property --runtime hyper-sync.service MemoryMax=infinity")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "one")
  '';
}
