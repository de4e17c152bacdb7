"""Lineages as GEFF, the Graph Exchange File Format 1.3, in Zarr v3.

A node is one cell in one frame, an edge leads from a cell to itself in its next frame, and from a
mother to each daughter. The format is a few arrays and one JSON object, written here with zarr:
the package ``geff`` would hold numcodecs back to 0.15 on every Python. Its validator and reader
are witnesses in the tests.

Source: Graph Exchange File Format, specification 1.3 (live-image-tracking-tools.github.io/geff).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cellsynth.formats.cell_table import Spot
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.storage import storing
from cellsynth.geometry import Triple

__all__ = ["VERSION", "write_geff"]

VERSION = "1.3"


def write_geff(
    path: Path,
    lineage: Lineage,
    spots: Sequence[Spot],
    *,
    voxel_size_um: Triple,
    frame_interval_s: float | None = None,
    labels: str | None = None,
    image: str | None = None,
) -> None:
    """Write a lineage as a GEFF group.

    Args:
        path: The group's folder; it is made.
        lineage: Who lives when, and who is whose daughter.
        spots: Every cell in every frame in which it has a mask.
        voxel_size_um: ``(z, y, x)`` in µm, by which positions become µm.
        frame_interval_s: Seconds between frames; the time of a node is its frame number.
        labels: Path of the label image, seen from ``path``.
        image: Path of the image, seen from ``path``.

    Raises:
        StorageError: The disk refused.
    """
    ids = {(spot.t, spot.label): i for i, spot in enumerate(spots)}
    edges = np.array(_edges(lineage, ids), np.uint64).reshape(-1, 2)
    z, y, x = np.array([s.position_um(voxel_size_um) for s in spots]).reshape(-1, 3).T
    cells = np.array([s.label for s in spots], np.uint16)
    unit_um3 = float(np.prod(voxel_size_um))
    props: dict[str, tuple[NDArray[Any], str | None, str]] = {
        "t": (np.array([s.t for s in spots], np.uint32), "frame", "Frame, from 0"),
        "z": (z, "micrometer", "Centroid"),
        "y": (y, "micrometer", "Centroid"),
        "x": (x, "micrometer", "Centroid"),
        "label": (cells, None, "Value in the label image and in man_track.txt"),
        "volume": (
            unit_um3 * np.array([s.voxels for s in spots], np.float64),
            "micrometer**3",
            "Voxels times the volume of one",
        ),
        "tracklet": (_of(cells, _tracklets(lineage)), None, "Cell from division to division"),
        "lineage": (_of(cells, _founders(lineage)), None, "Label of the cell it all came from"),
    }
    with storing(path):
        group = zarr.open_group(str(path), mode="w-", zarr_format=3)
        _put(group, "nodes/ids", np.arange(len(spots), dtype=np.uint64))
        _put(group, "edges/ids", edges)
        group.require_group("edges/props")
        for name, (values, _, _) in props.items():
            _put(group, f"nodes/props/{name}/values", values)
        related = [("labels", labels, "label"), ("image", image, None)]
        group.attrs["geff"] = {
            "geff_version": VERSION,
            "directed": True,
            "axes": [
                _axis(name, props[name][0], props[name][1], frame_interval_s) for name in "tzyx"
            ],
            "node_props_metadata": {
                name: {
                    "identifier": name,
                    "dtype": values.dtype.name,
                    "varlength": False,
                    "unit": unit,
                    "description": text,
                }
                for name, (values, unit, text) in props.items()
            },
            "edge_props_metadata": {},
            "track_node_props": {"tracklet": "tracklet", "lineage": "lineage"},
            "related_objects": [
                {"type": kind, "path": at, "node_prop": prop} for kind, at, prop in related if at
            ]
            or None,
            "display_hints": {
                "display_horizontal": "x",
                "display_vertical": "y",
                "display_depth": "z",
                "display_time": "t",
            },
        }


def _edges(lineage: Lineage, ids: dict[tuple[int, int], int]) -> list[tuple[int, int]]:
    edges: list[tuple[int, int]] = []
    for tracklet in lineage.tracklets:
        frames = range(tracklet.begin, tracklet.end + 1)
        along = [ids[t, tracklet.label] for t in frames]
        if tracklet.parent:
            parent = lineage[tracklet.parent]
            along.insert(0, ids[parent.end, parent.label])
        edges += pairwise(along)
    return edges


def _tracklets(lineage: Lineage) -> dict[int, int]:
    """Label of the first part of each cell: GEFF's tracklets go on where there is one child."""
    first: dict[int, int] = {}
    for t in sorted(lineage.tracklets, key=lambda t: t.begin):
        goes_on = t.parent and len(lineage.children(t.parent)) == 1
        first[t.label] = first[t.parent] if goes_on else t.label
    return first


def _founders(lineage: Lineage) -> dict[int, int]:
    founder: dict[int, int] = {}
    for t in sorted(lineage.tracklets, key=lambda t: t.begin):
        founder[t.label] = founder[t.parent] if t.parent else t.label
    return founder


def _of(labels: NDArray[np.uint16], said: dict[int, int]) -> NDArray[np.uint16]:
    return np.array([said[int(label)] for label in labels], np.uint16)


def _axis(
    name: str, values: NDArray[Any], unit: str | None, frame_interval_s: float | None
) -> dict[str, Any]:
    axis: dict[str, Any] = {
        "name": name,
        "type": "time" if name == "t" else "space",
        "unit": unit,
    }
    if len(values):
        axis |= {"min": float(values.min()), "max": float(values.max())}
    if name == "t" and frame_interval_s is not None:
        axis |= {"scale": float(frame_interval_s), "scaled_unit": "second"}
    return axis


def _put(group: zarr.Group, name: str, values: NDArray[Any]) -> None:
    # Of an empty array nothing is stored, but zarr wants chunks of at least one.
    chunks = tuple(max(1, n) for n in values.shape)
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks)
    array[...] = values
