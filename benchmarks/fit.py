"""Fitting cells that a preset never saw, each turned several ways.

``python benchmarks/fit.py --preset celegans --shapes 20 --rotations 5``

Shapes are phantoms of another seed, or the cells of ``--source``. A turned copy is made by
resampling the signed distance of the shape's own mask and masking anew, so each copy has voxels of
its own, as if the cell had lain otherwise under the microscope. Printed are the overlap of the
fits, how much it differs between the copies of a shape, how far the relative rotations of the fits
are from those applied, and how often the codes of a shape's copies are closer to each other than
to any other shape's.

Rotations are compared as they are; up to half turns about the axes of the cell, since two daughters
of one size look the same when they are swapped; and as far as the shape shows them, since a round
nucleus may lie any way. The last is the share of points that are inside either the shape or the
wrongly turned shape but not both, given as the angle which mixes up as many about the axis where
the shape shows a turn most.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from reporting import print_machine, print_table
from scipy.ndimage import map_coordinates

from cellsynth.field.model import CellModel, pick_device
from cellsynth.geometry import euler_to_matrix, random_rotation, rotation_angle
from cellsynth.presets.catalogue import find_preset
from cellsynth.shapes import (
    CellSequence,
    ShapeStore,
    build_store,
    cut_cells,
    open_masks,
)
from cellsynth.shapes.phantoms import write_phantom
from cellsynth.shapes.turned import turned
from cellsynth.training.fitter import FitOptions
from cellsynth.training.fitting import FitEvent, FittedCell, fit_cells
from cellsynth.training.starts import cover_rotations, field_axes

PHANTOM_SEED = 1001  # none of the presets was trained on it
HALF_TURNS = cover_rotations(4)
LARGEST_SPREAD = 0.005
LARGEST_ERROR_DEGREES = 3.0
LEAST_SHARE = 0.95
POINTS = 40_000  # of the ball, at which a shape and a turned one are compared

Array = NDArray[np.float64]


def unseen_cells(args: argparse.Namespace, n_frames: int, folder: Path) -> list[CellSequence]:
    """The shapes to fit."""
    source = args.source
    if source is None:
        size = args.voxel_size
        source = write_phantom(
            args.kind or args.preset,
            folder / "phantoms",
            count=args.shapes,
            frames=n_frames,
            voxel_size_um=None if size is None else (size, size, size),
            seed=PHANTOM_SEED,
        )
    cells, _ = cut_cells(open_masks(source), n_frames=n_frames)
    return cells[: args.shapes]


class Shown:
    """How much of a rotation a shape shows, from the signed distances of its own masks."""

    def __init__(self, store: ShapeStore, i: int) -> None:
        frames = {0, store.n_frames // 2, store.n_frames - 1}
        self._frames = [
            (store.sdf(i, t).astype(np.float32), store.grid(i, t)[0]) for t in sorted(frames)
        ]
        rng = np.random.default_rng(0)
        directions = rng.normal(size=(POINTS, 3))
        radii = np.cbrt(rng.uniform(size=(POINTS, 1)))
        self._points = directions / np.linalg.norm(directions, axis=1, keepdims=True) * radii
        self._inside = self._lookup(self._points)
        turns = np.deg2rad(LARGEST_ERROR_DEGREES) * np.eye(3)
        matrices = euler_to_matrix(torch.from_numpy(turns)).numpy()
        self._most = max(self._mixed_up(matrix) for matrix in matrices)

    def __call__(self, rotation: Array) -> float:
        """Degrees about the most telling axis that mix up as many points as ``rotation``."""
        return LARGEST_ERROR_DEGREES * self._mixed_up(rotation) / self._most

    def _mixed_up(self, rotation: Array) -> float:
        return float(np.mean(self._lookup(self._points @ rotation) != self._inside))

    def _lookup(self, points: Array) -> NDArray[np.bool_]:
        return np.concatenate(
            [
                map_coordinates(sdf, grid.coords_to_voxel(points).T, order=1, cval=1.0) < 0
                for sdf, grid in self._frames
            ]
        )


def errors_degrees(
    fits: Sequence[FittedCell], applied: Sequence[Array], axes: Array, shown: Shown
) -> list[list[float]]:
    """Errors of all relative rotations of one shape: as is, up to half turns, as it shows."""
    errors = []
    for a, b in combinations(range(len(fits)), 2):
        relative = applied[b] @ applied[a].T @ fits[a].rotation
        candidates = [
            rotation_angle(fits[b].rotation, relative @ axes @ half @ axes.T) for half in HALF_TURNS
        ]
        left = applied[b].T @ fits[b].rotation @ relative.T @ applied[b]
        errors.append([candidates[0], min(candidates), shown(left)])
    return errors


def turned_copies(
    cells: Sequence[CellSequence],
    applied: Sequence[Sequence[Array]],
    model: CellModel,
    folder: Path,
) -> tuple[ShapeStore, ShapeStore]:
    """Signed distances of the shapes as they were, and of the copies, shape by shape."""
    given: dict[str, Any] = {
        "half_extent_um": model.preset.scale.half_extent_um,
        "truncation": model.preset.field.truncation,
    }
    seen = build_store(folder / "shapes", cells, orientation="none", **given)
    sources = [
        turned(seen, i, rotation, f"shape {i} copy {k}")
        for i, rotations in enumerate(applied)
        for k, rotation in enumerate(rotations)
    ]
    copies, left_out = cut_cells(sources, n_frames=seen.n_frames)
    if left_out or len(copies) != len(sources):
        raise SystemExit(f"a turned copy is lost: {left_out[:1]}")
    return seen, build_store(folder / "copies", copies, **given)


def report(
    model: CellModel,
    fits: Sequence[FittedCell],
    applied: Sequence[Sequence[Array]],
    seen: ShapeStore,
) -> tuple[list[tuple[str, str]], bool]:
    """Rows of the table, and whether all bars are met."""
    n, copies = len(applied), len(applied[0])
    dsc = np.array([fit.dsc.mean() for fit in fits]).reshape(n, copies)
    codes = np.array([fit.latent for fit in fits])
    errors = np.array(
        [
            error
            for i in range(n)
            for error in errors_degrees(
                fits[i * copies : (i + 1) * copies],
                applied[i],
                field_axes(model.decoder, codes[i * copies]),
                Shown(seen, i),
            )
        ]
    )
    distance = np.linalg.norm(codes[:, None] - codes[None], axis=-1)
    shape = np.arange(n * copies) // copies
    same = shape[:, None] == shape[None]
    closer = np.where(same, distance, 0).max(axis=1) < np.where(same, np.inf, distance).min(axis=1)
    spread = np.ptp(dsc, axis=1)
    rows = [
        ("shapes × rotations", f"{n} × {copies}"),
        ("DSC, mean of all; worst fit", f"{dsc.mean():.4f}; {dsc.min():.4f}"),
        (
            "difference of DSC between copies, median; largest",
            f"{np.median(spread):.4f}; {spread.max():.4f}",
        ),
        (f"… below {LARGEST_SPREAD}", share(spread < LARGEST_SPREAD)),
    ]
    for how, error in zip(("as it is", "up to half turns", "as it shows"), errors.T, strict=True):
        low, high = np.quantile(error, (0.5, 0.95))
        within = share(error < LARGEST_ERROR_DEGREES)
        rows += [
            (
                f"error of the rotation {how}, median; 95 %; largest",
                f"{low:.2f}°; {high:.2f}°; {error.max():.1f}°",
            ),
            (f"… within {LARGEST_ERROR_DEGREES:g}°", within),
        ]
    rows.append(("codes closer to their copies' than to any other's", share(closer)))
    passed = (
        spread.max() < LARGEST_SPREAD
        and errors[:, 2].max() < LARGEST_ERROR_DEGREES
        and closer.mean() >= LEAST_SHARE
    )
    return rows, bool(passed)


def share(flags: NDArray[np.bool_]) -> str:
    """How many of how many."""
    return f"{flags.mean():.1%} of {flags.size}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="celegans")
    parser.add_argument("--shapes", type=int, default=20)
    parser.add_argument("--rotations", type=int, default=5)
    parser.add_argument("--source", type=Path, help="masks; else phantoms of the preset's kind")
    parser.add_argument("--kind", help="of phantoms; the preset's name")
    parser.add_argument("--voxel-size", type=float, help="of phantoms, in µm; the kind's own")
    parser.add_argument("--starts", type=int, default=FitOptions.starts)
    parser.add_argument("--steps", type=int, default=FitOptions.steps)
    parser.add_argument("--prior", type=float, default=FitOptions.prior)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()

    model = CellModel.from_bundle(find_preset(args.preset), pick_device(args.device))
    options = FitOptions(starts=args.starts, steps=args.steps, prior=args.prior)
    rng = np.random.default_rng(0)
    clock: dict[str, list[float]] = {}

    def on_event(event: FitEvent) -> None:
        clock.setdefault(event.stage, []).append(time.perf_counter())
        if event.stage == "fit":
            print(f"fitted {event.done} of {event.total}", file=sys.stderr, flush=True)

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        cells = unseen_cells(args, model.preset.scale.n_frames, Path(temporary))
        applied = [[random_rotation(rng) for _ in range(args.rotations)] for _ in cells]
        seen, store = turned_copies(cells, applied, model, Path(temporary))
        prepared = time.perf_counter() - began
        fits = fit_cells(model, store, options, on_event=on_event)
        rows, passed = report(model, fits, applied, seen)
    each = (clock["fit"][-1] - clock["fit"][0]) / len(fits)

    print(f"`python benchmarks/fit.py {' '.join(sys.argv[1:])}`\n")
    print_machine()
    rows.insert(1, ("seconds a fit", f"{each:.1f} (and {prepared / 60:.1f} min to prepare)"))
    print_table(("what", "measured"), rows)
    print("All hold." if passed else "Not all hold.")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
