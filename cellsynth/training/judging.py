"""How a drawn cell is judged during calibration: its topology and its descriptors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import TopologyError
from cellsynth.evaluation.courses import DESCRIPTORS, rendered_courses
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.rendering.sequence import judging_grid, judging_sequence

__all__ = ["CellJudge", "with_judging_grid"]

# Grids to judge on, the coarsest that shows the learned cells whole is taken: thin processes fall
# apart on coarse voxels.
GRIDS = (64, 128)
WHOLE = 0.95  # share of learned cells that keep the topology


class CellJudge:
    """Judges codes of one model; a code that was judged before is not rendered again."""

    def __init__(self, model: CellModel) -> None:
        self._model = model
        self._known: dict[bytes, Mapping[str, float] | None] = {}

    def __call__(self, latent: NDArray[np.float32]) -> Mapping[str, float] | None:
        """Descriptors of the code's cell, means over frames; None where topology breaks."""
        key = latent.tobytes()
        if key not in self._known:
            self._known[key] = self._judge(latent)
        return self._known[key]

    def _judge(self, latent: NDArray[np.float32]) -> Mapping[str, float] | None:
        model = self._model
        voxel = judging_grid(model).voxel_size_um(model.preset.scale.half_extent_um)
        try:
            with one_thread_each():
                sequence = judging_sequence(model, latent, threads=cores())
                courses = rendered_courses(sequence, voxel)
        except TopologyError:
            return None
        return dict(zip(DESCRIPTORS, courses.mean(axis=(0, 1)).tolist(), strict=True))

    def share_whole(self) -> float:
        """Share of the learned codes whose cells keep the topology."""
        whole = [self(latent) is not None for latent in self._model.latents]
        return sum(whole) / len(whole)


def with_judging_grid(model: CellModel) -> tuple[CellModel, CellJudge]:
    """The model with the grid that its draws are to be judged on, and its judge."""
    found: list[tuple[float, CellModel, CellJudge]] = []
    for size in GRIDS:
        topology = model.preset.topology.model_copy(update={"judged_at": size})
        preset = model.preset.model_copy(update={"topology": topology})
        candidate = replace(model, preset=preset)
        judge = CellJudge(candidate)
        found.append((judge.share_whole(), candidate, judge))
        if found[-1][0] >= WHOLE:
            break
    # Of equally good grids the coarsest.
    _, candidate, judge = max(found, key=lambda entry: entry[0])
    return candidate, judge
