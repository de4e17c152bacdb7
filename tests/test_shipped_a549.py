"""The claim of ``presets/a549``, on a training sequence made again from its seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shipped import dice_made_again

from cellsynth.presets.bundle import read_bundle
from cellsynth.shapes.phantoms import phantom_families

ROOT = Path(__file__).parents[1]
VOXEL_UM = 0.2  # half a filopodium
SEQUENCE = 1
FRAMES = (9, 19, 29)


def test_a_training_sequence_made_again_is_given_back(tmp_path: Path) -> None:
    bundle = read_bundle(ROOT / "presets" / "a549")
    phantom = phantom_families("a549", SEQUENCE + 1, 30, 0)[SEQUENCE]
    dsc = dice_made_again(bundle, SEQUENCE, phantom, tmp_path, voxel_um=VOXEL_UM, frames=FRAMES)
    claimed = bundle.evaluation()["dsc"]["per_frame"]
    np.testing.assert_allclose(dsc[0, list(FRAMES)], claimed, atol=0.03)


def test_what_the_card_says_is_what_was_measured() -> None:
    bundle = read_bundle(ROOT / "presets" / "a549")
    dsc = bundle.evaluation()["dsc"]
    assert tuple(dsc["frames"]) == FRAMES
    assert len(dsc["per_sequence"]) == bundle.preset.training.sequences == 33
    assert dsc["mean"] == pytest.approx(np.mean(dsc["per_sequence"]), abs=1e-4)
    assert f"{dsc['mean']:.4f}" in bundle.card()
    assert dsc["per_frame"][-1] > 0.92
    strategy = bundle.preset.sampling.strategy
    assert strategy == "neighbourhood"
    assert min(bundle.evaluation()["sampling"][strategy]["p"].values()) >= 0.1
    for words in ("No real cell", "small changes", "cellsynth phantom", "cellsynth train-preset"):
        assert words in bundle.card()


def test_it_is_small_enough_to_share() -> None:
    folder = ROOT / "presets" / "a549"
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
