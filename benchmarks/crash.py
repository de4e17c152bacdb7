"""Killed at random moments and resumed, ``generate`` ends with the same bytes.

``python benchmarks/crash.py --preset celegans --res 64 --count 6 [--kills 10]``

The process and its workers are killed with SIGKILL, every other time the process alone, and the
same command with ``--resume`` goes on. Also compared: 1, 2 and 4 workers, and sequence 5 of 6
and of 33. All other arguments go to ``cellsynth generate``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from reporting import print_machine, print_table

LONG = 33
SAME = "the same"


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file below, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def compared(found: dict[str, str], expected: dict[str, str]) -> str:
    """Whether two folders hold the same, else some of the files that differ."""
    paths = sorted(found.keys() | expected.keys())
    differing = [path for path in paths if found.get(path) != expected.get(path)]
    if not paths:
        return "nothing there"
    return f"differ: {', '.join(differing[:3])}" if differing else SAME


class Generator:
    """``cellsynth generate`` with arguments that stay the same."""

    def __init__(self, arguments: list[str]) -> None:
        self._command = [sys.executable, "-m", "cellsynth", "generate", "--quiet", *arguments]

    def start(self, out: Path, count: int, workers: int, *more: str) -> subprocess.Popen[bytes]:
        rest = ["--out", str(out), "--count", str(count), "--workers", str(workers), *more]
        return subprocess.Popen(
            [*self._command, *rest], stdout=subprocess.DEVNULL, start_new_session=True
        )

    def run(self, out: Path, count: int, workers: int, *more: str) -> float:
        """To the end; returns the seconds it took."""
        began = time.perf_counter()
        if code := self.start(out, count, workers, *more).wait():
            raise SystemExit(f"cellsynth generate ended with {code}")
        return time.perf_counter() - began


def kill(running: subprocess.Popen[bytes], *, alone: bool) -> None:
    """End it as a power cut would; without its workers, which must then end by themselves."""
    workers = psutil.Process(running.pid).children(recursive=True)
    if alone:
        running.kill()
    else:
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    if alive:
        raise SystemExit(f"{len(alive)} workers live on after their parent was killed")


def crash(
    generator: Generator, folder: Path, count: int, kills: int, seconds: float, seed: int
) -> tuple[str, str]:
    """Kill and resume until so many kills are done; a row of the table."""
    moments = random.Random(seed)
    expected = contents(folder / "2")
    killed = rounds = 0
    verdict = SAME
    while killed < kills:
        rounds += 1
        out = folder / f"killed-{rounds}"
        while True:
            running = generator.start(out, count, 2, "--resume")
            try:
                # Starting up takes seconds: some kills come before any sequence is whole.
                running.wait(moments.uniform(0.15, 0.7) * seconds)
                break
            except subprocess.TimeoutExpired:
                if killed == kills:
                    running.wait()
                    break
                kill(running, alone=killed % 2 == 1)
                killed += 1
                whole = len(list(out.glob("*_GT")))
                print(f"kill {killed}: {whole} of {count} whole", file=sys.stderr, flush=True)
        if running.returncode:
            raise SystemExit(f"cellsynth generate ended with {running.returncode}")
        if (found := compared(contents(out), expected)) != SAME:
            verdict = found
    return f"{kills} kills of {rounds} sets, resumed", verdict


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=6)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--kill-seed", type=int, default=0)
    given, arguments = parser.parse_known_args()
    if given.count < 5:
        parser.error("--count must be at least 5, since sequence 5 is compared")
    generator = Generator(arguments)
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds = {n: generator.run(folder / str(n), given.count, n) for n in (1, 2, 4)}
        expected = contents(folder / "2")
        rows = [
            (f"{n} workers ({seconds[n]:.0f} s)", compared(contents(folder / str(n)), expected))
            for n in (1, 4)
        ]
        rows.append(crash(generator, folder, given.count, given.kills, seconds[2], given.kill_seed))
        generator.run(folder / "long", LONG, 2)
        fifth, other = (contents(folder / name / "05_GT") for name in ("2", "long"))
        rows.append((f"sequence 5 of {given.count} and of {LONG}", compared(fifth, other)))
    print_table((f"compared with {len(expected)} files of 2 workers", "bytes"), rows)
    passed = all(verdict == SAME for _, verdict in rows)
    print("All the same." if passed else "Not all the same.")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
