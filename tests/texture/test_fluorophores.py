"""Where the label is: chromatin's grain and condensation, actin's cortex and thin parts."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.texture.fluorophores import condensation, fluorophore_density
from cellsynth.texture.grain import cell_grain
from cellsynth.texture.poses import PoseTracker
from cellsynth.texture.profiles import Actin, Chromatin

CHROMATIN = Chromatin(
    kind="chromatin",
    grain_um=0.5,
    contrast=0.3,
    condensed_contrast=0.9,
    condensed_brightness=2.0,
    condensing_frames=4,
    relaxing_frames=2,
)
ACTIN = Actin(
    kind="actin",
    grain_um=0.5,
    contrast=0.0,
    cytoplasm=0.5,
    cortex=1.0,
    cortex_um=0.3,
    filopodia=4.0,
    filopodia_um=1.0,
)
SIZE = (0.1, 0.1, 0.1)


def density(labels, fluorophore, size=SIZE, **options):
    poses = PoseTracker(size).update(0, labels)
    return fluorophore_density(labels, poses, size, fluorophore, seed=3, sequence=1, **options)


def balls() -> np.ndarray:
    labels = np.zeros((40, 40, 84), np.uint16)
    zyx = np.indices(labels.shape)
    for label, x in ((1, 20), (5, 63)):
        far = sum((i - c) ** 2 for i, c in zip(zyx, (20, 20, x), strict=True))
        labels[far < 18**2] = label
    return labels


@pytest.mark.parametrize(
    ("to_division", "since_division", "expected"),
    [
        (None, None, 0), (1, None, 1), (2, None, 0.75), (5, None, 0), (90, None, 0),
        (None, 0, 1), (None, 1, 0.5), (None, 2, 0), (3, 1, 0.5), (2, 1, 0.75),
    ],
)  # fmt: skip
def test_condensation(to_division, since_division, expected):
    assert condensation(CHROMATIN, to_division, since_division) == expected


def test_chromatin_is_its_grain():
    labels = balls()
    found = density(labels, CHROMATIN)
    assert found.dtype == np.float32
    assert (found[labels == 0] == 0).all()
    assert (found[labels > 0] > 0).all()
    poses = PoseTracker(SIZE).update(0, labels)
    grain = cell_grain(labels, poses, SIZE, seed=3, sequence=1, feature_um=0.5)
    inside = labels > 0
    np.testing.assert_allclose(np.log(found[inside]), 0.3 * grain[inside] - 0.045, atol=1e-5)
    assert found[inside].mean() == pytest.approx(1, abs=0.05)


def test_chromatin_condenses_before_a_division_and_relaxes_after():
    labels = balls()
    rest = density(labels, CHROMATIN)
    last = density(labels, CHROMATIN, frames_to_division={1: 1})
    born = density(labels, CHROMATIN, frames_since_division={5: 0})
    one, five = labels == 1, labels == 5
    np.testing.assert_array_equal(last[five], rest[five])
    np.testing.assert_array_equal(born[one], rest[one])
    for found, cell in ((last, one), (born, five)):
        assert np.log(found[cell]).std() == pytest.approx(3 * np.log(rest[cell]).std(), rel=1e-3)
        assert found[cell].mean() == pytest.approx(2, rel=0.15)


def test_actin_has_a_cortex():
    labels = (balls() == 1).astype(np.uint8)
    found = density(labels, ACTIN)
    line = found[20, 20, 2:21]  # from the surface to the middle
    assert labels[20, 20, 2] == 0
    assert labels[20, 20, 3] == 1
    assert line[-1] == pytest.approx(0.5, abs=0.05)
    assert line[1] > 1.3
    assert (np.diff(line[1:]) <= 1e-6).all()
    # It has fallen to half of it, 1.0, at a depth of 0.3 µm.
    assert np.interp(0.3, np.arange(18) * 0.1 + 0.05, line[1:]) == pytest.approx(1.0, abs=0.12)


def test_touching_cells_each_have_a_cortex():
    labels = np.zeros((30, 30, 60), np.uint8)
    labels[:, :, :30] = 1
    labels[:, :, 30:] = 2
    found = density(labels, ACTIN)
    assert found[15, 15, 29] > 1.3
    assert found[15, 15, 15] < 0.6


@pytest.mark.parametrize("size_um", [0.1, 0.05])
def test_thin_parts_are_brighter(size_um):
    n = round(6 / size_um)
    z, y, x = (np.indices((n, n, n)) + 0.5) * size_um
    body = (z - 3) ** 2 + (y - 3) ** 2 + (x - 2) ** 2 < 1.7**2
    thread = ((z - 3) ** 2 + (y - 3) ** 2 < 0.2**2) & (x > 2) & (x < 5.7)
    labels = (body | thread).astype(np.uint8)
    found = density(labels, ACTIN, (size_um,) * 3)
    on_thread = found[thread & (x > 4.5) & (x < 5)]
    # 0.4 µm thick: the blurred mask is 0.067 there, so 1 - 0.067 / 0.35 of 4, cortex and cytoplasm.
    assert on_thread.mean() == pytest.approx(0.5 + 1.0 + 4 * 0.81, rel=0.05)
    assert found[body & (x < 3.5)].max() < 1.8
    # No brighter on the surface of the body, far from the thread, than its cortex.
    assert found[n // 2, n // 2, : n // 4].max() < 1.6


def test_actin_does_not_depend_on_the_voxels():
    levels = []
    for size_um in (0.1, 0.05, 0.025):
        n = round(3 / size_um)
        z, y, x = (np.indices((n, n, n)) + 0.5) * size_um
        labels = ((z - 1.5) ** 2 + (y - 1.5) ** 2 + (x - 1.5) ** 2 < 1.2**2).astype(np.uint8)
        levels.append(density(labels, ACTIN, (size_um,) * 3)[labels > 0].mean())
    np.testing.assert_allclose(levels, levels[0], rtol=0.03)
