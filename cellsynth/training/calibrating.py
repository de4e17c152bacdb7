"""Calibration of a preset: its cells drawn, rendered small, judged by topology and descriptors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import TopologyError
from cellsynth.evaluation.course_sources import rendered_courses
from cellsynth.evaluation.courses import DESCRIPTORS
from cellsynth.evaluation.preview import preview_png
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.presets.bundle import Bundle, write_bundle
from cellsynth.presets.card import write_card
from cellsynth.presets.versions import versions
from cellsynth.rendering.sequence import draw_cell, judging_grid, judging_sequence
from cellsynth.sampling.calibration import calibrate

__all__ = [
    "CellJudge",
    "calibrate_model",
    "draw_preview",
    "recalibrate",
    "with_judging_grid",
]

Progress = Callable[[int, int], None]
PREVIEWED = 4

# Grids to judge on, the coarsest that shows the learned cells whole is taken: thin processes fall
# apart on coarse voxels.
GRIDS = (64, 128)
WHOLE = 0.95  # share of learned cells that keep the topology
# Frames in which a cell is judged. A cell in pieces stays so for a while, and what a mean over all
# frames says of its size and shape, one over a third of them says too.
FRAMES = 10


class CellJudge:
    """Judges codes of one model; a code that was judged before is not rendered again."""

    def __init__(self, model: CellModel) -> None:
        self._model = model
        self._known: dict[bytes, Mapping[str, float] | None] = {}

    def __call__(self, latent: NDArray[np.float32]) -> Mapping[str, float] | None:
        """Descriptors of the code's cell, means over a few frames; None where topology breaks."""
        key = latent.tobytes()
        if key not in self._known:
            self._known[key] = self._judge(latent)
        return self._known[key]

    def _judge(self, latent: NDArray[np.float32]) -> Mapping[str, float] | None:
        model = self._model
        voxel = judging_grid(model).voxel_size_um(model.preset.scale.half_extent_um)
        try:
            with one_thread_each():
                n_frames = min(FRAMES, model.preset.scale.n_frames)
                sequence = judging_sequence(model, latent, n_frames=n_frames, threads=cores())
                courses = rendered_courses(sequence, voxel)
        except TopologyError:
            return None
        return dict(zip(DESCRIPTORS, courses.mean(axis=(0, 1)).tolist(), strict=True))

    def share_whole(self, on_judged: Progress | None = None) -> float:
        """Share of the learned codes whose cells keep the topology."""
        whole = []
        for latent in self._model.latents:
            whole.append(self(latent) is not None)
            if on_judged is not None:
                on_judged(len(whole), len(self._model.latents))
        return sum(whole) / len(whole)


def with_judging_grid(
    model: CellModel, on_judged: Progress | None = None
) -> tuple[CellModel, CellJudge]:
    """The model with the grid that its draws are to be judged on, and its judge."""
    found: list[tuple[float, CellModel, CellJudge]] = []
    for size in GRIDS:
        topology = model.preset.topology.model_copy(update={"judged_at": size})
        preset = model.preset.model_copy(update={"topology": topology})
        candidate = replace(model, preset=preset)
        judge = CellJudge(candidate)
        found.append((judge.share_whole(on_judged), candidate, judge))
        if found[-1][0] >= WHOLE:
            break
    # Of equally bad grids the finest: cells that come apart should not do so for want of voxels.
    _, candidate, judge = max(reversed(found), key=lambda entry: entry[0])
    return candidate, judge


def calibrate_model(
    model: CellModel,
    *,
    seed: int,
    on_progress: Progress | None = None,
    on_judged: Progress | None = None,
) -> tuple[CellModel, dict[str, Any]]:
    """The model with the grid to judge on and the widths found, and the figures of each strategy.

    Args:
        model: The model, of any sampling.
        seed: Of the draws.
        on_progress: Called with cells judged and the largest number there may be.
        on_judged: Called before, with learned cells judged on a grid and all of them, a grid after
            the other.
    """
    model, judge = with_judging_grid(model, on_judged)
    sampling, figures = calibrate(model.latents, judge, seed=seed, on_progress=on_progress)
    figures["judged_at"] = model.preset.topology.judged_at
    preset = model.preset.model_copy(update={"sampling": sampling})
    return replace(model, preset=preset), figures


def draw_preview(model: CellModel, *, seed: int) -> bytes | None:
    """A picture of the first cells of a seed; None where no draw keeps the topology."""
    try:
        draws = [draw_cell(model, seed=seed, sequence=i) for i in range(PREVIEWED)]
    except TopologyError:
        return None
    return preview_png(model, draws)


def recalibrate(
    bundle: Bundle,
    out: Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> Bundle:
    """Calibrate a preset anew and write it to ``out``: same field and codes, new widths.

    For presets that were imported, or made before a strategy was known.

    Raises:
        InUseError: ``out`` holds something.
        StorageError: The disk refused.
    """
    model, figures = calibrate_model(
        CellModel.from_bundle(bundle), seed=seed, on_progress=on_progress
    )
    evaluation = {**bundle.evaluation(), "sampling": figures, "versions": versions()}
    preset = model.preset.model_copy(update={"files": {}})
    return write_bundle(
        out,
        preset,
        bundle.tensors(),
        card=write_card(preset, evaluation),
        evaluation=evaluation,
        preview=draw_preview(model, seed=seed),
        overwrite=overwrite,
    )
