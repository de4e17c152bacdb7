"""What every benchmark prints: Markdown tables, and on what it ran."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

from cellsynth.field.threads import cores
from cellsynth.presets.versions import versions


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table; the first column is text, the others are numbers."""
    print("| " + " | ".join(header) + " |")
    print("|---|" + "---:|" * (len(header) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()


def print_machine(**also: object) -> None:
    """Processor, cores, system and versions."""
    said = {
        "processor": _processor(),
        "cores": cores(),
        "system": platform.platform(terse=True),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
        **versions(),
        **also,
    }
    print(" · ".join(f"{key} {value}" for key, value in said.items()), end="\n\n", flush=True)


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
