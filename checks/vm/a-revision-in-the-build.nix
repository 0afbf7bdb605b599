# A flake that insists on its revision builds, and the commit is the one of the branch; with a local edit there is none.
{
  script = ''
    import json

    flake = forge.succeed("cat /srv/work/flake.nix").replace("outputs = _:", "outputs = { self }: assert self ? rev;")
    commit = publish("one", files={"flake.nix": flake})
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "one")
    outcome = json.loads(machine.succeed("hyper-sync rebuild --json"))
    t.assertEqual(outcome["revision"], commit)

    machine.succeed("echo '{ edited = true; }' >/etc/nixos/configuration.nix")
    t.assertIn("revision", machine.fail("hyper-sync rebuild 2>&1"))
  '';
}
