"""Tiles agree with the whole frame, whatever the sizes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from textured import random_generator

from cellsynth.errors import ShapeError
from cellsynth.presets.texture import GeneratorSpec
from cellsynth.texture.tiles import apply_generator

SPEC = GeneratorSpec(channels=4, downsamplings=2, blocks=1)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def given(shape, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    conditions = rng.standard_normal((channels, *shape), dtype=np.float32)
    return conditions, rng.standard_normal(shape, dtype=np.float32)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (SPEC, (143, 190)),
        (SPEC, (160, 97)),
        (SPEC, (33, 301)),
        (SPEC.model_copy(update={"upsampling": "transposed"}), (131, 99)),
        (GeneratorSpec(channels=4, downsamplings=1, blocks=1, enhancer=True, enhancer_blocks=1),
         (151, 118)),
        (GeneratorSpec(channels=4, downsamplings=3, blocks=0), (118, 203)),
    ],
)  # fmt: skip
def test_tiles_agree_with_the_whole(spec, shape):
    generator = random_generator(spec, 5)
    conditions, noise = given(shape)
    whole = apply_generator(generator, conditions, noise, tile=10_000)
    assert whole.shape == shape
    assert whole.std() > 1e-3  # the network says something
    for tile in (16, 40):
        tiled = apply_generator(generator, conditions, noise, tile=tile)
        np.testing.assert_allclose(tiled, whole, rtol=0, atol=3e-5)
    # What a tile must see around it is needed: with less they differ.
    generator.reach = 0
    assert np.abs(apply_generator(generator, conditions, noise, tile=16) - whole).max() > 1e-3


def test_the_whole_is_what_the_generator_makes_of_it():
    generator = random_generator(SPEC.model_copy(update={"noise": False}), 4)
    conditions, _ = given((21, 34))
    expected = generator(torch.from_numpy(conditions)[None])[0, 0].numpy()
    np.testing.assert_array_equal(apply_generator(generator, conditions), expected)


def test_a_pixel_is_a_frame_too():
    conditions, noise = given((1, 1))
    found = apply_generator(random_generator(SPEC, 5), conditions, noise)
    assert found.shape == (1, 1)
    assert np.isfinite(found).all()


def test_what_does_not_fit_is_refused():
    conditions, noise = given((20, 20))
    generator = random_generator(SPEC, 5)
    with pytest.raises(ShapeError, match=r"noise \(20, 19\) do not fit"):
        apply_generator(generator, conditions, noise[:, 1:])
    with pytest.raises(ShapeError, match=r"expected \(n, 5, y, x\)"):
        apply_generator(generator, conditions)
    with pytest.raises(ShapeError, match=r"conditions \(20, 20\)"):
        apply_generator(generator, conditions[0])
