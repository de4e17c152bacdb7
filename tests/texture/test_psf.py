"""Point spread functions against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import j1

from cellsynth.texture.profiles import Optics, shipped_profiles
from cellsynth.texture.psf import airy_unit_um, axial_fwhm_um, intensity, psf_kernel

EMISSION_UM = 0.51
NO_Z = np.zeros(1)


def optics(**changes) -> Optics:
    settings = {
        "modality": "widefield",
        "magnification": 63.0,
        "na": 1.4,
        "immersion_index": 1.515,
        "sample_index": 1.515,
        "excitation_nm": 488.0,
        "emission_nm": 1000 * EMISSION_UM,
        "z_step_um": 1.0,
    }
    return Optics(**(settings | changes))


def fwhm(places: np.ndarray, values: np.ndarray) -> float:
    """Full width at half maximum of a peak, ``values``, wherever it lies."""
    fine = np.linspace(places[0], places[-1], 20_001)
    above = fine[np.interp(fine, places, values) >= values.max() / 2]
    return float(above[-1] - above[0])


@pytest.mark.parametrize("na", [0.3, 0.8, 1.3, 1.4])
def test_lateral_width_of_a_spot(na):
    radii = np.linspace(-1, 1, 2001) * 0.6 * EMISSION_UM / na
    found = fwhm(radii, intensity(np.abs(radii), NO_Z, optics(na=na), 1000 * EMISSION_UM)[0])
    # 0.514 λ/NA for small apertures; a wide cone has relatively more of its steepest rays.
    assert found == pytest.approx(0.51 * EMISSION_UM / na, rel=0.03)


@pytest.mark.parametrize(("na", "index"), [(0.3, 1.0), (0.8, 1.333), (1.3, 1.515), (1.4, 1.515)])
def test_axial_width_of_a_spot(na, index):
    system = optics(na=na, immersion_index=index, sample_index=index)
    expected = 0.88 * EMISSION_UM / (index - math.sqrt(index**2 - na**2))
    assert axial_fwhm_um(system, 1000 * EMISSION_UM) == pytest.approx(expected)
    z = np.linspace(-1, 1, 2001) * expected
    found = fwhm(z, intensity(np.zeros(1), z, system, 1000 * EMISSION_UM)[:, 0])
    assert found == pytest.approx(expected, rel=0.03)


def test_a_small_aperture_gives_the_airy_disk():
    system = optics(na=0.2)
    radii = np.linspace(1e-3, 5, 500)
    v = 2 * math.pi * system.na * radii / EMISSION_UM
    found = intensity(radii, NO_Z, system, 1000 * EMISSION_UM)[0]
    np.testing.assert_allclose(found, (2 * j1(v) / v) ** 2, atol=2e-3)
    dark = intensity(np.array([airy_unit_um(system) / 2]), NO_Z, system, 1000 * EMISSION_UM)
    assert dark[0, 0] < 1e-4


def test_a_plane_out_of_focus_holds_as_much_light():
    system = optics(na=0.8, immersion_index=1.333, sample_index=1.333)
    radii = np.arange(0, 12, 0.005)
    planes = intensity(radii, np.array([0.0, 1.0, 2.0]), system, 1000 * EMISSION_UM)
    light = (planes * radii).sum(axis=1)
    np.testing.assert_allclose(light, light[0], rtol=0.02)


def profiles_of(kernel: np.ndarray, voxel_um: float) -> tuple[float, float]:
    """Axial and lateral widths through the brightest voxel."""
    z, y, x = np.unravel_index(kernel.argmax(), kernel.shape)
    places = [np.arange(n) * voxel_um for n in kernel.shape]
    return fwhm(places[0], kernel[:, y, x]), fwhm(places[2], kernel[z, y])


def test_a_confocal_spot_is_narrower_by_the_square_root_of_2():
    voxel = (0.02, 0.02, 0.02)
    wide = psf_kernel(optics(excitation_nm=510.0), voxel)
    pinholes = [
        psf_kernel(optics(excitation_nm=510.0, modality="confocal", pinhole_airy=a), voxel)
        for a in (0.0, 1.0, 6.0)
    ]
    axial, lateral = profiles_of(wide, 0.02)
    widths = [profiles_of(kernel, 0.02) for kernel in pinholes]
    assert axial / widths[0][0] == pytest.approx(math.sqrt(2), rel=0.04)
    assert lateral / widths[0][1] == pytest.approx(math.sqrt(2), rel=0.04)
    # A wider pinhole gives this up again: with an open one, excitation alone cuts.
    assert widths[0][1] < widths[1][1] < widths[2][1]
    assert widths[2][1] == pytest.approx(lateral, rel=0.04)


def test_a_light_sheet_cuts_along_z():
    water = {"na": 0.8, "immersion_index": 1.333, "sample_index": 1.333}
    voxel = (0.1, 0.1, 0.1)
    axial = axial_fwhm_um(optics(**water), 510.0)
    thin = psf_kernel(optics(**water, modality="light-sheet", sheet_um=0.6), voxel)
    thick = psf_kernel(optics(**water, modality="light-sheet", sheet_um=20.0), voxel)
    # Two peaks multiplied: as if both were Gaussian, 1/w² = 1/a² + 1/b².
    assert profiles_of(thin, 0.1)[0] == pytest.approx((axial**-2 + 0.6**-2) ** -0.5, rel=0.05)
    assert profiles_of(thick, 0.1)[0] == pytest.approx(axial, rel=0.05)


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
@pytest.mark.parametrize("voxel", [(1.0, 0.1, 0.1), (0.06, 0.06, 0.06), (2.0, 0.4, 0.5)])
def test_a_kernel_sums_to_1_and_is_symmetric(name, voxel):
    kernel = psf_kernel(shipped_profiles()[name].optics, voxel)
    assert kernel.dtype == np.float32
    assert all(n % 2 == 1 for n in kernel.shape)
    assert kernel.sum(dtype=np.float64) == pytest.approx(1, abs=1e-5)
    assert (kernel >= 0).all()
    np.testing.assert_array_equal(kernel, kernel[:, ::-1])
    np.testing.assert_array_equal(kernel, kernel[:, :, ::-1])
    if voxel[1] == voxel[2]:
        np.testing.assert_allclose(kernel, kernel.swapaxes(1, 2), rtol=1e-5)
    peak = np.unravel_index(kernel.argmax(), kernel.shape)
    assert peak[1:] == (kernel.shape[1] // 2, kernel.shape[2] // 2)
    assert abs(peak[0] - kernel.shape[0] // 2) * voxel[0] <= 0.2


def test_without_aberration_it_is_symmetric_along_z():
    kernel = psf_kernel(optics(modality="confocal", pinhole_airy=1.0), (0.1, 0.1, 0.1))
    np.testing.assert_allclose(kernel, kernel[::-1], rtol=1e-4, atol=1e-9)


def test_a_coarse_kernel_is_the_fine_one_summed_over_its_voxels():
    system = optics(na=0.8, immersion_index=1.333, sample_index=1.333)
    fine = psf_kernel(system, (0.3, 0.1, 0.1))
    coarse = psf_kernel(system, (0.3, 0.3, 0.3))
    z, y, x = (n // 2 for n in fine.shape)
    middle = fine[:, y - 1 : y + 2, x - 1 : x + 2].sum(axis=(1, 2), dtype=np.float64)
    mine = coarse[:, coarse.shape[1] // 2, coarse.shape[2] // 2]
    assert middle[z] == pytest.approx(mine[len(mine) // 2], rel=0.05)


def test_a_sample_of_another_index_blurs_the_deeper_the_more():
    voxel = (0.05, 0.05, 0.05)
    confocal = {"modality": "confocal", "pinhole_airy": 1.0}
    matched = psf_kernel(optics(**confocal, depth_um=10.0), voxel)
    np.testing.assert_array_equal(matched, psf_kernel(optics(**confocal), voxel))
    widths = [
        profiles_of(psf_kernel(optics(**confocal, sample_index=1.37, depth_um=d), voxel), 0.05)[0]
        for d in (0.0, 4.0, 8.0)
    ]
    assert widths[0] < widths[1] < widths[2]
