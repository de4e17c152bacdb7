"""Filopodia: thin, bent, branching shafts that grow at their tips.

A shaft is a path fixed in the cell's frame. It sprouts at its own time, from the body or from a
shaft that has grown past the place already, and lengthens along its path; what has grown stays.
Its radius grows from the tip backwards, so that a shaft never thins either. All paths together
sway by one slow displacement of space, so that branches stay on their parents and shafts apart.
Points and lengths are in µm, points in z, y, x about the body's centre, times in [-1, 1].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from cellsynth.shapes.phantoms.blebs import BlebbingBody
from cellsynth.shapes.phantoms.lobes import sphere_directions

__all__ = ["REACH_UM", "STEP_UM", "Shaft", "Sway", "draw_sway", "grow_filopodia"]

Array = NDArray[np.float64]

STEP_UM = 0.5
"""Length of a path's pieces. At the sharpest bend a chord leaves its arc by 0.02 µm."""

REACH_UM = 12.8
"""Farthest the end of a path may come from the body's centre. With the radius of a tip, and the
few tenths of a µm by which the cell's centroid lies aside, that is at most 13.9 µm."""

_ROOT = 0.7  # where in the body a path begins, as a share of the radius in that direction
_ROOTS_APART_UM = 2.4
_CLEARANCE_UM = 1.1  # between paths: 3 voxels of background between shafts of usual radius
_ABOVE_UM = 1.6  # branches keep off the body: a bleb rises this far
_LEAST_UM = 2.5  # shorter branches would look like bumps
_N_CANDIDATES = 8  # paths drawn for one that is taken, the longest
_N_ROUNDS = 200

_SHAFT_UM = (9.0, 16.0)  # with what lies inside the body
_BRANCH_UM = (4.0, 11.0)
_BASE_UM = (0.45, 0.60)  # radius of a shaft at its root, fully grown
_BRANCH_BASE_UM = (0.32, 0.40)
_TIP_UM = (0.22, 0.29)

_CURVATURE = 0.11  # standard deviation per component, 1/µm
_LASTS = 0.9  # correlation of the curvature from step to step
_PULL = 0.12  # curvature per µm inside and outside of the next two
_INNER_UM = 7.5
_OUTER_UM = 11.0
_ANGLE = (0.6, 1.2)  # between branch and parent, rad

_BEGIN = (-1.05, -0.3)  # sprouting of shafts, evenly spread and jittered
_JITTER = 0.05
_DURATION = (0.9, 1.3)
_PAUSE = 0.06  # least time between the passing of a tip and a branch behind it
_PAUSE_MORE = 0.1  # and the mean of what is added
_BRANCH_END = (0.85, 1.0)
_SPEED = 16.0  # greatest mean speed of a branch, µm per unit of time: 1.1 µm per frame of 30
_EASE = 0.25  # growth slows: it begins at 1 + _EASE of its mean speed and ends at 1 - _EASE

_SWAY_UM = 0.45  # standard deviation per component, far from the body
_SWAY_WAVE_UM = (14.0, 24.0)
_SWAY_PERIOD = (2.0, 3.5)
_N_WAVES = 6


@dataclass(frozen=True, eq=False)
class Sway:
    """A slow displacement of space outside the body: a few plane waves.

    Attributes:
        waves: Wave vectors ``(m, 3)``, rad/µm.
        amplitudes_um: ``(m, 3)``.
        frequencies, phases: ``(m,)``, rad per unit of time and rad.
        inner_um, outer_um: Distance from the centre up to which nothing moves, and from which on
            everything does.
    """

    waves: Array
    amplitudes_um: Array
    frequencies: Array
    phases: Array
    inner_um: float
    outer_um: float

    def move(self, points: Array, t: float) -> Array:
        """Where points ``(n, 3)`` are at time t."""
        share = (np.linalg.norm(points, axis=1) - self.inner_um) / (self.outer_um - self.inner_um)
        share = np.clip(share, 0, 1)
        share = share**2 * (3 - 2 * share)
        phase = points @ self.waves.T + self.frequencies * t + self.phases
        return np.asarray(points + share[:, None] * (np.sin(phase) @ self.amplitudes_um))

    def farthest_um(self, points: Array) -> Array:
        """Greatest distance ``(n,)`` from the centre at which points ``(n, 3)`` ever are."""
        times = np.linspace(-1, 1, 7)
        return np.asarray(np.max([np.linalg.norm(self.move(points, t), axis=1) for t in times], 0))


@dataclass(frozen=True, eq=False)
class Shaft:
    """One path and how it grows.

    Attributes:
        nodes: ``(n, 3)``, :data:`STEP_UM` apart; the first lies in the body or on the parent.
        parent: Index of the parent shaft, or -1 for a filopodium's first.
        begin, end: When it sprouts and when it stops growing.
        length_um: Fully grown; at most that of the path.
        base_um, tip_um: Radius at the first node, fully grown, and at the tip.
        outside_um: Path length at which it leaves the body; 0 for a branch.
    """

    nodes: Array
    parent: int
    begin: float
    end: float
    length_um: float
    base_um: float
    tip_um: float
    outside_um: float

    def length_at(self, t: float) -> float:
        """Length at time t; never shrinks."""
        share = min(max((t - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.length_um * share * (1 + _EASE * (1 - share))

    def time_of(self, length_um: float) -> float:
        """When the tip passes a length: the inverse of :meth:`length_at`."""
        ratio = min(length_um / self.length_um, 1.0)
        b = 1 + _EASE
        share = (b - np.sqrt(b**2 - 4 * _EASE * ratio)) / (2 * _EASE)
        return float(self.begin + (self.end - self.begin) * share)

    def grown(self, t: float) -> tuple[Array, Array]:
        """Nodes ``(k, 3)`` and radii ``(k,)`` at time t, the tip the last; none before it sprouts.

        Nothing sways here; see :meth:`Sway.move`.
        """
        length = self.length_at(t)
        if length <= 0:
            return np.zeros((0, 3)), np.zeros(0)
        whole = min(int(length / STEP_UM), len(self.nodes) - 2)
        share = length / STEP_UM - whole
        tip = (1 - share) * self.nodes[whole] + share * self.nodes[whole + 1]
        nodes = np.concatenate([self.nodes[: whole + 1], tip[None]])
        along = np.append(np.arange(whole + 1) * STEP_UM, length)
        return nodes, self.tip_um + self._taper * (length - along)

    def radius_um(self, along_um: float) -> float:
        """Radius of the fully grown shaft at a path length."""
        return self.tip_um + self._taper * (self.length_um - along_um)

    def area_um2(self) -> float:
        """Lateral surface of the fully grown shaft outside the body."""
        outside = self.length_um - self.outside_um
        return float(2 * np.pi * outside * (self.tip_um + self._taper * outside / 2))

    @property
    def _taper(self) -> float:
        return (self.base_um - self.tip_um) / self.length_um


def draw_sway(rng: np.random.Generator, radius_um: float) -> Sway:
    """Draw the swaying around a body of about that radius."""
    directions = rng.standard_normal((_N_WAVES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = rng.uniform(*_SWAY_WAVE_UM, _N_WAVES)
    signs = rng.choice([-1.0, 1.0], _N_WAVES)
    return Sway(
        waves=directions * (2 * np.pi / lengths)[:, None],
        amplitudes_um=rng.standard_normal((_N_WAVES, 3)) * _SWAY_UM * np.sqrt(2 / _N_WAVES),
        frequencies=signs * 2 * np.pi / rng.uniform(*_SWAY_PERIOD, _N_WAVES),
        phases=rng.uniform(0, 2 * np.pi, _N_WAVES),
        inner_um=radius_um,
        outer_um=radius_um + 6.0,
    )


def grow_filopodia(
    rng: np.random.Generator,
    body: BlebbingBody,
    radius_um: float,
    sway: Sway,
    *,
    count: int,
    area_um2: float,
) -> list[Shaft]:
    """Draw filopodia until they have a lateral surface, parents before their branches.

    Args:
        radius_um: Radius of the body at its smallest.
        count: Filopodia that leave the body; one without room for itself is left out.
        area_um2: Lateral surface outside the body at t = 1, of shafts and branches. Less comes
            out where there is no room for more.
    """
    shafts: list[Shaft] = []
    # Sprouting times are spread evenly, so that every cell has early and late filopodia.
    begins = np.linspace(*_BEGIN, count) + rng.uniform(-_JITTER, _JITTER, count)
    for begin in begins:
        shaft = _best_shaft(rng, body, radius_um, sway, shafts, float(begin))
        if shaft is not None:
            shafts.append(shaft)
    missing = area_um2 - sum(shaft.area_um2() for shaft in shafts)
    for _ in range(_N_ROUNDS):
        if missing <= 0:
            break
        branch = _best_branch(rng, body, radius_um, sway, shafts)
        if branch is not None:
            shafts.append(_cut(branch, missing))
            missing -= shafts[-1].area_um2()
    return shafts


def _best_shaft(
    rng: np.random.Generator,
    body: BlebbingBody,
    radius_um: float,
    sway: Sway,
    shafts: list[Shaft],
    begin: float,
) -> Shaft | None:
    """The longest of a few shafts from rays far from those of the others, or None: no room."""
    taken = np.array([shaft.nodes[0] for shaft in shafts]).reshape(-1, 3)
    starts = body.surface(sphere_directions(200), radius_um * _ROOT)
    if len(taken):
        near = cdist(starts, taken).min(axis=1)
        starts = starts[near >= min(_ROOTS_APART_UM, float(np.quantile(near, 0.7)))]
    starts = rng.permutation(starts)[:_N_CANDIDATES]
    directions = body.normals(starts) + 0.15 * rng.standard_normal(starts.shape)
    lengths = rng.uniform(*_SHAFT_UM, len(starts))
    skip = int(_SHAFT_UM[0] / 3 / STEP_UM)
    path = max(
        (
            path[: _free(path, shafts, sway, skip=skip)]
            for path in _wander(rng, starts, directions, lengths)
        ),
        key=len,
    )
    outside_um = STEP_UM * np.count_nonzero(body.heights_above_um(path, radius_um) <= 0)
    length = (len(path) - 1) * STEP_UM
    if length - outside_um < _LEAST_UM:
        return None
    return Shaft(
        nodes=path,
        parent=-1,
        begin=begin,
        end=begin + float(rng.uniform(*_DURATION)),
        length_um=length,
        base_um=float(rng.uniform(*_BASE_UM)),
        tip_um=float(rng.uniform(*_TIP_UM)),
        outside_um=outside_um,
    )


def _best_branch(
    rng: np.random.Generator,
    body: BlebbingBody,
    radius_um: float,
    sway: Sway,
    shafts: list[Shaft],
) -> Shaft | None:
    """The longest of a few branches at random places, or None where none has room and time."""
    weights = np.array([shaft.length_um for shaft in shafts])
    parents = rng.choice(len(shafts), _N_CANDIDATES, p=weights / weights.sum())
    alongs, begins, ends, lengths, starts, directions = [], [], [], [], [], []
    for number in parents:
        parent = shafts[number]
        last = parent.length_um - 1.0
        place = int(rng.uniform(min(parent.outside_um + 1.5, last), last) / STEP_UM)
        along = place * STEP_UM
        alongs.append(along)
        begins.append(parent.time_of(along) + _PAUSE + float(rng.exponential(_PAUSE_MORE)))
        ends.append(float(rng.uniform(*_BRANCH_END)))
        lengths.append(min(float(rng.uniform(*_BRANCH_UM)), _SPEED * (ends[-1] - begins[-1])))
        forward = _unit(parent.nodes[place + 1] - parent.nodes[place])
        aside = _unit(np.cross(forward, rng.standard_normal(3)))
        angle = float(rng.uniform(*_ANGLE))
        starts.append(parent.nodes[place])
        directions.append(np.cos(angle) * forward + np.sin(angle) * aside)
    paths = _wander(rng, np.array(starts), np.array(directions), np.array(lengths))
    # Near its junction a branch is near its parent, and near any other branch of that place.
    paths = [
        path[: _free(path, shafts, sway, skip=int(2.0 / STEP_UM), body=(body, radius_um))]
        for path in paths
    ]
    best = int(np.argmax([len(path) for path in paths]))
    length = (len(paths[best]) - 1) * STEP_UM
    if length < _LEAST_UM:
        return None
    number = int(parents[best])
    tip = float(rng.uniform(*_TIP_UM))
    there = shafts[number].radius_um(alongs[best])
    return Shaft(
        nodes=paths[best],
        parent=number,
        begin=begins[best],
        end=ends[best],
        length_um=length,
        base_um=max(min(float(rng.uniform(*_BRANCH_BASE_UM)), there), tip),
        tip_um=tip,
        outside_um=0.0,
    )


def _wander(
    rng: np.random.Generator, starts: Array, directions: Array, lengths_um: Array
) -> list[Array]:
    """Bent paths ``(n, 3)``, drawn outwards near the body and inwards near the rim."""
    counts = np.maximum(lengths_um / STEP_UM, 0).astype(int) + 1
    turn = _CURVATURE * rng.standard_normal(starts.shape)
    nodes = [starts]
    for _ in range(int(counts.max()) - 1):
        turn = _LASTS * turn + np.sqrt(1 - _LASTS**2) * _CURVATURE * rng.standard_normal(turn.shape)
        distance = np.linalg.norm(nodes[-1], axis=1, keepdims=True)
        pull = _PULL * (
            np.maximum(_INNER_UM - distance, 0) / 2 - np.maximum(distance - _OUTER_UM, 0)
        )
        directions = directions + STEP_UM * (turn + pull * nodes[-1] / distance)
        directions = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        nodes.append(nodes[-1] + STEP_UM * directions)
    paths = np.stack(nodes, axis=1)
    return [path[:count] for path, count in zip(paths, counts, strict=True)]


def _free(
    path: Array,
    shafts: list[Shaft],
    sway: Sway,
    *,
    skip: int,
    body: tuple[BlebbingBody, float] | None = None,
) -> int:
    """How many nodes of a path, from its start, keep clear of all others, body and rim.

    The first ``skip`` nodes need not keep clear of other shafts.
    """
    fault = sway.farthest_um(path) > REACH_UM
    if shafts and len(path) > skip:
        others = np.concatenate([shaft.nodes for shaft in shafts])
        fault[skip:] |= cdist(path[skip:], others).min(axis=1) < _CLEARANCE_UM
    if body is not None:
        fault |= body[0].heights_above_um(path, body[1]) < _ABOVE_UM
    return int(np.argmax(fault)) if fault.any() else len(path)


def _cut(branch: Shaft, area_um2: float) -> Shaft:
    """The branch, or as much of it as makes up an area, but never shorter than branches are."""
    if branch.area_um2() <= area_um2:
        return branch
    mean_um = (branch.base_um + branch.tip_um) / 2
    length = max(area_um2 / (2 * np.pi * mean_um), _LEAST_UM)
    n = int(np.ceil(length / STEP_UM)) + 1
    return Shaft(
        nodes=branch.nodes[:n],
        parent=branch.parent,
        begin=branch.begin,
        end=branch.end,
        length_um=(n - 1) * STEP_UM,
        base_um=branch.base_um,
        tip_um=branch.tip_um,
        outside_um=0.0,
    )


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
