"""Which voxels of a grid lie inside one frame's cell, evaluated only where the surface can be.

1. Blocks. A block of voxels whose centre has |f| > slope · half-diagonal cannot hold the surface
   and is decided whole; the others are split, down to *cells* about 0.03 Ω wide. The slope is
   measured after training and kept in the preset, see :class:`~cellsynth.presets.models.Bound`.
   Splitting starts where slope · half-diagonal stays under the truncation, since beyond it |f|
   means nothing.
2. Lattice. The cells that may hold the surface are interpolated from the field on their corners
   and the next corners out: cubic Lagrange polynomials on 4 × 4 × 4 nodes, an error of fourth
   order in the cell's width. The error is measured on every cell, at its centre, where a cubic is
   worst and the field is known already from step 1.
3. Voxels whose interpolated value is nearer to zero than several times the error found around
   them are asked of the field itself, in double precision where need be.

So the work grows with the surface in units of Ω and hardly with the resolution.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from cellsynth.field.folded import FoldedDecoder
from cellsynth.geometry import Grid, Index, as_index
from cellsynth.presets.models import Bound

__all__ = ["Occupancy", "occupancy", "occupancy_dense"]

# Chosen by the benchmark `benchmarks/rendering.py`: narrower cells cost more nodes, wider ones
# leave more voxels to the field.
CELL_WIDTH = 0.03
# The error found around a voxel is multiplied by this before it decides it. Of the true errors
# within 8,000 cells the largest was 1.25 times what was found around them (docs/rendering.md).
SAFETY = 2.5
# Voxels interpolated at once: bounds memory, not results.
BATCH = 1 << 21

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Occupancy:
    """The inside of one frame: a box that holds all of it, and where the box lies.

    Attributes:
        inside: ``(z, y, x)`` bool, the voxels of the box.
        offset: Position ``(z, y, x)`` of the box's first voxel in the grid.
        shape: Shape ``(z, y, x)`` of the whole grid; outside the box nothing is inside.
        evaluations: Points at which the field was evaluated.
    """

    inside: NDArray[np.bool_]
    offset: Index
    shape: Index
    evaluations: int

    def to_dense(self) -> NDArray[np.bool_]:
        """The whole grid, ``shape``."""
        full = np.zeros(self.shape, np.bool_)
        box = tuple(slice(o, o + n) for o, n in zip(self.offset, self.inside.shape, strict=True))
        full[box] = self.inside
        return full


def occupancy(field: FoldedDecoder, grid: Grid, *, bound: Bound) -> Occupancy:
    """The voxels of ``grid`` whose centres lie in the cell, found from coarse to fine.

    Args:
        field: The field of one frame.
        grid: Any grid, anisotropic or off centre.
        bound: How steep the field is. Larger is slower, never different.
    """
    search = _Search(field, grid, bound)
    return search.run()


def occupancy_dense(
    field: FoldedDecoder, grid: Grid, *, rows: slice = slice(None)
) -> NDArray[np.bool_]:
    """The same by asking the field at every voxel: ``(z, y, x)``, of the z ``rows`` given."""
    rows_z = np.arange(grid.shape[0])[rows]
    inside = np.empty((len(rows_z), *grid.shape[1:]), np.bool_)
    y, x = np.indices(grid.shape[1:]).reshape(2, -1)
    for i, z in enumerate(rows_z):
        coords = grid.voxel_to_coords(np.stack([np.full_like(y, z), y, x], axis=1))
        inside[i] = field.inside(coords).reshape(grid.shape[1:])
    if field.spec.domain == "ball":
        inside &= _in_ball(grid, (int(rows_z[0]), 0, 0), inside.shape)
    return inside


@dataclass(frozen=True)
class _Axis:
    """How one axis is cut into cells of ``step`` voxels, and interpolated across one."""

    step: int
    cells: int

    @property
    def stencil(self) -> int:
        """Nodes that a cell is interpolated from: its two ends and one beyond each."""
        return 4 if self.step > 1 else 1

    @property
    def nodes(self) -> int:
        return self.cells + self.stencil - 1

    def node_positions(self) -> NDArray[np.float64]:
        """Node positions in voxels: between voxels, or on them where a cell is one voxel."""
        if self.step == 1:
            return np.arange(self.cells, dtype=np.float64)
        return np.arange(-1, self.nodes - 1, dtype=np.float64) * self.step - 0.5

    def weights(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights ``(stencil, len(at))`` of the nodes for positions in [0, 1] across the cell."""
        if self.step == 1:
            return np.ones((1, len(at)))
        nodes = np.array([-1.0, 0.0, 1.0, 2.0])
        weights: NDArray[np.float64] = np.stack(
            [
                np.prod([(at - other) / (node - other) for other in nodes if other != node], axis=0)
                for node in nodes
            ]
        )
        return weights


class _Search:
    """One frame's search, from blocks to voxels."""

    def __init__(self, field: FoldedDecoder, grid: Grid, bound: Bound) -> None:
        self.field = field
        self.grid = grid
        self.bound = bound
        self.spacing = np.asarray(grid.spacing)
        steps = [max(1, round(CELL_WIDTH / s)) for s in grid.spacing]
        self.axes = [_Axis(b, -(-n // b)) for b, n in zip(steps, grid.shape, strict=True)]
        self.step = np.array(steps)
        self.evaluations = 0

    def run(self) -> Occupancy:
        state, active, centre_sdf = self._blocks()
        if not (state.any() or len(active)):
            nothing = np.zeros((1, 1, 1), np.bool_)
            return Occupancy(nothing, (0, 0, 0), self.grid.shape, self.evaluations)
        occupied = np.concatenate([np.argwhere(state), active])
        low, high = occupied.min(axis=0), occupied.max(axis=0) + 1
        box = state[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        for axis, step in enumerate(self.step):
            box = np.repeat(box, step, axis=axis)
        self._surface(box, active - low, active, centre_sdf)
        offset = low * self.step
        box = box[tuple(slice(0, n) for n in np.asarray(self.grid.shape) - offset)]
        return self._finish(np.ascontiguousarray(box), as_index(offset))

    def _blocks(self) -> tuple[NDArray[np.bool_], Indices, NDArray[np.float32]]:
        """Cells decided to be inside ``(z, y, x)``, and the undecided with the field's value."""
        levels = self._levels()
        cells = np.array([axis.cells for axis in self.axes])
        top = -(-cells // levels[0])
        blocks = np.indices(tuple(top)).reshape(3, -1).T
        state = np.zeros(tuple(top), np.bool_)
        sdf = np.empty(0, np.float32)
        for k, size in enumerate(levels):
            if k:
                ratio = levels[k - 1] // size
                for axis in range(3):
                    state = np.repeat(state, ratio[axis], axis=axis)
                children = np.indices(tuple(ratio)).reshape(3, -1).T
                blocks = (blocks[:, None] * ratio + children).reshape(-1, 3)
            first = blocks * (size * self.step)
            # Rounding up to whole blocks adds voxels that are not in the grid.
            blocks = blocks[(first < self.grid.shape).all(axis=1)]
            half = (size * self.step - 1) / 2
            centres = self.grid.voxel_to_coords(blocks * (size * self.step) + half)
            radius = float(np.linalg.norm(half * self.spacing))
            if self.field.spec.domain == "ball":
                near = np.linalg.norm(centres, axis=1) <= 1 + radius
                blocks, centres = blocks[near], centres[near]
            sdf = self._sdf(centres)
            undecided = np.abs(sdf) <= self._threshold(radius) + self.field.rounding
            if (size * self.step == 1).all():
                # Blocks are voxels now: nothing is left undecided.
                undecided[:] = False
                inside = self.field.inside(centres)
            else:
                inside = ~undecided & (sdf < 0)
            state[tuple(blocks[inside].T)] = True
            blocks, sdf = blocks[undecided], sdf[undecided]
        return state[tuple(slice(0, n) for n in cells)], blocks, sdf

    def _levels(self) -> list[Indices]:
        """Block sizes in cells, ``(z, y, x)`` each a power of two, from coarse to single cells.

        Sizes grow by doubling one axis at a time, that which leaves the blocks nearest to cubes,
        up to the largest that can be decided at all; a block is split into eight, the coarsest
        where it must be into two or four.
        """
        width = self.step * self.spacing
        size = np.ones(3, np.int64)
        sizes = [size]
        while (short := size * self.step < self.grid.shape).any():
            size = size.copy()
            size[np.argmin(np.where(short, size * width, np.inf))] *= 2
            radius = float(np.linalg.norm((size * self.step - 1) / 2 * self.spacing))
            if math.isinf(self._threshold(radius)):
                break
            sizes.append(size)
        levels = sizes[:-1:3] + sizes[-1:]
        return levels[::-1]

    def _surface(
        self, box: NDArray[np.bool_], at: Indices, cells: Indices, centre_sdf: NDArray[np.float32]
    ) -> None:
        """Decide the voxels of the undecided ``cells``, which lie ``at`` these cells of ``box``."""
        if not len(cells):
            return
        z, y, x = (cells[:, i, None] + np.arange(axis.stencil) for i, axis in enumerate(self.axes))
        nodes = z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]
        values = self._lattice(nodes).reshape(len(cells), -1)
        centre = self._kernel([np.array([0.5])] * 3)
        unsure_below = self._doubt(at, np.abs(values @ centre[:, 0] - centre_sdf))[:, None]
        kernel = self._kernel([(np.arange(step) + 0.5) / step for step in self.step])
        within = np.indices(tuple(self.step)).reshape(3, -1).T
        tiled = _by_cells(box, self.step)
        batch = max(1, BATCH // kernel.shape[1])
        for start in range(0, len(cells), batch):
            part = slice(start, start + batch)
            sdf = values[part] @ kernel
            inside = sdf < 0
            cell, voxel = np.nonzero(np.abs(sdf) < unsure_below[part])
            if len(cell):
                index = cells[part][cell] * self.step + within[voxel]
                inside[cell, voxel] = self._inside(self.grid.voxel_to_coords(index))
            z, y, x = at[part].T
            tiled[z, :, y, :, x, :] = inside.reshape(-1, *self.step)

    def _doubt(self, at: Indices, error: NDArray[np.float32]) -> NDArray[np.float32]:
        """How near to zero a value of each cell must be to be asked of the field, ``(cells,)``.

        A cell's own error may be small by chance, where a polynomial crosses the field. So the
        largest of it and its neighbours counts, and the frame's median besides.
        """
        where = tuple(at.T)
        errors = np.zeros(at.max(axis=0) + 1, np.float32)
        errors[where] = error
        around = maximum_filter(errors, 3)[where]
        doubt: NDArray[np.float32] = SAFETY * (around + np.median(error)) + self.field.rounding
        return doubt

    def _lattice(self, nodes: tuple[Any, Any, Any]) -> NDArray[np.float32]:
        """The field at lattice ``nodes``, three index arrays that broadcast; each asked once."""
        sdf = np.empty([axis.nodes for axis in self.axes], np.float32)
        wanted = np.zeros(sdf.shape, np.bool_)
        wanted[nodes] = True
        positions = [axis.node_positions() for axis in self.axes]
        index = np.stack([p[i] for p, i in zip(positions, np.nonzero(wanted), strict=True)], axis=1)
        sdf[wanted] = self._sdf(self.grid.voxel_to_coords(index))
        found: NDArray[np.float32] = sdf[nodes]
        return found

    def _kernel(self, at: list[NDArray[np.float64]]) -> NDArray[np.float32]:
        """Weights ``(nodes, positions)`` of a cell's nodes for a grid of positions across it."""
        z, y, x = (axis.weights(p) for axis, p in zip(self.axes, at, strict=True))
        kernel = np.einsum("ai,bj,ck->abcijk", z, y, x)
        nodes = z.shape[0] * y.shape[0] * x.shape[0]
        return np.ascontiguousarray(kernel.reshape(nodes, -1), np.float32)

    def _finish(self, box: NDArray[np.bool_], offset: Index) -> Occupancy:
        if self.field.spec.domain == "ball" and not _box_in_ball(self.grid, offset, box.shape):
            box &= _in_ball(self.grid, offset, box.shape)
        return Occupancy(box, offset, self.grid.shape, self.evaluations)

    def _threshold(self, radius: float) -> float:
        return self.bound.threshold(radius, self.field.spec.truncation)

    def _sdf(self, coords: NDArray[np.float64]) -> NDArray[np.float32]:
        self.evaluations += len(coords)
        return self.field.sdf(coords)

    def _inside(self, coords: NDArray[np.float64]) -> NDArray[np.bool_]:
        self.evaluations += len(coords)
        return self.field.inside(coords)


def _by_cells(box: NDArray[np.bool_], step: Indices) -> NDArray[np.bool_]:
    """A view ``(cells z, step z, cells y, step y, cells x, step x)`` of a box of whole cells."""
    z, y, x = (n // s for n, s in zip(box.shape, step, strict=True))
    return box.reshape(z, step[0], y, step[1], x, step[2])


def _axis_squares(grid: Grid, offset: Index, shape: Any) -> Iterator[NDArray[np.float64]]:
    for o, n, origin, spacing in zip(offset, shape, grid.origin, grid.spacing, strict=True):
        yield (origin + np.arange(o, o + n, dtype=np.float64) * spacing) ** 2


def _in_ball(grid: Grid, offset: Index, shape: Any) -> NDArray[np.bool_]:
    """Which voxels of a box have their centres in the unit ball."""
    z, y, x = _axis_squares(grid, offset, shape)
    inside: NDArray[np.bool_] = z[:, None, None] + y[:, None] + x <= 1
    return inside


def _box_in_ball(grid: Grid, offset: Index, shape: Any) -> bool:
    return sum(float(square.max()) for square in _axis_squares(grid, offset, shape)) <= 1
