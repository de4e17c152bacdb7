"""The course of a division in numbers: sizes, moment, axis and distances, minute by minute.

A course comes from the published statistics of C. elegans nuclei (:func:`draw_course`) or from a
real division of a lineage table (:func:`course_from_table`). The bodies are modelled around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from cellsynth.shapes.phantoms.starrynite import TableDivision

__all__ = ["Course", "course_from_table", "draw_course", "has_table_error"]

Array = NDArray[np.float64]

# Measured on 648 divisions of one embryo: mean and standard deviation over the divisions, in µm.
_MOTHER_UM = (2.71, 0.50)
_LAST_MINUTES = (2.67 / 2.71, 2.55 / 2.71, 2.49 / 2.71)
_BIRTH_UM = (2.31, 0.34)
_LATE_UM = (2.43, 0.50)
_DISTANCES_UM = ((3.32, 1.03), (4.46, 0.93), (5.17, 1.95))
_DISTANCE_MINUTES = (0, 1, 6)
_VOLUME_RATIO = 0.84
_TURN_DEGREES = (23.0, 13.0)
_STUDY_MINUTES = 15
# Sizes and distances of one division go together: correlations of the standard scores of
# (mother, birth, late, the three distances), rounded.
_CORRELATION = np.array(
    [
        [1.0, 0.6, 0.85, 0.4, 0.7, 0.7],
        [0.6, 1.0, 0.75, 0.4, 0.65, 0.6],
        [0.85, 0.75, 1.0, 0.45, 0.7, 0.75],
        [0.4, 0.4, 0.45, 1.0, 0.65, 0.5],
        [0.7, 0.65, 0.7, 0.65, 1.0, 0.8],
        [0.7, 0.6, 0.75, 0.5, 0.8, 1.0],
    ]
)

# Standard deviations of the smoothing, in minutes. From one minute to the next the table's centres
# jitter by more than nuclei move (their second differences exceed the first); its sizes come in
# steps of two units, but fall within three minutes before a division.
_AXIS_MEMORY = 2.5
_DISTANCE_MEMORY = 2.0
_SIZE_MEMORY = 1.5

# What no nucleus does from one minute to the next, but a table with a mistaken track does.
_JUMP_UM = 2.5
_TURN_LIMIT_DEGREES = 45.0
_GROWTH_LIMIT = 1.8


@dataclass(frozen=True, eq=False)
class Course:
    """One division, one entry per frame; frames are a minute apart.

    Attributes:
        cells: Names of the mother and the two daughters.
        mother_um: Diameters of the mother ``(d,)``, up to the last frame before the division.
        daughters_um: Diameters of the daughters ``(n - d, 2)``.
        separations_um: From the first daughter's centre to the second's, ``(n - d, 3)`` in z, y, x.
    """

    cells: tuple[str, str, str]
    mother_um: Array
    daughters_um: Array
    separations_um: Array


def draw_course(rng: np.random.Generator, division_frame: int, n_frames: int, name: str) -> Course:
    """A course drawn from the published statistics of 648 divisions.

    Args:
        division_frame: First frame with daughters, 1 to ``n_frames`` - 1.
        name: Name of the mother; the daughters are her ``a`` and ``p``.
    """
    scores = np.clip(rng.multivariate_normal(np.zeros(6), _CORRELATION), -2, 2)
    mother, birth, late = (
        mean + deviation * score
        for (mean, deviation), score in zip(
            (_MOTHER_UM, _BIRTH_UM, _LATE_UM), scores[:3], strict=True
        )
    )
    before = np.full(division_frame, mother)
    last = min(3, division_frame)
    before[-last:] *= _LAST_MINUTES[-last:]

    minutes = np.arange(n_frames - division_frame, dtype=np.float64)
    progress = _settling(minutes, 6.0)
    # A beta variable keeps the ratio in (0, 1) with the published mean.
    ratio = rng.beta(8 * _VOLUME_RATIO, 8 * (1 - _VOLUME_RATIO)) ** (1 / 3)
    shares = np.array([1.0, ratio]) * 2 / (1 + ratio)
    after = (birth + (late - birth) * progress)[:, None] * rng.permutation(shares)

    knots = [m + d * score for (m, d), score in zip(_DISTANCES_UM, scores[3:], strict=True)]
    knots[1] = max(knots[1], knots[0])
    # Steady from the seventh frame on: the last published figure.
    last_minute = _DISTANCE_MINUTES[-1]
    distances = PchipInterpolator(_DISTANCE_MINUTES, knots)(np.minimum(minutes, last_minute))
    axis = _unit(rng.standard_normal(3))
    side = _unit(np.cross(axis, rng.standard_normal(3)))
    turn = math.radians(max(0.0, rng.normal(*_TURN_DEGREES)))
    angles = (turn * _settling(minutes, 5.0))[:, None]
    axes = np.cos(angles) * axis + np.sin(angles) * side
    return Course((name, name + "a", name + "p"), before, after, distances[:, None] * axes)


def course_from_table(division: TableDivision, division_frame: int, n_frames: int) -> Course:
    """The course of a real division, freed of the table's rounding.

    The mother's last ``division_frame`` minutes and the daughters' first are smoothed apart from
    each other, so that nothing of one leaks into the other. So is the leap of the daughters from
    the first to the second minute: the first distance stands as it is in the table.
    """
    n_after = n_frames - division_frame
    first, second = division.daughters
    separation = second.centres_um[:n_after] - first.centres_um[:n_after]
    distance = np.linalg.norm(separation, axis=1)
    axes = _smooth(separation / distance[:, None], _AXIS_MEMORY)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    if n_after > 1:
        distance[1:] = _smooth(distance[1:], _DISTANCE_MEMORY)
    daughters = [_smooth(d.diameters_um[:n_after], _SIZE_MEMORY) for d in (first, second)]
    return Course(
        (division.mother.name, first.name, second.name),
        _smooth(division.mother.diameters_um[-division_frame:], _SIZE_MEMORY),
        np.stack(daughters, axis=1),
        distance[:, None] * axes,
    )


def has_table_error(division: TableDivision, before: int, after: int) -> bool:
    """Whether the last ``before`` and first ``after`` minutes show a jump no nucleus makes."""
    first, second = (d.centres_um[:after] for d in division.daughters)
    separation = second - first
    distance = np.linalg.norm(separation, axis=1)
    if distance.min() <= 0:
        return True
    axes = separation / distance[:, None]
    cosines = np.sum(axes[1:] * axes[:-1], axis=1)
    jumps = [np.diff(separation[1:], axis=0), np.diff(division.mother.centres_um[-before:], axis=0)]
    sizes = [division.mother.diameters_um[-before:]]
    sizes += [daughter.diameters_um[:after] for daughter in division.daughters]
    return bool(
        any(np.any(np.linalg.norm(jump, axis=1) > _JUMP_UM) for jump in jumps)
        or np.any(cosines < math.cos(math.radians(_TURN_LIMIT_DEGREES)))
        or any(np.any(np.abs(np.diff(np.log(size))) > math.log(_GROWTH_LIMIT)) for size in sizes)
    )


def _settling(minutes: Array, time_constant: float) -> Array:
    """0 at birth, 1 after the 15 minutes of the published figures, flattening on the way."""
    end = 1 - math.exp(-_STUDY_MINUTES / time_constant)
    return np.asarray((1 - np.exp(-minutes / time_constant)) / end)


def _smooth(values: Array, sigma: float) -> Array:
    return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="nearest"))


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
