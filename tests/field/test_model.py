"""A preset ready to be asked, and where it runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellsynth.errors import InputError
from cellsynth.field import CellModel, pick_device


def test_a_bundle_s_field_is_its_formula(sphere_bundle):
    model = CellModel.from_bundle(sphere_bundle)
    assert model.preset == sphere_bundle.preset
    assert model.latents.shape == (3, 2)
    np.testing.assert_array_equal(model.rotations, np.tile(np.eye(3), (3, 1, 1)))
    coords = np.random.default_rng(0).uniform(-1, 1, (1000, 3))
    for code in (-0.05, 0.0, 0.1):
        field = model.at(np.array([code, 0], np.float32), 0.5, np.eye(3))
        # The first code is the radius' change; 48 directions make a sphere but for a percent.
        expected = np.linalg.norm(coords, axis=1) - 0.4 - code
        np.testing.assert_allclose(field.sdf(coords), expected, atol=0.03)


def test_weights_learn_no_more(dividing_bundle):
    model = CellModel.from_bundle(dividing_bundle)
    assert not any(p.requires_grad for p in model.decoder.parameters())


def test_devices():
    assert pick_device("cpu") == "cpu"
    assert pick_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(InputError, match=r"device 'abacus' cannot be used here: .*use auto or cpu"):
        pick_device("abacus")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_the_same_inside(dividing_bundle):
    coords = np.random.default_rng(0).uniform(-1, 1, (100_000, 3))
    inside = [
        CellModel.from_bundle(dividing_bundle, device)
        .at(np.zeros(2, np.float32), 0.3, np.eye(3))
        .inside(coords)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_array_equal(*inside)
