"""Hierarchical against dense rendering: the same voxels, and how much faster.

``python benchmarks/rendering.py --preset celegans [--draws 30] [--sizes 192,384]``

First, random draws of code, frame, rotation and grid are rendered both ways, whole grids, and
differing voxels are counted. Then frames are timed at the given sizes. Dense is timed, and
compared voxel by voxel, on the whole of a grid up to 192³ and on a slab of z rows through the
middle of a larger one, its time scaled to the whole grid. Both run on the same threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from typing import get_args

import numpy as np
import torch
from reporting import print_machine, print_table

from cellsynth.field.folded import FoldedDecoder
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid, frame_times, random_rotation
from cellsynth.presets.catalogue import find_preset
from cellsynth.rendering.occupancy import occupancy, occupancy_dense
from cellsynth.sampling.strategies import Strategy, draw_latent

WHOLE = 192  # dense is asked for the whole grid up to this size


@dataclass(frozen=True)
class Drawn:
    """A field to render, and in words what it is of."""

    field: FoldedDecoder
    code: str
    frame: int


def draw(model: CellModel, rng: np.random.Generator) -> Drawn:
    """A new code of any strategy or a learned one, in any frame, turned anyhow."""
    times = frame_times(model.preset.scale.n_frames)
    frame = int(rng.integers(len(times)))
    sampling = model.preset.sampling
    calibrated = [s for s in get_args(Strategy) if getattr(sampling, s) is not None]
    code = str(rng.choice([*calibrated, "learned"]))
    turn = int(rng.integers(len(model.latents)))
    if code == "learned":
        latent = model.latents[turn]
    else:
        latent = draw_latent(rng, sampling, model.latents, turn, code)  # type: ignore[arg-type]
    field = model.at(latent, float(times[frame]), random_rotation(rng))
    return Drawn(field, code, frame)


def draw_grid(rng: np.random.Generator, largest: int) -> Grid:
    """Cubic, anisotropic or odd-sized, 96 to ``largest`` voxels a side; some not over Ω."""
    low = min(96, largest)
    n = int(rng.integers(low, largest + 1))
    kind = rng.choice(["cubic", "flat", "odd", "off centre"])
    if kind == "cubic":
        return Grid.over_omega((n, n, n))
    if kind == "flat":
        return Grid.over_omega((int(rng.integers(8, 48)), n, int(rng.integers(low, largest + 1))))
    z, y, x = (int(side) // 2 * 2 + 1 for side in rng.integers(low // 2, largest, 3))
    if kind == "odd":
        return Grid.over_omega((z, y, x))
    spacing = tuple(float(s) for s in 2 / n * rng.uniform(0.3, 1.2, 3))
    centre = rng.uniform(-0.3, 0.3, 3)
    middle = (np.array([z, y, x]) - 1) / 2 * spacing
    return Grid((z, y, x), spacing, tuple(float(c) for c in centre - middle))  # type: ignore[arg-type]


def compare(model: CellModel, draws: int, largest: int, seed: int) -> int:
    """Whole grids of random draws; returns the number of voxels that differ."""
    rows = []
    total = np.zeros(4, np.int64)
    for i in range(draws):
        rng = np.random.default_rng([seed, i])
        drawn, grid = draw(model, rng), draw_grid(rng, largest)
        found = occupancy(drawn.field, grid, bound=model.preset.bound)
        dense = occupancy_dense(drawn.field, grid)
        differing = int((found.to_dense() != dense).sum())
        inside = int(dense.sum())
        total += [grid.size, inside, differing, found.evaluations]
        shape = "×".join(map(str, grid.shape))
        share = f"{found.evaluations / grid.size:.2%}"
        rows.append((i + 1, drawn.code, drawn.frame, shape, inside, differing, share))
        print(f"{i + 1}/{draws}: {shape}, {differing} differ", file=sys.stderr, flush=True)
    voxels, inside, differing, evaluations = total.tolist()
    share = f"{evaluations / voxels:.2%}"
    rows.append(("all", "", "", f"{voxels} voxels", inside, differing, share))
    header = ("draw", "code", "frame", "grid (z×y×x)", "inside", "differing", "evaluated")
    print_table(header, rows)
    return differing


def measure(model: CellModel, size: int, frames: int, rows: int, seed: int) -> tuple[object, ...]:
    """A row of the second table: times, ratio, share and differing voxels at one size."""
    grid = Grid.over_omega((size, size, size))
    slab = slice(0, size) if size <= WHOLE else slice((size - rows) // 2, (size + rows) // 2)
    scale = size / (slab.stop - slab.start)
    fast, slow, share, differing, compared = [], [], [], 0, 0
    for i in range(frames):
        drawn = draw(model, np.random.default_rng([seed, size, i]))
        began = time.perf_counter()
        found = occupancy(drawn.field, grid, bound=model.preset.bound)
        fast.append(time.perf_counter() - began)
        began = time.perf_counter()
        dense = occupancy_dense(drawn.field, grid, rows=slab)
        slow.append((time.perf_counter() - began) * scale)
        share.append(found.evaluations / grid.size)
        differing += int((found.to_dense()[slab] != dense).sum())
        compared += dense.size
        print(f"{size}³, {i + 1}/{frames}: {slow[-1] / fast[-1]:.0f}×", file=sys.stderr, flush=True)
    return (
        f"{size}³",
        frames,
        f"{np.mean(fast):.3f}",
        f"{np.mean(slow):.1f}",
        f"{(slab.stop - slab.start)} of {size}",
        f"{np.sum(slow) / np.sum(fast):.0f}×",
        f"{min(s / f for s, f in zip(slow, fast, strict=True)):.0f}×",
        f"{np.mean(share):.2%}",
        f"{differing} of {compared}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", required=True, help="name, folder or zip")
    parser.add_argument("--draws", type=int, default=30, help="random draws that are compared")
    parser.add_argument("--largest", type=int, default=192, help="longest side of their grids")
    parser.add_argument("--sizes", default="192,384", help="sides of the grids that are timed")
    parser.add_argument("--frames", type=int, default=6, help="frames timed at each size")
    parser.add_argument("--rows", type=int, default=12, help="z rows of the slab")
    parser.add_argument("--threads", type=int, default=1, help="threads of both")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    bundle = find_preset(given.preset)
    model = CellModel.from_bundle(bundle, given.device)
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine(threads=given.threads, preset=f"{bundle.preset.name} {bundle.sha256[:12]}")
    differing = compare(model, given.draws, given.largest, given.seed) if given.draws else 0
    # Memory is fetched and kernels are chosen once, which is not what is to be timed.
    occupancy_dense(
        draw(model, np.random.default_rng(given.seed)).field, Grid.over_omega((32, 32, 32))
    )
    sizes = [int(size) for size in given.sizes.split(",")]
    header = (
        "grid", "frames", "hierarchical, s a frame", "dense, s a frame", "dense rows", "ratio",
        "worst ratio", "evaluated", "differing",
    )  # fmt: skip
    rows = [measure(model, size, given.frames, given.rows, given.seed) for size in sizes]
    print_table(header, rows)
    differing += sum(int(str(row[-1]).split()[0]) for row in rows)
    print(f"Voxels that differ: {differing}")
    return int(differing > 0)


if __name__ == "__main__":
    sys.exit(main())
