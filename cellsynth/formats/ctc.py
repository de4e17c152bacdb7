"""Cell Tracking Challenge data sets: read, write, and stage as results.

The layout stands in :mod:`cellsynth.formats.ctc_names`, the rules in
:mod:`cellsynth.formats.ctc_validate`.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.formats.ctc_names import FOLDERS, list_folder, refuse_zarr, sequence_names
from cellsynth.formats.ctc_table import read_table
from cellsynth.formats.ctc_writer import CTCWriter, Piece, write_ctc
from cellsynth.formats.lineage import Lineage, lineage_faults, raise_first
from cellsynth.formats.storage import link_or_copy, storing
from cellsynth.formats.tiff_reading import (
    FrameHeader,
    as_uint16,
    read_cropped,
    read_frame_interval_s,
    read_header,
    read_labels,
    read_voxel_size_um,
)

__all__ = [
    "CTCSequence",
    "CTCWriter",
    "Piece",
    "read_ctc",
    "sequence_names",
    "stage_results",
    "write_ctc",
]

StrPath = str | os.PathLike[str]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class CTCSequence:
    """The masks of one sequence, read frame by frame.

    Attributes:
        root: Folder of the data set.
        name: Number of the sequence, as ``"01"``.
        kind: ``TRA``, ``SEG`` or ``ST``.
        frame_paths: File of each frame; SEG and ST may have gaps.
        shape: ``(z, y, x)`` of every frame, or ``(y, x)``.
        lineage: From ``man_track.txt``; None for SEG and ST, which have none.
        voxel_size_um: ``(z, y, x)`` in µm as the first frame tells, or None.
        frame_interval_s: Seconds between frames as the first frame tells, or None.
    """

    root: Path
    name: str
    kind: str
    frame_paths: dict[int, Path]
    shape: tuple[int, ...]
    lineage: Lineage | None
    voxel_size_um: Triple | None
    frame_interval_s: float | None

    @property
    def n_frames(self) -> int:
        """Number of frames up to the last one that has a mask."""
        return max(self.frame_paths) + 1

    def check_lineage(self) -> None:
        """Raise InputError where the table, if there is one, breaks a rule; its file is named."""
        table = FOLDERS[self.kind].table
        if self.lineage is not None and table:
            path = FOLDERS[self.kind].of(self.root, self.name) / table
            raise_first(f"{path}", lineage_faults(self.lineage.tracklets, self.n_frames))

    def frame(self, t: int) -> NDArray[Any]:
        """Labels of frame ``t``, of the shape of the sequence and the type of the file.

        Raises:
            MissingError: There is no mask of that frame.
            FormatError: The file is damaged.
        """
        if t not in self.frame_paths:
            folder = FOLDERS[self.kind].of(self.root, self.name)
            raise MissingError(f"{folder} holds no mask of frame {t}")
        labels = read_labels(self.frame_paths[t])
        if labels.shape != self.shape:
            raise FormatError(f"{self.frame_paths[t]} has shape {labels.shape}, not {self.shape}")
        return labels

    def labels(self, t: int) -> NDArray[np.uint16]:
        """As :meth:`frame`, always uint16.

        Raises:
            MissingError, FormatError: As there; or a label outside 0 … 65535.
        """
        return as_uint16(self.frame(t), self.frame_paths[t])

    def cropped(self, t: int) -> tuple[NDArray[Any], tuple[int, ...]]:
        """The part of frame ``t`` with labels, and where it begins, ``(z, y, x)``.

        Frames had one shape when the sequence was opened; a frame without a mask is empty. Raises
        FormatError where the file is damaged.
        """
        if t not in self.frame_paths:
            return np.zeros((0, 0, 0), np.uint8), (0, 0, 0)
        return read_cropped(self.frame_paths[t])


def read_ctc(root: StrPath, kind: str | None = None) -> list[CTCSequence]:
    """Every sequence of a data set that has reference masks, in order.

    Every frame's header is read now, so that bad data is refused before work begins; the labels
    are read when asked for.

    Args:
        root: Folder that holds ``01_GT`` and so on.
        kind: ``TRA``, ``SEG`` or ``ST``; None takes the first of these that a sequence has.

    Raises:
        MissingError: No such folder, no sequence in it, or no masks of that kind.
        FormatError: Float or colour masks, frames of different shape, a damaged file or table;
            OME-Zarr.
        InputError: Unknown ``kind``.
    """
    kinds = ("TRA", "SEG", "ST") if kind is None else (kind,)
    if not set(kinds) <= {"TRA", "SEG", "ST"}:
        raise InputError(f"kind of masks must be TRA, SEG or ST, got {kind!r}")
    sequences = []
    for name in sequence_names(root):
        for candidate in kinds:
            paths = _frame_paths(Path(root), name, candidate)
            if paths:
                sequences.append(_open_sequence(Path(root), name, candidate, paths))
                break
    if not sequences:
        refuse_zarr(root)
        wanted = " or ".join(FOLDERS[k].path.format("01") for k in kinds)
        example = FOLDERS[kinds[0]].file(0, 3)
        raise MissingError(
            f"{os.fspath(root)} holds no masks; expected {wanted} with files as {example}"
        )
    return sequences


def _frame_paths(root: Path, name: str, kind: str) -> dict[int, Path]:
    folder = FOLDERS[kind].of(root, name)
    if not folder.is_dir():
        return {}
    found = ((FOLDERS[kind].frame(path.name), path) for path in list_folder(folder))
    return dict(sorted((number[0], path) for number, path in found if number))


def _open_sequence(root: Path, name: str, kind: str, paths: dict[int, Path]) -> CTCSequence:
    first: FrameHeader | None = None
    for path in paths.values():
        header = read_header(path)
        if header.problem:
            raise FormatError(f"{path} {header.problem}")
        first = first or header
        if header.shape != first.shape:
            raise FormatError(
                f"{path} has shape {header.shape}, the first frame {first.shape}; "
                "all frames of a sequence have one shape"
            )
    assert first is not None  # the caller found at least one frame
    table = FOLDERS[kind].table
    folder = FOLDERS[kind].of(root, name)
    any_path = next(iter(paths.values()))
    return CTCSequence(
        root=root,
        name=name,
        kind=kind,
        frame_paths=paths,
        shape=first.shape,
        lineage=read_table(folder / table) if table else None,
        voxel_size_um=read_voxel_size_um(any_path),
        frame_interval_s=read_frame_interval_s(any_path),
    )


def stage_results(root: StrPath, out: StrPath, kind: str = "RES") -> list[Path]:
    """Present each sequence's own reference as a tracker's result, for evaluation tools.

    ``out`` gets ``NN_GT/TRA`` and, beside it, the same masks as ``NN_RES/mask000.tif`` with
    ``res_track.txt``; hard links where the file system has them. With ``out`` equal to ``root``
    only the results are added.

    Args:
        root: Data set with ``NN_GT/TRA``.
        out: Folder to fill; it is made where it is missing.
        kind: Ending of the result folders' names.

    Returns:
        The result folders.

    Raises:
        MissingError: ``root`` holds no tracked masks.
        InUseError: A folder to make is there already.
        StorageError: The disk refused.
    """
    results = []
    for name in sequence_names(root):
        source = FOLDERS["TRA"].of(Path(root), name)
        if not source.is_dir():
            continue
        targets = {Path(out) / f"{name}_{kind}": ("mask", "res_track.txt")}
        results.append(next(iter(targets)))
        reference = FOLDERS["TRA"].of(Path(out), name)
        if reference.resolve() != source.resolve():
            targets[reference] = ("man_track", "man_track.txt")
        for target, (prefix, table) in targets.items():
            if target.exists():
                raise InUseError(f"{target} is there already; choose another folder or remove it")
            with storing(target):
                target.mkdir(parents=True)
            for path in list_folder(source):
                number = FOLDERS["TRA"].frame(path.name)
                if number:
                    link_or_copy(path, target / f"{prefix}{number[0]:0{number[1]}d}.tif")
                elif path.name == "man_track.txt":
                    with storing(target / table):  # a copy: tables get edited
                        shutil.copyfile(path, target / table)
    if not results:
        raise MissingError(f"{os.fspath(root)} holds no 01_GT/TRA to stage")
    return results
