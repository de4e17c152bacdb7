"""A walk between two learned codes, rendered, measured, and told.

The set on disk is measured as any other (:mod:`cellsynth.evaluation.dataset`), so the figures of
``walk.json`` are those that ``cellsynth evaluate`` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cellsynth.evaluation.dataset import evaluate_dataset
from cellsynth.evaluation.digits import short
from cellsynth.evaluation.files import read_result, write_result
from cellsynth.evaluation.latent_models import (
    WALK_FORMAT,
    Trend,
    Variable,
    Walk,
    WalkStep,
)
from cellsynth.evaluation.models import DESCRIPTORS, Mean, Preset, SequenceMeasures
from cellsynth.field.model import CellModel
from cellsynth.geometry import rotation_angle
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.versions import versions
from cellsynth.rendering.options import Event
from cellsynth.rendering.walk import WalkOptions, render_walk, walk_draws

__all__ = ["WALK_JSON", "read_walk", "trend", "walk_latents"]

WALK_JSON = "walk.json"
WALK_FIGURE = "walk"
VARIABLES: tuple[Variable, ...] = (*DESCRIPTORS, "total_um3", "growth")


def walk_latents(
    bundle: Bundle,
    out: Path,
    options: WalkOptions,
    *,
    workers: int | None = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    on_event: Callable[[Event], None] | None = None,
    on_measured: Callable[[int, int], None] | None = None,
) -> Walk:
    """Render the straight way between two learned codes, and say what changes along it.

    Args:
        bundle: A verified preset.
        out: Folder of the data set; ``walk.json`` and a figure, PNG and SVG, lie in it too.
        options: Which way, and how it is rendered.
        workers: Processes; None is one per core, or one on a GPU. Never changes the result.
        device: Torch device of the field.
        resume: Continue a walk that was begun with the same options.
        overwrite: Replace a data set of ours.
        on_event: Told of what is rendered.
        on_measured: Called with frames measured and frames in all.

    Raises:
        InputError: Codes or options that cannot be used.
        InUseError: ``out`` holds something already.
        TopologyError: No step has a cell.
        StorageError: The disk refused; whole sequences stay, and the walk can be resumed.
    """
    from cellsynth.evaluation.latent_figures import save_figure
    from cellsynth.evaluation.walk_figure import draw_walk

    manifest = render_walk(
        bundle,
        out,
        options,
        workers=workers,
        device=device,
        resume=resume,
        overwrite=overwrite,
        on_event=on_event,
    )
    measured = evaluate_dataset(out, workers=workers, on_progress=on_measured)
    model = CellModel.from_bundle(bundle, device)
    walk = _tell(model, bundle.sha256, options, manifest, measured.of.sequences)
    write_result(out / WALK_JSON, walk)
    save_figure(draw_walk(model, walk, walk_draws(model, options)), out / WALK_FIGURE)
    return walk


def read_walk(path: Path) -> Walk:
    """A walk from its ``walk.json``; raises as :func:`cellsynth.evaluation.files.read_result`."""
    return read_result(path, Walk, WALK_FORMAT, "walk; make one with cellsynth latent --walk")


def trend(variable: Variable, values: Sequence[float | None]) -> Trend | None:
    """Whether ``values``, one a step, go one way; None where fewer than two are known."""
    steps = [i + 1 for i, value in enumerate(values) if value is not None]
    known = np.array([value for value in values if value is not None], np.float64)
    if len(known) < 2:
        return None
    upwards = known if known[-1] >= known[0] else -known
    back = np.maximum.accumulate(upwards) - upwards
    worst = int(back.argmax())
    turns = bool(back[worst] > 0)
    return Trend(
        variable=variable,
        steps=len(known),
        first=short(float(known[0])),
        last=short(float(known[-1])),
        monotone=not turns,
        setback=short(float(back[worst] / np.ptp(known))) if turns else 0.0,
        setback_step=steps[worst] if turns else None,
    )


def _tell(
    model: CellModel,
    sha256: str,
    options: WalkOptions,
    manifest: dict[str, Any],
    sequences: Sequence[SequenceMeasures],
) -> Walk:
    measured = {sequence.name: sequence for sequence in sequences}
    records = {record["step"]["number"]: name for name, record in manifest["sequences"].items()}
    empty = {step["number"]: step for step in manifest["left_out"]}
    steps = []
    for number in range(1, options.steps + 1):
        if number in empty:
            steps.append(_step(empty[number], None, None))
        else:
            name = records[number]
            steps.append(_step(manifest["sequences"][name]["step"], name, measured[name]))
    found = (trend(v, [_value(step, v) for step in steps]) for v in VARIABLES)
    a, b = (code - 1 for code in options.codes)
    apart = model.latents[a].astype(np.float64) - model.latents[b]
    z, y, x = (short(size) for size in manifest["options"]["voxel_size_um"])
    return Walk(
        format="cellsynth-walk",
        version=1,
        versions=versions("scikit-image"),
        preset=Preset(name=model.preset.name, sha256=sha256),
        codes=options.codes,
        distance=short(float(np.linalg.norm(apart))),
        rotation=options.rotation,
        turn_degrees=short(rotation_angle(model.rotations[a], model.rotations[b])),
        frames=options.n_frames,
        grid=options.grid.shape,
        voxel_size_um=(z, y, x),
        steps=tuple(steps),
        trends=tuple(entry for entry in found if entry is not None),
    )


def _step(said: dict[str, Any], name: str | None, measured: SequenceMeasures | None) -> WalkStep:
    """A step, of what the manifest says and what was measured of its sequence."""
    labels = said.get("labels")
    cells = total = growth = pieces = None
    if measured is not None:
        volumes, components = np.zeros(measured.frames), np.zeros(measured.frames, int)
        for family in measured.families:
            at = np.array(family.series.frames)
            volumes[at] += family.series.volume_um3
            components[at] += family.series.components
        total = short(float(volumes.mean()))
        growth = short(float(volumes[-1] / volumes[0])) if volumes[[0, -1]].all() else None
        pieces = int(components.max())
        if labels == "cells":
            cells = _mean([family.mean for family in measured.families])
    return WalkStep(
        number=said["number"],
        share=short(said["share"]),
        sequence=name,
        labels=labels,
        fault=said["fault"],
        cells=cells,
        total_um3=total,
        growth=growth,
        pieces=pieces,
    )


def _mean(means: Sequence[Mean]) -> Mean:
    """Of several families, each as much as another."""
    found: dict[str, float | None] = {}
    for name in DESCRIPTORS:
        known = [v for v in (getattr(mean, name) for mean in means) if v is not None]
        found[name] = short(float(np.mean(known))) if known else None
    return Mean(**found)


def _value(step: WalkStep, variable: Variable) -> float | None:
    if variable in ("total_um3", "growth"):
        return getattr(step, variable)  # type: ignore[no-any-return]
    return None if step.cells is None else getattr(step.cells, variable)
