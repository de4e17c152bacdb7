"""The lineage table of the Cell Tracking Challenge: ``man_track.txt`` and ``res_track.txt``.

One track a line, four whole numbers ``L B E P`` with single spaces between: label, first frame,
last frame, parent or 0. Frames count from 0. No header, no blank line.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from cellsynth.errors import FormatError, MissingError, StorageError
from cellsynth.formats.lineage import Lineage, Tracklet

__all__ = ["LineProblem", "format_table", "parse_table", "read_table", "read_table_text"]

_STRICT_LINE = re.compile(" ".join(4 * ["[0-9]{1,18}"]))


@dataclass(frozen=True)
class LineProblem:
    """A line that is not written as the format asks; ``line`` counts from 1."""

    line: int
    message: str
    fatal: bool


def format_table(lineage: Lineage) -> str:
    """The table of a lineage, one line a tracklet, sorted by label."""
    return "".join(f"{t.label} {t.begin} {t.end} {t.parent}\n" for t in lineage.tracklets)


def parse_table(text: str) -> tuple[list[tuple[int, Tracklet]], list[LineProblem]]:
    """Read a table as far as it can be read.

    Returns:
        ``(line, tracklet)`` for every line that holds four whole numbers, in the file's order,
        and what is wrong with the lines. A problem is fatal where the line was not understood;
        tabs, extra spaces and blank lines are understood, and reported all the same.
    """
    rows, problems = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if _STRICT_LINE.fullmatch(line):
            rows.append((number, Tracklet(*map(int, line.split(" ")))))
            continue
        fields = line.split()
        shown = repr(line if len(line) <= 40 else line[:39] + "…")
        if not fields:
            problems.append(LineProblem(number, "is blank; remove it", fatal=False))
        elif len(fields) != 4 or not all(re.fullmatch(r"[+-]?[0-9]{1,18}", f) for f in fields):
            expected = "expected four whole numbers 'L B E P'"
            problems.append(LineProblem(number, f"reads {shown}; {expected}", fatal=True))
        else:
            rows.append((number, Tracklet(*map(int, fields))))
            expected = "separate the four numbers by single spaces"
            if any(f.startswith(("+", "-")) for f in fields):
                expected = "no number is negative or signed"
            problems.append(LineProblem(number, f"reads {shown}; {expected}", fatal=False))
    return rows, problems


def read_table_text(path: str | os.PathLike[str]) -> str:
    """The text of a table.

    Raises:
        FormatError: It is not text.
        MissingError, StorageError: It is not there, or may not be read.
    """
    try:
        return Path(path).read_bytes().decode("ascii")
    except FileNotFoundError as error:
        raise MissingError(f"{os.fspath(path)} is not there") from error
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StorageError(f"{os.fspath(path)} could not be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise FormatError(
            f"{os.fspath(path)} holds the byte 0x{error.object[error.start]:02x}; "
            "expected plain digits and spaces"
        ) from error


def read_table(path: str | os.PathLike[str]) -> Lineage:
    """The lineage in a table. Untidy spacing is forgiven, an unreadable line is not.

    Raises:
        FormatError: A line without four whole numbers.
        MissingError, StorageError: The file is not there, or may not be read.
    """
    rows, problems = parse_table(read_table_text(path))
    for problem in problems:
        if problem.fatal:
            raise FormatError(f"{os.fspath(path)} line {problem.line} {problem.message}")
    return Lineage(tuple(tracklet for _, tracklet in rows))
