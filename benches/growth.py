#!/usr/bin/env python3
"""How hyper-sync and git grow with the number of files: time, processor time, peak memory, system calls.

    cargo build --release && benches/growth.py target/release/hyper-sync [FILES...]

Repositories are local, so nothing waits for a network; `benches/against_git` has that. The program and git take turns, each
figure is the median of 25 (1,000 files) to 5 rounds, and git does what a person would write for the same: a shallow clone, or
a shallow fetch and a reset. Prints tables in Markdown, and draws the growth into docs/performance.svg.
"""

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIZES = [1_000, 10_000, 50_000, 100_000]
FILES_A_DIRECTORY = 10
# Before each update, the branch moves by so many commits of so many files.
UPDATES = {"12 commits, 72 files": (12, 6), "1 commit, 100 files": (1, 100)}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "LC_ALL": "C",
}


def rounds(files):
    return min(25, max(5, 100_000 // files))


def path(number):
    directory = number // FILES_A_DIRECTORY
    return f"d{directory % 50:02}/e{directory // 50:03}/f{number:06}.nix"


def content(choice):
    lines = choice.randrange(5, 60)
    return "".join(f"option{choice.randrange(10**6)} = {choice.randrange(10**9)};\n" for _ in range(lines))


def commits(files, updates):
    """The stream of a repository: a first commit, then the commits of each update."""
    choice = random.Random(1)
    seconds = 1_700_000_000

    def commit(numbers):
        nonlocal seconds
        seconds += 90_000
        yield f"commit refs/heads/main\ncommitter a <a@example.org> {seconds} +0000\ndata 6\nupdate\n"
        for number in numbers:
            text = content(choice)
            yield f"M 100644 inline {path(number)}\ndata {len(text)}\n{text}\n"

    yield from commit(range(files))
    for count, edits in updates:
        for _ in range(count):
            yield from commit(choice.sample(range(files), edits))


def run(command, cwd=None, env=None):
    """Seconds, seconds of processor time, and peak memory in MB."""
    begun = time.monotonic()
    process = subprocess.Popen(
        command, cwd=cwd, env=ENVIRONMENT | (env or {}), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command}: {errors.decode()}")
    return time.monotonic() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Place:
    """A repository, and what both programs have of it."""

    def __init__(self, root, program, files):
        self.root, self.program, self.files = root, program, files
        self.rounds = rounds(files)
        self.repo = root / "repo.git"
        updates = [update for update in UPDATES.values() for _ in range(self.rounds)]
        self.git("init", "--quiet", "--bare", "--initial-branch=main", str(self.repo))
        stream = subprocess.Popen(
            ["git", "fast-import", "--quiet"], cwd=self.repo, env=ENVIRONMENT, stdin=subprocess.PIPE
        )
        for text in commits(files, updates):
            stream.stdin.write(text.encode())
        stream.stdin.close()
        assert stream.wait() == 0
        self.git("-C", str(self.repo), "repack", "-adq")
        for key in ("allowFilter", "allowAnySHA1InWant"):
            self.git("-C", str(self.repo), "config", f"uploadpack.{key}", "true")
        self.left = sum(count for count, _ in updates)
        self.move(0)

    @staticmethod
    def git(*args):
        subprocess.run(["git", *args], env=ENVIRONMENT, check=True)

    def move(self, by):
        self.left -= by
        self.git("-C", str(self.repo), "update-ref", "refs/heads/run", f"main~{self.left}")

    def forget(self):
        for name in ("target", "state", "clone"):
            shutil.rmtree(self.root / name, ignore_errors=True)

    def sync(self):
        command = [self.program, "sync", "--repo", str(self.repo), "--ref", "run", "--target", str(self.root / "target")]
        return command, None, {"HYPER_SYNC_STATE_DIR": str(self.root / "state")}

    def clone(self):
        url = self.repo.as_uri()
        return ["git", "clone", "--quiet", "--depth=1", "--branch=run", url, str(self.root / "clone")], None, None

    def update(self):
        commands = "git fetch --quiet --depth=1 && git reset --quiet --hard FETCH_HEAD"
        return ["sh", "-c", commands], self.root / "clone", None

    def calls(self):
        """System calls a file of a first sync."""
        self.forget()
        command, _, env = self.sync()
        log = self.root / "calls"
        subprocess.run(
            ["strace", "-f", "-c", "-o", str(log), *command], env=ENVIRONMENT | env, check=True, stdout=subprocess.DEVNULL
        )
        total = next(line for line in log.read_text().splitlines() if line.endswith("total"))
        return int(total.split()[3]) / self.files


def measure(place):
    """The rounds of each situation: those of hyper-sync, and those of git."""
    rows = {"first sync": ([], []), "no change": ([], []), **{name: ([], []) for name in UPDATES}}

    def turn(name, git):
        ours, theirs = rows[name]
        ours.append(run(*place.sync()))
        theirs.append(run(*git))

    for _ in range(place.rounds):
        place.forget()
        turn("first sync", place.clone())
    # Both read a file again whose time is not before that of the index, which git keeps in seconds.
    time.sleep(1)
    for _ in range(3):
        run(*place.sync())
        run(*place.update())
    for _ in range(place.rounds):
        turn("no change", place.update())
    for name, (count, _) in UPDATES.items():
        for _ in range(place.rounds):
            place.move(count)
            turn(name, place.update())
    return rows


def medians(rounds):
    return [statistics.median(column) for column in zip(*rounds)]


def table(results):
    print("| files | | hyper-sync | git | ratio of times | processor time | peak memory |")
    print("|---|---|---|---|---|---|---|")
    for files, rows in results.items():
        for name, (ours, theirs) in rows.items():
            ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs))
            (time_a, cpu_a, memory_a), (time_b, cpu_b, memory_b) = medians(ours), medians(theirs)
            print(
                f"| {files:,} | {name} | {time_a:.2f} s | {time_b:.2f} s | {ratio:.2f} "
                f"| {cpu_a:.2f} s : {cpu_b:.2f} s | {memory_a:.0f} MB : {memory_b:.0f} MB |"
            )


def plot(results, file):
    """Processor time over the number of files, both axes logarithmic."""
    from math import log10

    width, height, margin = 640, 400, 60
    names = list(next(iter(results.values())))
    series = {
        (name, who): [(files, medians(rows[name][which])[1]) for files, rows in results.items()]
        for name in names
        for which, who in enumerate(("hyper-sync", "git"))
    }
    values = [value for points in series.values() for _, value in points]
    low, high = log10(min(values)) - 0.1, log10(max(values)) + 0.1
    sizes = list(results)
    span = max(log10(sizes[-1] / sizes[0]), 0.1)

    def place(files, value):
        x = margin + (width - margin - 200) * log10(files / sizes[0]) / span
        y = height - margin - (height - 2 * margin) * (log10(value) - low) / (high - low)
        return f"{x:.0f},{y:.0f}"

    colors = ["#1f77b4", "#2ca02c", "#d62728", "#9467bd"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{margin}" y="30">Processor time in seconds by number of files; dashed: git</text>',
    ]
    for size in sizes:
        x = place(size, 10**low).split(",")[0]
        lines.append(f'<text x="{x}" y="{height - margin + 20}" text-anchor="middle">{size:,}</text>')
    for value in (0.01, 0.1, 1, 10):
        if low <= log10(value) <= high:
            y = place(sizes[0], value).split(",")[1]
            lines.append(f'<text x="{margin - 10}" y="{y}" text-anchor="end">{value:g}</text>')
            lines.append(f'<path d="M{margin},{y}H{width - 200}" stroke="#ddd"/>')
    for number, name in enumerate(names):
        for who in ("hyper-sync", "git"):
            points = " ".join(place(*point) for point in series[name, who])
            dash = ' stroke-dasharray="5,4"' if who == "git" else ""
            lines.append(f'<polyline points="{points}" fill="none" stroke="{colors[number]}" stroke-width="2"{dash}/>')
        y = 80 + 20 * number
        lines.append(f'<text x="{width - 190}" y="{y}" fill="{colors[number]}">{name}</text>')
    file.write_text("\n".join([*lines, "</svg>\n"]))


def main():
    program, *sizes = sys.argv[1:]
    program = str(Path(program).resolve())
    results, calls = {}, {}
    for files in [int(size) for size in sizes] or SIZES:
        with tempfile.TemporaryDirectory(prefix="hyper-sync-growth-") as root:
            place = Place(Path(root), program, files)
            results[files] = measure(place)
            calls[files] = place.calls()
    table(results)
    print("\nSystem calls a file of a first sync: " + ", ".join(f"{files:,}: {count:.1f}" for files, count in calls.items()))
    plot(results, Path(__file__).parent.parent / "docs" / "performance.svg")


if __name__ == "__main__":
    main()
