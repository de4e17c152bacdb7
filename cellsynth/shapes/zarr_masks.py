"""Masks in Zarr: arrays, groups of arrays, OME-Zarr label images (0.4 and 0.5)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError, MissingError
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Triple
from cellsynth.shapes.mask_sequence import Found

__all__ = ["find_zarr"]

_UM_PER_UNIT = {
    "angstrom": 1e-4,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}
_S_PER_UNIT = {"millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_AXES = {3: "zyx", 4: "tzyx", 5: "tczyx"}


def find_zarr(path: Path) -> list[Found]:
    """Every mask sequence in a Zarr array or group."""
    try:
        node = zarr.open(str(path), mode="r")
        found = _find(node, path.resolve().name)
    except (OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        if isinstance(error, FormatError | MissingError | InputError):
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{path}: not readable as Zarr masks: {reason}") from error
    if not found:
        raise MissingError(f"{path}: a Zarr group without arrays, expected masks (t, z, y, x)")
    return found


def _find(node: zarr.Group | zarr.Array[Any], name: str) -> list[Found]:
    if isinstance(node, zarr.Array):
        return [_found(node, name, _AXES.get(node.ndim, "?" * node.ndim), None, None)]
    # A group named "labels" lists the label images; the image beside it is not masks.
    if "labels" in node and isinstance(node["labels"], zarr.Group):
        children = sorted(node["labels"].group_keys())
        if len(children) > 1:
            raise InputError(
                f"{name}: label images {', '.join(children)}; pass the path of one, as "
                f"{name}/labels/{children[0]}"
            )
        return [f for child in children for f in _find(node["labels"][child], f"{name}/{child}")]
    multiscales = _ome(node).get("multiscales")
    if multiscales:
        return [_find_multiscale(node, multiscales[0], name)]
    return [f for key, child in sorted(node.members()) for f in _find(child, f"{name}/{key}")]


def _ome(group: zarr.Group) -> dict[str, Any]:
    """OME metadata: under ``ome`` since 0.5, at the top before."""
    attrs = group.attrs.asdict()
    ome = attrs.get("ome", attrs)
    return dict(ome) if isinstance(ome, dict) else {}


def _find_multiscale(group: zarr.Group, multiscale: dict[str, Any], name: str) -> Found:
    """The full-resolution level, with its voxel size."""
    level = multiscale["datasets"][0]
    array = group[level["path"]]
    if not isinstance(array, zarr.Array):
        raise FormatError(f"{name}/{level['path']}: a group, expected the full-resolution array")
    axes = multiscale["axes"]
    scale = np.ones(len(axes))
    for transform in (
        *level.get("coordinateTransformations", ()),
        *multiscale.get("coordinateTransformations", ()),
    ):
        if transform["type"] == "scale":
            scale = scale * np.asarray(transform["scale"], dtype=float)
    letters = "".join(str(axis["name"]).lower() for axis in axes)
    units = [str(axis.get("unit", "")).lower() for axis in axes]
    by_letter = dict(zip(letters, zip(scale.tolist(), units, strict=True), strict=True))
    found = _found(array, name, letters, _voxel_size_um(by_letter), _interval_s(by_letter))
    return replace(found, lineage=_lineage(_ome(group).get("image-label")))


def _lineage(image_label: Any) -> Lineage | None:
    """The lineage that :mod:`cellsynth.formats.ome_zarr` puts into a label image's properties."""
    properties = image_label.get("properties") if isinstance(image_label, dict) else None
    keys = ("label-value", "begin", "end", "parent")
    if not properties or not all(
        isinstance(p, dict) and isinstance(p.get(key), int) for p in properties for key in keys
    ):
        return None
    return Lineage(tuple(Tracklet(*(p[key] for key in keys)) for p in properties))


def _voxel_size_um(axes: dict[str, tuple[float, str]]) -> Triple | None:
    space = [axes[a] for a in "zyx" if a in axes]
    # Without units, 1 on every axis is what writers put where they know nothing.
    if len(space) != 3 or all(size == 1 and not unit for size, unit in space):
        return None
    if any(size <= 0 or unit not in {"", *_UM_PER_UNIT} for size, unit in space):
        return None
    z, y, x = (size * _UM_PER_UNIT.get(unit, 1.0) for size, unit in space)
    return z, y, x


def _interval_s(axes: dict[str, tuple[float, str]]) -> float | None:
    interval, unit = axes.get("t", (0.0, ""))
    return interval * _S_PER_UNIT[unit] if interval > 0 and unit in _S_PER_UNIT else None


def _found(
    array: zarr.Array[Any],
    name: str,
    axes: str,
    voxel_size_um: Triple | None,
    frame_interval_s: float | None,
) -> Found:
    if array.dtype.kind not in "bui":
        raise FormatError(f"{name}: holds {array.dtype}; labels are whole numbers")
    sizes = dict(zip(axes, array.shape, strict=True))
    if set(axes) - set("tczyx") or not set("yx") <= set(axes) or sizes.get("c", 1) != 1:
        raise FormatError(f"{name}: shape {array.shape} of axes {axes}, expected (t, z, y, x)")
    if axes != "".join(a for a in "tczyx" if a in axes):
        raise FormatError(f"{name}: axes in the order {axes}, expected t, z, y, x")
    return Found(
        name=name,
        n_frames=sizes.get("t", 1),
        shape=tuple(sizes[a] for a in "zyx" if a in axes),
        read_frame=partial(_read_frame, array, name, axes),
        voxel_size_um=voxel_size_um,
        frame_interval_s=frame_interval_s,
    )


def _read_frame(array: zarr.Array[Any], name: str, axes: str, t: int) -> NDArray[Any]:
    at: tuple[Any, ...] = tuple({"t": t, "c": 0}.get(axis, slice(None)) for axis in axes)
    try:
        return np.asarray(array[at])
    # A damaged chunk can make the codecs raise nearly anything.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FormatError(f"{name} frame {t} could not be decoded: {reason}") from error
