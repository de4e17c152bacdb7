"""Cell Tracking Challenge data sets: read, write, and stage as results.

The layout stands in :mod:`cellsynth.formats.ctc_names`, the rules in
:mod:`cellsynth.formats.ctc_validate`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sized
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import (
    FormatError,
    InputError,
    InUseError,
    MissingError,
    ShapeError,
    StorageError,
)
from cellsynth.formats.ctc_names import (
    FOLDERS,
    frame_digits,
    is_sequence_name,
    list_folder,
    sequence_names,
)
from cellsynth.formats.ctc_table import format_table, read_table
from cellsynth.formats.label_tiff import write_labels
from cellsynth.formats.lineage import Lineage, presence_faults, raise_first
from cellsynth.formats.storage import link_or_copy, remove, storing
from cellsynth.formats.tiff_reading import (
    FrameHeader,
    distinct_labels,
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
Shape = tuple[int, int, int]


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


def read_ctc(root: StrPath, kind: str | None = None) -> list[CTCSequence]:
    """Every sequence of a data set that has reference masks, in order.

    Every frame's header is read now, so that bad data is refused before work begins; the labels
    are read when asked for.

    Args:
        root: Folder that holds ``01_GT`` and so on.
        kind: ``TRA``, ``SEG`` or ``ST``; None takes the first of these that a sequence has.

    Raises:
        MissingError: No such folder, no sequence in it, or no masks of that kind.
        FormatError: Float or colour masks, frames of different shape, a damaged file or table.
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


class Piece(NamedTuple):
    """A frame given as its interesting part: labels ``(z, y, x)``, where they lie, in what."""

    crop: NDArray[np.uint16]
    offset: Shape
    shape: Shape


class CTCWriter:
    """Writes one sequence: ``NN_GT/TRA`` with its table and, as hard links, ``NN_GT/SEG``.

    Frames may be written in any order and from several threads. Used as a context manager it
    leaves nothing behind where the block fails or :meth:`finish` was not reached.

    Args:
        root: Folder of the data set; it is made where it is missing.
        name: Number of the sequence, as ``"01"``.
        n_frames: Number of frames, from which file names get 3 or 4 digits.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds between frames.
        seg: Whether to make the SEG folder too.

    Raises:
        InUseError: The sequence is there already.
        StorageError: The disk refused.
    """

    def __init__(
        self,
        root: StrPath,
        name: str,
        *,
        n_frames: int,
        voxel_size_um: Triple,
        frame_interval_s: float | None = None,
        seg: bool = True,
    ) -> None:
        if not 1 <= n_frames <= 10_000:
            raise InputError(f"number of frames must be 1 … 10000, got {n_frames}")
        if not is_sequence_name(name):
            raise InputError(f"a sequence is named 01, 02 … 99, 100 …, got {name!r}")
        self.folder = Path(root) / f"{name}_GT"
        self.n_frames = n_frames
        self._voxel_size_um = voxel_size_um
        self._frame_interval_s = frame_interval_s
        self._seg = seg
        self._digits = frame_digits(n_frames)
        self._shape: Shape | None = None
        self._labels: dict[int, set[int]] = {}
        self._finished = False
        self._tra = FOLDERS["TRA"].of(Path(root), name)
        if self.folder.exists():
            raise InUseError(f"{self.folder} is there already; choose another folder or remove it")
        self._root_is_ours = not Path(root).exists()
        try:
            with storing(self._tra):
                self._tra.mkdir(parents=True)
        except StorageError:
            self.abort()
            raise

    def __enter__(self) -> CTCWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._finished:
            self.abort()

    def abort(self) -> None:
        """Remove what was written."""
        remove(self.folder)
        if self._root_is_ours:
            with suppress(OSError):  # somebody else put something there meanwhile
                self.folder.parent.rmdir()

    def write_frame(
        self,
        t: int,
        crop: NDArray[np.uint16],
        *,
        offset: Shape = (0, 0, 0),
        shape: Shape | None = None,
    ) -> Path:
        """Write frame ``t`` and return its file.

        Args:
            t: Frame number, from 0.
            crop: Labels ``(z, y, x)``, uint16; the frame is background around them.
            offset: Where in the frame the crop lies, ``(z, y, x)``.
            shape: Shape of the frame; None is that of the crop.

        Raises:
            InputError: No such frame, one written before, or labels that are not uint16.
            ShapeError: The frames differ in shape, or the crop sticks out.
            StorageError: The disk refused.
        """
        if not 0 <= t < self.n_frames or t in self._labels:
            what = (
                "was written before" if t in self._labels else f"is not in 0 … {self.n_frames - 1}"
            )
            raise InputError(f"{self.folder.name}: frame {t} {what}")
        whole: Shape = crop.shape if shape is None else shape
        self._shape = self._shape or whole
        if whole != self._shape:
            raise ShapeError(
                f"{self.folder.name}: frame {t} has shape {whole}, others {self._shape}"
            )
        path = self._tra / FOLDERS["TRA"].file(t, self._digits)
        write_labels(
            path,
            crop,
            shape=whole,
            offset=offset,
            voxel_size_um=self._voxel_size_um,
            frame_interval_s=self._frame_interval_s,
        )
        self._labels[t] = distinct_labels(crop)
        return path

    def finish(self, lineage: Lineage) -> Path:
        """Write the lineage, link SEG, and return the sequence's ``NN_GT`` folder.

        Raises:
            InputError: A frame is missing, or the lineage breaks a rule or contradicts the masks.
            StorageError: The disk refused.
        """
        missing = sorted(set(range(self.n_frames)) - self._labels.keys())
        if missing:
            raise InputError(
                f"{self.folder.name}: frame {missing[0]} was not written "
                f"({len(missing)} of {self.n_frames} missing)"
            )
        lineage.check(self.n_frames)
        raise_first(self.folder.name, presence_faults(lineage.tracklets, self._labels))
        table = self._tra / "man_track.txt"
        with storing(table):
            table.write_bytes(format_table(lineage).encode("ascii"))
        if self._seg:
            seg = self.folder / "SEG"
            with storing(seg):
                seg.mkdir()
            for t in range(self.n_frames):
                link_or_copy(
                    self._tra / FOLDERS["TRA"].file(t, self._digits),
                    seg / FOLDERS["SEG"].file(t, self._digits),
                )
        self._finished = True
        return self.folder


def write_ctc(
    root: StrPath,
    name: str,
    frames: Iterable[NDArray[np.uint16] | Piece],
    lineage: Lineage,
    *,
    voxel_size_um: Triple,
    frame_interval_s: float | None = None,
    seg: bool = True,
    n_frames: int | None = None,
) -> Path:
    """Write a whole sequence, or nothing; arguments and errors as :class:`CTCWriter`.

    Args:
        frames: One after another, whole frames ``(z, y, x)`` or :class:`Piece`.
        n_frames: Their number, where ``frames`` has no length.

    Returns:
        The sequence's ``NN_GT`` folder.
    """
    if n_frames is None:
        if not isinstance(frames, Sized):
            raise InputError("write_ctc needs n_frames where frames have no length")
        n_frames = len(frames)
    with CTCWriter(
        root,
        name,
        n_frames=n_frames,
        voxel_size_um=voxel_size_um,
        frame_interval_s=frame_interval_s,
        seg=seg,
    ) as writer:
        for t, frame in enumerate(frames):
            if isinstance(frame, tuple):
                crop, offset, shape = frame
                writer.write_frame(t, crop, offset=offset, shape=shape)
            else:
                writer.write_frame(t, frame)
        return writer.finish(lineage)


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
