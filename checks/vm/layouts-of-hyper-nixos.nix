# The host flakes of Hyper-NixOS reach the tree in two ways, and each builds what was synced, not what a stale lock names.
let
  system = ''let path = builtins.readFile "''${tree}/system"; in builtins.appendContext path { ''${path} = { path = true; }; }'';
  literal = ''
    { outputs = _: { nixosConfigurations.machine.config.system.build.toplevel = let tree = /etc/hypervisor/src; in ${system}; }; }
  '';
  input = ''
    {
      inputs.hypervisor = { url = "path:/etc/hypervisor/src"; flake = false; };
      outputs = { hypervisor, ... }: {
        nixosConfigurations.machine.config.system.build.toplevel = let tree = hypervisor; in ${system};
      };
    }
  '';
in
{
  nodes.machine = {
    services.hyper-sync = {
      target = "/etc/hypervisor/src";
      settings = {
        local_edits = "replace";
        # A test machine is not a hypervisor.
        validate = {
          directories = [ ];
          files = [ ];
          tools = [ ];
          services = [ ];
          kvm = false;
        };
      };
    };
    system.activationScripts.flakes = ''
      mkdir -p /etc/hypervisor
      cp ${builtins.toFile "literal.nix" literal} /etc/hypervisor/literal.nix
      cp ${builtins.toFile "input.nix" input} /etc/hypervisor/input.nix
    '';
  };
  script = ''
    for layout in ["literal", "input"]:
        with subtest(layout):
            machine.succeed(f"rm -f /etc/hypervisor/flake.lock; cp /etc/hypervisor/{layout}.nix /etc/hypervisor/flake.nix")
            for system in ["one", "two", "three"]:
                publish(system)
                # Nix cannot copy a named pipe; one in the tree does no harm.
                machine.succeed("test -p /etc/hypervisor/src/pipe || mkfifo /etc/hypervisor/src/pipe")
                machine.succeed("systemctl start hyper-sync.service")
                t.assertEqual(running(), system)
                t.assertEqual(boots(), system)

    with subtest("the state is where the guide says, for everybody"):
        machine.succeed("runuser -u nobody -- cat /var/lib/hypervisor/cache/sync-state.json")
  '';
}
