"""What every scenario starts from: a host of Hyper-NixOS with the module's units, and a repository it follows.

The units are the committed snapshots of checks/units, to the letter but for the program's path: the check `units` keeps
them equal to what the NixOS module makes. Nix is real; the system it builds is a small one, with a
`switch-to-configuration` that does to units what NixOS's does.
"""

import json
import shlex
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIXTURE = HERE / "fixture"
UNITS = HERE.parent.parent / "checks/units"
REPOSITORY = "/srv/config.git"
TARGET = "/etc/hypervisor/src"
# Not below /tmp or /root, which the fetch unit does not see.
PROGRAM = Path("/opt/program/hyper-sync")
TOKEN = "/run/secrets/hyper-sync-token"

# What the host may have of its own where a scenario looks.
HIDDEN = ["/boot-default", "/etc/hyper-sync", "/etc/hypervisor", "/srv", "/var/lib/hyper-sync", "/var/lib/hypervisor"]

# A timer that does not wait for the full hour.
TIMER_SOON = """
[Timer]
OnCalendar=
OnCalendar=*:*:*
RandomizedDelaySec=0
AccuracySec=100ms
Persistent=false
"""

# Timers of the host that would only disturb.
MASKED = [
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "man-db.timer",
    "postgresql.service",
    "systemd-networkd-wait-online.service",
]


def lay_out(files, nix):
    """The files of the machine, before it boots."""
    units = files / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in UNITS.iterdir():
        (units / unit.name).write_text(unit_text(unit.name))
        if unit.suffix == ".service":
            # A scenario starts a unit more often than systemd likes.
            (units / f"{unit.name}.d").mkdir()
            (units / f"{unit.name}.d/often.conf").write_text("[Unit]\nStartLimitIntervalSec=0\n")
    for unit in MASKED:
        (units / unit).symlink_to("/dev/null")
    for unit in ("notify-admin@.service", "boot.service"):
        shutil.copy(FIXTURE / unit, units)
    wants = units / "sysinit.target.wants"
    wants.mkdir()
    (wants / "boot.service").symlink_to("../boot.service")

    tools = files / "usr/local/bin"
    tools.mkdir(parents=True)
    for tool in (nix / "bin").iterdir():
        (tools / tool.name).symlink_to(tool)
    (tools / "hyper-sync").symlink_to(PROGRAM)
    shutil.copy(FIXTURE / "nixos-rebuild", tools)

    flake = files / "etc/hypervisor"
    flake.mkdir(parents=True)
    shutil.copy(FIXTURE / "flake.nix", flake)
    (flake / "src").mkdir()
    (files / "etc/NIXOS").touch()
    config = files / "etc/hyper-sync"
    config.mkdir()
    shutil.copy(FIXTURE / "config.toml", config)
    # A module for secrets puts it there at each boot.
    tmpfiles = files / "etc/tmpfiles.d"
    tmpfiles.mkdir()
    (tmpfiles / "token.conf").write_text(f"f {TOKEN} 0400 root root - token-one\n")


def unit_text(name):
    return (UNITS / name).read_text().replace("@package@/bin/hyper-sync", str(PROGRAM))


class World:
    """A machine with a repository beside it."""

    def __init__(self, machine):
        self.machine = machine
        machine.succeed(
            f"git init --quiet --bare --initial-branch=main {REPOSITORY}"
            # As GitHub and most hosts.
            f" && git -C {REPOSITORY} config uploadpack.allowFilter true"
            f" && git -C {REPOSITORY} config uploadpack.allowAnySHA1InWant true"
            f" && git clone --quiet {REPOSITORY} /srv/work 2>/dev/null"
            " && git -C /srv/work config user.name T && git -C /srv/work config user.email t@example.org"
            f" && cp {FIXTURE}/configuration.nix {FIXTURE}/switch-to-configuration /srv/work"
            " && mkdir /srv/work/units && cp /etc/systemd/system/hyper-sync*.{service,timer} /srv/work/units"
            " && echo systemd 2 >/srv/work/init-interface-version"
        )

    def publish(self, release, files=None, remove=()):
        """A commit whose system has `release` in its /etc/release-text; its id."""
        self.machine.write("/srv/work/release-text", release + "\n")
        for path, text in (files or {}).items():
            self.machine.write(f"/srv/work/{path}", text)
        for path in remove:
            self.machine.succeed(f"rm /srv/work/{shlex.quote(path)}")
        return self.machine.succeed(
            f"cd /srv/work && git add --all && git commit --quiet --message {shlex.quote(release)}"
            " && git push --quiet origin HEAD:main && git rev-parse HEAD"
        ).strip()

    def start(self):
        """The whole update, as a person starts it."""
        return self.machine.succeed("systemctl start hyper-sync.service")

    def timer(self, times):
        """Starts the timer, with other times than its own."""
        self.machine.write("/etc/systemd/system/hyper-sync.timer.d/times.conf", times)
        self.machine.succeed("systemctl daemon-reload && systemctl start hyper-sync.timer")

    def start_later(self):
        """The same, without waiting for its end."""
        self.machine.succeed("systemctl start --no-block hyper-sync.service")

    def finished(self):
        """Waits for the end of what runs."""
        # The rebuild's job waits for the fetch unit's.
        self.machine.wait_until_succeeds(
            "! systemctl list-jobs 'hyper-sync*.service' | grep -q hyper-sync"
            " && ! systemctl list-units --plain --no-legend --state=activating 'hyper-sync*.service' | grep ."
        )

    def hold(self, place):
        """From now on a rebuild stops there until `release`: as it is evaluated (`evaluation`), built (`build`) or
        activated (`boot-loader`, `activation`). Gone with a reboot."""
        self.machine.succeed(f"mkdir -p /run/hold && mkfifo /run/hold/{place}")

    def held(self, place):
        """Waits until it has stopped there."""
        self.machine.wait_until_succeeds(f"ls /run/hold/{place}.reached || ls /nix/store/*-reached-{place}")

    def release(self, place):
        self.machine.succeed(
            f"cd /run/hold && mv {place} released && timeout 10 sh -c ': >released' && rm -f released {place}.reached"
        )

    def is_at(self, release, tree=None):
        """The system with this text runs and is booted next, by Nix's word and the boot loader's; its tree, or the
        one of another text, is in place to the byte."""
        found = {"running": self.running(), "boots": self.boots(), "boot loader": self.boot_loader()}
        assert set(found.values()) == {release}, f"{found}, not {release}\n{self.machine.journal()}"
        self.tree_is(tree or release)

    def tree_is(self, release):
        """The target is the commit with this text, as git itself writes it."""
        commit = f"$(git -C {REPOSITORY} log --format=%H --grep='^{release}$' main)"
        self.machine.succeed(
            "rm -rf /tmp/expected && mkdir /tmp/expected"
            f" && git -C {REPOSITORY} archive {commit} | tar -x -C /tmp/expected"
            f" && diff -r /tmp/expected {TARGET}"
        )

    def running(self):
        """The text of the system that was activated."""
        return self.machine.execute("cat /run/current-system/etc/release-text 2>/dev/null")[1].strip()

    def boots(self):
        """The text of the system that the machine would boot."""
        return self.machine.execute("cat /nix/var/nix/profiles/system/etc/release-text 2>/dev/null")[1].strip()

    def boot_loader(self):
        """The text of the system that the boot loader was last set to."""
        return self.machine.execute("cat /boot-default/etc/release-text 2>/dev/null")[1].strip()

    def forge(self, token=None):
        """A git host over TLS with an authority of its own, which asks for `token`; the repository's address there."""
        self.machine.succeed(
            "mkdir -p /srv/tls && cd /srv/tls && grep -q forge.test /etc/hosts || echo 127.0.0.1 forge.test >>/etc/hosts;"
            " openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -days 2 -subj /CN=test-ca"
            " -keyout ca.key -out ca.crt -addext basicConstraints=critical,CA:TRUE 2>/dev/null"
            " && openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc -subj /CN=forge.test"
            " -keyout forge.key -out forge.csr 2>/dev/null"
            " && printf 'subjectAltName=DNS:forge.test\\nbasicConstraints=CA:FALSE\\n' >forge.ext"
            " && openssl x509 -req -in forge.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile forge.ext"
            " -out forge.crt 2>/dev/null && chmod 644 ca.crt"
        )
        if token:
            self.machine.write("/srv/accepted-token", token)
        python = Path(sys.executable).resolve()
        self.machine.succeed(
            f"systemd-run --quiet --collect --unit=forge --setenv=PATH=$PATH {python} {HERE}/forge.py"
        )
        self.machine.wait_until_succeeds("test -e /run/forge-ready")
        return "https://forge.test:8443/config.git"

    def configure(self, **settings):
        """Writes the configuration file: the fixture's, with some top-level settings other than there."""
        lines = (FIXTURE / "config.toml").read_text().splitlines()
        lines = [line for line in lines if line.partition(" = ")[0] not in settings]
        ours = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        self.machine.write("/etc/hyper-sync/config.toml", "\n".join(ours + lines) + "\n")

    def said(self, unit):
        """What the unit's last run has logged, by its id: a short run's lines may come before systemd's. Of a process
        that has ended by the time journald reads its line, the id is not known: it is that of the next line."""
        lines = self.machine.succeed(f"journalctl --sync; journalctl --unit={unit} --lines=200 --output=json")
        entries = [json.loads(line) for line in lines.splitlines()]
        runs = [entry.get("INVOCATION_ID") or entry.get("_SYSTEMD_INVOCATION_ID") for entry in entries]
        for place in reversed(range(len(runs) - 1)):
            runs[place] = runs[place] or runs[place + 1]
        return "\n".join(str(entry["MESSAGE"]) for entry, run in zip(entries, runs) if run == runs[-1])

    def exit_code(self, unit):
        """How the program of a unit that has failed ended; of others systemd forgets it."""
        return int(self.machine.succeed(f"systemctl show --property=ExecMainStatus --value {unit}"))

    def notified(self):
        """The units whose failure was passed on."""
        return self.machine.execute("cat /run/notified 2>/dev/null")[1].split()
