"""The microscope as a whole: light is conserved, noise is its own, texture moves with the cell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import convolve as slow_convolve

from cellsynth.errors import InputError, ShapeError
from cellsynth.presets.judge import override
from cellsynth.texture import microscope as module
from cellsynth.texture.microscope import Microscope, convolve
from cellsynth.texture.poses import PoseTracker
from cellsynth.texture.profiles import find_profile, shipped_profiles

VOXEL = (0.4, 0.15, 0.15)
SHAPE = (24, 48, 52)


def microscope(name="simview-16x0.8", **changes) -> Microscope:
    given = {path.replace("__", "."): value for path, value in changes.items()}
    return Microscope(override(find_profile(name), given))


def ball(centre=(12, 22, 24), radius_um=1.8, label=1, shape=SHAPE) -> np.ndarray:
    zyx = np.indices(shape).reshape(3, -1).T - np.array(centre)
    far = np.linalg.norm(zyx * np.array(VOXEL), axis=1).reshape(shape)
    return np.where(far < radius_um, label, 0).astype(np.uint16)


def taken(scope, labels, method="image", *, frame=0, voxel=VOXEL, **options):
    poses = PoseTracker(voxel).update(frame, labels, options.get("offset"))
    settings = {"seed": 4, "sequence": 2} | options
    return getattr(scope, method)(labels, poses, voxel, frame=frame, **settings)


def light_of(scope, labels, **options) -> np.ndarray:
    """Expected photoelectrons of all planes."""
    light = taken(scope, labels, "light", **options)
    return np.stack([light.plane(z) for z in range(len(labels))]).astype(np.float64)


@pytest.mark.parametrize("limit", [1 << 25, 20_000, 4_000])
def test_blocks_convolve_as_the_slow_way_does(monkeypatch, limit):
    rng = np.random.default_rng(0)
    values = rng.random((19, 30, 23), np.float32)
    values[:, :12] = 0
    kernel = rng.random((5, 7, 3), np.float32)
    monkeypatch.setattr(module, "_TRANSFORM", limit)
    expected = slow_convolve(values.astype(np.float64), kernel, mode="same", method="direct")
    np.testing.assert_allclose(convolve(values, kernel), expected, rtol=1e-5, atol=1e-5)


def test_a_kernel_may_be_larger_than_the_array():
    values = np.ones((2, 3, 1), np.float32)
    kernel = np.ones((7, 5, 9), np.float32)
    np.testing.assert_allclose(convolve(values, kernel), 6, rtol=1e-5)


def test_light_is_conserved():
    labels = ball(radius_um=1.2)
    scope = microscope(
        brightness__photons=3000.0, brightness__variation=0.0, background__photons=0.0,
        fluorophore__contrast=0.0, optics__sheet_um=2.0, camera__bits=16,
    )  # fmt: skip
    light = light_of(scope, labels)
    assert light.sum() == pytest.approx(3000 * np.count_nonzero(labels), rel=0.01)
    # The light lies where the cell does.
    centre = [np.average(axis, weights=light) for axis in np.indices(SHAPE)]
    np.testing.assert_allclose(centre, (12, 22, 24), atol=0.1)


def test_the_midst_of_a_large_cell_has_the_photons_it_is_said_to_have():
    labels = np.ones((30, 80, 80), np.uint8)
    scope = microscope(
        brightness__photons=200.0, brightness__variation=0.0, background__photons=7.0,
        background__unevenness=0.0, fluorophore__contrast=0.0,
    )  # fmt: skip
    light = light_of(scope, labels)[13:17, 30:50, 30:50]
    np.testing.assert_allclose(light, 207, rtol=0.03)
    # In an even area the counts have the variance that the camera gives them.
    counts = taken(scope, labels)[13:17, 30:50, 30:50].astype(np.float64)
    camera = scope.profile.camera
    assert counts.mean() == pytest.approx(camera.offset + camera.gain * light.mean(), rel=0.01)
    assert counts.var() == pytest.approx(
        camera.gain * (counts.mean() - camera.offset) + (camera.gain * camera.read_noise) ** 2,
        rel=0.15,
    )


def test_what_comes_back():
    for profile in shipped_profiles().values():
        counts = taken(Microscope(profile), ball())
        assert counts.shape == SHAPE
        assert counts.dtype == (np.uint8 if profile.camera.bits == 8 else np.uint16)
        assert counts.max() < 2**profile.camera.bits
        inside = ball() > 0
        noise = counts[:2, :4].std()
        assert counts[inside].mean() > counts[~inside].mean() + 3 * noise


def test_the_same_numbers_give_the_same_image_and_others_another():
    scope, labels = microscope(), ball()
    first = taken(scope, labels)
    np.testing.assert_array_equal(first, taken(scope, labels))
    for other in ({"seed": 5}, {"sequence": 3}, {"frame": 1}):
        assert (taken(scope, labels, **other) != first).mean() > 0.5


def test_planes_of_a_part_have_the_noise_of_the_whole():
    labels = np.zeros(SHAPE, np.uint16)
    whole = taken(microscope(), labels)
    part = taken(microscope(), labels[5:9], offset=(5, 0, 0))
    np.testing.assert_array_equal(part, whole[5:9])


def test_a_part_shows_the_same_cell_and_haze():
    scope = microscope(brightness__photons=5000.0, background__photons=2000.0)
    labels = ball()
    whole = light_of(scope, labels)
    part = light_of(scope, labels[:, 4:, 6:], offset=(0, 4, 6))
    np.testing.assert_allclose(part, whole[:, 4:, 6:], rtol=1e-4, atol=0.01)


def test_no_cells_is_background_and_offset():
    scope = microscope(background__unevenness=0.0, background__photons=10.0)
    counts = taken(scope, np.zeros(SHAPE, np.uint8))
    camera = scope.profile.camera
    assert counts.mean() == pytest.approx(camera.offset + 10 * camera.gain, rel=0.01)
    expected = camera.gain**2 * (10 + camera.read_noise**2)
    assert counts.var() == pytest.approx(expected, rel=0.05)


def test_haze_stays_where_it_is():
    scope = microscope(
        background__unevenness=0.5, background__photons=5000.0, background__feature_um=3.0
    )
    empty = np.zeros(SHAPE, np.uint8)
    first, second = (light_of(scope, empty, frame=t) for t in (0, 1))
    assert first.std() > 0.2 * first.mean()
    np.testing.assert_array_equal(first, second)
    # No steps between the points of the lattice that it is computed on.
    assert np.abs(np.diff(np.log(first), axis=2)).max() < 0.3


def test_bleaching_takes_its_share_of_each_frame():
    scope = microscope(
        brightness__bleaching=0.1, brightness__photons=20000.0, background__photons=0.0
    )
    lights = [light_of(scope, ball(), frame=t).sum() for t in (0, 1, 5)]
    assert lights[1] / lights[0] == pytest.approx(0.9, rel=1e-3)
    assert lights[2] / lights[0] == pytest.approx(0.9**5, rel=1e-3)


def test_sequences_differ_in_brightness():
    scope = microscope(brightness__variation=0.5, background__photons=0.0)
    lights = [light_of(scope, ball(), sequence=s).sum() for s in range(12)]
    assert np.log(lights).std() == pytest.approx(0.5, abs=0.25)


@pytest.mark.parametrize(("z_step_um", "every"), [(0.1, 1), (0.4, 1), (1.2, 3), (99.0, 24)])
def test_a_projection_is_the_largest_of_planes_z_step_apart(z_step_um, every):
    scope = microscope(optics__z_step_um=z_step_um)
    stack = taken(scope, ball())
    flat = taken(scope, ball(), "image_of_projection")
    assert flat.dtype == stack.dtype
    if every < len(stack):
        np.testing.assert_array_equal(flat, stack[::every].max(axis=0))
    else:
        np.testing.assert_array_equal(flat, stack[0])


def test_texture_moves_with_the_cell():
    scope = microscope(
        "lsm510-63x1.4", brightness__photons=2e5, background__photons=0.0,
        camera__bits=16, camera__gain=0.1, fluorophore__contrast=0.6,
    )  # fmt: skip
    before, after = ball(), ball(centre=(13, 27, 21))
    tracker = PoseTracker(VOXEL)
    images = []
    for t, labels in enumerate((before, after)):
        poses = tracker.update(t, labels)
        settings = {"seed": 1, "sequence": 1, "frame": t}
        images.append(scope.image(labels, poses, VOXEL, **settings).astype(float))
    here, there = images[0][before > 0], images[1][after > 0]
    core = ball(radius_um=1.2)[before > 0] > 0
    assert np.corrcoef(here[core], there[core])[0, 1] > 0.98
    other = scope.image(before, poses, VOXEL, seed=2, sequence=1, frame=0)[before > 0]
    assert np.corrcoef(here[core], other[core])[0, 1] < 0.8


def test_a_division_is_seen():
    scope = microscope("lsm510-63x1.4", background__photons=0.0, camera__bits=16)
    rest = light_of(scope, ball())
    last = light_of(scope, ball(), frames_to_division={1: 1})
    born = light_of(scope, ball(), frames_since_division={1: 0})
    brighter = scope.profile.fluorophore.condensed_brightness
    for found in (last, born):
        assert found.sum() / rest.sum() == pytest.approx(brighter, rel=0.15)


def test_what_cannot_be_is_refused():
    with pytest.raises(ShapeError, match=r"must be \(z, y, x\), got shape \(48, 52\)"):
        microscope().image(ball()[0], {}, VOXEL, seed=1, sequence=1, frame=0)
    with pytest.raises(InputError, match="label 1 has no pose"):
        microscope().image(ball(), {}, VOXEL, seed=1, sequence=1, frame=0)
    with pytest.raises(InputError, match="frame must be at least 0, got -1"):
        microscope().image(ball(), {}, VOXEL, seed=1, sequence=1, frame=-1)
