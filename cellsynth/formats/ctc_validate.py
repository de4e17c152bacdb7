"""A strict validator for Cell Tracking Challenge data sets.

It checks what the public tools check and what they let pass: file names, types and shapes, raw
images, SEG, the last frame. :data:`RULES` lists all rules. The format is described by its
organisers in "Naming and file content conventions", celltrackingchallenge.net.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from cellsynth.errors import CellsynthError, MissingError
from cellsynth.formats.ctc_names import (
    FOLDERS,
    frame_digits,
    is_sequence_name,
    list_folder,
    refuse_zarr,
    sequence_names,
)
from cellsynth.formats.ctc_rules import RULES, Fault, told
from cellsynth.formats.ctc_scan import Contents, Image, ImageReader, list_contents
from cellsynth.formats.ctc_table import parse_table, read_table_text
from cellsynth.formats.lineage import MAX_LABEL, lineage_faults, presence_faults
from cellsynth.formats.tiff_reading import FrameHeader

__all__ = ["RULES", "Fault", "count_frames", "validate_ctc"]

_T = TypeVar("_T")


def validate_ctc(
    root: str | os.PathLike[str],
    *,
    sequences: Iterable[str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Fault]:
    """Every fault of a data set; an empty list is a valid one.

    Masks are read page by page, so memory does not grow with frames. Of many faults of one kind
    in one folder ten are told, and one more fault says how many others there are.

    Args:
        root: Folder that holds ``01_GT`` and so on.
        sequences: Numbers of the sequences to check, as ``["01"]``; None checks all.
        on_progress: Called with sequences checked and sequences in all.

    Raises:
        MissingError: ``root`` is not a folder.
        FormatError: It holds OME-Zarr, which has no such rules.
        StorageError: It may not be read.
    """
    base = Path(root)
    refuse_zarr(base)
    names = sequence_names(base)
    wanted = names if sequences is None else list(sequences)
    every = {name: _contents(base, name) for name in names}
    digits = frame_digits(max((_n_frames(c) for c in every.values()), default=0))
    faults = list(_folder_faults(base, wanted, every))
    for done, name in enumerate(wanted, start=1):
        if name in every:
            faults += _Sequence(base, every[name], digits).faults()
        if on_progress:
            on_progress(done, len(wanted))
    return faults


def count_frames(root: str | os.PathLike[str]) -> dict[str, int]:
    """Frames of each sequence of a data set, by its number; raises as :func:`validate_ctc`."""
    base = Path(root)
    return {name: _n_frames(_contents(base, name)) for name in sequence_names(base)}


def _contents(root: Path, name: str) -> dict[str, Contents]:
    listed = {kind: list_contents(folder, root, name) for kind, folder in FOLDERS.items()}
    return {kind: contents for kind, contents in listed.items() if contents}


def _n_frames(contents: dict[str, Contents]) -> int:
    """Number of frames: the images tell, or the tracks, or whatever there is."""
    counts = {kind: c.n_frames for kind, c in contents.items() if c.frames}
    for kind in ("images", "TRA", "RES"):
        if kind in counts:
            return counts[kind]
    return max(counts.values(), default=0)


def _folder_faults(
    root: Path, wanted: Sequence[str], every: dict[str, dict[str, Contents]]
) -> Iterator[Fault]:
    looks_like_one = re.compile(r"([0-9]+)([-_ ]?(GT|ST|RES|ERR_SEG))?", re.IGNORECASE)
    expected = "expected 01, 01_GT, 01_ST, 01_RES or 01_ERR_SEG"
    for path in list_folder(root):
        match = looks_like_one.fullmatch(path.name)
        if path.is_dir() and match:
            number, _, rest = path.name.partition("_")
            if not is_sequence_name(number) or rest not in ("", "GT", "ST", "RES", "ERR_SEG"):
                yield Fault(path.name, None, None, "folder", f"is no folder's name; {expected}")
    for name in wanted:
        if name not in every:
            yield Fault(f"{name}_GT", None, None, "folder", "is not there")
            continue
        for parent, kind in (("GT", "TRA"), ("ST", "ST")):
            if (root / f"{name}_{parent}").is_dir() and kind not in every[name]:
                missing = FOLDERS[kind].path.format(name)
                yield Fault(f"{name}_{parent}", None, None, "folder", f"has no {missing}")
    masks = {kind for name in wanted for kind in every.get(name, ())} - {"images"}
    if not masks:
        yield Fault(".", None, None, "folder", "holds no masks; expected 01_GT/TRA")


class _Sequence:
    """One sequence: everything is read first, then judged by what most of its files say."""

    def __init__(self, root: Path, contents: dict[str, Contents], digits: int) -> None:
        self._root = root
        self._contents = contents
        self._digits = digits
        self._n_frames = _n_frames(contents)
        reader = ImageReader()
        self._images: dict[Path, Image] = {}
        for kind, c in contents.items():
            for path in [*c.frames.values(), *c.slices.values()]:
                self._images[path] = reader.read(path, labels=kind != "images")
        masks = [c for kind, c in contents.items() if kind != "images" and c.frames]
        # Where there are no masks, the images are compared with each other.
        self._shape = _commonest(h.shape for c in masks or contents.values() for h in self._of(c))
        raw = contents.get("images")
        self._image_type = _commonest(h.dtype.name for h in self._of(raw)) if raw else None

    def _of(self, contents: Contents) -> Iterator[FrameHeader]:
        """Headers of the whole frames in a folder, those that can be judged."""
        for path in contents.frames.values():
            header = self._images[path].header
            if header and not header.colour:
                yield header

    def faults(self) -> list[Fault]:
        """All faults, folder by folder."""
        found = []
        for c in self._contents.values():
            faults = [*self._names(c), *self._frames(c), *self._slices(c)]
            if c.folder.table:
                faults += self._table(c, c.path / c.folder.table)
            found += told(self._relative(c.path), faults)
        return found

    def _relative(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _fault(
        self, path: Path, frame: int | None, rule: str, message: str, label: int | None = None
    ) -> Fault:
        return Fault(self._relative(path), frame, label, rule, message)

    def _names(self, c: Contents) -> Iterator[Fault]:
        if c.error:
            yield self._fault(c.path, None, "unreadable", c.error)
            return
        example = c.folder.file(0, self._digits)
        for path in c.strays:
            if path.suffix != ".tif":
                message = f"ends in {path.suffix}; expected a name as {example}"
                yield self._fault(path, None, "file-ending", message)
            else:
                yield self._fault(path, None, "file-name", f"expected a name as {example}")
        size = "fewer than 1000" if self._digits == 3 else "1000 or more"
        for path, digits in c.digits.items():
            if digits != self._digits:
                message = f"has {digits} digits; a data set of {size} frames has {self._digits}"
                yield self._fault(path, _frame_of(c, path), "digits", message)
        if not c.frames and not c.slices:
            yield self._fault(c.path, None, "folder", f"holds no frame; expected {example}")
        elif c.folder.dense:
            for t in sorted(set(range(self._n_frames)) - c.frames.keys()):
                path = c.path / c.folder.file(t, self._digits)
                yield self._fault(path, t, "frame-missing", f"frame {t} is missing")
        for t, path in [*c.frames.items(), *((t, path) for (t, _), path in c.slices.items())]:
            if t >= self._n_frames:
                message = f"frame {t} is beyond the {self._n_frames} frames of the sequence"
                yield self._fault(path, t, "frame-extra", message)

    def _frames(self, c: Contents) -> Iterator[Fault]:
        for t, path in c.frames.items():
            yield from self._image(c, t, path, self._shape)

    def _slices(self, c: Contents) -> Iterator[Fault]:
        whole = self._shape
        depth = whole[0] if whole and len(whole) == 3 else 1
        for (t, z), path in c.slices.items():
            yield from self._image(c, t, path, whole and whole[-2:])
            if whole and z >= depth:
                message = f"slice {z} is beyond the {depth} slices of a frame"
                yield self._fault(path, t, "slice-range", message)

    def _image(
        self, c: Contents, t: int, path: Path, shape: tuple[int, ...] | None
    ) -> Iterator[Fault]:
        image = self._images[path]
        header = image.header
        if header is None:
            yield self._fault(path, t, "unreadable", image.error or "cannot be read")
            return
        if header.colour:
            yield self._fault(path, t, "colour", "is a colour image; a voxel has one value")
            return
        found = header.dtype.name
        if c.folder.kind != "images":
            if found != "uint16":
                yield self._fault(path, t, "type", f"holds {found}; masks are uint16")
        elif found not in ("uint8", "uint16"):
            yield self._fault(path, t, "type", f"holds {found}; images are uint8 or uint16")
        elif found != self._image_type:
            message = f"holds {found}; most images of the sequence hold {self._image_type}"
            yield self._fault(path, t, "type", message)
        if shape and header.shape != shape:
            message = f"has shape {header.shape}; the sequence has {shape}"
            yield self._fault(path, t, "shape", message)
        for label in sorted(image.labels or ()):
            if not 1 <= label <= MAX_LABEL:
                message = f"label {label} is outside 1 … {MAX_LABEL}"
                yield self._fault(path, t, "label-range", message, label)

    def _table(self, c: Contents, table: Path) -> Iterator[Fault]:
        where = self._relative(table)
        try:
            rows, problems = parse_table(read_table_text(table))
        except MissingError:
            yield Fault(where, None, None, "table-missing", "is missing")
            return
        except CellsynthError as error:
            message = str(error).removeprefix(f"{table} ")
            yield Fault(where, None, None, "table-line", message)
            return
        for p in problems:
            yield Fault(where, None, None, "table-line", p.message, p.line)
        tracklets = [tracklet for _, tracklet in rows]
        for f in lineage_faults(tracklets, self._n_frames):
            yield Fault(where, f.frame, f.label, f.rule, f.message, rows[f.row][0])
        seen = {t: self._images[path].labels for t, path in c.frames.items()}
        readable = {t: labels for t, labels in seen.items() if labels is not None}
        understood = not any(p.fatal for p in problems)
        for f in presence_faults(tracklets, readable):
            # A line that was not understood may have listed the label.
            if understood or f.rule != "label-unlisted":
                path = c.frames[f.frame or 0]
                yield self._fault(path, f.frame, f.rule, f.message, f.label)


def _frame_of(contents: Contents, path: Path) -> int | None:
    found = contents.folder.frame(path.name) or contents.folder.slice(path.name)
    return found[0] if found else None


def _commonest(values: Iterable[_T]) -> _T | None:
    """The value that is there most often, the first of several; None where there is none."""
    counts = Counter(values).most_common(1)
    return counts[0][0] if counts else None
