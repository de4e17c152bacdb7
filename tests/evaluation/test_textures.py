"""Measures of texture: closed forms, what they notice, and what they do not mind."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cellsynth.errors import InputError, ShapeError
from cellsynth.evaluation.mask_baseline import fit_mask_baseline
from cellsynth.evaluation.scattering import frechet_distance, scattering_features
from cellsynth.evaluation.textures import (
    MEASURES,
    Textured,
    co_occurrence,
    distances,
    radial_spectrum,
    sample_textures,
    wasserstein,
)


def disc(n: int, centre: tuple[float, float], radius: float) -> np.ndarray:
    y, x = np.indices((n, n))
    return np.hypot(y - centre[0], x - centre[1]) < radius


def pictures(
    seed: int, *, grain: float = 2.0, level: float = 600, count: int = 8
) -> list[Textured]:
    """Two cells with grain of that size on noise."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        labels = np.zeros((96, 96), np.uint16)
        for label, x in ((1, 30), (2, 70)):
            labels[disc(96, (rng.uniform(40, 60), x), 15)] = label
        texture = gaussian_filter(rng.standard_normal((96, 96)), grain)
        image = 100 + gaussian_filter((labels > 0) * 1.0, 1.5) * (
            level + 150 * texture / texture.std()
        )
        image = image + rng.normal(0, 10 + np.sqrt(image))
        found.append(Textured(np.clip(np.rint(image), 0, 65535).astype(np.uint16), labels))
    return found


@pytest.fixture(scope="module")
def real():
    return sample_textures(pictures(0))


def test_a_set_is_like_itself_and_nearly_like_another_draw(real):
    same = distances(real, real)
    assert tuple(same) == MEASURES
    assert all(value == pytest.approx(0, abs=1e-6) for value in same.values())


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        ({"grain": 5.0}, ("power spectrum", "co-occurrence", "Fréchet")),
        ({"level": 900}, ("intensity inside", "contrast to noise", "Fréchet")),
    ],
)
def test_a_change_is_noticed_beyond_the_difference_of_two_draws(real, change, noticed):
    again = distances(real, sample_textures(pictures(1)))
    changed = distances(real, sample_textures(pictures(1, **change)))
    for measure in noticed:
        assert changed[measure] > 2 * again[measure], measure


def test_the_baseline_is_what_it_was_fitted_to_and_has_no_texture(real):
    images = pictures(2)
    baseline = fit_mask_baseline(images)
    assert baseline.background == pytest.approx(100, abs=30)
    assert baseline.cell == pytest.approx(700, abs=60)
    assert baseline.dtype == "uint16"
    rng = np.random.default_rng(0)
    made = [Textured(baseline.image(one.labels, rng), one.labels) for one in images]
    far = distances(real, sample_textures(made))
    near = distances(real, sample_textures(pictures(1)))
    for measure in ("power spectrum", "co-occurrence", "Fréchet"):
        assert far[measure] > 2 * near[measure], measure


def test_wasserstein_in_closed_form():
    a = np.linspace(0, 1, 100)
    assert wasserstein(a, a + 3) == pytest.approx(3)
    assert wasserstein(a, np.linspace(2, 3, 57)) == pytest.approx(2)
    assert wasserstein(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == 0


def test_the_spectrum_of_a_wave_peaks_at_its_frequency():
    x = np.arange(64)
    wave = np.sin(2 * np.pi * 8 * x / 64)[None, None] * np.ones((2, 64, 1))
    spectrum = radial_spectrum(100 * wave)
    assert spectrum.shape == (32,)
    assert spectrum.argmax() == 7  # frequencies begin with 1
    np.testing.assert_allclose(radial_spectrum(1000 * wave)[7] - spectrum[7], 2, atol=1e-6)


def test_co_occurrence_of_stripes():
    stripes = np.tile(np.array([[0.0, 0, 10, 10]]), (4, 4))[None]
    found = co_occurrence(stripes, np.ones(stripes.shape, bool), np.array([5.0]))
    assert found.shape == (3, 2, 2)
    np.testing.assert_allclose(found.sum(axis=(1, 2)), 1)
    np.testing.assert_array_equal(found, found.transpose(0, 2, 1))
    # Four columns apart they are alike everywhere; in a row two apart never.
    np.testing.assert_allclose(found[2, 0, 1], 0)
    rows = 4 * 14
    columns = 2 * 16
    np.testing.assert_allclose(found[1, 0, 1], 0.5 * rows / (rows + columns))
    outside = co_occurrence(stripes, np.zeros(stripes.shape, bool), np.array([5.0]))
    assert not outside.any()


def test_features_do_not_change_with_shifts_and_quarter_turns():
    rng = np.random.default_rng(3)
    patch = gaussian_filter(rng.standard_normal((64, 64)), (3, 1), mode="wrap")
    one, moved, turned = scattering_features(
        np.stack([patch, np.roll(patch, (9, 23), (0, 1)), np.rot90(patch)])
    )
    assert one.shape == (28,)
    np.testing.assert_allclose(moved, one, atol=1e-6)
    np.testing.assert_allclose(turned, one, atol=1e-3)
    coarse = scattering_features(gaussian_filter(patch, 4, mode="wrap")[None])[0]
    # Fine octaves lose more than coarse ones.
    assert (one[2:6] - coarse[2:6]).argmax() == 0


def test_frechet_distance_of_normal_samples():
    rng = np.random.default_rng(4)
    a = rng.standard_normal((4000, 3))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + np.array([1, 0, 2])) == pytest.approx(5, rel=0.05)
    assert frechet_distance(a, 2 * a) == pytest.approx(3, rel=0.05)  # Σ (2σ - σ)²
    assert frechet_distance(a, 100 * a) > frechet_distance(a, 10 * a)


def test_what_cannot_be_measured_is_refused(real):
    blank = Textured(np.zeros((96, 96), np.uint16), np.zeros((96, 96), np.uint16))
    with pytest.raises(InputError, match="no image of 1 has a cell, background, and 64 pixels"):
        sample_textures([blank])
    with pytest.raises(ShapeError, match=r"image \(3, 4\) and labels \(3, 5\)"):
        Textured(np.zeros((3, 4)), np.zeros((3, 5)))
    with pytest.raises(ShapeError, match=r"32 or more, got \(1, 16, 16\)"):
        scattering_features(np.zeros((1, 16, 16)))
    with pytest.raises(InputError, match="two patches a side, got 1 and 5"):
        frechet_distance(np.zeros((1, 3)), np.zeros((5, 3)))
    with pytest.raises(ShapeError, match="patches of 64 and of 32 pixels differ"):
        distances(real, sample_textures(pictures(0, count=2), patch=32))
    for images in ([], [blank]):
        with pytest.raises(InputError, match="a baseline needs"):
            fit_mask_baseline(images)
