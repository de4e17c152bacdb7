"""Components, handles and voids of a mask: its Betti numbers.

A mask is taken as the closed cubes of its voxels: what shares a corner is connected (26
neighbours), and so the background is connected through faces only (6 neighbours). Components and
voids are counted; the Euler characteristic, vertices - edges + faces - cubes, gives the handles::

    χ = b0 - b1 + b2
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import ShapeError

__all__ = ["Betti", "betti_numbers"]


@dataclass(frozen=True)
class Betti:
    """What a mask is like however it is bent.

    Attributes:
        components: b0, pieces that do not touch.
        handles: b1, ways round through a hole: 1 for a ring.
        voids: b2, hollows closed all around.
    """

    components: int
    handles: int
    voids: int

    @property
    def euler(self) -> int:
        """Euler characteristic χ: 1 for a ball, 2 for two or for a hollow one, 0 for a ring."""
        return self.components - self.handles + self.voids


def betti_numbers(mask: NDArray[Any]) -> Betti:
    """Betti numbers of a mask ``(z, y, x)``, non-zero inside; all 0 where it is empty.

    Raises:
        ShapeError: Not three axes.
    """
    import cc3d

    if mask.ndim != 3:
        raise ShapeError(f"mask has shape {mask.shape}, expected (z, y, x)")
    # A rim joins all background that reaches the border of the array.
    inside = np.pad(mask.astype(np.bool_, copy=False), 1)
    # As integers: cc3d 4.1 has too little room for the pieces of a bool array one voxel thick.
    pieces = cc3d.connected_components(inside.view(np.uint8), connectivity=26, return_N=True)
    around = cc3d.connected_components((~inside).view(np.uint8), connectivity=6, return_N=True)
    components, voids = int(pieces[1]), int(around[1]) - 1
    return Betti(components, components + voids - _euler(inside), voids)


def _euler(inside: NDArray[np.bool_]) -> int:
    """Euler characteristic of the cubes of a mask that has a rim of background."""
    total = 0
    # A cube is between no voxels, a face between two along one axis, an edge between four, a
    # vertex between eight: it is there if any of them is.
    for axes in product((False, True), repeat=3):
        cells = inside
        for axis in np.flatnonzero(axes):
            cells = _either(cells, int(axis))
        total -= (-1) ** sum(axes) * int(np.count_nonzero(cells))
    return total


def _either(cells: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Whether one of two neighbours along an axis is true."""
    moved = np.moveaxis(cells, axis, 0)
    return np.moveaxis(moved[1:] | moved[:-1], 0, axis)
