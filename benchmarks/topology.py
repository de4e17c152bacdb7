"""How often the first draw of a cell is valid in every frame, before any is drawn again.

``python benchmarks/topology.py --preset celegans [--count 330] [--res 128]``

The cells that ``cellsynth generate`` would try first are rendered at the resolution given, and
the faults of those that break the preset's topology are counted.
"""

from __future__ import annotations

import argparse
import sys
from typing import get_args

from reporting import print_machine, print_table

from cellsynth.evaluation.topology import first_draws
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid
from cellsynth.presets.catalogue import find_preset
from cellsynth.sampling.strategies import Strategy


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", required=True, help="name, folder or zip")
    parser.add_argument("--count", type=int, default=330)
    parser.add_argument("--res", type=int, default=128, help="voxels along each side of Ω")
    parser.add_argument("--strategy", choices=get_args(Strategy), help="the preset's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    bundle = find_preset(given.preset)
    model = CellModel.from_bundle(bundle, given.device)
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    strategy = given.strategy or bundle.preset.sampling.strategy
    print_machine(preset=f"{bundle.preset.name} {bundle.sha256[:12]}", strategy=strategy)
    found = first_draws(
        model, given.count, Grid.over_omega((given.res,) * 3), seed=given.seed,
        strategy=given.strategy,
        on_progress=lambda done, valid: print(
            f"{done}/{given.count}: {valid} valid", file=sys.stderr, flush=True
        ),
    )  # fmt: skip
    valid = found.draws - len(found.faults)
    rows = [("valid in every frame", valid, f"{found.share:.1%}")]
    rows += [(why, n, f"{n / found.draws:.1%}") for why, n in found.reasons().items()]
    print_table((f"first draws at {given.res}³", "cells", "share"), rows)
    if found.faults:
        print("Sequences with a fault:")
        for sequence, fault in found.faults.items():
            print(f"- {sequence + 1}: {fault}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
