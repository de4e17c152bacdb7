"""Fit new cells with a preset: from masks to a code and a rotation for each, and how good.

The weights stay as they are. Data of another frame interval than the preset's are mapped in
physical time: a cell's sequence lasts as long as the preset's, in as many frames as that takes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, InUseError
from cellsynth.evaluation.overlap import Fit, training_dice
from cellsynth.field.model import CellModel
from cellsynth.formats.storage import storing, whole_file
from cellsynth.geometry import Triple, frame_times, times_at_interval
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.models import Preset
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.versions import versions
from cellsynth.shapes import (
    CellSequence,
    LeftOut,
    MaskSequence,
    ShapeStore,
    build_store,
    cut_cells,
    open_masks,
)
from cellsynth.shapes.pose import measure_pose
from cellsynth.training.fitter import CellFitter, FitOptions, Points
from cellsynth.training.points import build_pool

__all__ = [
    "FitEvent",
    "FitOptions",
    "FitSummary",
    "FittedCell",
    "check_fits_free",
    "fit_cells",
    "fit_masks",
    "write_fits",
]

FORMAT = "cellsynth-fit"
POOL_POINTS = 4096  # a frame; a fit looks at no more than a fourth of them at once

Stage = Literal["read", "distances", "points", "fit", "evaluate"]


@dataclass(frozen=True)
class FitEvent:
    """Progress of one stage: ``done`` of ``total``."""

    stage: Stage
    done: float
    total: float


@dataclass(frozen=True)
class FittedCell:
    """A cell as the preset describes it.

    Attributes:
        name: Source, track and frames.
        latent: Code ``(latent_dim,)``.
        rotation: Proper rotation ``(3, 3)`` in x, y, z: f(Rᵀx, t, latent) is the cell as it was
            observed, about its own centre in every frame.
        dsc: Overlap with the observed masks, on their own voxels, ``(frames,)``.
        loss: Mean error of the distance, in units of Ω.
    """

    name: str
    latent: NDArray[np.float32]
    rotation: NDArray[np.float64]
    dsc: NDArray[np.float64]
    loss: float


@dataclass(frozen=True)
class FitSummary:
    """What came of a data set.

    Attributes:
        cells: The fitted cells.
        left_out: What of the data was not fitted, and why.
        times: Normalised times ``(frames,)`` of the cells' frames.
        frame_interval_s: Seconds between them.
        assumed: What the data do not say and was taken for granted.
    """

    cells: tuple[FittedCell, ...]
    left_out: tuple[LeftOut, ...]
    times: NDArray[np.float64]
    frame_interval_s: float
    assumed: tuple[str, ...]


def fit_masks(
    model: CellModel,
    data: Path,
    options: FitOptions | None = None,
    *,
    voxel_size_um: Triple | None = None,
    frame_interval_s: float | None = None,
    kind: Literal["TRA", "SEG", "ST"] | None = None,
    on_event: Callable[[FitEvent], None] | None = None,
) -> FitSummary:
    """Fit every cell of a data set of masks.

    Args:
        model: The preset's field, with the device it is on.
        data: Masks: a Cell Tracking Challenge folder, TIFF stacks, Zarr or OME-Zarr.
        options: How.
        voxel_size_um, frame_interval_s: Instead of what the data say.
        kind: Which folders of a Cell Tracking Challenge set hold the masks.
        on_event: Told of progress.

    Raises:
        InputError: Data that cannot be used, or no cell that fits into the preset's Ω.
        MissingError, FormatError, StorageError: As they say.
    """
    notify = on_event or (lambda _: None)
    sources = open_masks(
        data, voxel_size_um=voxel_size_um, frame_interval_s=frame_interval_s, kind=kind
    )
    times = _times(model.preset, sources)
    cells, left_out = cut_cells(
        sources,
        n_frames=len(times),
        on_progress=lambda done, total: notify(FitEvent("read", done, total)),
    )
    half_extent_um = model.preset.scale.half_extent_um
    fitting = [(cell, _misfit(cell, half_extent_um)) for cell in cells]
    left_out += [LeftOut(cell.name, reason) for cell, reason in fitting if reason]
    cells = [cell for cell, reason in fitting if not reason]
    if not cells:
        raise InputError(
            f"{data}: no cell fits into preset {model.preset.name}: {left_out[-1]}; "
            "--voxel-size tells another scale"
        )
    with tempfile.TemporaryDirectory(prefix="cellsynth-fit-") as folder:
        store = build_store(
            Path(folder) / "shapes.zarr",
            cells,
            half_extent_um=half_extent_um,
            truncation=model.preset.field.truncation,
            on_progress=lambda done, total: notify(FitEvent("distances", done, total)),
        )
        fitted = fit_cells(model, store, options, times=times, on_event=on_event)
        interval_s, assumed = store.frame_interval_s, store.assumed
    return FitSummary(tuple(fitted), tuple(left_out), times, interval_s, assumed)


def fit_cells(
    model: CellModel,
    store: ShapeStore,
    options: FitOptions | None = None,
    *,
    times: NDArray[np.float64] | None = None,
    on_event: Callable[[FitEvent], None] | None = None,
) -> list[FittedCell]:
    """Code and rotation of every cell of a store, with the field's weights fixed.

    Args:
        model: The field, with the device it is on.
        store: Signed distances, made with the preset's half extent and truncation and with the
            orientation ``sequence``, whose principal axes are where the fit begins.
        options: How.
        times: Normalised times of the store's frames; from -1 to 1 by default.
        on_event: Told of progress.

    Raises:
        InputError: A store of another scale or orientation.
    """
    options = options or FitOptions()
    notify = on_event or (lambda _: None)
    times = frame_times(store.n_frames) if times is None else times
    _check_store(model.preset, store, times)
    n = store.n_sequences
    with tempfile.TemporaryDirectory(prefix="cellsynth-fit-") as folder:
        pool = build_pool(
            Path(folder) / "points.npy",
            store,
            Recipe(pool_points=POOL_POINTS),
            seed=options.seed,
            on_progress=lambda done, total: notify(FitEvent("points", done, total)),
        )
        fitter = CellFitter(model, options)
        found = []
        for i in range(n):
            notify(FitEvent("fit", i, n))
            coords, sdf = pool.sequence(i)
            axes = store.grid(i, 0)[1]
            # Points are stored aligned, as rows; here they are turned back to where they were.
            observed = Points(coords @ axes.T.astype(np.float32), sdf, times)
            found.append(fitter.fit(observed, axes, stream=i))
        notify(FitEvent("fit", n, n))
    dsc = training_dice(
        Fit(
            model.decoder,
            np.stack([cell.latent for cell in found]),
            np.stack([store.grid(i, 0)[1].T @ cell.rotation for i, cell in enumerate(found)]),
            model.preset.bound,
        ),
        store,
        times=times,
        on_progress=lambda done, total: notify(FitEvent("evaluate", done, total)),
    )
    return [
        FittedCell(store.name(i), cell.latent, cell.rotation, dsc[i], cell.loss)
        for i, cell in enumerate(found)
    ]


def check_fits_free(out: Path, *, overwrite: bool) -> None:
    """Refuse a file that is not ours, and one that is unless it may be replaced.

    Raises:
        InUseError: ``out`` is in use.
    """
    if not out.exists():
        return
    try:
        ours = json.loads(out.read_bytes()).get("format") == FORMAT
    except (OSError, ValueError, AttributeError):
        ours = False
    if not ours:
        raise InUseError(f"{out} is in use and holds no fitted cells; give another --out")
    if not overwrite:
        raise InUseError(f"{out} holds fitted cells already; pass --overwrite or another --out")


def write_fits(
    out: Path, summary: FitSummary, bundle: Bundle, options: FitOptions, *, overwrite: bool = False
) -> None:
    """Write fitted cells as JSON, whole or not at all.

    Raises:
        InUseError: ``out`` is in use.
        StorageError: The disk refused.
    """
    check_fits_free(out, overwrite=overwrite)
    scale = bundle.preset.scale
    record = {
        "format": FORMAT,
        "version": 1,
        "preset": {"name": bundle.preset.name, "sha256": bundle.sha256},
        "half_extent_um": scale.half_extent_um,
        "frame_interval_s": summary.frame_interval_s,
        "times": summary.times.tolist(),
        "seed": options.seed,
        "starts": options.starts,
        "assumed": list(summary.assumed),
        "cells": [_cell_record(cell, scale.half_extent_um) for cell in summary.cells],
        "left_out": [{"name": entry.name, "reason": entry.reason} for entry in summary.left_out],
        "versions": versions(),
    }
    with storing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(out) as part:
        part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _cell_record(cell: FittedCell, half_extent_um: float) -> dict[str, Any]:
    return {
        "name": cell.name,
        "latent": [float(f"{value:.8g}") for value in cell.latent],
        "rotation": cell.rotation.tolist(),
        "dsc": {
            "mean": round(float(cell.dsc.mean()), 5),
            "worst": round(float(cell.dsc.min()), 5),
            "per_frame": [round(float(value), 5) for value in cell.dsc],
        },
        "distance_error_um": float(f"{cell.loss * half_extent_um:.4g}"),
    }


def _times(preset: Preset, sources: list[MaskSequence]) -> NDArray[np.float64]:
    """Normalised times of the frames that a cell of these data has."""
    scale, first = preset.scale, sources[0]
    known = (
        scale.frame_interval_s is not None
        and "frame interval" not in scale.assumed
        and "frame interval" not in first.assumed
    )
    # Where nobody knows how fast time goes, a frame is a frame.
    if not known or scale.frame_interval_s is None or scale.n_frames == 1:
        return frame_times(scale.n_frames)
    times = times_at_interval(
        first.frame_interval_s, n_frames=scale.n_frames, frame_interval_s=scale.frame_interval_s
    )
    if len(times) == 1:
        duration_s = (scale.n_frames - 1) * scale.frame_interval_s
        raise InputError(
            f"{first.name}: {first.frame_interval_s:g} s between frames, but cells of preset "
            f"{preset.name} last {duration_s:g} s in all; expected at least two frames in that "
            "time; --frame-interval tells another interval"
        )
    return times


def _misfit(cell: CellSequence, half_extent_um: float) -> str:
    """Why a cell cannot be fitted; empty where it can."""
    radius_um = measure_pose(cell, "none").radius_um
    if radius_um <= half_extent_um:
        return ""
    return (
        f"reaches {radius_um:.4g} µm from its centre, beyond the {half_extent_um:g} µm that the "
        "preset's cells have"
    )


def _check_store(preset: Preset, store: ShapeStore, times: NDArray[np.float64]) -> None:
    for name, got, expected in (
        ("half_extent_um", store.half_extent_um, preset.scale.half_extent_um),
        ("truncation", store.truncation, preset.field.truncation),
        ("orientation", store.orientation, "sequence"),
        ("number of frames", store.n_frames, len(times)),
    ):
        if got != expected:
            raise InputError(
                f"{store.path}: {name} {got}, expected {expected} to fit it with preset "
                f"{preset.name}; build the store again"
            )
