"""How long recipes take to learn the same cells: the same data, field, threads and seed.

``python benchmarks/training.py DATA --recipes default:300,paper --target 0.95 --limit 40m``

DATA are masks, or the working folder of a preset (``.NAME.training``, kept by ``--keep``). A
recipe is named, or is a TOML file; behind the colon stand the steps that its schedule is laid out
for. A cosine needs them, since it ends where the training ends. A step schedule is the paper's by
default: its 2000 epochs, an epoch being as many steps as it takes to draw as many cells as there
are. The limit stops a training, it does not squeeze the schedule into the time.

On frames spread evenly over cells and times, the same for all recipes, is measured again and again

- DSC, of the field rendered on the masks' own voxels;
- the surface error: the mean distance from a voxel face on the field's surface to the nearest on
  the mask's, and from the mask's to the field's, the mean of both. Faces that agree are at 0.

What counts is the time of training, not of drawing the points before it nor of measuring. Core
seconds (CPU time of the process) hardly depend on what else the machine does; the wall's do.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from reporting import print_machine, print_table
from scipy.spatial import cKDTree

from cellsynth.cli.flags import parse_duration_s
from cellsynth.errors import CellsynthError
from cellsynth.evaluation.agreement import dice
from cellsynth.field.folded import FoldedDecoder
from cellsynth.geometry import Triple, euler_to_matrix, frame_times
from cellsynth.presets.fields import find_field
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import find_recipe
from cellsynth.rendering.occupancy import occupancy
from cellsynth.shapes import ShapeStore, build_store, cut_cells, open_masks
from cellsynth.training.loop import Report, Trainer
from cellsynth.training.points import PointPool, build_pool
from cellsynth.training.stepping import Length
from cellsynth.training.trained import PROBE_BOUND

PAPER_EPOCHS = 2000
# A curve's points: this far apart in core seconds, later this share of the time so far.
EVERY_S = 15.0
EVERY_SHARE = 0.15
MEASURED = ("core s", "wall s", "step", "DSC mean", "worst", "surface error, µm")
FACES = 20_000  # of a surface, whose distances are looked up

Pair = tuple[int, int]


@dataclass(frozen=True)
class Entry:
    """A recipe and the steps that its schedule is laid out for."""

    name: str
    recipe: Recipe
    steps: int


@dataclass(frozen=True)
class Probe:
    """What is measured once: the time of training until then, and how good the field is."""

    core_s: float
    wall_s: float
    step: int
    dsc: NDArray[np.float64]
    surface_um: float

    def row(self) -> tuple[object, ...]:
        return (
            f"{self.core_s:.0f}",
            f"{self.wall_s:.0f}",
            self.step,
            f"{self.dsc.mean():.4f}",
            f"{self.dsc.min():.4f}",
            f"{self.surface_um:.4f}",
        )


@dataclass(frozen=True)
class Curve:
    """One training as it went."""

    entry: Entry
    probes: list[Probe]

    def reached(self, target: float) -> Probe | None:
        """The first measurement at or above the target."""
        return next((probe for probe in self.probes if probe.dsc.mean() >= target), None)


class LimitError(Exception):
    """The limit is over."""


def find_entry(text: str, n_sequences: int) -> Entry:
    """``NAME`` or ``NAME:STEPS``."""
    name, _, steps = text.rpartition(":")
    if not (name and steps.isdigit()):
        name, steps = text, ""
    recipe = find_recipe(name)
    if steps:
        return Entry(text, recipe, int(steps))
    if recipe.schedule != "step":
        raise SystemExit(f"recipe {name}: its schedule ends with it; say when, as in {name}:300")
    epoch = math.ceil(n_sequences / recipe.frames_per_step)
    return Entry(name, recipe, PAPER_EPOCHS * epoch)


def open_store(data: Path, work: Path) -> ShapeStore:
    """The cells to learn: distances that are there already, or those of masks."""
    if (data / "shapes.zarr").is_dir():
        return ShapeStore.open(data / "shapes.zarr")
    if not (work / "shapes.zarr").is_dir():
        print("measuring distances", file=sys.stderr, flush=True)
        cells, _ = cut_cells(open_masks(data))
        build_store(work / "shapes.zarr", cells)
    return ShapeStore.open(work / "shapes.zarr")


def open_pool(store: ShapeStore, recipe: Recipe, work: Path, seed: int) -> PointPool:
    """The recipe's points; recipes with the same kind of points share them."""
    kind = (recipe.pool_points, recipe.points_near, recipe.near_um or 0, recipe.focus or 0, seed)
    path = work / f"points-{'-'.join(f'{number:g}' for number in kind)}.npy"
    if path.is_file():
        return PointPool(path, recipe, store.n_frames, store.truncation)
    print(f"drawing {recipe.pool_points} points a frame", file=sys.stderr, flush=True)
    return build_pool(path, store, recipe, seed=seed)


def spread(store: ShapeStore, n: int) -> list[Pair]:
    """``n`` frames, even over the cells and, in another order, over the times."""
    # Steps of the golden ratio through the times: any run of them is spread out, and so a cell's
    # place among the cells says nothing about the time.
    golden = (math.sqrt(5) - 1) / 2
    return [
        (k * store.n_sequences // n, int((k + 0.5) * golden % 1 * store.n_frames)) for k in range(n)
    ]


class Judge:
    """The probed frames and their masks."""

    def __init__(self, store: ShapeStore, pairs: list[Pair]) -> None:
        self._store = store
        self._pairs = pairs
        self._masks = [store.mask(i, t) for i, t in pairs]
        self._trees = [
            cKDTree(faces(mask, store.voxel_size_um(i)))
            for (i, _), mask in zip(pairs, self._masks, strict=True)
        ]

    def __call__(self, trainer: Trainer) -> tuple[NDArray[np.float64], float]:
        """DSC of every probed frame; their mean surface error in µm."""
        decoder = trainer.averaged().cpu()
        codes = trainer.latents.detach().cpu()
        rotations = euler_to_matrix(trainer.angles.detach().cpu().double()).numpy()
        times = frame_times(self._store.n_frames)
        dsc, errors = [], []
        for (i, t), mask, tree in zip(self._pairs, self._masks, self._trees, strict=True):
            grid, alignment = self._store.grid(i, t)
            turned = FoldedDecoder(decoder, codes[i], float(times[t]), alignment @ rotations[i])
            found = occupancy(turned, grid, bound=PROBE_BOUND).to_dense()
            dsc.append(dice(found, mask))
            errors.append(surface_error(faces(found, self._store.voxel_size_um(i)), tree))
        return np.array(dsc), float(np.mean(errors))


def faces(mask: NDArray[np.bool_], voxel_size_um: Triple) -> NDArray[np.float64]:
    """Centres ``(n, 3)`` in µm of the faces between inside and outside."""
    centres = []
    for axis in range(3):
        low, high = ((slice(None),) * axis + (s,) for s in (slice(None, -1), slice(1, None)))
        centres.append(np.argwhere(mask[low] != mask[high]) + 0.5 * np.eye(3)[axis])
    return np.asarray(np.concatenate(centres) * voxel_size_um)


def surface_error(found: NDArray[np.float64], tree: cKDTree) -> float:
    """Mean distance between two surfaces, from each to the other; infinite if one is empty."""
    if not len(found):
        return math.inf
    ways = ((tree, found), (cKDTree(found), tree.data))
    return float(np.mean([to.query(some(of))[0].mean() for to, of in ways]))


def some(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most about ``FACES`` of them, evenly."""
    return points[:: max(1, len(points) // FACES)]


def train(trainer: Trainer, judge: Judge, limit_s: float, name: str) -> list[Probe]:
    """Train to the end of the schedule or the limit, and measure on the way."""
    probes: list[Probe] = []
    core, due = 0.0, EVERY_S
    mark = time.process_time()

    def on_step(report: Report) -> None:
        nonlocal core, due, mark
        core += time.process_time() - mark
        ends = report.share >= 1 or core >= limit_s
        if core >= due or ends:
            dsc, surface_um = judge(trainer)
            probes.append(Probe(core, report.seconds, report.step, dsc, surface_um))
            print(name, *probes[-1].row(), file=sys.stderr, flush=True)
            due = core + max(EVERY_S, EVERY_SHARE * core)
        if ends and report.share < 1:
            raise LimitError
        mark = time.process_time()

    with suppress(LimitError):
        trainer.run(on_step=on_step)
    return probes


def measure(
    entry: Entry, store: ShapeStore, pool: PointPool, judge: Judge, given: argparse.Namespace
) -> Curve:
    """Train with one recipe."""
    trainer = Trainer(
        find_field(given.field).model_copy(update={"truncation": store.truncation}),
        entry.recipe,
        pool,
        Length(steps=entry.steps),
        seed=given.seed,
        data=str(store.path),
    )
    return Curve(entry, train(trainer, judge, parse_duration_s("--limit", given.limit), entry.name))


def summarise(curves: list[Curve], target: float) -> Iterator[tuple[object, ...]]:
    """A row for each recipe: minutes to the target, against the first one's."""
    first = curves[0].reached(target)
    for curve in curves:
        end = curve.probes[-1]
        hit = curve.reached(target)
        minutes = f"{(hit or end).core_s / 60:.2f}"
        ratio = f"{(hit or end).core_s / first.core_s:.1f}×" if first else "–"
        above = "" if hit else "> "
        per_step = f"{end.core_s / end.step:.3f}"
        last = f"{end.dsc.mean():.4f} at {end.core_s / 60:.1f} min"
        yield (
            curve.entry.name,
            curve.entry.steps,
            per_step,
            f"{above}{minutes}",
            f"{above}{ratio}" if first else ratio,
            last,
            f"{end.surface_um:.4f}",
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", type=Path, help="masks, or the working folder of a preset")
    parser.add_argument("--recipes", default="default:300,paper", help="NAME[:STEPS],…")
    parser.add_argument("--field", default="siren")
    parser.add_argument("--target", type=float, default=0.95, help="DSC, mean of the probed frames")
    parser.add_argument("--limit", default="40m", help="core time of each training")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--probe-frames", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="where distances and points are kept")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    parse_duration_s("--limit", given.limit)
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine(threads=given.threads)
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        store = open_store(given.data, work)
        entries = [find_entry(text, store.n_sequences) for text in given.recipes.split(",")]
        print(f"{store.n_sequences} cells × {store.n_frames} frames, {given.probe_frames} probed\n")
        judge = Judge(store, spread(store, given.probe_frames))
        curves = []
        for entry in entries:
            pool = open_pool(store, entry.recipe, work, given.seed)
            curves.append(measure(entry, store, pool, judge, given))
            print(f"`{entry.name}`\n")
            print_table(MEASURED, [probe.row() for probe in curves[-1].probes])
    head = ("of steps", "core s a step", f"core min to {given.target:g}", "ratio", "DSC", "µm")
    print_table(("recipe", *head), summarise(curves, given.target))
    return int(curves[0].reached(given.target) is None)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CellsynthError as error:
        sys.exit(str(error))
