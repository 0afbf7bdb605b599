# What does not build is not activated; what does not even parse is not built; the next good commit repairs both.
{
  script = ''
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")

    for bad in ["{ outputs = _: { nixosConfigurations.machine = throw \"broken\"; }; }\n", "{ not nix\n"]:
        good = forge.succeed("cat /srv/work/flake.nix")
        publish("two", files={"flake.nix": bad})
        machine.fail("systemctl start hyper-sync.service")
        t.assertEqual(running(), "one")
        t.assertEqual(boots(), "one")
        machine.wait_for_file("/run/notified")
        publish("two", files={"flake.nix": good})

    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "two")
  '';
}
