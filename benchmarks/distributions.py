"""New cells against the masks they were learned from: surface, volume, sphericity.

``python benchmarks/distributions.py --preset celegans --against celegans-phantoms``

For each seed as many cells as the masks hold are drawn, as ``cellsynth generate`` draws them, and
rendered at the masks' own voxel size, so that voxels do the same to both. Then they are compared
by two-sample Kolmogorov-Smirnov tests; ``cellsynth/evaluation/distributions.py`` says what each
takes as a sample. The last table compares the drawn sets with each other: what each test makes of
sets from one source.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import get_args

from reporting import print_machine, print_table

from cellsynth.evaluation.course_sources import DrawnCourses, draw_courses, mask_courses
from cellsynth.evaluation.distributions import Comparison, compare
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid
from cellsynth.presets.catalogue import find_preset
from cellsynth.sampling.strategies import Strategy
from cellsynth.shapes import cut_cells, open_masks

LEVEL = 0.05
TESTS = ("pooled", "exchanged", "per sequence", "worst frame")


def p_values(c: Comparison) -> tuple[float, ...]:
    """In the order of ``TESTS``."""
    assert c.worst_frame is not None  # cells are drawn with as many frames as the masks have
    return c.pooled.p, c.exchanged.p, c.per_sequence.p, c.worst_frame.p


def row(name: str, c: Comparison) -> tuple[str, ...]:
    """Two sets by one descriptor."""
    means = (f"{mean:.4g} ± {sd:.3g}" for mean, sd in zip(c.mean, c.sd, strict=True))
    pooled, exchanged, per_sequence, worst = (f"{p:.3f}" for p in p_values(c))
    worst = f"{worst} ({(c.worst_frame_at or 0) + 1})"
    return (
        name,
        c.descriptor,
        *means,
        f"{c.pooled.statistic:.3f}",
        pooled,
        exchanged,
        per_sequence,
        worst,
    )


def passed(comparisons: Iterable[Comparison]) -> str:
    """How many p-values are above the level, test by test."""
    counts = [[p > LEVEL for p in p_values(c)] for c in comparisons]
    shares = (
        f"{name} {sum(of_test)}"
        for name, of_test in zip(TESTS, zip(*counts, strict=True), strict=True)
    )
    return f"p above {LEVEL} in, of {len(counts)}: {', '.join(shares)}.\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", required=True, help="name, folder or zip")
    parser.add_argument("--against", required=True, type=Path, help="the masks it was trained on")
    parser.add_argument("--count", type=int, help="sequences drawn; as many as the masks hold")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--strategy", choices=get_args(Strategy), help="the preset's")
    parser.add_argument("--coarsen", type=int, default=1, help="take every so many voxels")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    bundle = find_preset(given.preset)
    model = CellModel.from_bundle(bundle, given.device)
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine(preset=f"{bundle.preset.name} {bundle.sha256[:12]}")
    sources = open_masks(given.against)
    cells, left_out = cut_cells(sources, n_frames=bundle.preset.scale.n_frames)
    sizes = {source.voxel_size_um for source in sources}
    if len(sizes) > 1:
        parser.error(f"the masks have voxels of {len(sizes)} sizes; they must have one")
    (z, y, x) = sizes.pop()
    voxel = (z * given.coarsen, y * given.coarsen, x * given.coarsen)
    real = mask_courses(cells, coarsen=given.coarsen)
    grid = Grid.from_voxel_size(voxel, bundle.preset.scale.half_extent_um)
    print(
        f"{len(cells)} sequences of {real.n_frames} frames, {len(real.values)} courses, "
        f"{len(left_out)} left out; voxels of {' × '.join(f'{s:.4g}' for s in voxel)} µm, "
        f"{' × '.join(map(str, grid.shape))} across Ω\n"
    )
    count = given.count or len(cells)
    drawn: dict[int, DrawnCourses] = {}
    found: list[Comparison] = []

    def rows() -> Iterator[tuple[str, ...]]:
        """Those of a seed as soon as it is drawn."""
        for seed in map(int, given.seeds.split(",")):
            drawn[seed] = draw_courses(
                model, count, grid, seed=seed, strategy=given.strategy,
                on_progress=lambda done, total, seed=seed: print(
                    f"seed {seed}: {done}/{total}", file=sys.stderr, flush=True
                ),
            )  # fmt: skip
            comparisons = compare(real, drawn[seed].courses)
            found.extend(comparisons)
            yield from (row(f"seed {seed}", c) for c in comparisons)

    tests = ("distance", "p pooled", "p exchanged", "p per sequence", "p worst frame (which)")
    print_table(("drawn", "descriptor", "masks", "drawn", *tests), rows())
    print(passed(found))
    for seed, one in drawn.items():
        refused = sum(one.refused)
        print(f"Seed {seed}: {count} of {count + refused} draws valid ({one.share_valid:.1%}).")
    pairs = list(combinations(drawn, 2))
    if pairs:
        print("\nDrawn sets against each other:\n")
        between = {pair: compare(*(drawn[s].courses for s in pair)) for pair in pairs}
        print_table(
            ("seeds", "descriptor", "first", "second", *tests),
            (row(f"{a} and {b}", c) for (a, b), cs in between.items() for c in cs),
        )
        print(passed(c for cs in between.values() for c in cs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
