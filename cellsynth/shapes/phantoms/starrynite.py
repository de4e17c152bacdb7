"""Lineage tables of StarryNite and AceTree: where every nucleus is, minute by minute, and its size.

The table is a CSV file with a header and one row per nucleus and minute:
``track, parent_track, t_min, nucleus_id, x_vox, y_vox, z_vox, diameter_vox, name``. A track is one
nucleus from birth to division; ``parent_track`` is 0 where the mother is not in the table. Lengths
are in isotropic units of 0.16 µm, times in minutes.

Source: Bao et al. 2006, "Automated cell lineage tracing in Caenorhabditis elegans" (StarryNite);
Boyle et al. 2006 (AceTree).
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, MissingError

__all__ = ["UNIT_UM", "LineageTable", "NucleusTrack", "TableDivision", "read_lineage_table"]

UNIT_UM = 0.16
"""Length of the table's unit in µm, the same along all three axes."""

_COLUMNS = ("track", "parent_track", "t_min", "x_vox", "y_vox", "z_vox", "diameter_vox", "name")


@dataclass(frozen=True)
class NucleusTrack:
    """One nucleus from its birth to its division.

    Attributes:
        track: Number of the track, unique in its table.
        parent: Track of the mother, 0 if she is not in the table.
        name: Name of the cell, such as ``ABpla``; may be empty.
        begin: First minute.
        centres_um: Centres ``(n, 3)``, one per minute without a gap, in z, y, x.
        diameters_um: Diameters ``(n,)``.
    """

    track: int
    parent: int
    name: str
    begin: int
    centres_um: NDArray[np.float64]
    diameters_um: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.diameters_um)


@dataclass(frozen=True)
class TableDivision:
    """A mother and the two daughters that are there in the minute after her last."""

    mother: NucleusTrack
    daughters: tuple[NucleusTrack, NucleusTrack]


@dataclass(frozen=True)
class LineageTable:
    """A lineage table in memory.

    Attributes:
        name: File name, without folder.
        sha256: Hash of the file's bytes.
        tracks: All tracks, by number.
    """

    name: str
    sha256: str
    tracks: dict[int, NucleusTrack]

    def divisions(self) -> tuple[TableDivision, ...]:
        """Every division into exactly two, by the mother's track; daughters by theirs."""
        children: dict[int, list[NucleusTrack]] = defaultdict(list)
        for track in self.tracks.values():
            children[track.parent].append(track)
        found = []
        for number, mother in sorted(self.tracks.items()):
            born = mother.begin + len(mother)
            pair = sorted(children[number], key=lambda child: child.track)
            if len(pair) == 2 and all(child.begin == born for child in pair):
                found.append(TableDivision(mother, (pair[0], pair[1])))
        return tuple(found)


def read_lineage_table(path: str | os.PathLike[str]) -> LineageTable:
    """Read a StarryNite/AceTree lineage table.

    Raises:
        MissingError: There is no such file.
        FormatError: A column is missing, a cell is not a number, a diameter is not above 0, a
            track skips or repeats a minute, or a parent is named that a track cannot have.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingError(f"lineage table {path}: no such file; give the path of a CSV table")
    content = path.read_bytes()
    rows: dict[int, dict[int, tuple[float, ...]]] = defaultdict(dict)
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    for line, row in _rows(path, content):
        where = f"{path.name} line {line}"
        track, parent, minute = (
            _whole(row[column], where, column) for column in ("track", "parent_track", "t_min")
        )
        values = tuple(
            _number(row[column], where, column)
            for column in ("z_vox", "y_vox", "x_vox", "diameter_vox")
        )
        if values[3] <= 0:
            raise FormatError(f"{where}: diameter_vox must be above 0, got {values[3]:g}")
        if minute in rows[track]:
            raise FormatError(f"{where}: track {track} has minute {minute} already; one row each")
        if parents.setdefault(track, parent) != parent or parent == track:
            raise FormatError(
                f"{where}: track {track} has parent {parent}, expected one parent per track"
            )
        rows[track][minute] = values
        names.setdefault(track, row["name"].strip())
    tracks = {
        track: _track(path.name, track, parents[track], names[track], minutes)
        for track, minutes in rows.items()
    }
    if not tracks:
        raise FormatError(f"{path.name}: no row below the header; expected one per nucleus")
    return LineageTable(path.name, hashlib.sha256(content).hexdigest(), tracks)


def _rows(path: Path, content: bytes) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name}: not a text file ({error.reason})") from None
    reader = csv.DictReader(lines)
    try:
        missing = [column for column in _COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise FormatError(
                f"{path.name} line 1: no column {missing[0]}; expected {', '.join(_COLUMNS)}"
            )
        for row in reader:
            if any(row[column] is None for column in _COLUMNS):
                raise FormatError(
                    f"{path.name} line {reader.line_num}: fewer cells than the header"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise FormatError(f"{path.name} line {reader.line_num + 1}: {error}") from None


def _number(text: str, where: str, column: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"{where}: {column} must be a number, got {text!r}")
    return value


def _whole(text: str, where: str, column: str) -> int:
    value = _number(text, where, column)
    if value != int(value):
        raise FormatError(f"{where}: {column} must be a whole number, got {text!r}")
    return int(value)


def _track(
    file: str, track: int, parent: int, name: str, minutes: dict[int, tuple[float, ...]]
) -> NucleusTrack:
    begin, end = min(minutes), max(minutes)
    for minute in range(begin, end + 1):
        if minute not in minutes:
            raise FormatError(
                f"{file}: track {track} has no row for minute {minute}, "
                f"expected every minute from {begin} to {end}"
            )
    values = np.array([minutes[minute] for minute in range(begin, end + 1)]) * UNIT_UM
    return NucleusTrack(track, parent, name, begin, values[:, :3], values[:, 3])
