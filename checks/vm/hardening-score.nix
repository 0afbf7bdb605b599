{ self, ... }:
{
  name = "hardening-score";
  nodes.machine = {
    imports = [ self.nixosModules.default ];
    services.hyper-sync.enable = true;
    system.switch.enable = true;
  };
  testScript = ''
    machine.succeed("systemd-analyze security --offline=false --threshold=20 hyper-sync-fetch.service")
  '';
}
