"""How bright the background is: measured in training images, described by few numbers, drawn anew.

Away from cells an image is smoothed until noise is gone; what is left is a map of the background.
It is taken for a sum of a mean, a trend over the frames, a normal deviation of the sequence, and a
normal field that stands still, whose areas are of one size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter

from cellsynth.errors import InputError
from cellsynth.presets.texture import BackgroundSpec
from cellsynth.shapes.distance import label_distance
from cellsynth.texture.conditions import resample_image
from cellsynth.texture.draws import even_normal
from cellsynth.texture.grain import SPACINGS_PER_FEATURE
from cellsynth.texture.haze import grain_haze

__all__ = [
    "BackgroundDraw",
    "BackgroundMap",
    "background_map",
    "fit_background",
    "standard_background",
]

WIDTH = 10  # pixels, of the Gaussian: a thirtieth of white noise is left
STEPS = 2  # of the map's grid to that width
PULL = 1e-3  # weight of the frame's median, which fills in where cells lie close together
VARIES = 0.1  # deviation of the map, in those of the noise, below which it is not worth a condition
FAR = 4.0  # deviations at which a condition is cut
RARE = 0.01  # share of the maps at either end, where it is cut too: a generator hardly knows them
# Robust deviations of the pixels beyond which one is no background: debris, a cell without a label.
STRANGE = 5.0
SIZES = 40  # sizes of areas that are tried
# Nothing else of a sequence has this number, see :mod:`cellsynth.texture.microscope`.
_FIELD = (1 << 16) + 3


@dataclass(frozen=True)
class BackgroundMap:
    """The background of one frame.

    Attributes:
        sequence: Name of its sequence.
        frame: Number of the frame.
        values: Counts on a coarse grid over the frame, ``(z, y, x)`` or ``(y, x)``.
        step_um: Size of the grid's voxels.
        noise: Standard deviation of the pixels that it was made of.
    """

    sequence: str
    frame: int
    values: NDArray[np.float32]
    step_um: tuple[float, ...]
    noise: float


def background_map(
    sequence: str,
    frame: int,
    labels: NDArray[Any],
    image: NDArray[Any],
    voxel_size_um: Sequence[float],
    reach_um: float,
) -> BackgroundMap | None:
    """The background of a frame, under cells too, where their surroundings tell it.

    Pixels at least ``reach_um`` from any cell count, or all outside cells where hardly any is that
    far; but none that differs much from their median. They are averaged by a Gaussian whose
    standard deviation is ten pixels, in µm on all axes.

    Returns:
        None where cells leave no background.
    """
    flat = labels.ndim == 2
    size = (1.0, *voxel_size_um) if flat else tuple(voxel_size_um)
    distance = label_distance(labels[None] if flat else labels, size, limit_um=reach_um)
    far = distance.reshape(labels.shape) >= reach_um * (1 - 1e-6)
    if far.mean() < 0.01:
        far = labels == 0
    if not far.any():
        return None
    far &= _usual(image, far)
    pixels = image[far]
    width_um = WIDTH * voxel_size_um[-1]
    shape = tuple(
        min(n, max(1, round(n * one * STEPS / width_um)))
        for n, one in zip(labels.shape, voxel_size_um, strict=True)
    )
    step = tuple(n * one / m for n, one, m in zip(labels.shape, voxel_size_um, shape, strict=True))
    width = [width_um / one for one in step]
    light = gaussian_filter(resample_image(np.where(far, image, 0), shape), width, mode="nearest")
    share = gaussian_filter(resample_image(far, shape), width, mode="nearest")
    values = (light + PULL * float(np.median(pixels))) / (share + PULL)
    return BackgroundMap(sequence, frame, values, step, float(pixels.std(dtype=np.float64)))


def _usual(image: NDArray[Any], which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where an image is not far from the median of some pixels, in deviations of a normal one."""
    median = float(np.median(image[which]))
    off = np.abs(image - np.float32(median))
    deviation = 1.4826 * float(np.median(off[which]))
    return off <= STRANGE * deviation if deviation else np.ones(which.shape, bool)


def standard_background(
    values: NDArray[np.float32], shape: tuple[int, ...], spec: BackgroundSpec
) -> NDArray[np.float32]:
    """The condition on the grid of a frame, of a map's values."""
    return _cut(resample_image(values, shape), spec)


def fit_background(maps: Iterable[BackgroundMap]) -> BackgroundSpec:
    """Describe the background of measured frames.

    Squared differences over the distance within frames give the field, what is left of the
    variance is the sequences', if there are several. Where the field is as wide as the frames,
    both are much the same.

    Raises:
        InputError: There is no background, or it is so even that it tells nothing.
    """
    every = list(maps)
    if not every:
        raise InputError("background: cells fill every frame")
    sums = np.array([(x.values.size, x.values.sum(dtype="f8")) for x in every]).sum(axis=0)
    mean = float(sums[1] / sums[0])
    total = sum(float(((x.values - mean) ** 2).sum(dtype="f8")) for x in every) / float(sums[0])
    deviation = float(np.sqrt(total))
    noise = float(np.mean([x.noise for x in every]))
    if deviation <= max(VARIES * noise, 1e-6):
        raise InputError(
            f"background: it varies by {deviation:.3g} counts where pixels do by {noise:.3g}"
        )
    trend = _trend(every)
    frames = np.array([x.frame for x in every], float)
    rest = max(total - trend**2 * float(frames.var()), 0.0)
    field, feature_um = _field(every, rest)
    values = np.concatenate([x.values.ravel() for x in every])
    lowest, highest = (float(x) for x in np.quantile(values, (RARE, 1 - RARE)))
    # Of a single sequence nothing is known of others.
    alone = len({x.sequence for x in every}) == 1
    return BackgroundSpec(
        mean=mean,
        deviation=deviation,
        lowest=min(max((lowest - mean) / deviation, -FAR), 0.0),
        highest=max(min((highest - mean) / deviation, FAR), 0.0),
        between_sequences=0.0 if alone else float(np.sqrt(max(rest - field, 0.0))),
        unevenness=float(np.sqrt(field)),
        feature_um=feature_um,
        middle=float(frames.mean()),
        trend=trend,
    )


class BackgroundDraw:
    """The background of one sequence, drawn anew."""

    def __init__(
        self,
        spec: BackgroundSpec,
        shape: tuple[int, ...],
        voxel_size_um: Sequence[float],
        *,
        seed: int,
        sequence: int,
    ) -> None:
        """Draw it.

        Args:
            spec: What it is like.
            shape: Of a frame, ``(z, y, x)`` or ``(y, x)``.
            voxel_size_um: Likewise.
            seed: Of the data set.
            sequence: Number of the sequence.
        """
        self._spec = spec
        self._level = spec.mean + spec.between_sequences * even_normal(seed, sequence, 1)
        deep = len(shape) == 3
        self._haze = grain_haze(
            (seed, sequence, _FIELD),
            shape if deep else (1, *shape),
            voxel_size_um if deep else (1.0, *voxel_size_um),
            spec.feature_um,
        )

    def plane(self, frame: int, z: int = 0) -> NDArray[np.float32]:
        """The condition of plane ``z`` in a frame, ``(y, x)``."""
        s = self._spec
        level = self._level + s.trend * (frame - s.middle)
        return _cut(level + s.unevenness * self._haze.plane(z), s)


def _cut(counts: NDArray[Any], spec: BackgroundSpec) -> NDArray[np.float32]:
    values = (counts - np.float32(spec.mean)) / np.float32(spec.deviation)
    return np.asarray(np.clip(values, spec.lowest, spec.highest), np.float32)


def _trend(maps: Sequence[BackgroundMap]) -> float:
    """Counts gained per frame within sequences."""
    names = [x.sequence for x in maps]
    frames = np.array([x.frame for x in maps], float)
    levels = np.array([x.values.mean(dtype="f8") for x in maps])
    for name in set(names):
        mine = np.array([other == name for other in names])
        frames[mine] -= frames[mine].mean()
        levels[mine] -= levels[mine].mean()
    square = float((frames**2).sum())
    return float((frames * levels).sum()) / square if square > 0 else 0.0


def _field(maps: Sequence[BackgroundMap], most: float) -> tuple[float, float]:
    """Variance of the field, at most ``most``, and the diameter of its areas.

    Half the mean squared difference at a distance is v · (1 - correlation); that of the grain is
    the B-spline of degree 7. Distances up to half a frame's side are looked at.
    """
    found: dict[float, NDArray[np.float64]] = {}
    side_um = 0.0
    for one in maps:
        for axis in (-2, -1):
            n, step = one.values.shape[axis], one.step_um[axis]
            side_um = max(side_um, n * step)
            moved = np.moveaxis(one.values.astype(np.float64), axis, 0)
            for lag in range(1, n // 2 + 1):
                square = (moved[lag:] - moved[:-lag]) ** 2 / 2
                pair = np.array([square.sum(), square.size])
                key = round(lag * step, 6)
                found[key] = found.get(key, np.zeros(2)) + pair
    if not found:
        return 0.0, max(side_um, *maps[0].step_um)
    distances = np.array(sorted(found))
    seen = np.array([found[key][0] / found[key][1] for key in sorted(found)])
    weights = np.array([found[key][1] for key in sorted(found)])
    spline = BSpline.basis_element(np.arange(9) - 4.0, extrapolate=False)
    best, variance, feature_um = np.inf, 0.0, side_um
    for tried in np.geomspace(distances[0], 4 * side_um, SIZES):
        places = distances * SPACINGS_PER_FEATURE / tried
        shape = 1 - np.nan_to_num(spline(places)) / spline(0.0)
        fitted = float((weights * seen * shape).sum() / (weights * shape**2).sum())
        fitted = min(fitted, most)
        misfit = float((weights * (seen - fitted * shape) ** 2).sum())
        if misfit < best:
            best, variance, feature_um = misfit, fitted, float(tried)
    return variance, feature_um
