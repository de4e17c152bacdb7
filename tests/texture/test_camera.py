"""The camera: offset, gain, the variance of its counts, the ends of its range."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.texture.camera import expose
from cellsynth.texture.profiles import Camera


def camera(**changes) -> Camera:
    settings = {"bits": 16, "offset": 100.0, "gain": 2.0, "read_noise": 3.0}
    return Camera(**(settings | changes))


@pytest.mark.parametrize("electrons", [0.0, 4.0, 250.0])
@pytest.mark.parametrize("excess", [1.0, 1.4, 2.0])
def test_mean_and_variance(electrons, excess):
    chip = camera(excess_noise=excess)
    light = np.full(200_000, electrons, np.float32)
    counts = expose(light, chip, np.random.default_rng(1))
    mean, variance = counts.mean(), counts.astype(np.float64).var()
    assert mean == pytest.approx(100 + 2 * electrons, rel=2e-3)
    expected = 2 * excess * (mean - 100) + (2 * 3.0) ** 2 + 1 / 12
    assert variance == pytest.approx(expected, rel=0.02)


def test_without_noise_of_its_own_only_the_light_is_uncertain():
    counts = expose(np.full(100_000, 9.0), camera(read_noise=0.0), np.random.default_rng(2))
    assert set(np.unique(counts % 2)) == {0}
    assert counts.astype(float).var() == pytest.approx(4 * 9, rel=0.03)


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (12, np.uint16), (16, np.uint16)])
def test_the_range_ends_where_the_bits_do(bits, dtype):
    light = np.array([[0.0, 1e6]], np.float32)
    counts = expose(light, camera(bits=bits, offset=0.0), np.random.default_rng(0))
    assert counts.dtype == dtype
    assert counts.shape == (1, 2)
    assert counts[0, 0] < 20
    assert counts[0, 1] == 2**bits - 1


def test_the_same_seed_gives_the_same_counts():
    light = np.random.default_rng(0).uniform(0, 50, (20, 30)).astype(np.float32)
    first, second, third = (expose(light, camera(), np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != third).any()
