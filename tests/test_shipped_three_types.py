"""The claim of ``presets/three-types``: codes of one field tell three cell types apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cellsynth.evaluation.embedding import nearest_codes
from cellsynth.presets.bundle import read_bundle

ROOT = Path(__file__).parents[1]
KINDS = ("celegans", "platynereis", "a549")  # in the order in which they were learned


def test_codes_tell_the_cell_type() -> None:
    latents = read_bundle(ROOT / "presets" / "three-types").tensors()["latents"]
    kind = np.arange(len(latents)) // (len(latents) // len(KINDS))
    nearest, _ = nearest_codes(latents, latents, themselves=True)
    # A third of them would be by chance.
    assert np.mean(kind[nearest] == kind) > 0.9


def test_what_the_card_says_is_what_was_measured() -> None:
    bundle = read_bundle(ROOT / "presets" / "three-types")
    dsc = bundle.evaluation()["dsc"]
    assert len(dsc["per_sequence"]) == bundle.preset.training.sequences == 99
    assert dsc["mean"] == pytest.approx(np.mean(dsc["per_sequence"]), abs=1e-4)
    by_kind = np.reshape(dsc["per_sequence"], (len(KINDS), -1)).mean(axis=1)
    for kind, mean in zip(KINDS, by_kind, strict=True):
        assert f"{kind} {mean:.3f}" in bundle.card()
    found = bundle.evaluation()["sampling"][bundle.preset.sampling.strategy]
    assert min(found["p"].values()) >= 0.1
    for words in ("no divisions", "cellsynth phantom", "cellsynth train-preset"):
        assert words in bundle.card()
