"""Simulated chromatin beside real: nuclei of a confocal stack, and the same masks imaged by us."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, find_objects

from cellsynth.presets.judge import override
from cellsynth.texture.microscope import Microscope
from cellsynth.texture.poses import PoseTracker
from cellsynth.texture.profiles import find_profile

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "nuclei_3d"
VOXEL_UM = (0.29, 0.26, 0.26)
LAGS = (1, 2, 3, 4, 6, 8)


def inside(image: NDArray[np.float64], labels: NDArray[np.uint16]) -> NDArray[np.float64]:
    """Of the insides of nuclei, mean over them: skewness, autocorrelation along x and along z."""
    found = []
    background = np.median(image[labels == 0])
    for label, box in enumerate(find_objects(labels), start=1):
        core = binary_erosion(labels[box] == label, iterations=4)
        if np.count_nonzero(core) < 2000:
            continue
        values = image[box] - background
        values = np.where(core, values - values[core].mean(), 0)
        variance = np.mean(values[core] ** 2)
        row = [np.mean(values[core] ** 3) / variance**1.5]
        for axis in (2, 0):
            line, both = np.moveaxis(values, axis, 0), np.moveaxis(core, axis, 0)
            for lag in LAGS:
                pairs = both[lag:] & both[:-lag]
                row.append(np.mean((line[lag:] * line[:-lag])[pairs]) / variance)
        found.append(row)
    assert len(found) > 15
    return np.mean(found, axis=0)


@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data/nuclei_3d")
def test_the_grain_is_that_of_real_nuclei():
    labels = tifffile.imread(DATA / "nuclei_label.tif").astype(np.uint16)
    real = inside(tifffile.imread(DATA / "nuclei.tif").astype(np.float64), labels)
    changes = {
        "camera.bits": 16,
        "brightness.photons": 200.0,
        "fluorophore.grain_um": 2.4,
        "fluorophore.grain_octaves": 4,
        "fluorophore.contrast": 0.5,
    }
    scope = Microscope(override(find_profile("lsm510-63x1.4"), changes))
    poses = PoseTracker(VOXEL_UM).update(0, labels)
    counts = scope.image(labels, poses, VOXEL_UM, seed=1, sequence=1, frame=0)
    ours = inside(counts.astype(np.float64), labels)
    # Bright spots stand out more than dark ones, as a lognormal has it.
    assert ours[0] == pytest.approx(real[0], abs=0.3)
    # Real: 0.71 0.49 0.34 0.24 0.12 0.06 along x, 0.81 0.67 0.51 0.37 0.18 0.08 along z.
    np.testing.assert_allclose(ours[1:], real[1:], atol=0.1)
