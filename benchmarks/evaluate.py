"""``cellsynth evaluate`` on a whole data set: wall time, core seconds, peak memory.

``python benchmarks/evaluate.py --preset celegans --res 384 --count 2 --repeat 17``

A set is generated (or ``--set`` names one), each of its sequences is linked ``--repeat`` times
under numbers of its own, which costs nothing to make and as much to measure, and the whole is
evaluated by the command as a process of its own. The resident memory of that process and all its
children is summed every tenth of a second; memory that they share counts once for each. Core
seconds are those of all processes; where others use the cores too, they say more than the wall.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from reporting import print_machine, print_table
from running import run

from cellsynth.evaluation.files import read_evaluation
from cellsynth.formats.ctc_names import list_folder, sequence_name, sequence_names
from cellsynth.formats.storage import link_or_copy


def repeated(source: Path, times: int, out: Path) -> int:
    """Link the masks of every sequence so many times; how many sequences that gives."""
    number = 0
    for _ in range(times):
        for name in sequence_names(source):
            number += 1
            target = out / f"{sequence_name(number)}_GT" / "TRA"
            target.mkdir(parents=True)
            for path in list_folder(source / f"{name}_GT" / "TRA"):
                link_or_copy(path, target / path.name)
    return number


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", type=Path, help="a data set; otherwise one is generated")
    parser.add_argument("--preset", default="celegans")
    parser.add_argument("--res", default="384")
    parser.add_argument("--count", default="2", help="sequences generated")
    parser.add_argument("--repeat", type=int, default=1, help="times that each is measured")
    parser.add_argument("--workers", default="2")
    given = parser.parse_args()
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine(workers=given.workers)
    with tempfile.TemporaryDirectory(dir=given.set and given.set.parent) as temporary:
        folder = Path(temporary)
        source = given.set or folder / "generated"
        cellsynth = [sys.executable, "-m", "cellsynth"]
        if given.set is None:
            made = ["generate", "--preset", given.preset, "--res", given.res]
            made += ["--count", given.count, "--out", str(source)]
            subprocess.run([*cellsynth, *made], check=True, stdout=sys.stderr)
        n_sequences = repeated(source, given.repeat, folder / "set")
        out = folder / "evaluation.json"
        before = os.times()
        measure = ["evaluate", str(folder / "set"), "--workers", given.workers, "--json", str(out)]
        seconds, peak = run([*cellsynth, *measure])
        after = os.times()
        found = read_evaluation(out).of
        n_bytes = out.stat().st_size
    frames = sum(sequence.frames for sequence in found.sequences)
    busy = sum(after[2:4]) - sum(before[2:4])
    shapes = {sequence.shape for sequence in found.sequences}
    rows = [
        ("sequences, frames, cells", f"{n_sequences}, {frames}, {found.topology.bodies}"),
        ("voxels of a frame", " and ".join("×".join(map(str, shape)) for shape in shapes)),
        ("wall time", f"{seconds / 60:.1f} min ({seconds / frames:.2f} s a frame)"),
        ("core seconds", f"{busy:.0f} ({busy / frames:.2f} a frame)"),
        ("peak memory, all processes", f"{peak / 2**30:.2f} GiB"),
        ("size of the JSON", f"{n_bytes / 2**20:.2f} MiB"),
    ]
    print_table(("what", "measured"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
