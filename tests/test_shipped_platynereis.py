"""The claim of ``presets/platynereis``, on a training sequence made again from its seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shipped import dice_made_again

from cellsynth.presets.bundle import read_bundle
from cellsynth.shapes.phantoms import phantom_families

ROOT = Path(__file__).parents[1]
VOXEL_UM = 0.5  # less than half the training masks' resolution
SEQUENCE = 2


def test_a_training_sequence_made_again_is_given_back(tmp_path: Path) -> None:
    bundle = read_bundle(ROOT / "presets" / "platynereis")
    phantom = phantom_families("platynereis", SEQUENCE + 1, 30, 0)[SEQUENCE]
    dsc = dice_made_again(
        bundle, SEQUENCE, phantom, tmp_path, voxel_um=VOXEL_UM, frames=range(1, 30, 7)
    )
    claimed = bundle.evaluation()["dsc"]["per_sequence"][SEQUENCE]
    assert np.nanmean(dsc) > claimed - 0.015
    assert np.nanmin(dsc) > 0.92


def test_what_the_card_says_is_what_was_measured() -> None:
    bundle = read_bundle(ROOT / "presets" / "platynereis")
    dsc = bundle.evaluation()["dsc"]
    assert len(dsc["per_sequence"]) == bundle.preset.training.sequences == 33
    assert dsc["mean"] == pytest.approx(np.mean(dsc["per_sequence"]), abs=1e-4)
    assert f"{dsc['mean']:.4f}" in bundle.card()
    assert dsc["mean"] >= 0.985
    found = bundle.evaluation()["sampling"][bundle.preset.sampling.strategy]
    assert found["kept_topology"] >= 0.95
    assert min(found["p"].values()) >= 0.1
    for words in ("No real cell", "cellsynth phantom", "cellsynth train-preset"):
        assert words in bundle.card()
