# A private repository: the token opens it, a rotated one is used at once, and neither is anywhere but in its file.
{
  token = "first-token-8d1f";
  nodes.machine.services.hyper-sync.tokenFile = "/run/token";
  script = ''
    machine.succeed("install -m 400 /dev/null /run/token && echo first-token-8d1f >/run/token")
    publish("one")
    machine.succeed("systemctl start hyper-sync.service")
    t.assertEqual(running(), "one")

    with subtest("rotation"):
        forge.succeed("echo 'x-access-token:{PLAIN}second-token-77aa' >/srv/token")
        publish("two")
        machine.fail("systemctl start hyper-sync.service")
        t.assertIn("4", machine.succeed("systemctl show -p ExecMainStatus hyper-sync-fetch.service"))
        machine.succeed("echo second-token-77aa >/run/token")
        machine.succeed("systemctl start hyper-sync.service")
        t.assertEqual(running(), "two")

    with subtest("nowhere else"):
        for token in ["first-token-8d1f", "second-token-77aa"]:
            machine.fail(f"journalctl --output=export | grep --text {token}")
            machine.fail(f"grep -r {token} /etc /var/lib /var/log /nix/var")
  '';
}
