"""Texture that moves with its cell is told from texture that does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from cellsynth.errors import InputError
from cellsynth.evaluation.coherence import mask_agreement, otsu_threshold, texture_coherence

SIZE = (0.5, 0.25)  # anisotropic on purpose
TEXTURE = gaussian_filter(np.random.default_rng(0).standard_normal((200, 200)), 4)


def frame(t: int, *, follows: bool) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse of 12 × 8 µm that moves and turns 10° a frame; its texture does so, or stays."""
    y, x = np.indices((60, 120)) * np.array(SIZE)[:, None, None]
    dy, dx = y - 15, x - 13 - t
    angle = np.deg2rad(10 * t)
    u = dx * np.cos(angle) + dy * np.sin(angle)
    v = -dx * np.sin(angle) + dy * np.cos(angle)
    labels = ((u / 6) ** 2 + (v / 4) ** 2 < 1).astype(np.uint16)
    place = (v, u) if follows else (dy + 3 * t, dx - 2 * t)
    own = map_coordinates(TEXTURE, [100 + 6 * p for p in place], order=1)
    return np.where(labels, 1000 + 2000 * own, 100.0), labels


def test_texture_in_the_cell_s_own_coordinates_stays_alike():
    follows, slides = (
        texture_coherence([frame(t, follows=f) for t in range(4)], SIZE, smooth_um=2.0)
        for f in (True, False)
    )
    assert follows.shape == slides.shape == (3,)
    assert follows.mean() > 0.9
    assert abs(slides.mean()) < 0.4


def test_noise_lowers_it_and_fresh_noise_has_none():
    rng = np.random.default_rng(1)
    noisy = [frame(t, follows=True) for t in range(3)]
    some = [(i + rng.normal(0, 60, i.shape), labels) for i, labels in noisy]
    only = [(rng.normal(0, 60, i.shape), labels) for i, labels in noisy]
    clean, less, none = (
        texture_coherence(frames, SIZE, smooth_um=2.0).mean() for frames in (noisy, some, only)
    )
    assert clean > less > none
    assert abs(none) < 0.1


def test_stacks_work_too_and_cells_that_come_or_go_are_left_out():
    rng = np.random.default_rng(2)
    labels = np.zeros((3, 8, 20, 20), np.uint16)
    labels[:, 2:6, 5:15, 4:12] = 3
    labels[1, 1:3, 16:19, 16:19] = 9
    image = gaussian_filter(rng.standard_normal((8, 20, 20)), 1) * 100
    found = texture_coherence([(image, one) for one in labels], (1.0, 0.5, 0.5), smooth_um=3.0)
    np.testing.assert_allclose(found, 1, atol=0.01)
    assert found.shape == (2,)
    assert texture_coherence([(image, labels[0])], (1.0, 0.5, 0.5), smooth_um=3.0).size == 0


def test_a_threshold_gives_the_mask_back():
    image, labels = frame(0, follows=True)
    noisy = image + np.random.default_rng(3).normal(0, 200, image.shape)
    assert mask_agreement(noisy, labels, smooth=1.5) > 0.95
    assert mask_agreement(noisy.max() - noisy, labels) < 0.5


def test_a_constant_image_shows_no_cell():
    labels = np.eye(8, dtype=np.uint16)
    assert mask_agreement(np.full((8, 8), 9, np.uint8), labels) == 0
    assert mask_agreement(np.full((8, 8), 9, np.uint8), 0 * labels) == 1


def test_thin_parts_are_left_to_the_whole_not_to_the_body():
    labels = np.zeros((60, 60), np.uint16)
    labels[20:40, 20:40] = 1
    image = np.where(labels, 500.0, 50.0)
    labels[30, 40:58] = 1  # a process that the image does not show
    assert mask_agreement(image, labels, smooth=0.5) < 0.98
    assert mask_agreement(image, labels, smooth=0.5, body=3) > 0.98


def test_otsu_divides_two_groups_between_them():
    values = np.concatenate([np.full(70, 10.0), np.full(30, 90.0)])
    assert 20 < otsu_threshold(values) < 80
    with pytest.raises(InputError, match=r"all values are 7.0; no threshold divides them"):
        otsu_threshold(np.full(5, 7.0))
