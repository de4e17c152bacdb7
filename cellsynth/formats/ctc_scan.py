"""What lies in the folders of one Cell Tracking Challenge sequence, without judging it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cellsynth.errors import CellsynthError
from cellsynth.formats.ctc_names import Folder, list_folder
from cellsynth.formats.tiff_reading import FrameHeader, check_pixels, read_header, scan_labels

__all__ = ["Contents", "Image", "ImageReader", "list_contents"]


@dataclass(frozen=True)
class Contents:
    """Files of one frame folder, by what their names say.

    Attributes:
        folder: The kind of folder.
        path: Where it is.
        frames: Whole frames by number.
        slices: Single slices by frame and slice.
        digits: Number of digits of the frame number in each of these names.
        strays: Image files whose names say nothing.
        error: Why the folder could not be listed, or None.
    """

    folder: Folder
    path: Path
    frames: dict[int, Path] = field(default_factory=dict)
    slices: dict[tuple[int, int], Path] = field(default_factory=dict)
    digits: dict[Path, int] = field(default_factory=dict)
    strays: list[Path] = field(default_factory=list)
    error: str | None = None

    @property
    def n_frames(self) -> int:
        """Number of frames up to the last whole one."""
        return max(self.frames, default=-1) + 1


def list_contents(folder: Folder, root: Path, name: str) -> Contents | None:
    """Files of a folder of sequence ``name``, or None where there is no such folder."""
    path = folder.of(root, name)
    if not path.is_dir():
        return None
    try:
        files = list_folder(path)
    except CellsynthError as error:
        return Contents(folder, path, error=str(error))
    contents = Contents(folder, path)
    for file in files:
        if frame := folder.frame(file.name):
            # Of 003 and 0003 the first stays; the other is reported for its digits.
            contents.frames.setdefault(frame[0], file)
            contents.digits[file] = frame[1]
        elif part := folder.slice(file.name):
            contents.slices[part[0], part[1]] = file
            contents.digits[file] = part[2]
        elif file.suffix.lower() in (".tif", ".tiff"):
            contents.strays.append(file)
    return contents


@dataclass(frozen=True)
class Image:
    """What one file holds.

    Attributes:
        header: Shape and type, or None where it could not be read.
        labels: Labels but the background, or None where they could not be, or need not be, read.
        error: Why it could not be read, or None.
    """

    header: FrameHeader | None
    labels: frozenset[int] | None = None
    error: str | None = None


class ImageReader:
    """Reads each file on disk once, however many names it has: SEG is hard links to TRA."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, bool], Image] = {}

    def read(self, path: Path, *, labels: bool) -> Image:
        """The file's header and, if asked for, its labels; every page is decoded.

        Memory is one page; nothing raises.
        """
        try:
            status = path.stat()
            key = status.st_dev, status.st_ino, labels
            if key not in self._known:
                header = read_header(path)
                wanted = labels and header.problem is None
                found = scan_labels(path) if wanted else None
                if not labels and header.problem is None:
                    check_pixels(path)  # a header says nothing of what is damaged behind it
                self._known[key] = Image(header, found)
            return self._known[key]
        except (CellsynthError, OSError) as error:
            return Image(None, error=str(error).removeprefix(f"{path} "))
