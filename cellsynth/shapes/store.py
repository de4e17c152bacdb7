"""The training data on disk: signed distances of single cells, in a chunked Zarr group.

Every cell keeps its native voxels: a grid around it, centred frame by frame, wide enough that
whatever lies outside is farther than the truncation. Nothing is resampled; a grid of anisotropic
voxels is as exact as any other and training interpolates distances, never labels.

Layout (Zarr v3)::

    attrs       format, version, half_extent_um, frame_interval_s, n_frames, truncation,
                orientation, assumed, sources
    0000/       one group per sequence; attrs name, voxel_size_um, frames, labels
      sdf         (t, z, y, x) float16, units of Ω, cut off at ± truncation; one chunk per frame
      origin_um   (t, 3) float64, z y x: centre of voxel [0, 0, 0] relative to the cell's centre
      alignment   (t, 3, 3) float64, x y z: aligned point = alignmentᵀ · (point_um / half_extent_um)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.formats.storage import remove, storing
from cellsynth.geometry import Grid, Triple, as_index
from cellsynth.shapes.cell_mask import box_at
from cellsynth.shapes.cells import CellSequence
from cellsynth.shapes.distance import signed_distance
from cellsynth.shapes.pose import ORIENTATIONS, Orientation, Pose, largest_radius_um, measure_pose

__all__ = ["ShapeStore", "build_store"]

FORMAT = "cellsynth-shapes"
VERSION = 1
# Room around the farthest voxel, since new cells may be larger than those seen.
_HEADROOM = 1.15


def build_store(
    path: str | Path,
    cells: Sequence[CellSequence],
    *,
    orientation: Orientation = "sequence",
    half_extent_um: float | None = None,
    truncation: float = 0.2,
    on_progress: Callable[[int, int], None] | None = None,
) -> ShapeStore:
    """Write the signed distances of ``cells`` to a new store. One frame is in memory at a time.

    The centre of a cell is its centroid in each frame, that of both daughters together after a
    division; movement through the field is left behind.

    Args:
        path: Folder to make. It appears only once it is whole.
        cells: Single-cell sequences of equal length and frame interval; voxel sizes may differ.
        orientation: ``sequence`` turns each cell to the principal axes of all its frames together,
            ``frame`` to those of each frame, ``none`` leaves it as it lies.
        half_extent_um: Half the side of Ω in µm. ``None``: the farthest voxel of any cell from its
            centre, times 1.15, rounded up to two digits.
        truncation: Distances are cut off there, in units of Ω.
        on_progress: Called with (frames done, frames in all) after each frame.

    Raises:
        InputError: No cells, unequal lengths or intervals, a cell that does not fit in the unit
            ball of Ω, cells of a single voxel, an option out of range.
        InUseError: ``path`` exists.
        StorageError: The disk refused.
    """
    path = Path(path)
    _check(cells, orientation, half_extent_um, truncation)
    if path.exists():
        raise InUseError(f"{path} exists already; choose another name or remove it")
    poses = [measure_pose(cell, orientation) for cell in cells]
    radius_um = largest_radius_um(cells, poses)
    if half_extent_um is None:
        half_extent_um = _round_up(radius_um * _HEADROOM, digits=2)
    elif radius_um > half_extent_um:
        name = cells[int(np.argmax([p.radius_um for p in poses]))].name
        raise InputError(
            f"{name}: reaches {radius_um:.4g} µm from its centre, beyond half_extent_um "
            f"{half_extent_um:g}; pass at least {_round_up(radius_um * _HEADROOM, digits=2):g}"
        )
    partial = path.with_name(f".{path.name}.partial")
    with storing(path):
        try:
            remove(partial)  # a killed run leaves this folder; it is ours to replace
            path.parent.mkdir(parents=True, exist_ok=True)
            root = zarr.open_group(str(partial), mode="w", zarr_format=3)
            root.attrs.update(_attributes(cells, orientation, half_extent_um, truncation))
            total = sum(cell.n_frames for cell in cells)
            done = 0
            for i, (cell, pose) in enumerate(zip(cells, poses, strict=True)):
                group = root.create_group(f"{i:04d}")
                for _ in _write_cell(group, cell, pose, half_extent_um, truncation):
                    done += 1
                    if on_progress is not None:
                        on_progress(done, total)
            partial.rename(path)
        except BaseException:
            remove(partial)
            raise
    return ShapeStore.open(path)


def _attributes(
    cells: Sequence[CellSequence], orientation: str, half_extent_um: float, truncation: float
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "half_extent_um": float(half_extent_um),
        "frame_interval_s": float(cells[0].source.frame_interval_s),
        "n_frames": cells[0].n_frames,
        "truncation": float(truncation),
        "orientation": orientation,
        "assumed": sorted({a for cell in cells for a in cell.source.assumed}),
        "sources": sorted({cell.source.name for cell in cells}),
    }


def _check(
    cells: Sequence[CellSequence],
    orientation: str,
    half_extent_um: float | None,
    truncation: float,
) -> None:
    if not cells:
        raise InputError("shape store: no cells given; at least one sequence is needed")
    if orientation not in ORIENTATIONS:
        raise InputError(f"orientation must be one of {', '.join(ORIENTATIONS)}, got {orientation}")
    if not 0 < truncation <= 2:
        raise InputError(f"truncation must be above 0 and at most 2 units of Ω, got {truncation}")
    if half_extent_um is not None and not (math.isfinite(half_extent_um) and half_extent_um > 0):
        raise InputError(f"half_extent_um must be above 0, got {half_extent_um}")
    first = cells[0]
    for cell in cells:
        if cell.n_frames != first.n_frames:
            raise InputError(
                f"{cell.name}: {cell.n_frames} frames, but {first.name} has {first.n_frames}; "
                "cut all cells to one number of frames"
            )
        if not math.isclose(
            cell.source.frame_interval_s, first.source.frame_interval_s, rel_tol=1e-3
        ):
            raise InputError(
                f"{cell.name}: {cell.source.frame_interval_s:g} s between frames, but "
                f"{first.name} has {first.source.frame_interval_s:g} s; one store has one interval"
            )


def _write_cell(
    group: zarr.Group, cell: CellSequence, pose: Pose, half_extent_um: float, truncation: float
) -> Iterator[int]:
    """Write one sequence; yields after each frame."""
    voxel = cell.source.voxel_size_um
    limit_um = truncation * half_extent_um
    # The outermost voxel centres are to be at least the truncation away from the cell's faces.
    margin = [math.ceil(limit_um / s + 0.5) for s in voxel]
    largest = np.max([mask.shape for mask in cell.masks], axis=0)
    shape = as_index(largest + 2 * np.array(margin))
    group.attrs.update(
        {
            "name": cell.name,
            "voxel_size_um": list(voxel),
            "frames": list(cell.frames),
            "labels": [sorted(labels) for labels in cell.labels],
        }
    )
    sdf = group.create_array(
        "sdf",
        shape=(cell.n_frames, *shape),
        chunks=(1, *shape),
        dtype="float16",
        compressors=ZstdCodec(level=3),
        dimension_names=("t", "z", "y", "x"),
    )
    origin_um = np.empty((cell.n_frames, 3))
    for t, mask in enumerate(cell.masks):
        before = (np.array(shape) - mask.shape) // 2
        inside = np.zeros(shape, dtype=bool)
        inside[box_at(before, mask.shape)] = mask.voxels()
        distance = signed_distance(inside, voxel, limit_um=limit_um)
        distance *= 1 / half_extent_um
        sdf[t] = distance.astype(np.float16)
        origin_um[t] = (np.array(mask.offset) - before - pose.centroids[t]) * np.array(voxel)
        yield t
    group.create_array("origin_um", data=origin_um)
    group.create_array("alignment", data=pose.alignment)


class ShapeStore:
    """Signed distances of single-cell sequences, read a frame at a time.

    Attributes:
        path: The folder.
        n_sequences: Number of cells.
        n_frames: Frames per cell.
        half_extent_um: Half the side of Ω in µm.
        frame_interval_s: Seconds between frames.
        truncation: Distances are cut off at ± this, in units of Ω.
        orientation: How the cells were aligned.
        assumed: What the sources did not say and was taken for granted ("voxel size", …).
        sources: Names of the mask sequences the cells were cut from.
    """

    def __init__(self, path: Path, root: zarr.Group) -> None:
        attrs = root.attrs.asdict()
        self.path = path
        self.n_frames = int(cast(int, attrs["n_frames"]))
        self.half_extent_um = float(cast(float, attrs["half_extent_um"]))
        self.frame_interval_s = float(cast(float, attrs["frame_interval_s"]))
        self.truncation = float(cast(float, attrs["truncation"]))
        self.orientation = str(attrs["orientation"])
        self.assumed = tuple(cast(list[str], attrs["assumed"]))
        self.sources = tuple(cast(list[str], attrs["sources"]))
        self._groups = [group for _, group in sorted(root.groups())]
        self.n_sequences = len(self._groups)
        self._sdf = [_array(group, "sdf") for group in self._groups]
        self._origin_um = [np.asarray(_array(group, "origin_um")[:]) for group in self._groups]
        self._alignment = [np.asarray(_array(group, "alignment")[:]) for group in self._groups]

    @classmethod
    def open(cls, path: str | Path) -> ShapeStore:
        """Open a store for reading.

        Raises:
            MissingError: There is no folder at ``path``.
            FormatError: It is not a store of this version.
        """
        path = Path(path)
        if not path.is_dir():
            raise MissingError(f"{path}: no such shape store; build it from masks first")
        try:
            root = zarr.open_group(str(path), mode="r", zarr_format=3)
        except (OSError, ValueError, KeyError) as error:
            raise FormatError(f"{path}: not a Zarr group, expected a shape store") from error
        found = (root.attrs.get("format"), root.attrs.get("version"))
        if found != (FORMAT, VERSION):
            raise FormatError(
                f"{path}: format {found[0]} version {found[1]}, expected {FORMAT} version "
                f"{VERSION}; build the store again"
            )
        return cls(path, root)

    def name(self, i: int) -> str:
        """Name of sequence ``i``: its source, track and frames."""
        return str(self._groups[i].attrs["name"])

    def voxel_size_um(self, i: int) -> Triple:
        """Voxel size ``(z, y, x)`` of sequence ``i`` in µm."""
        z, y, x = cast(list[float], self._groups[i].attrs["voxel_size_um"])
        return z, y, x

    def sdf(self, i: int, t: int) -> NDArray[np.float16]:
        """Signed distance ``(z, y, x)`` of sequence ``i`` in frame ``t``, units of Ω."""
        return np.asarray(self._sdf[i][t])

    def mask(self, i: int, t: int) -> NDArray[np.bool_]:
        """The source's own mask on the same voxels, ``(z, y, x)``."""
        return self.sdf(i, t) < 0

    def grid(self, i: int, t: int) -> tuple[Grid, NDArray[np.float64]]:
        """Where those voxels lie: a grid in Ω, and the alignment ``(3, 3)``.

        A point p of the grid lies at ``alignmentᵀ · p`` in the aligned cell the field is trained
        on, and a rotation R renders the cell as it was observed if it is the alignment itself.
        """
        dz, dy, dx = self.voxel_size_um(i)
        z, y, x = self._origin_um[i][t].tolist()
        scale = self.half_extent_um
        grid = Grid(
            shape=as_index(self._sdf[i].shape[1:]),
            spacing=(dz / scale, dy / scale, dx / scale),
            origin=(z / scale, y / scale, x / scale),
        )
        return grid, self._alignment[i][t]


def _round_up(value: float, *, digits: int) -> float:
    decimals = digits - 1 - math.floor(math.log10(value))
    # The slack keeps 6.3, which is 6.300000000000001 after a product, from becoming 6.4.
    return round(math.ceil(value * 10.0**decimals - 1e-9) / 10.0**decimals, decimals)


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise FormatError(f"{group.name}/{name}: a group, expected an array; build the store again")
    return array
