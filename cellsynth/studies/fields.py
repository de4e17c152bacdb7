"""Fields of the studies: trained on a store by the same engine as presets, then measured.

A training draws its points once for a store, keeps a checkpoint, and goes on from it. What it
has come to is measured on the masks' own voxels.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from cellsynth.evaluation.agreement import dice
from cellsynth.evaluation.descriptors import paper_sphericity
from cellsynth.evaluation.digits import short
from cellsynth.evaluation.mask_surface import mask_surface
from cellsynth.evaluation.overlap import Fit, rebuilt_mask
from cellsynth.field.threads import one_thread_each
from cellsynth.formats.storage import remove, storing
from cellsynth.geometry import frame_times
from cellsynth.presets.base import StrictModel
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.shapes import CellSequence, ShapeStore, build_store
from cellsynth.shapes.cell_mask import bounding_box
from cellsynth.shapes.pose import Orientation
from cellsynth.studies.phantom_cells import half_extent_um, phantom_cells
from cellsynth.studies.study import Bench, Found
from cellsynth.training.bound import measure_bound
from cellsynth.training.loop import Report, Trainer
from cellsynth.training.points import PointPool, build_pool
from cellsynth.training.stepping import Length
from cellsynth.training.team import Team
from cellsynth.training.trained import PROBE_BOUND, trained_fit

__all__ = [
    "Learning",
    "Pair",
    "fitted",
    "forget",
    "kept_store",
    "last_frames",
    "learn",
    "measured",
    "open_kept",
    "prepare_cells",
    "rebuilt",
    "shape_of",
    "sphericities",
]

CHECKPOINT = "checkpoint.safetensors"
STORE = "shapes.zarr"

Pair = tuple[int, int]


class Learning(StrictModel):
    """How a field is trained."""

    steps: int = Field(ge=1, description="Steps")
    recipe: Recipe = Field(default_factory=Recipe)
    field: FieldSpec = Field(default_factory=FieldSpec)


def kept_store(
    bench: Bench[Any],
    name: str,
    cells: Sequence[CellSequence],
    *,
    half_extent_um: float,
    orientation: Orientation = "sequence",
) -> ShapeStore:
    """The signed distances of cells, made once and kept under a name."""
    path = bench.folder / name / STORE
    if path.is_dir():
        return ShapeStore.open(path)
    return build_store(
        path,
        cells,
        orientation=orientation,
        half_extent_um=half_extent_um,
        on_progress=bench.progress("measuring distances"),
    )


def prepare_cells(bench: Bench[Any]) -> Found:
    """A stage: the phantoms ``cells`` of the settings, kept as ``store``."""
    cells = bench.settings.cells
    extent = half_extent_um(cells.kind)
    store = kept_store(bench, "store", phantom_cells(cells, seed=bench.seed), half_extent_um=extent)
    return {"sequences": store.n_sequences, "frames": store.n_frames}


def open_kept(bench: Bench[Any], name: str) -> ShapeStore:
    """The store that an earlier stage has kept."""
    return ShapeStore.open(bench.folder / name / STORE)


def learn(
    bench: Bench[Any],
    name: str,
    store: ShapeStore,
    learning: Learning,
    *,
    on_step: Callable[[Trainer, Report], None] | None = None,
) -> Fit:
    """Train a field on a store, from where an earlier try has come to.

    Args:
        bench: Where the checkpoint is kept, under ``name``.
        name: Of the training.
        store: The cells.
        learning: How.
        on_step: Told of every step that is taken now, and of the one that it goes on from: it may
            have been interrupted before it was told of.

    Returns:
        Field, codes and rotations, with the slopes that were measured of them.
    """
    folder = bench.folder / name
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    pool = _pool(bench, store, learning.recipe)
    spec = learning.field.model_copy(update={"truncation": store.truncation})
    trainer = Trainer(
        spec,
        learning.recipe,
        pool,
        Length(steps=learning.steps),
        seed=bench.seed,
        data=name,
        team=Team(device=bench.device),
    )
    checkpoint = folder / CHECKPOINT
    if checkpoint.is_file():
        trainer.load(checkpoint)
        if on_step is not None and trainer.step:
            on_step(trainer, Report(trainer.step, trainer.seconds, trainer.share, math.nan))

    def told(report: Report) -> None:
        bench.tell("training", report.step, learning.steps, f"loss {report.loss:.4f}")
        if on_step is not None:
            on_step(trainer, report)

    trainer.run(checkpoint, told)
    return fitted(trainer, progress=bench.progress("measuring slopes"))


def fitted(trainer: Trainer, *, progress: Callable[[int, int], None] | None = None) -> Fit:
    """What a training has come to, with the slopes measured, so that nothing is missed."""
    decoder = trainer.averaged().cpu()
    fit = trained_fit(decoder, trainer, PROBE_BOUND)
    bound = measure_bound(
        decoder, fit.latents, trainer.pool.n_frames, seed=trainer.seed, on_progress=progress
    )
    return replace(fit, bound=bound)


def forget(bench: Bench[Any], name: str) -> None:
    """Let go of a training, or of a store, that is not needed any more."""
    remove(bench.folder / name)


def _pool(bench: Bench[Any], store: ShapeStore, recipe: Recipe) -> PointPool:
    """Points of a store, drawn once for all trainings with the same kind of points."""
    kind = (recipe.pool_points, recipe.points_near, recipe.near_um, recipe.focus, bench.seed)
    digest = hashlib.sha256(json.dumps(kind).encode()).hexdigest()[:12]
    path = store.path.parent / f"points-{digest}.npy"
    if path.is_file():
        return PointPool(path, recipe, store.n_frames, store.truncation)
    return build_pool(
        path, store, recipe, seed=bench.seed, on_progress=bench.progress("drawing points")
    )


def last_frames(store: ShapeStore) -> list[Pair]:
    """The last frame of every sequence."""
    return [(i, store.n_frames - 1) for i in range(store.n_sequences)]


def rebuilt(
    bench: Bench[Any],
    fit: Fit,
    store: ShapeStore,
    where: Iterable[Pair],
    *,
    times: NDArray[np.float64] | None = None,
) -> Iterator[tuple[Pair, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Frames as the field has them, beside the masks they were learned from.

    Args:
        bench: Told of progress.
        fit: The trained field.
        store: The cells.
        where: Sequences and frames.
        times: Normalised times of the store's frames; from -1 to 1 by default.

    Yields:
        Sequence and frame; the store's mask and the field's, on the same voxels.
    """
    pairs = list(where)
    times = frame_times(store.n_frames) if times is None else times
    with one_thread_each():
        for done, (i, t) in enumerate(pairs, 1):
            yield (i, t), store.mask(i, t), rebuilt_mask(fit, i, float(times[t]), *store.grid(i, t))
            bench.tell("rendering", done, len(pairs), "")


def shape_of(
    mask: NDArray[np.bool_], voxel_size_um: tuple[float, float, float]
) -> list[float] | None:
    """Volume in µm³ and surface in µm² of everything inside a mask; None where nothing is.

    The surface is by marching cubes, as ``cellsynth evaluate`` has it.
    """
    box = bounding_box(mask)
    if box is None:
        return None
    volume_um3 = int(np.count_nonzero(mask)) * float(np.prod(voxel_size_um))
    return [short(volume_um3), short(mask_surface(mask[box], voxel_size_um).area_um2)]


def measured(
    bench: Bench[Any],
    fit: Fit,
    store: ShapeStore,
    where: Iterable[Pair],
    *,
    times: NDArray[np.float64] | None = None,
    shapes: bool = False,
) -> Found:
    """Overlap of frames with their masks, and with ``shapes`` what either is like.

    Returns:
        Lists beside each other: ``where`` sequence and frame, ``dsc``, and of the masks and of the
        field volume and surface, None where nothing is inside (``real``, ``made``).
    """
    found: Found = {"where": [], "dsc": []} | ({"real": [], "made": []} if shapes else {})
    for pair, real, made in rebuilt(bench, fit, store, where, times=times):
        found["where"].append(list(pair))
        found["dsc"].append(short(dice(real, made)))
        if shapes:
            voxel = store.voxel_size_um(pair[0])
            for name, mask in (("real", real), ("made", made)):
                found[name].append(shape_of(mask, voxel))
    return found


def sphericities(shapes: Sequence[Sequence[float] | None]) -> list[float]:
    """36πV²/S³ of what :func:`measured` has found; what is empty is left out."""
    return [paper_sphericity(shape[0], shape[1]) for shape in shapes if shape is not None]
