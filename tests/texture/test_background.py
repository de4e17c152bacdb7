"""The background of frames: what is measured, described and drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.presets.texture import BackgroundSpec
from cellsynth.texture.background import (
    BackgroundDraw,
    BackgroundMap,
    background_map,
    fit_background,
    standard_background,
)

PIXEL = (0.5, 0.5)
SIDE = 96


def spec(**others: Any) -> BackgroundSpec:
    said = {"mean": 100.0, "deviation": 10.0, "lowest": -9.0, "highest": 9.0, "feature_um": 12.0}
    return BackgroundSpec(**said | others)


def slope() -> np.ndarray:
    """From 80 at the left to 120 at the right."""
    return np.broadcast_to(np.linspace(80, 120, SIDE), (SIDE, SIDE))


def measured(image: np.ndarray, labels: np.ndarray, **others: Any) -> BackgroundMap:
    said = {"sequence": "01", "frame": 0, "voxel_size_um": PIXEL, "reach_um": 2.0}
    found = background_map(labels=labels, image=image, **said | others)
    assert found is not None
    return found


def test_a_map_goes_through_cells_and_noise() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((SIDE, SIDE), np.uint16)
    labels[40:56, 30:60] = 4
    image = slope() + rng.normal(0, 8, labels.shape)
    plain = measured(image, np.zeros_like(labels))
    image[38:58, 28:62] += 500  # the cell, and its light around it
    found = measured(image, labels)
    assert found.values.shape == (19, 19)
    assert found.noise == pytest.approx(np.hypot(8, slope().std()), rel=0.1)
    wide = standard_background(found.values, labels.shape, spec())
    inner = (slice(12, -12), slice(12, -12))  # at the ends a Gaussian sees one side only
    truth = (slope() - 100) / 10
    assert np.abs(wide - truth)[inner].max() < 0.3
    assert np.abs(found.values - plain.values).max() < 5


def test_debris_and_cells_without_a_label_are_no_background() -> None:
    labels = np.zeros((SIDE, SIDE), np.uint16)
    image = slope() + np.random.default_rng(0).normal(0, 8, labels.shape)
    clean = measured(image, labels)
    image[60:68, 20:26] += 2000
    found = measured(image, labels)
    assert np.abs(found.values - clean.values).max() < 5
    assert found.noise == pytest.approx(clean.noise, rel=0.02)


def test_no_background() -> None:
    full = np.ones((SIDE, SIDE), np.uint16)
    assert background_map("01", 0, full, slope(), PIXEL, 2.0) is None
    # Where nothing is far from cells, what lies between them has to do.
    labels = full.copy()
    labels[:, ::6] = 0
    image = np.where(labels == 0, 40.0, 900.0)
    assert np.allclose(measured(image, labels).values, 40)


def maps(model: BackgroundSpec, sequences: int, frames: range = range(1)) -> list[BackgroundMap]:
    found = []
    for sequence in range(1, sequences + 1):
        draw = BackgroundDraw(model, (48, 48), (1.0, 1.0), seed=2, sequence=sequence)
        for t in frames:
            counts = draw.plane(t) * model.deviation + model.mean
            found.append(BackgroundMap(f"{sequence}", t, counts, (1.0, 1.0), 1.0))
    return found


def test_a_model_is_found_in_what_it_drew() -> None:
    wanted = spec(between_sequences=5.0, unevenness=8.0)
    found = fit_background(maps(wanted, 80))
    assert found.mean == pytest.approx(100, abs=1)
    assert found.deviation == pytest.approx(np.hypot(5, 8), rel=0.05)
    assert found.unevenness == pytest.approx(8, rel=0.1)
    assert found.between_sequences == pytest.approx(5, rel=0.25)
    assert found.feature_um == pytest.approx(12, rel=0.15)
    assert found.trend == 0
    assert (found.lowest, found.highest) < (-2, 2)


def test_levels_and_trends_alone() -> None:
    found = fit_background(maps(spec(between_sequences=5.0, trend=-0.5, middle=4.5), 30, range(10)))
    assert found.between_sequences == pytest.approx(5, rel=0.1)
    assert found.unevenness == pytest.approx(0, abs=0.01)
    assert (found.trend, found.middle) == pytest.approx((-0.5, 4.5), abs=1e-3)


def test_what_a_generator_hardly_knows_is_not_drawn() -> None:
    rare = maps(spec(unevenness=5.0), 2)
    rare[0].values[0, 0] += 200
    values = np.concatenate([x.values.ravel() for x in rare])
    found = fit_background(rare)
    cuts = np.array([found.lowest, found.highest]) * found.deviation + found.mean
    np.testing.assert_allclose(cuts, np.quantile(values, (0.01, 0.99)))


def test_of_one_sequence_nothing_is_known_of_others() -> None:
    assert fit_background(maps(spec(between_sequences=9.0), 4)).between_sequences > 3
    assert fit_background(maps(spec(unevenness=5.0), 1)).between_sequences == 0


def test_a_single_small_frame_is_enough() -> None:
    counts = np.array([[10.0, 14.0], [10.0, 14.0]], np.float32)
    found = fit_background([BackgroundMap("01", 0, counts, (1.0, 1.0), 1.0)])
    assert (found.mean, found.deviation) == (12, 2)
    draw = BackgroundDraw(found, (1, 7), (1.0, 1.0), seed=0, sequence=1)
    assert draw.plane(0).shape == (1, 7)
    with pytest.raises(InputError, match="it varies by 0 counts"):
        fit_background([BackgroundMap("01", 0, counts[:1, :1], (1.0, 1.0), 1.0)])


def test_drawn_once_for_a_sequence() -> None:
    model = spec(between_sequences=4.0, unevenness=8.0, trend=-1.0)
    draw = BackgroundDraw(model, (5, 40, 60), (2.0, 0.5, 0.5), seed=0, sequence=3)
    again = BackgroundDraw(model, (5, 40, 60), (2.0, 0.5, 0.5), seed=0, sequence=3)
    np.testing.assert_array_equal(draw.plane(0, 4), again.plane(0, 4))
    np.testing.assert_allclose(draw.plane(3, 2), draw.plane(0, 2) - 0.3, atol=1e-5)
    # In depth it changes as slowly as along the others: 2 µm of 12.
    near = np.corrcoef(draw.plane(0, 0).ravel(), draw.plane(0, 1).ravel())[0, 1]
    assert near > 0.7
    for seed, sequence in ((1, 3), (0, 4)):
        other = BackgroundDraw(model, (5, 40, 60), (2.0, 0.5, 0.5), seed=seed, sequence=sequence)
        assert np.abs(other.plane(0, 2) - draw.plane(0, 2)).max() > 0.1
    # A frame's first pixels do not know how large the frame is.
    part = BackgroundDraw(model, (5, 20, 30), (2.0, 0.5, 0.5), seed=0, sequence=3)
    np.testing.assert_allclose(part.plane(0, 2), draw.plane(0, 2)[:20, :30], atol=1e-5)
    cut = BackgroundDraw(spec(lowest=-0.1, highest=0.2, unevenness=9.0), (40, 60), (2, 2),
                         seed=0, sequence=1)  # fmt: skip
    assert (cut.plane(0).min(), cut.plane(0).max()) == (np.float32(-0.1), np.float32(0.2))


def test_what_tells_nothing_is_left_out() -> None:
    rng = np.random.default_rng(3)
    labels = np.zeros((SIDE, SIDE), np.uint16)
    image = rng.normal(40, 5, labels.shape)
    with pytest.raises(InputError, match=r"varies by 0\.\d+ counts where pixels do by [45]"):
        fit_background([measured(image, labels)])
    with pytest.raises(InputError, match="varies by 0 counts"):
        fit_background([measured(np.full(labels.shape, 7.0), labels)])
    with pytest.raises(InputError, match="cells fill every frame"):
        fit_background([])
