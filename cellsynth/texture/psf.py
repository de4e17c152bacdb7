"""Point spread functions: how a point of light in the sample spreads over the voxels of an image.

The light of a point is a spherical wave behind the objective's aperture; its amplitude at radius r
and defocus z is the scalar Debye integral over the cone of angles that the aperture admits,

    A(r, z) = ∫ √cosθ · J₀(k n r sinθ) · exp(i k (n z cosθ + aberration(θ))) d cosθ,

with the aplanatic factor √cosθ. A sample of another refractive index than the immersion medium adds
the aberration of Gibson and Lanni for a point that lies ``depth_um`` under the cover glass, at
first order. What lies in the image is

    widefield        |A|² at the wavelength of emission,
    confocal         |A|² at excitation · (|A|² at emission, spread by the pinhole),
    spinning disk    the same, its pinhole being a hole of the disk; light that comes through
                     neighbouring holes is left out,
    light sheet      |A|² at emission · the sheet's Gaussian profile along z.

Polarisation is left out, which at NA 1.4 makes the spot rounder and narrower by a tenth or so.

Source: Born and Wolf, Principles of Optics, 8.8; Gibson and Lanni 1991, J. Opt. Soc. Am. A 8.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0

from cellsynth.geometry import Triple
from cellsynth.texture.profiles import Optics

__all__ = ["airy_unit_um", "intensity", "psf_kernel"]

_NODES = 256  # of the quadrature; exact to rounding as long as k r and k z stay below some 300
_PER_FWHM = 6  # points a kernel is evaluated at over the width of its peak, per axis
_RADIAL = 0.02  # spacing of radii in a table, in units of λ / NA
_ENERGY = 0.98  # share of the light that the kernel's width holds
_FAINTEST = 0.01  # a plane with less than this share of the brightest plane's light is cut off
# A widefield plane never holds less light than another: it is cut off at so many axial widths.
_WIDEFIELD_WIDTHS = 4
_PINHOLE = 0.1  # spacing of points in a pinhole, in units of λ / NA


def airy_unit_um(optics: Optics) -> float:
    """Diameter of the first dark ring of a point's image, in µm in the sample."""
    return 1.22 * optics.emission_nm / 1000 / optics.na


def intensity(
    radii_um: NDArray[np.float64], z_um: NDArray[np.float64], optics: Optics, wavelength_nm: float
) -> NDArray[np.float64]:
    """|A|² of one wavelength, ``(z, r)``, with the brightest point of the axis at z = 0 and 1."""
    na, index = optics.na, optics.immersion_index
    k = 2 * math.pi / (wavelength_nm / 1000)
    # Steeper rays are reflected back at the cover glass.
    widest = min(na, optics.sample_index * (1 - 1e-9))
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    low = math.sqrt(1 - (widest / index) ** 2)
    cos = low + (1 - low) * (nodes + 1) / 2
    sin = np.sqrt(1 - cos**2)
    in_sample = np.sqrt(optics.sample_index**2 - (index * sin) ** 2)
    aberration = k * optics.depth_um * (in_sample - index * cos)
    pupil = weights * np.sqrt(cos) * np.exp(1j * aberration)

    def on_axis(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.abs(np.exp(1j * k * index * np.multiply.outer(z, cos)) @ pupil) ** 2)

    # An aberration moves the focus; the stage is taken to have been moved after it.
    axial_um = axial_fwhm_um(optics, wavelength_nm)
    reach = 3 * axial_um + abs(optics.depth_um)
    focus = 0.0
    if optics.depth_um and optics.sample_index != index:
        for _ in range(3):
            places = focus + np.linspace(-reach, reach, 401)
            focus = float(places[on_axis(places).argmax()])
            reach /= 50
    phases = np.exp(1j * k * index * np.multiply.outer(np.asarray(z_um) + focus, cos))
    bessel = j0(k * index * np.multiply.outer(sin, radii_um))
    field = phases @ (pupil[:, None] * bessel)  # (z, node) · (node, r)
    return np.asarray(np.abs(field) ** 2 / on_axis(np.array([focus])))


def axial_fwhm_um(optics: Optics, wavelength_nm: float) -> float:
    """Width along z of an unaberrated point, 0.88 λ / (n - √(n² - NA²))."""
    na, index = optics.na, optics.immersion_index
    return 0.88 * wavelength_nm / 1000 / (index - math.sqrt(index**2 - na**2))


@lru_cache(maxsize=8)
def psf_kernel(optics: Optics, voxel_size_um: Triple) -> NDArray[np.float32]:
    """The point spread function on voxels: the share of a voxel's light that each voxel receives.

    Both the voxel that shines and the pixel that receives have an extent: along y and x the
    function is averaged over a pixel, along z over a voxel.

    Args:
        optics: Objective and modality.
        voxel_size_um: Voxel size in z, y, x.

    Returns:
        ``(z, y, x)`` float32 of odd shape, symmetric on every axis where nothing aberrates (else
        along y and x), sum 1, read-only.
    """
    half_um = _axial_reach(optics)
    z, z_count = _samples(voxel_size_um[0], half_um, axial_fwhm_um(optics, optics.emission_nm))
    step = _RADIAL * optics.emission_nm / 1000 / optics.na
    steepest = math.tan(math.asin(min(optics.na / optics.immersion_index, 0.95)))
    radii = np.arange(0, 8 * optics.emission_nm / 1000 / optics.na + half_um * steepest, step)
    table = _detected(radii, z, optics)  # (z, r)
    within = np.cumsum((table * radii).sum(axis=0))
    wide_um = float(radii[np.searchsorted(within, _ENERGY * within[-1])])
    width = 0.51 * optics.emission_nm / 1000 / optics.na
    y, y_count = _samples(voxel_size_um[1], wide_um, width)
    x, x_count = _samples(voxel_size_um[2], wide_um, width)
    planes = []
    # One quarter is computed; the others mirror it.
    rows, columns = y[len(y) // 2 - y_count // 2 :], x[len(x) // 2 - x_count // 2 :]
    distance = np.hypot(rows[:, None], columns[None, :])
    for part in table.reshape(-1, z_count, len(radii)):
        fine = np.interp(distance, radii, part.mean(axis=0), right=0.0)
        shape = (len(rows) // y_count, y_count, len(columns) // x_count, x_count)
        planes.append(fine.reshape(shape).mean(axis=(1, 3)))
    quarter = np.stack(planes)
    half = np.concatenate([quarter[:, :0:-1], quarter], axis=1)
    kernel = np.concatenate([half[:, :, :0:-1], half], axis=2)
    shares: NDArray[np.float32] = (kernel / kernel.sum()).astype(np.float32)
    shares.setflags(write=False)
    return shares


def _samples(voxel_um: float, half_um: float, fwhm_um: float) -> tuple[NDArray[np.float64], int]:
    """Positions about 0 that divide an odd number of voxels evenly, an odd number in each."""
    voxels = 2 * math.ceil(max(0.0, half_um / voxel_um - 0.5)) + 1
    count = math.ceil(voxel_um / (fwhm_um / _PER_FWHM))
    count += 1 - count % 2
    n = voxels * count
    return (np.arange(n) - (n - 1) / 2) * voxel_um / count, count


def _axial_reach(optics: Optics) -> float:
    """Distance from the focal plane, in µm, beyond which planes hold hardly any light."""
    axial_um = axial_fwhm_um(optics, optics.emission_nm)
    if optics.modality == "widefield":
        return _WIDEFIELD_WIDTHS * axial_um
    if optics.modality == "light-sheet":
        assert optics.sheet_um is not None  # the model sees to it
        return optics.sheet_um * math.sqrt(math.log(1 / _FAINTEST) / math.log(2)) / 2
    # An aberration makes it longer than the closed form says.
    z = np.linspace(0, 8 * axial_um, 161)
    radii = np.arange(0, 6, 2 * _RADIAL) * optics.emission_nm / 1000 / optics.na
    light = np.maximum(
        *((_detected(radii, side * z, optics) * radii).sum(axis=1) for side in (1, -1))
    )
    return float(z[np.flatnonzero(light >= _FAINTEST * light.max())[-1]])


def _detected(
    radii: NDArray[np.float64], z: NDArray[np.float64], optics: Optics
) -> NDArray[np.float64]:
    """Light that reaches the detector from a point at (z, r), ``(z, r)``, in any unit."""
    emitted = intensity(radii, z, optics, optics.emission_nm)
    if optics.modality == "widefield":
        return emitted
    if optics.modality == "light-sheet":
        assert optics.sheet_um is not None
        sheet = np.exp(-4 * math.log(2) * (z / optics.sheet_um) ** 2)
        return np.asarray(emitted * sheet[:, None])
    assert optics.pinhole_airy is not None
    radius_um = optics.pinhole_airy * airy_unit_um(optics) / 2
    spacing_um = _PINHOLE * optics.emission_nm / 1000 / optics.na
    through = _through_pinhole(emitted, radii, radius_um, spacing_um)
    return intensity(radii, z, optics, optics.excitation_nm) * through


def _through_pinhole(
    emitted: NDArray[np.float64], radii: NDArray[np.float64], radius_um: float, spacing_um: float
) -> NDArray[np.float64]:
    """The mean of ``emitted`` over a disc around each radius, both ``(z, r)``."""
    if radius_um == 0:
        return emitted
    # Rings of equal width, as heavy as they are wide round; half of the circle mirrors the other.
    rings = math.ceil(radius_um / spacing_um) + 1
    spokes = math.ceil(math.pi * radius_um / spacing_um) + 6
    ring = radius_um * (np.arange(rings) + 0.5) / rings
    angle = np.pi * (np.arange(spokes) + 0.5) / spokes
    offset_along, offset_across = np.outer(ring, np.cos(angle)), np.outer(ring, np.sin(angle))
    weight = np.broadcast_to((ring / ring.sum() / spokes)[:, None], offset_along.shape).ravel()
    far = np.hypot(radii[:, None] + offset_along.ravel(), offset_across.ravel())
    place = np.minimum(far / radii[1], len(radii) - 1)
    low = np.minimum(place.astype(np.intp), len(radii) - 2)
    share = place - low
    # A sparse matrix, written densely: (r, r) weights of the table's radii.
    weights = np.zeros((len(radii), len(radii)))
    rows = np.repeat(np.arange(len(radii)), far.shape[1])
    np.add.at(weights, (rows, low.ravel()), ((1 - share) * weight).ravel())
    np.add.at(weights, (rows, low.ravel() + 1), (share * weight).ravel())
    return np.asarray(emitted @ weights.T)
