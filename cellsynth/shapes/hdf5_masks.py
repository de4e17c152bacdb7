"""Masks in the training files of the paper's authors: signed distances over time, in HDF5.

A file holds one sequence as dataset ``sdf_vid``, float32, in the order z, y, x, t as HDF5 counts
its axes. Its distances are cut off at 32 voxels outside and every frame is divided by its own
largest value, so no number in it is a length; which voxels are inside, the negative ones, is all
that is read, and distances are measured anew from that. Neither voxel size nor frame interval is
in the file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import DependencyError, FormatError
from cellsynth.shapes.mask_sequence import Found

__all__ = ["find_hdf5", "is_hdf5"]

DATASET = "sdf_vid"


def is_hdf5(path: Path) -> bool:
    """Whether the file's name is that of an HDF5 file."""
    return path.suffix.lower() in (".h5", ".hdf5") and path.is_file()


def find_hdf5(path: Path) -> Found:
    """The sequence in one file.

    Raises:
        DependencyError: h5py is not installed.
        FormatError: No HDF5, no ``sdf_vid`` in it, or of another type or number of axes.
    """
    h5py = _h5py(path)
    try:
        with h5py.File(path, "r") as file:
            array = file.get(DATASET)
            if not isinstance(array, h5py.Dataset):
                held = ", ".join(map(str, file)) or "nothing"
                raise FormatError(f"{path}: holds {held}, expected a dataset {DATASET}")
            shape, dtype = array.shape, array.dtype
    except OSError as error:
        raise FormatError(f"{path}: not readable as HDF5: {_reason(error)}") from error
    if dtype.kind != "f":
        raise FormatError(f"{path}: {DATASET} holds {dtype}, expected signed distances as floats")
    if shape is None or len(shape) != 4 or 0 in shape:
        raise FormatError(
            f"{path}: {DATASET} has shape {shape}, expected (z, y, x, t), none of it 0"
        )
    *zyx, n_frames = (int(n) for n in shape)
    return Found(
        name=path.name, n_frames=n_frames, shape=tuple(zyx), read_frame=partial(_read_frame, path)
    )


def _read_frame(path: Path, t: int) -> NDArray[Any]:
    h5py = _h5py(path)
    try:
        with h5py.File(path, "r") as file:
            sdf = np.asarray(file[DATASET][..., t])
    # A damaged chunk fails in the filter that it went through; a file may change meanwhile.
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"{path} frame {t} could not be read: {_reason(error)}") from error
    if not np.isfinite(sdf).all():
        raise FormatError(f"{path} frame {t}: {DATASET} holds NaN or infinity, expected distances")
    return (sdf < 0).astype(np.uint8)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise DependencyError(
            f"{path}: needs HDF5 support: pip install 'cellsynth[authors]'"
        ) from None
    return h5py
