"""Folder and file names of the Cell Tracking Challenge, in one place.

A data set is a folder of numbered sequences::

    01/t000.tif …                        images
    01_GT/TRA/man_track000.tif …         tracked markers, with man_track.txt
    01_GT/SEG/man_seg000.tif …           gold segmentation (or man_seg_000_012.tif, one slice)
    01_ST/SEG/man_seg000.tif …           silver segmentation
    01_RES/mask000.tif …                 results, with res_track.txt
    01_ERR_SEG/mask000.tif …             segmentations with errors
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cellsynth.errors import FormatError, MissingError, StorageError

__all__ = [
    "FOLDERS",
    "Folder",
    "frame_digits",
    "is_sequence_name",
    "list_folder",
    "refuse_zarr",
    "sequence_name",
    "sequence_names",
]

_SEQUENCE = re.compile(r"(0[1-9]|[1-9][0-9]+)(|_GT|_ST|_RES|_ERR_SEG)")


@dataclass(frozen=True)
class Folder:
    """One kind of frame folder.

    Attributes:
        kind: Short name.
        path: Folder of a sequence, with ``{}`` for its number.
        prefix: What a frame's file name starts with, before the frame number.
        table: Name of the lineage table in it, or None.
        dense: Whether every frame must be there.
        slices: Whether single slices, ``prefix_TTT_ZZZ.tif``, are allowed.
    """

    kind: str
    path: str
    prefix: str
    table: str | None = None
    dense: bool = True
    slices: bool = False

    def of(self, root: Path, name: str) -> Path:
        """The folder of sequence ``name``."""
        return root / self.path.format(name)

    def file(self, frame: int, digits: int) -> str:
        """File name of a frame."""
        return f"{self.prefix}{frame:0{digits}d}.tif"

    def frame(self, file_name: str) -> tuple[int, int] | None:
        """Frame number and number of digits of a whole frame's file name, None for others."""
        match = re.fullmatch(re.escape(self.prefix) + r"([0-9]{3,4})\.tif", file_name)
        return (int(match[1]), len(match[1])) if match else None

    def slice(self, file_name: str) -> tuple[int, int, int] | None:
        """Frame, slice and number of digits of a single slice's file name, None for others."""
        if not self.slices:
            return None
        match = re.fullmatch(self.prefix + r"_([0-9]{3,4})_([0-9]{3,4})\.tif", file_name)
        return (int(match[1]), int(match[2]), len(match[1])) if match else None


FOLDERS = {
    folder.kind: folder
    for folder in (
        Folder("TRA", "{}_GT/TRA", "man_track", table="man_track.txt"),
        Folder("SEG", "{}_GT/SEG", "man_seg", dense=False, slices=True),
        Folder("ST", "{}_ST/SEG", "man_seg", dense=False, slices=True),
        Folder("RES", "{}_RES", "mask", table="res_track.txt"),
        Folder("ERR_SEG", "{}_ERR_SEG", "mask", dense=False),
        Folder("images", "{}", "t"),
    )
}


def sequence_name(number: int) -> str:
    """Name of the sequence of that number, from 1: 01 … 99, then 100 …"""
    return f"{number:02d}"


def is_sequence_name(name: str) -> bool:
    """Whether ``name`` can be a sequence's number: 01 … 99, 100 …"""
    match = _SEQUENCE.fullmatch(name)
    return match is not None and match[1] == name


def sequence_names(root: str | os.PathLike[str]) -> list[str]:
    """Numbers of the sequences that have any folder in ``root``, ascending.

    Raises:
        MissingError: ``root`` is not a folder.
        StorageError: It may not be read.
    """
    matches = (_SEQUENCE.fullmatch(path.name) for path in list_folder(root) if path.is_dir())
    return sorted({match[1] for match in matches if match}, key=int)


def refuse_zarr(root: str | os.PathLike[str]) -> None:
    """Raise where a folder without sequences is, or holds, Zarr.

    Raises:
        FormatError: It does; what to do instead is said.
    """
    names = [path.name for path in (Path(root), *list_folder(root)) if path.suffix == ".zarr"]
    if names and not sequence_names(root):
        raise FormatError(
            f"{os.fspath(root)} holds OME-Zarr ({names[0]}), expected TIFF files as "
            "01_GT/TRA/man_track000.tif; generate the same cells without --format ome-zarr (only "
            "train-preset, fit, evaluate and report read OME-Zarr)"
        )


def list_folder(path: str | os.PathLike[str]) -> list[Path]:
    """What lies in a folder, sorted by name, without hidden files.

    Raises:
        MissingError: There is no such folder.
        StorageError: It may not be read.
    """
    try:
        return sorted(p for p in Path(path).iterdir() if not p.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingError(f"{os.fspath(path)} is not a folder") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"{os.fspath(path)} could not be read: {reason}") from error


def frame_digits(n_frames: int) -> int:
    """Digits of the frame numbers: 3 below 1000 frames, where official tools misread 4."""
    return 3 if n_frames < 1000 else 4
