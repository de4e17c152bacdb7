"""Which pieces of which frames are the same cell: labels and lineage from occupied voxels.

Frames are read from the last to the first. The pieces of the last frame are cells; a piece that
one cell of the next frame overlaps most is that cell a frame earlier, a piece that two cells
overlap most is their mother. Read in this direction, a cell that comes apart only for a moment
never looks like a division: one component is a mother only if its halves stay apart for good.

The preset's topology says how many cells there will have been, so a frame's labels are final as
soon as the frame is read, and frames are written while earlier ones are still being rendered.
"""

from __future__ import annotations

from typing import Any

import cc3d
import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import TopologyError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import as_index
from cellsynth.presets.models import Topology
from cellsynth.rendering.occupancy import Occupancy

__all__ = ["OneBody", "Tracker", "count_cells"]

MAX_PIECES = 65535  # labels are stored as uint16


class _Pieces:
    """Connected components of one frame: ``labels`` 1 … n in a box, and their cells."""

    def __init__(self, frame: Occupancy, smallest_share: float) -> None:
        # As integers: cc3d 4.1 has too little room for the pieces of a bool array one voxel thick.
        inside = frame.inside.view(np.uint8)
        labels, n = cc3d.connected_components(inside, connectivity=26, return_N=True)
        volumes = np.bincount(labels.ravel(), minlength=n + 1)[1:]
        kept = volumes >= max(1.0, smallest_share * volumes.sum())
        if kept.sum() > MAX_PIECES:
            raise TopologyError(f"{kept.sum()} loose pieces in a frame")
        renumber = np.zeros(n + 1, np.uint16)
        renumber[1:][kept] = np.arange(1, kept.sum() + 1)
        labels = renumber[labels]
        self.labels = labels
        self.offset = frame.offset
        self.n = int(kept.sum())
        # Label of the cell that each piece is, filled in by the tracker.
        self.cells: list[int] = []

    def overlap(self, later: _Pieces) -> NDArray[np.int64]:
        """Voxels that pieces share with those of the frame after, ``(n, later.n)``."""
        if self.n == later.n == 1:
            return np.ones((1, 1), np.int64)
        boxes: list[Any] = [[], []]
        for axis in range(3):
            low = max(self.offset[axis], later.offset[axis])
            high = min(pieces.offset[axis] + pieces.labels.shape[axis] for pieces in (self, later))
            for box, pieces in zip(boxes, (self, later), strict=True):
                box.append(slice(low - pieces.offset[axis], max(low, high) - pieces.offset[axis]))
        here, there = self.labels[tuple(boxes[0])], later.labels[tuple(boxes[1])]
        both = (here > 0) & (there > 0)
        pairs = (here[both].astype(np.int64) - 1) * later.n + there[both] - 1
        return np.bincount(pairs, minlength=self.n * later.n).reshape(self.n, later.n)

    def distances(self, later: _Pieces) -> NDArray[np.float64]:
        """Distances of the pieces' centres from those of the frame after, in voxels."""
        here, there = (
            np.array(cc3d.statistics(p.labels)["centroids"][1:]) + p.offset for p in (self, later)
        )
        return np.asarray(np.linalg.norm(here[:, None] - there[None], axis=-1))


class Tracker:
    """Labels frames from the last to the first, and holds the lineage when all are read."""

    def __init__(self, topology: Topology, n_frames: int) -> None:
        self._topology = topology
        self._frame = n_frames
        self._single = n_frames == 1
        # Every division makes two cells. Numbers are given out from the last to the first, so
        # that the mother of 2 and 3 is 1.
        self._next = topology.begin_cells + 2 * topology.divisions
        self._tracklets: dict[int, Tracklet] = {}
        self._later: _Pieces | None = None

    def add(self, frame: Occupancy) -> NDArray[np.uint16]:
        """Labels of the box of the frame before the one added last.

        Raises:
            TopologyError: The cells do not do what the preset's topology says.
        """
        self._frame -= 1
        pieces = _Pieces(frame, self._topology.smallest_share)
        if self._single:
            # One frame shows no division: the cells there are begin here, as many as the
            # sequence has at some time.
            least, most = self._topology.begin_cells, self._topology.end_cells
            self._expect("cells in the only frame", pieces.n, least, most)
            self._next = pieces.n
            pieces.cells = [self._born() for _ in range(pieces.n)][::-1]
        elif self._later is None:
            self._expect("cells in the last frame", pieces.n, self._topology.end_cells)
            # The first of several is to have the smallest label.
            pieces.cells = [self._born() for _ in range(pieces.n)][::-1]
        else:
            self._link(pieces, self._later)
        if len(set(pieces.cells)) != pieces.n:
            raise TopologyError(f"frame {self._frame}: a cell lies in more than one piece")
        for label in pieces.cells:
            cell = self._tracklets[label]
            self._tracklets[label] = Tracklet(label, self._frame, cell.end, cell.parent)
        self._later = pieces
        return np.array([0, *pieces.cells], np.uint16)[pieces.labels]

    def lineage(self) -> Lineage:
        """The lineage, once every frame is read.

        Raises:
            TopologyError: Cells are not as many as the preset's topology says.
        """
        assert self._frame == 0
        lineage = Lineage(tuple(self._tracklets.values()))
        if self._single:
            return lineage
        self._expect("cells in the first frame", len(lineage.at(0)), self._topology.begin_cells)
        # Cells gained are divisions, as many as the topology says: every cell lives to the last
        # frame or divides. In few frames two divisions may be one mother of three.
        return lineage

    def _link(self, pieces: _Pieces, later: _Pieces) -> None:
        if not pieces.n:
            raise TopologyError(f"frame {self._frame}: no cell")
        overlap = pieces.overlap(later)
        lost = ~overlap.any(axis=0)
        apart = ~overlap.any(axis=1)
        if lost.any() or apart.any():
            # Cells that moved further than their width between two frames: the nearest it is.
            nearest = pieces.distances(later)
            overlap[nearest.argmin(axis=0)[lost], np.flatnonzero(lost)] = 1
            overlap[np.flatnonzero(apart), nearest.argmin(axis=1)[apart]] = 1
        mothers_of = overlap.argmax(axis=0)
        pieces.cells = [0] * pieces.n
        for i in range(pieces.n):
            daughters = [later.cells[j] for j in np.flatnonzero(mothers_of == i)]
            if len(daughters) == 1:
                pieces.cells[i] = daughters[0]
            elif daughters:
                pieces.cells[i] = self._born()
                for label in daughters:
                    cell = self._tracklets[label]
                    self._tracklets[label] = Tracklet(
                        label, cell.begin, cell.end, parent=pieces.cells[i]
                    )
        for i, label in enumerate(pieces.cells):
            if not label:
                # No cell comes from this piece: it is part of the one that it flows into.
                pieces.cells[i] = pieces.cells[mothers_of[overlap[i].argmax()]]

    def _born(self) -> int:
        label = self._next
        if label < 1:
            raise TopologyError(f"frame {self._frame}: more cells than the topology allows")
        self._next -= 1
        self._tracklets[label] = Tracklet(label, self._frame, self._frame, 0)
        return label

    def _expect(self, what: str, got: int, least: int, most: int | None = None) -> None:
        most = least if most is None else most
        if not least <= got <= most:
            expected = f"{least}" if least == most else f"{least} to {most}"
            raise TopologyError(f"{what}: got {got}, expected {expected}")


class OneBody:
    """Labels all that is in a frame as one cell, whatever pieces it is in.

    Called as :class:`Tracker`, for cells that are to be seen although they break the topology.
    Pieces too small to count are dropped as always. A cell that is gone for some frames comes back
    under another label, as the child of the first.
    """

    def __init__(self, topology: Topology, n_frames: int) -> None:
        self._smallest_share = topology.smallest_share
        self._frame = n_frames
        self._tracklets: list[Tracklet] = []

    def add(self, frame: Occupancy) -> NDArray[np.uint16]:
        """Labels of the box of the frame before the one added last."""
        self._frame -= 1
        inside = _Pieces(frame, self._smallest_share).labels > 0
        if inside.any():
            later = self._tracklets[-1] if self._tracklets else None
            if later is not None and later.begin == self._frame + 1:
                self._tracklets[-1] = Tracklet(later.label, self._frame, later.end)
            else:
                self._tracklets.append(Tracklet(len(self._tracklets) + 1, self._frame, self._frame))
        return np.where(inside, np.uint16(len(self._tracklets)), np.uint16(0))

    def lineage(self) -> Lineage:
        """The lineage, once every frame is read.

        Raises:
            TopologyError: There is no cell in any frame.
        """
        if not self._tracklets:
            raise TopologyError("no cell in any frame")
        parents = [*range(2, len(self._tracklets) + 1), 0]
        return Lineage(
            tuple(
                Tracklet(t.label, t.begin, t.end, parent)
                for t, parent in zip(self._tracklets, parents, strict=True)
            )
        )


def count_cells(inside: NDArray[np.bool_], smallest_share: float) -> int:
    """Connected pieces of a mask ``(z, y, x)`` that are not too small to count."""
    return _Pieces(Occupancy(inside, (0, 0, 0), as_index(inside.shape), 0), smallest_share).n
