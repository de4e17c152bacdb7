"""The rules of a Cell Tracking Challenge data set, and how a broken one is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from cellsynth.formats.lineage import MAX_LABEL

__all__ = ["RULES", "Fault", "told"]

RULES = {
    "folder": "Sequences lie in 01, 01_GT/TRA, 01_GT/SEG, 01_ST/SEG, 01_RES, 01_ERR_SEG.",
    "file-name": "Images are tTTT.tif, masks man_trackTTT.tif, man_segTTT.tif, "
    "man_seg_TTT_ZZZ.tif or maskTTT.tif.",
    "file-ending": "Files end in .tif, never in .tiff or .TIF.",
    "digits": "Frame numbers have one width in a data set: 3 digits below 1000 frames, else 4.",
    "frame-missing": "Images, TRA and results have every frame from 000.",
    "frame-extra": "No mask without a frame to it.",
    "unreadable": "Every file can be read to its end.",
    "colour": "A voxel has one value.",
    "type": "Masks are uint16, images uint8 or uint16, the same throughout a sequence.",
    "shape": "All masks and images of a sequence have one shape, (z, y, x) or (y, x).",
    "slice-range": "man_seg_TTT_ZZZ.tif names a slice that the frame has.",
    "table-missing": "TRA holds man_track.txt, results hold res_track.txt.",
    "table-line": "A table has lines of four whole numbers with single spaces, nothing else.",
    "label-range": f"Labels lie in 1 … {MAX_LABEL}.",
    "label-twice": "A table lists a label once.",
    "begin-after-end": "A track does not end before it begins.",
    "frame-range": "A track begins and ends in frames that the sequence has.",
    "parent-unlisted": "A parent is a listed track, or 0.",
    "parent-self": "A track is not its own parent.",
    "parent-late": "A parent ends before its daughters begin.",
    "label-absent": "A label is in the mask of every frame its track lasts.",
    "label-unlisted": "Every label in a mask is listed.",
    "label-outside-track": "No label is in a mask before its track begins or after it ends.",
}  # fmt: skip

# Faults of one kind that are told one by one, in one folder; the rest are counted.
_TOLD = 10


@dataclass(frozen=True)
class Fault:
    """One broken rule; ``str`` is one line for people.

    Attributes:
        path: File or folder, relative to the data set.
        frame: Frame it concerns, or None.
        label: Label it concerns, or None; the message names it.
        rule: One of :data:`RULES`.
        message: What was found and what was expected.
        line: Line of the file, from 1, where the file is a table.
        count: Faults that it stands for.
    """

    path: str
    frame: int | None
    label: int | None
    rule: str
    message: str
    line: int | None = None
    count: int = 1

    def __str__(self) -> str:
        where = self.path
        if self.line is not None:
            where += f" line {self.line}"
        elif self.frame is not None:
            where += f" frame {self.frame}"
        return f"{where}: {self.message} [{self.rule}]"


def told(folder: str, faults: Iterable[Fault]) -> list[Fault]:
    """The faults of one folder, of each rule the first ten and how many more there are."""
    counts: Counter[str] = Counter()
    shown = []
    for fault in faults:
        counts[fault.rule] += 1
        if counts[fault.rule] <= _TOLD:
            shown.append(fault)
    return shown + [
        Fault(folder, None, None, rule, f"{n - _TOLD} more faults of this kind", count=n - _TOLD)
        for rule, n in counts.items()
        if n > _TOLD
    ]
