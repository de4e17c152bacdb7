"""The claim of ``presets/celegans``, on a training sequence made again from its seed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shipped import dice_made_again

from cellsynth.presets.bundle import read_bundle
from cellsynth.shapes.phantoms import phantom_families

ROOT = Path(__file__).parents[1]
TABLE = ROOT.parent / "shared" / "data" / "celegans_lineage" / "nuclei_AB.csv"
VOXEL_UM = 0.08  # half the training masks' resolution
SEQUENCE = 4

needs_table = pytest.mark.skipif(
    not TABLE.is_file(), reason="the lineage table is not beside this repository"
)


@needs_table
def test_a_training_sequence_made_again_is_given_back(tmp_path: Path) -> None:
    bundle = read_bundle(ROOT / "presets" / "celegans")
    phantom = phantom_families("celegans", SEQUENCE + 1, 30, 0, TABLE)[SEQUENCE]
    dsc = dice_made_again(
        bundle, SEQUENCE, phantom, tmp_path, voxel_um=VOXEL_UM, frames=range(0, 30, 3)
    )
    claimed = bundle.evaluation()["dsc"]["per_sequence"][SEQUENCE]
    # Half as many voxels along each axis round the surface twice as coarsely.
    assert np.nanmean(dsc) > claimed - 0.01
    assert np.nanmin(dsc) > 0.93


def test_what_the_card_says_is_what_was_measured() -> None:
    bundle = read_bundle(ROOT / "presets" / "celegans")
    dsc = bundle.evaluation()["dsc"]
    assert len(dsc["per_sequence"]) == bundle.preset.training.sequences >= 33
    assert dsc["mean"] == pytest.approx(np.mean(dsc["per_sequence"]), abs=1e-4)
    assert f"{dsc['mean']:.4f}" in bundle.card()
    assert f"{dsc['worst']:.4f}" in bundle.card()
    assert dsc["mean"] >= 0.975
    assert dsc["worst"] >= 0.93
    for words in ("real", "modelled", "GPL-3.0", "cellsynth phantom", "cellsynth train-preset"):
        assert words in bundle.card()
