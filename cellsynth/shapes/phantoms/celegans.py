"""Dividing nuclei of a C. elegans embryo: one body that constricts into two.

The numbers of a division (:mod:`.courses`) are drawn from published statistics or taken from a
real lineage table. The bodies (:mod:`.bodies`) are modelled: mildly oblate or prolate ellipsoids
with low bumps that drift slowly; a mother that lengthens along the coming axis of division, waists
and parts; daughters that are flat at birth, as chromatin is in anaphase, and round off as they
grow.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from cellsynth.errors import InputError
from cellsynth.shapes.phantoms.bodies import Family
from cellsynth.shapes.phantoms.courses import (
    Course,
    course_from_table,
    draw_course,
    has_table_error,
)
from cellsynth.shapes.phantoms.lobes import MODE_DEGREES, exponential, lobe_field, smooth_union
from cellsynth.shapes.phantoms.starrynite import LineageTable, read_lineage_table

__all__ = [
    "FARTHEST_UM",
    "FRAME_INTERVAL_S",
    "GAP_UM",
    "SPREAD",
    "VOXEL_UM",
    "build_family",
    "division_window",
    "drawn_families",
    "families",
    "table_families",
]

Array = NDArray[np.float64]

FRAME_INTERVAL_S = 60.0

VOXEL_UM = 0.041
"""Default voxel size. Ω of 33 families, 1.15 times their farthest body voxel, has a half extent of
5.3 to 5.5 µm and so is about 256 voxels across."""

SPREAD = 3
"""The division falls on the middle frame, give or take this many."""

GAP_UM = 0.2
"""Least gap between daughters, a few voxels: nearer ones would be one body at most resolutions."""

FARTHEST_UM = 4.75
"""Farthest a body may reach from the family's centre, so that one family that flies apart (one in
seven of the table's) does not set the scale of all."""

# Shape of the mother in her last three frames: distance of the two lobes as a share of its final
# value, and how far each lobe has become its daughter.
_PARTING = (0.1, 0.4, 1.0)
_BECOMING = (0.05, 0.35, 0.8)
_FINAL_PARTING = (1.3, 1.6)  # in radii of a lobe: a clear waist, half as wide as the body
_BLEND = 0.5  # width of the smooth union, in radii of the mother

_BUMP = 0.03  # standard deviation of the surface about its ellipsoid, relative to the radius
_ASPECT = 0.06  # standard deviation of the logarithm of a semi-axis
_WOBBLE = 0.02  # the part of it that changes with time
_MEMORY = 4.0  # frames over which bumps and aspect keep their value
_PLATE = 0.25  # how much flatter than round (logarithm) a daughter is at birth, along the axis
_PLATE_MINUTES = 2.5  # and how long it takes her to round off


def division_window(n_frames: int, spread: int) -> tuple[int, int]:
    """First and last frame a division may fall on: the middle, give or take ``spread``.

    Raises:
        InputError: ``n_frames`` is below 2, or ``spread`` is negative.
    """
    if n_frames < 2:
        raise InputError(f"phantom: frames must be at least 2 to hold a division, got {n_frames}")
    if spread < 0:
        raise InputError(f"phantom: division spread must be at least 0 frames, got {spread}")
    middle = n_frames // 2
    return max(1, middle - spread), min(n_frames - 1, middle + spread)


def families(
    n_frames: int,
    seed: int,
    *,
    lineage: str | os.PathLike[str] | LineageTable | None = None,
    spread: int = SPREAD,
) -> Iterator[Family]:
    """Families of a lineage table's divisions, or drawn from the statistics where there is none."""
    division_window(n_frames, spread)  # a wrong number is told before a long file is read
    if lineage is None:
        return drawn_families(n_frames, seed, spread)
    table = lineage if isinstance(lineage, LineageTable) else read_lineage_table(lineage)
    return table_families(table, n_frames, seed, spread)


def drawn_families(n_frames: int, seed: int, spread: int) -> Iterator[Family]:
    """Endless families drawn from the statistics; the i-th depends on the seed and i only."""
    earliest, latest = division_window(n_frames, spread)
    index = 0
    while True:
        attempt = 0
        while True:
            rng = np.random.default_rng((seed, 0, index, attempt))
            division_frame = int(rng.integers(earliest, latest + 1))
            course = draw_course(rng, division_frame, n_frames, f"phantom{index + 1}")
            family = build_family(course, rng)
            if _is_plausible(family):
                break
            attempt += 1
        yield family
        index += 1


def table_families(table: LineageTable, n_frames: int, seed: int, spread: int) -> Iterator[Family]:
    """Families of the table's divisions in an order drawn from the seed, each at most once.

    A division is passed over where its tracks are too short for the window, show a jump that no
    nucleus makes, bring the daughters nearer than :data:`GAP_UM` or carry them farther than
    :data:`FARTHEST_UM`.
    """
    earliest, latest = division_window(n_frames, spread)
    before, after = latest, n_frames - earliest
    usable = [
        division
        for division in table.divisions()
        if len(division.mother) >= before
        and min(map(len, division.daughters)) >= after
        and not has_table_error(division, before, after)
    ]
    for index in np.random.default_rng((seed, 1)).permutation(len(usable)):
        division = usable[index]
        rng = np.random.default_rng((seed, 2, division.mother.track))
        division_frame = int(rng.integers(earliest, latest + 1))
        course = course_from_table(division, division_frame, n_frames)
        family = build_family(course, rng)
        if _is_plausible(family):
            yield family


def build_family(course: Course, rng: np.random.Generator) -> Family:
    """Model the bodies around the numbers of a division.

    Bumps, aspects and the depth of the waist are drawn; sizes, axis and distances are the
    course's. The volume of the mother is that of a sphere of her diameter in every frame, neck
    included; bumps change the volume of a lobe by less than 1 %.
    """
    division = len(course.mother_um)
    n_after = len(course.daughters_um)
    n_frames = division + n_after
    distance = np.linalg.norm(course.separations_um, axis=1)
    axes = course.separations_um / distance[:, None]

    mother = _Look(rng, n_frames)
    daughters = (_Look(rng, n_frames), _Look(rng, n_frames))
    directions = rng.standard_normal((len(MODE_DEGREES), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    parting = np.zeros(n_frames)
    becoming = np.zeros(n_frames)
    becoming[division:] = 1
    last = min(len(_PARTING), division)
    parting[division - last : division] = np.array(_PARTING[-last:]) * rng.uniform(*_FINAL_PARTING)
    becoming[division - last : division] = _BECOMING[-last:]

    centres = np.zeros((n_frames, 2, 3))
    radii = np.zeros((n_frames, 2))
    logs = np.zeros((n_frames, 2, 3, 3))
    heights = np.zeros((n_frames, 2, len(MODE_DEGREES)))
    volumes = course.daughters_um**3
    volumes /= volumes.sum(axis=1, keepdims=True)
    # Before the division the axis and the shares are those of the first frame after it.
    whole = np.concatenate([np.full(division, 0), np.arange(n_after)])
    minutes = np.maximum(np.arange(n_frames) - division, 0)
    plate = _PLATE * np.exp(-minutes / _PLATE_MINUTES)
    for lobe in (0, 1):
        look = daughters[lobe]
        flat = np.eye(3) / 2 - 1.5 * axes[whole][:, :, None] * axes[whole][:, None, :]
        born = look.logs + plate[:, None, None] * flat
        share = becoming[:, None, None]
        logs[:, lobe] = (1 - share) * mother.logs + share * born
        heights[:, lobe] = (1 - share[:, 0]) * mother.heights + share[:, 0] * look.heights
        radii[:division, lobe] = (
            course.mother_um / 2 * volumes[0, lobe] ** (becoming[:division] / 3)
        )
        radii[division:, lobe] = course.daughters_um[:, lobe] / 2
    spacing = parting * radii.mean(axis=1)
    spacing[division:] = distance
    for lobe, side in ((0, -1), (1, 1)):
        # Each daughter is as far from the common centroid as the other is heavy.
        arm = side * spacing * volumes[whole, 1 - lobe]
        centres[:, lobe] = arm[:, None] * axes[whole]
    blends = np.where(parting > 0, 2 * _BLEND * radii.mean(axis=1), 0.0)

    family = Family(
        course.cells, division, FRAME_INTERVAL_S, centres, radii, exponential(logs), directions,
        heights, blends,
    )  # fmt: skip
    for frame in range(division - last, division):
        _set_volume(family, frame, np.pi / 6 * course.mother_um[frame] ** 3)
    return family


class _Look:
    """What is drawn of one nucleus: stretch and bumps, changing slowly with time.

    Attributes:
        logs: Logarithm of the stretch, ``(t, 3, 3)``, symmetric, without trace.
        heights: Heights of the bumps ``(t, m)``.
    """

    def __init__(self, rng: np.random.Generator, n_frames: int) -> None:
        lasting, passing = rng.standard_normal((3, 3)), _slow(rng, n_frames, (3, 3))
        logs = _ASPECT * lasting + _WOBBLE * passing
        logs = (logs + np.swapaxes(logs, 1, 2)) / 2
        self.logs = logs - np.trace(logs, axis1=1, axis2=2)[:, None, None] / 3 * np.eye(3)
        lasting, passing = rng.standard_normal(len(MODE_DEGREES)), _slow(rng, n_frames, (8,))
        self.heights = _BUMP * (0.8 * lasting + 0.6 * passing)


def _slow(rng: np.random.Generator, n_frames: int, shape: tuple[int, ...]) -> Array:
    """Standard normal noise ``(t, *shape)`` that keeps its value over some frames."""
    margin = int(4 * _MEMORY)
    noise = rng.standard_normal((n_frames + 2 * margin, *shape))
    smooth = gaussian_filter1d(noise, _MEMORY, axis=0)[margin:-margin]
    return np.asarray(smooth * np.sqrt(2 * np.sqrt(np.pi) * _MEMORY))


def _set_volume(family: Family, frame: int, volume_um3: float) -> None:
    """Scale a constricting body to a volume and put its centroid at the origin, in place.

    The field is homogeneous: centres, radii and blend times s make a body s³ as large.
    """
    n = 32  # gives the volume of so smooth a body to a few thousandths
    low = np.min([box[0] for box in family.boxes_um(frame)], axis=0)
    high = np.max([box[1] for box in family.boxes_um(frame)], axis=0)
    step = (high - low) / n
    axes = [low[k] + (np.arange(n) + 0.5) * step[k] for k in range(3)]
    points = np.ix_(*axes)
    field = smooth_union(
        lobe_field(family, frame, 0, points),
        lobe_field(family, frame, 1, points),
        family.blends_um[frame],
    )
    inside = np.argwhere(field < 0)
    scale = (volume_um3 / (len(inside) * step.prod())) ** (1 / 3)
    centroid = low + (inside.mean(axis=0) + 0.5) * step
    family.centres_um[frame] = (family.centres_um[frame] - centroid) * scale
    family.radii_um[frame] *= scale
    family.blends_um[frame] *= scale


def _is_plausible(family: Family) -> bool:
    apart = all(
        family.gap_um(frame) >= GAP_UM for frame in range(family.division_frame, family.n_frames)
    )
    return apart and family.farthest_um() <= FARTHEST_UM
