"""The commands of `docs/follow-a-branch.md` and `docs/feature-branches.md` beside a running timer: the machine follows its
branch, is brought to another one, left there, and goes back."""

from pathlib import Path

from world import HERE, TIMER_SOON

DOCS = HERE.parent.parent / "docs"


def documented(page, command):
    """The command, which the page has in a console line or in its text."""
    text = Path(DOCS / page).read_text()
    assert f"$ {command}" in text or f"`{command}`" in text, f"{page} has no `{command}`"
    return command.removeprefix("sudo ")


def scenario(world):
    machine = world.machine
    follow, feature = "follow-a-branch.md", "feature-branches.md"
    world.publish("one")
    machine.succeed(documented(follow, "systemctl start hyper-sync"))
    world.is_at("one")
    status = machine.succeed(documented(follow, "hyper-sync status"))
    assert "\nfollows   main of " in status, status
    machine.succeed("journalctl --sync")
    journal = machine.succeed(documented(follow, "journalctl -u hyper-sync -u hyper-sync-fetch"))
    assert "one" in journal, journal

    # A branch of its own, whose commit is not in `main`.
    machine.write("/srv/work/release-text", "tried\n")
    machine.succeed(
        "cd /srv/work && git checkout --quiet -b feature && git commit --quiet --all --message tried"
        " && git push --quiet origin feature && git checkout --quiet main"
    )
    world.timer(TIMER_SOON)
    tried = machine.succeed(documented(feature, "sudo hyper-sync --ref feature --rebuild-action test") + " 2>&1")
    assert "the timer leaves the target at `feature`" in tried, tried
    assert (world.running(), world.boots()) == ("tried", "one")
    # The timer runs on and does nothing, whatever comes to its branch.
    world.publish("two")
    runs = "journalctl --sync; journalctl -u hyper-sync-fetch | grep -c '`feature` was chosen'"
    machine.wait_until_succeeds(runs)
    assert (world.running(), world.boots()) == ("tried", "one")
    machine.succeed(documented(feature, "sudo hyper-sync"))
    world.finished()
    world.is_at("two")

    # Until a time, or until a person lets it go.
    machine.succeed(documented(feature, "sudo hyper-sync sync feature --for 2h"))
    machine.succeed("hyper-sync status | grep '^suspended .*`feature` was chosen'")
    machine.succeed(documented(feature, "sudo hyper-sync resume"))
    machine.wait_until_succeeds("grep -qx two /etc/hypervisor/src/release-text")
    machine.succeed("systemctl stop hyper-sync.timer")
    world.finished()
    world.is_at("two")
    assert world.notified() == [], machine.journal()
