"""A machine with a real systemd, for as long as one scenario takes; it can be stopped hard and booted again.

The machine is a systemd-nspawn container over a throw-away overlay of the host's own root: nothing is downloaded or
built for it, and nothing that happens in it reaches the host. Its network is loopback only. The calls are those of the
NixOS test driver, so that a scenario reads like a NixOS test.

Limits: cgroup controllers are not delegated, so `MemoryMax=` and `TasksMax=` are accepted but not enforced; the kernel
is the host's, and goes on when the machine is stopped: what was written and not synced is not lost (tests/it/power.rs
is about that).
"""

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Run in a mount namespace of its own, so that the overlay is gone with the last process in it. It boots the machine
# once for each line that it reads. The machine gets a control group of its own too: two machines side by side would
# take each other's units for theirs.
HOLD = r"""
set -e
mount -t cgroup2 cgroup2 "$scratch/groups"
mount -t tmpfs tmpfs "$scratch/layer"
mkdir "$scratch/layer/upper" "$scratch/layer/work" "$scratch/layer/nix"
mount -t overlay overlay -o "lowerdir=/,upperdir=$scratch/layer/upper,workdir=$scratch/layer/work" "$scratch/root"
for path in $hidden; do
  rm -rf "$scratch/root$path"
done
cp -a "$scratch/files/." "$scratch/root/"
while read -r _; do
  (
    # What the last boot has left of it would be in the way.
    find "$scratch/groups/$name" -depth -type d -exec rmdir {} + 2>/dev/null || true
    mkdir "$scratch/groups/$name"
    echo $BASHPID >"$scratch/groups/$name/cgroup.procs"
    exec systemd-nspawn --quiet --directory="$scratch/root" --machine="$name" --boot --register=no --keep-unit \
      --console=pipe --link-journal=no --private-network --capability=all --timezone=off --resolv-conf=off \
      --bind="$scratch/layer/nix:/nix" "$@" systemd.unit=multi-user.target </dev/null
  ) || true
done
"""

# What a control group held must be gone before it can be removed, innermost first.
REMOVE_GROUP = r"""
mount -t cgroup2 cgroup2 "$scratch/groups"
for _ in $(seq 50); do
  find "$scratch/groups/$name" -depth -type d -exec rmdir {} + 2>/dev/null
  [ -d "$scratch/groups/$name" ] || exit 0
  sleep 0.1
done
"""


class Failure(AssertionError):
    """A command that did not end as the scenario says it must."""


class Machine:
    def __init__(self, files, binds, hidden, log):
        """`files` is laid over the root before the boot, in which there is nothing of what is at `hidden` on the host;
        `binds` maps folders of the host to where they are seen."""
        self.files, self.binds, self.log = files, binds, log
        self.scratch = Path(tempfile.mkdtemp(prefix="machine-"))
        self.init = None
        self.environment = {
            "PATH": PATH,
            "scratch": str(self.scratch),
            "hidden": " ".join(hidden),
            # A host name has no underscore, and no dash at its end.
            "name": self.scratch.name.replace("_", "x"),
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_LOCK": "0",
            "SYSTEMD_SECCOMP": "0",
        }

    def start(self):
        for folder in ("root", "layer", "groups"):
            (self.scratch / folder).mkdir()
        shutil.copytree(self.files, self.scratch / "files", symlinks=True)
        # It becomes `/`, which everybody must be able to enter.
        (self.scratch / "files").chmod(0o755)
        # The host's mounts are none of the machine's business.
        etc = self.scratch / "files/etc"
        etc.mkdir(exist_ok=True)
        (etc / "fstab").write_text("")
        (etc / "hostname").write_text("machine\n")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", HOLD, "hold"]
            + [f"--bind-ro={folder}:{seen}" for folder, seen in self.binds.items()],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=self.log.open("w"),
            stderr=subprocess.STDOUT,
        )
        self.boot()

    def boot(self):
        """Starts it: the first time, or after `crash` or `power_off`."""
        self.process.stdin.write(b"boot\n")
        self.process.stdin.flush()
        deadline = time.monotonic() + 60
        while self.init is None:
            self.init = self._find_init()
            self._check_boot(deadline)
        # A timer may have started something that takes its time; that is the scenario's to wait for.
        while self.execute("systemctl is-active multi-user.target")[1].strip() != "active":
            self._check_boot(deadline)

    def crash(self):
        """Ends all of its processes at once, as a power cut does."""
        self._end(signal.SIGKILL)

    def power_off(self):
        """Shuts it down in good order."""
        # What systemd takes for `systemctl poweroff`; it stops the units first.
        self._end(signal.SIGRTMIN + 4)

    def _end(self, how):
        nspawn = self._children(self.process.pid)
        os.kill(int(self.init), how)
        # Longer than systemd waits for a unit.
        deadline = time.monotonic() + 120
        while any(Path(f"/proc/{pid}").exists() for pid in nspawn):
            self._check_boot(deadline)
        self.init = None

    def _find_init(self):
        """nspawn's child in another process namespace is the machine's process 1."""
        with contextlib.suppress(OSError):
            ours = os.readlink("/proc/self/ns/pid")
            for nspawn in self._children(self.process.pid):
                for child in self._children(nspawn):
                    if os.readlink(f"/proc/{child}/ns/pid") != ours:
                        return child
        return None

    @staticmethod
    def _children(pid):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()

    def _check_boot(self, deadline):
        if self.process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"the machine neither boots nor ends:\n{self.log.read_text()}")
        time.sleep(0.05)

    def execute(self, command, stdin=None, timeout=120):
        """The exit code and the output of a shell command."""
        done = subprocess.run(
            ["timeout", str(timeout), "nsenter", "--target", self.init, "--mount", "--uts", "--ipc", "--net", "--pid"]
            + ["--cgroup", "--root", "--wd", "env", "-i", f"PATH={PATH}", "HOME=/root", "bash", "-c", command],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout

    def succeed(self, command, stdin=None, timeout=120):
        code, output = self.execute(command, stdin, timeout)
        if code != 0:
            raise Failure(f"`{command}` ended with {code}:\n{output}\n{self.journal()}")
        return output

    def fail(self, command, timeout=120):
        code, output = self.execute(command, timeout=timeout)
        if code == 0:
            raise Failure(f"`{command}` succeeded, but must not:\n{output}")
        return output

    def wait_until_succeeds(self, command, timeout=60):
        deadline = time.monotonic() + timeout
        while True:
            code, output = self.execute(command)
            if code == 0:
                return output
            if time.monotonic() > deadline:
                raise Failure(f"`{command}` still fails after {timeout} s:\n{output}\n{self.journal()}")
            time.sleep(0.1)

    def write(self, path, text, mode="0644"):
        path = shlex.quote(path)
        self.succeed(f"mkdir -p $(dirname {path}) && install -m {mode} /dev/stdin {path}", stdin=text)

    def read(self, path):
        return self.succeed(f"cat {shlex.quote(path)}")

    def journal(self, unit=None):
        """What was logged: by one unit, or of late by all that this is about."""
        show = "journalctl --sync; journalctl --no-pager --output=cat"
        if unit:
            return self.execute(f"{show} --unit={unit}")[1]
        return self.execute(f"{show} --lines=60 --unit=hyper-sync --unit=hyper-sync-fetch --unit=forge")[1]

    def stop(self):
        if self.init is not None:
            # Nothing in a throw-away machine is worth waiting for.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(self.init), signal.SIGKILL)
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        unshare = ["unshare", "--mount", "--propagation", "private", "bash", "-c", REMOVE_GROUP]
        subprocess.run(unshare, env=self.environment, check=False)
        shutil.rmtree(self.scratch, ignore_errors=True)
