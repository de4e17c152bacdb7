"""Overlap of fields that are exactly what they were trained on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from cellsynth.evaluation.overlap import Fit, training_dice
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid, frame_times, random_rotation
from cellsynth.rendering.occupancy import occupancy_dense


@dataclass
class Observed:
    """Stands in for a shape store: masks of two cells, as a field has them, on grids askew."""

    model: CellModel
    alignments: np.ndarray
    n_sequences: int = 2
    n_frames: int = 4

    def grid(self, i: int, t: int) -> tuple[Grid, np.ndarray]:
        origin = (-0.7 - 0.01 * t, -0.9, -0.85 + 0.02 * i)
        return Grid((20 + t, 31, 30), (0.07, 0.06, 0.06), origin), self.alignments[i, t]

    def mask(self, i: int, t: int) -> np.ndarray:
        grid, alignment = self.grid(i, t)
        time = float(frame_times(self.n_frames)[t])
        field = self.model.at(self.model.latents[i], time, alignment @ self.model.rotations[i])
        return occupancy_dense(field, grid)


@pytest.fixture
def observed(dividing_bundle) -> tuple[Fit, Observed]:
    rng = np.random.default_rng(0)
    model = CellModel.from_bundle(dividing_bundle)
    model = replace(model, rotations=np.stack([random_rotation(rng) for _ in range(3)]))
    alignments = np.stack([random_rotation(rng) for _ in range(8)]).reshape(2, 4, 3, 3)
    fit = Fit(model.decoder, model.latents, model.rotations, model.preset.bound)
    return fit, Observed(model, alignments)


def test_an_exact_field_has_a_dsc_of_1(observed):
    fit, store = observed
    assert all(store.mask(i, t).any() for i in range(2) for t in range(4))
    np.testing.assert_array_equal(training_dice(fit, store), np.ones((2, 4)))


@pytest.mark.parametrize("change", ["latents", "rotations"])
def test_another_field_has_less(observed, change):
    fit, store = observed
    changed = {
        "latents": fit.latents + np.float32(0.05),
        "rotations": np.swapaxes(fit.rotations, 1, 2),
    }[change]
    dsc = training_dice(replace(fit, **{change: changed}), store)
    assert (dsc[:, -1] < 0.99).all()


def test_only_the_frames_asked_for(observed):
    fit, store = observed
    told: list[tuple[int, int]] = []
    dsc = training_dice(
        fit, store, where=[(1, 2), (0, 3)], on_progress=lambda *step: told.append(step)
    )
    assert told == [(1, 2), (2, 2)]
    assert (dsc[1, 2], dsc[0, 3]) == (1, 1)
    assert np.isnan(dsc).sum() == 6
