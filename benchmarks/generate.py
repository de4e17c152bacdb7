"""A whole data set: wall time, peak memory, and what independent tools say of it.

``python benchmarks/generate.py --preset celegans --count 33 --res 384``

All arguments but ``--set`` go to ``cellsynth generate``, which runs as a process of its own. The
resident memory of that process and all its children is summed every tenth of a second; memory
that they share counts once for each, so the peak is no less than the truth. The set is then
judged by our validator and, on a copy, by ``ctc_validate`` (py-ctcmetrics) and traccuracy.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import print_machine, print_table
from running import run

from cellsynth.formats.ctc import read_ctc, stage_results
from cellsynth.formats.ctc_validate import validate_ctc

TRACCURACY = """
import sys, warnings
warnings.simplefilter("ignore")
from traccuracy.loaders import load_ctc_data
graph = load_ctc_data(sys.argv[1], run_checks=True).graph
print([n for n in graph if graph.out_degree(n) > 1].__len__())
"""


def families(out: Path) -> tuple[int, int, int]:
    """Sequences, frames, and sequences with one division and two daughters to the end."""
    sequences = read_ctc(out)
    good = 0
    for sequence in sequences:
        assert sequence.lineage is not None
        divisions = sequence.lineage.divisions()
        if len(divisions) != 1:
            continue
        daughters = sequence.lineage.children(divisions[0].label)
        good += [d.end for d in daughters] == [sequence.n_frames - 1] * 2
    return len(sequences), sum(s.n_frames for s in sequences), good


def ctc_validates(results: Path) -> bool:
    """Whether ``ctc_validate`` calls the staged results valid; its exit status says nothing."""
    command = "from ctc_metrics.scripts.validate import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command, "--res", str(results), "-n", "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "Valid: 1.0" in done.stdout


def traccuracy_divisions(tra: Path) -> int:
    """Divisions that traccuracy finds after its own checks, or -1 if it refuses the set."""
    done = subprocess.run(
        [sys.executable, "-c", TRACCURACY, str(tra)], capture_output=True, text=True, check=False
    )
    return int(done.stdout.split()[-1]) if done.returncode == 0 else -1


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", type=Path, help="where to leave the set; a temporary folder")
    given, arguments = parser.parse_known_args()
    print(f"`cellsynth generate {' '.join(arguments)}`\n")
    print_machine()
    with tempfile.TemporaryDirectory() as temporary:
        out = given.set or Path(temporary) / "set"
        command = [sys.executable, "-m", "cellsynth", "generate", *arguments, "--out", str(out)]
        seconds, peak = run(command)
        sequences, frames, good = families(out)
        began = time.perf_counter()
        faults = validate_ctc(out)
        judged = time.perf_counter() - began
        n_bytes = sum({p.stat().st_ino: p.stat().st_size for p in out.rglob("*.*")}.values())
        results = stage_results(out, Path(temporary) / "staged")
        valid = [ctc_validates(folder) for folder in results]
        tables = sorted((Path(temporary) / "staged").glob("*_GT/TRA"))
        divisions = [traccuracy_divisions(folder) for folder in tables]
    rows = [
        ("sequences × frames", f"{sequences} × {frames // sequences}"),
        ("wall time", f"{seconds / 60:.1f} min ({seconds / frames:.2f} s a frame)"),
        ("peak memory, all processes", f"{peak / 2**30:.2f} GiB"),
        ("size on disk", f"{n_bytes / 2**20:.1f} MiB"),
        ("one division, two daughters to the end", f"{good} of {sequences}"),
        ("faults, our validator", f"{len(faults)} ({judged:.0f} s)"),
        ("valid, ctc_validate", f"{sum(valid)} of {sequences}"),
        ("one division, traccuracy", f"{divisions.count(1)} of {sequences}"),
    ]
    print_table(("what", "measured"), rows)
    for fault in faults[:5]:
        print(f"- {fault}")
    passed = not faults and sequences == good == sum(valid) == divisions.count(1)
    print("All hold." if passed else "Not all hold.")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
