"""Sources of labelled 3D+t masks, read one frame at a time.

A source is a Cell Tracking Challenge folder, TIFF files, Zarr (OME-Zarr labels too), or HDF5 as
the paper's authors write it. The voxel size and frame interval come from the caller, else from the
file, else they are assumed, and :attr:`~cellsynth.shapes.mask_sequence.MaskSequence.assumed` says
so.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError, MissingError
from cellsynth.formats.ctc import CTCSequence, read_ctc
from cellsynth.formats.ctc_names import list_folder, sequence_names
from cellsynth.formats.ctc_table import read_table
from cellsynth.geometry import Triple
from cellsynth.shapes.hdf5_masks import find_hdf5, is_hdf5
from cellsynth.shapes.mask_sequence import Found, MaskSequence
from cellsynth.shapes.tiff_masks import find_tiff, find_tiff_folder, is_tiff
from cellsynth.shapes.zarr_masks import find_zarr

__all__ = ["ASSUMED_FRAME_INTERVAL_S", "ASSUMED_VOXEL_SIZE_UM", "MaskSequence", "open_masks"]

ASSUMED_VOXEL_SIZE_UM: Triple = (1.0, 1.0, 1.0)
ASSUMED_FRAME_INTERVAL_S = 60.0

_CTC_PART = re.compile(r"[0-9]{2,}_(GT|ST|RES|ERR_SEG)")
_CTC_MASKS = re.compile(r"[0-9]{2,}_(GT|ST)")
_ZARR_FILES = ("zarr.json", ".zgroup", ".zarray")


def open_masks(
    path: str | Path,
    *,
    voxel_size_um: Triple | None = None,
    frame_interval_s: float | None = None,
    kind: Literal["TRA", "SEG", "ST"] | None = None,
) -> list[MaskSequence]:
    """Open a data set of masks. Only headers are read now.

    Args:
        path: One of

            - a Cell Tracking Challenge folder, with ``01_GT`` and so on in it;
            - a TIFF file ``(t, z, y, x)``, or ``(z, y, x)`` for a single frame;
            - a folder of such files: files with time are a sequence each, files without are the
              frames of one sequence, in the order of the numbers in their names;
            - a Zarr array ``(t, z, y, x)``, a group of them, or an OME-Zarr (0.4, 0.5) label
              image or image with labels;
            - a folder of such Zarrs, as ``cellsynth generate --format ome-zarr`` makes;
            - a training file of the paper's authors (HDF5), or a folder of them, a sequence each.
        voxel_size_um: ``(z, y, x)`` in µm. ``None``: what the file says, else 1 µm.
        frame_interval_s: Seconds between frames. ``None``: what the file says, else 60 s.
        kind: Which masks of a Cell Tracking Challenge folder. ``None``: the first there is. Real
            data sets often have mere markers in TRA, and whole cells in ST.

    Raises:
        MissingError: Nothing at ``path``, or no masks in it.
        FormatError: Float or colour masks, 2D masks, frames of different shape, a damaged file.
        DependencyError: An HDF5 file, and h5py is not installed.
        InputError: An option out of range, or ``path`` is a part of a data set.
    """
    path = Path(path)
    _check_scale(voxel_size_um, frame_interval_s)
    return [_with_scale(found, voxel_size_um, frame_interval_s) for found in _find(path, kind)]


def _check_scale(voxel_size_um: Triple | None, frame_interval_s: float | None) -> None:
    if voxel_size_um is not None and not (
        len(voxel_size_um) == 3 and all(math.isfinite(s) and s > 0 for s in voxel_size_um)
    ):
        raise InputError(f"voxel size must be z, y, x above 0 in µm, got {voxel_size_um}")
    if frame_interval_s is not None and not (
        math.isfinite(frame_interval_s) and frame_interval_s > 0
    ):
        raise InputError(f"frame interval must be above 0 s, got {frame_interval_s}")


def _with_scale(
    found: Found, voxel_size_um: Triple | None, frame_interval_s: float | None
) -> MaskSequence:
    if len(found.shape) != 3:
        raise FormatError(
            f"{found.name}: 2D masks of shape {found.shape}, expected 3D frames (z, y, x); "
            "cells in 2D can be neither learned nor measured"
        )
    z, y, x = found.shape
    voxel = voxel_size_um or found.voxel_size_um
    interval = frame_interval_s or found.frame_interval_s
    assumed = ("voxel size",) * (voxel is None) + ("frame interval",) * (interval is None)
    return MaskSequence(
        name=found.name,
        n_frames=found.n_frames,
        shape=(z, y, x),
        voxel_size_um=voxel or ASSUMED_VOXEL_SIZE_UM,
        frame_interval_s=interval or ASSUMED_FRAME_INTERVAL_S,
        read_frame=found.read_frame,
        lineage=found.lineage,
        assumed=assumed,
        read_cropped=found.read_cropped,
    )


def _find(path: Path, kind: str | None) -> list[Found]:
    if not path.exists():
        raise MissingError(f"{path}: no such file or folder")
    if path.is_file():
        if is_hdf5(path):
            return [find_hdf5(path)]
        if not is_tiff(path):
            raise FormatError(
                f"{path}: not a TIFF file; masks are TIFF, Zarr, HDF5 (.h5) or a CTC folder"
            )
        return [find_tiff(path)]
    if _is_zarr(path):
        return find_zarr(path)
    for part in (path, path.parent):
        if _CTC_PART.fullmatch(part.name):
            raise InputError(
                f"{path}: a part of a Cell Tracking Challenge data set; pass {part.parent}"
            )
    files = list_folder(path)
    # Any folder named by a number may be a sequence; only masks beside it say that it is one.
    if any(_CTC_MASKS.fullmatch(file.name) for file in files):
        return [_find_ctc(sequence) for sequence in read_ctc(path, kind)]
    tiffs = [file for file in files if is_tiff(file)]
    if tiffs:
        return find_tiff_folder(path, tiffs)
    others = [f for file in files if _is_zarr(file) for f in _find_named_zarr(path, file)]
    others = others or [find_hdf5(file) for file in files if is_hdf5(file)]
    if others:
        return others
    if (path / "specs.json").is_file():
        raise InputError(
            f"{path}: an experiment of the paper's authors; pass the folder of its .h5 files to "
            "train on them, or use its model: cellsynth presets import"
        )
    if sequence_names(path):
        read_ctc(path, kind)  # says which masks are missing
    raise MissingError(
        f"{path}: {'no masks in it' if files else 'an empty folder'}; expected TIFF files, a Zarr, "
        ".h5 files or a Cell Tracking Challenge folder with 01_GT in it"
    )


def _is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in _ZARR_FILES)


def _find_named_zarr(root: Path, path: Path) -> list[Found]:
    """The masks of one of several Zarrs; of a single one its name is the sequence's."""
    name = f"{root.resolve().name}/{path.name.removesuffix('.zarr').removesuffix('.ome')}"
    found = find_zarr(path)
    if len(found) == 1:
        return [replace(found[0], name=name)]
    return [replace(f, name=f"{name}-{f.name.rsplit('/', 1)[-1]}") for f in found]


def _find_ctc(sequence: CTCSequence) -> Found:
    lineage, n_frames = sequence.lineage, sequence.n_frames
    table = sequence.root / f"{sequence.name}_GT" / "TRA" / "man_track.txt"
    if sequence.kind == "ST" and table.is_file():
        # Silver segmentations are grown from the tracking markers and bear their labels.
        lineage = read_table(table)
        n_frames = max(n_frames, lineage.n_frames)
    return Found(
        name=f"{sequence.root.resolve().name}/{sequence.name}",
        n_frames=n_frames,
        shape=sequence.shape,
        read_frame=partial(_read_ctc_frame, sequence),
        read_cropped=sequence.cropped,
        voxel_size_um=sequence.voxel_size_um,
        frame_interval_s=sequence.frame_interval_s,
        lineage=lineage,
    )


def _read_ctc_frame(sequence: CTCSequence, t: int) -> NDArray[Any]:
    # SEG and ST may be sparse; a frame without a file shows no cell.
    if t not in sequence.frame_paths:
        return np.zeros(sequence.shape, dtype=np.uint8)
    return sequence.frame(t)
