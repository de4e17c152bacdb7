"""A command run as a process of its own: how long it takes, and how much memory at most.

The resident memory of the process and all its children is summed every tenth of a second; memory
that they share counts once for each, so the peak is no less than the truth.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress

import psutil

SAMPLE_S = 0.1


def resident(process: psutil.Process) -> int:
    """Resident bytes of a process and all that it started."""
    total = 0
    with suppress(psutil.NoSuchProcess):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                total += one.memory_info().rss
    return total


def run(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak resident bytes of a command; raises if it fails."""
    began = time.perf_counter()
    peak = 0
    with subprocess.Popen(command, stdout=sys.stderr) as running:
        process = psutil.Process(running.pid)
        while running.poll() is None:
            peak = max(peak, resident(process))
            time.sleep(SAMPLE_S)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {running.returncode}")
    return time.perf_counter() - began, peak
