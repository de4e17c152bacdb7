"""Counts to the generator's range and back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.errors import InputError
from cellsynth.presets.texture import Intensities
from cellsynth.texture.frame_noise import frame_noise
from cellsynth.texture.intensities import Histogram, to_counts, to_range


def linear(**changes: object) -> Intensities:
    given = {"dtype": "uint16", "low": 100.0, "high": 1100.0, "largest": 65535, **changes}
    return Intensities.model_validate(given)


def test_closed_form() -> None:
    counts = np.array([0, 100, 350, 600, 1100, 4000], np.uint16)
    found = to_range(counts, linear())
    np.testing.assert_allclose(found, [-1, -1, -0.5, 0, 1, 1], atol=1e-6)
    assert found.dtype == np.float32
    bent = to_range(counts, linear(bend=3.0))  # √(1 + 3/4) at a quarter, √4 at the end
    np.testing.assert_allclose(bent[2], 2 * (np.sqrt(1.75) - 1) / (2 - 1) - 1, rtol=1e-6)
    assert bent[0] == bent[1] == -1
    assert bent[4] == bent[5] == 1


@given(bend=st.floats(0, 1000), wide=st.booleans())
def test_round_trip(bend: float, wide: bool) -> None:
    dtype, most = ("uint16", 65535) if wide else ("uint8", 255)
    spec = linear(dtype=dtype, low=0.0, high=float(min(most, 4095)), largest=most, bend=bend)
    counts = np.arange(min(most, 4095) + 1, dtype=dtype)
    again = to_counts(to_range(counts, spec), spec)
    assert again.dtype == dtype
    np.testing.assert_array_equal(again, counts)


def test_values_beyond_the_range_saturate() -> None:
    values = np.array([-5.0, 5.0, -1.0, 1.0])
    np.testing.assert_array_equal(to_counts(values, linear()), [100, 1100, 100, 1100])
    low = linear(low=-50.0, high=70000.0, smallest=3, largest=4095)
    np.testing.assert_array_equal(to_counts(values, low), [3, 4095, 3, 4095])


def test_the_range_holds_nearly_all_counts_but_not_a_hot_pixel() -> None:
    histogram = Histogram(np.dtype("uint16"))
    rng = np.random.default_rng(0)
    image = rng.integers(1000, 2000, (300, 300)).astype(np.uint16)
    image[5, 5] = 60000
    histogram.add(image)
    found = histogram.intensities(bend=0.0)
    assert (found.dtype, found.smallest, found.largest) == ("uint16", 0, 65535)
    assert 950 < found.low < 1001
    assert 1998 < found.high < 2050
    values = to_range(image, found)
    assert (np.abs(values) < 1).mean() > 0.999


def test_few_small_cells_do_not_saturate() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(100, 5, (400, 400)).astype(np.uint16)
    cells = np.zeros(image.shape, bool)
    cells[50:53, 50:54] = True  # 0.0075 % of the pixels
    image[cells] = rng.normal(2000, 20, 12)
    image[0, 0] = 60000
    histogram = Histogram(image.dtype)
    histogram.add(image, cells)
    found = histogram.intensities()
    assert image[cells].max() < found.high < 2200
    # Where cells are as usual, they change nothing: a hot pixel in one of them least of all.
    usual = image[40:80, 40:80] + np.arange(40, dtype=np.uint16)
    usual[12, 12] = 60000
    ranges = []
    for inside in (None, usual > 0):
        histogram = Histogram(usual.dtype)
        for _ in range(9):
            histogram.add(rng.permutation(usual, axis=0), inside)
        ranges.append(histogram.intensities())
    assert ranges[0] == ranges[1]


def test_constant_images_and_other_types_are_refused() -> None:
    histogram = Histogram(np.dtype("uint8"))
    histogram.add(np.full((4, 4), 7, np.uint8))
    with pytest.raises(InputError, match="all images are constant at 7"):
        histogram.intensities()
    with pytest.raises(InputError, match="there is no image"):
        Histogram(np.dtype("uint8")).intensities()
    with pytest.raises(InputError, match="float32; a camera's counts are uint8 or uint16"):
        Histogram(np.dtype("float32"))


def test_noise_is_white_and_a_function_of_its_frame() -> None:
    noise = frame_noise((200, 200), seed=1, sequence=2, frame=3)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.03
    np.testing.assert_array_equal(noise, frame_noise((200, 200), seed=1, sequence=2, frame=3))
    for other in ({"seed": 2}, {"sequence": 1}, {"frame": 4}, {"z": 1}):
        key = {"seed": 1, "sequence": 2, "frame": 3, **other}
        correlation = np.corrcoef(noise.ravel(), frame_noise((200, 200), **key).ravel())[0, 1]
        assert abs(correlation) < 0.03
