"""Sets of phantoms: seeded families of one kind, written as a Cell Tracking Challenge mask set."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from cellsynth.errors import InputError, InUseError
from cellsynth.formats.ctc import Piece, write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.storage import remove, storing
from cellsynth.shapes.phantoms import celegans
from cellsynth.shapes.phantoms.bodies import Family
from cellsynth.shapes.phantoms.render import DAUGHTERS, MOTHER, family_grid, render_crop
from cellsynth.shapes.phantoms.starrynite import LineageTable, read_lineage_table

__all__ = ["KINDS", "VOXEL_UM", "phantom_families", "phantom_lineage", "write_phantom"]

KINDS = ("celegans",)

VOXEL_UM = 0.041
"""Default voxel size. Ω of 33 families, 1.15 times their farthest body voxel, has a half extent of
5.3 to 5.5 µm and so is about 256 voxels across. A constant, so that a sequence does not depend on
how many others are written with it."""

Triple = tuple[float, float, float]


def phantom_families(
    kind: str,
    count: int,
    frames: int = 30,
    seed: int = 0,
    lineage: str | os.PathLike[str] | LineageTable | None = None,
    *,
    spread: int = 3,
) -> list[Family]:
    """The first ``count`` families of a seed; family i is the same whatever the count.

    Args:
        kind: One of :data:`KINDS`.
        frames: Frames of each family.
        lineage: A lineage table whose real divisions give moment, sizes, axes and distances;
            without one they are drawn from published statistics.
        spread: The division falls on the middle frame, give or take this many.

    Raises:
        InputError: An unknown kind, a number out of range, or a table with too few divisions.
        FormatError, MissingError: The table cannot be read.
    """
    if kind not in KINDS:
        raise InputError(f"phantom: unknown kind {kind!r}; expected {' or '.join(KINDS)}")
    if count < 1:
        raise InputError(f"phantom: count must be at least 1, got {count}")
    if seed < 0:
        raise InputError(f"phantom: seed must be at least 0, got {seed}")
    if lineage is None:
        drawn = celegans.drawn_families(frames, seed, spread)
        return list(itertools.islice(drawn, count))
    celegans.division_window(frames, spread)  # a wrong number is told before a long file is read
    table = lineage if isinstance(lineage, LineageTable) else read_lineage_table(lineage)
    families = list(itertools.islice(celegans.table_families(table, frames, seed, spread), count))
    if len(families) < count:
        raise InputError(
            f"{table.name}: {len(families)} divisions can be used for {frames} frames, "
            f"expected {count}; lower the count, or leave out the table to draw from statistics"
        )
    return families


def phantom_lineage(family: Family) -> Lineage:
    """The mother, label 1, up to the division; her daughters, 2 and 3, from it to the end."""
    born, end = family.division_frame, family.n_frames - 1
    daughters = (Tracklet(label, born, end, MOTHER) for label in DAUGHTERS)
    return Lineage((Tracklet(MOTHER, 0, born - 1), *daughters))


def write_phantom(
    kind: str,
    out: str | os.PathLike[str],
    *,
    count: int = 33,
    frames: int = 30,
    voxel_size_um: Triple | None = None,
    seed: int = 0,
    lineage: str | os.PathLike[str] | None = None,
    spread: int = 3,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write dividing phantoms: one sequence folder per family, 01 … , and ``phantom.json``.

    Every family is centred on its centroid in every frame, and its images are just large enough
    that no body touches the border. The set appears under its name once it is whole.

    Args:
        out: Folder to make.
        voxel_size_um: Voxel size ``(z, y, x)``; None is :data:`VOXEL_UM` along every axis.
        overwrite: Replace an earlier phantom set at ``out``.
        on_progress: Called with the number of frames written and of all frames.
        kind, count, frames, seed, lineage, spread: See :func:`phantom_families`.

    Returns:
        The folder.

    Raises:
        InUseError: ``out`` holds something already.
        TopologyError: The voxels are too coarse to show the daughters apart.
        InputError, FormatError, MissingError, StorageError: As they say.
    """
    out = Path(out)
    _check_unused(out, overwrite)
    table = None if lineage is None else read_lineage_table(lineage)
    families = phantom_families(kind, count, frames, seed, table, spread=spread)
    voxel_size_um = voxel_size_um or (VOXEL_UM, VOXEL_UM, VOXEL_UM)
    partial = out.absolute().with_name(f".{out.absolute().name}.partial")
    remove(partial)
    done = itertools.count(1)

    def report() -> None:
        if on_progress is not None:
            on_progress(next(done), count * frames)

    try:
        with storing(partial):
            partial.mkdir(parents=True)
        for name, family in zip(_names(count), families, strict=True):
            write_ctc(
                partial,
                name,
                _pieces(family, voxel_size_um, report),
                phantom_lineage(family),
                voxel_size_um=voxel_size_um,
                frame_interval_s=family.frame_interval_s,
                n_frames=family.n_frames,
            )
        record = {
            "format": "cellsynth-phantom",
            "version": 1,
            "cellsynth": version("cellsynth"),
            "kind": kind,
            "seed": seed,
            "count": count,
            "frames": frames,
            "spread": spread,
            "voxel_size_um": list(voxel_size_um),
            "frame_interval_s": families[0].frame_interval_s,
            "lineage": None if table is None else {"file": table.name, "sha256": table.sha256},
            "sequences": _sequence_records(families),
        }
        with storing(partial / "phantom.json"):
            (partial / "phantom.json").write_text(json.dumps(record, indent=1) + "\n")
        with storing(out):
            if overwrite:
                remove(out)
            partial.replace(out)
    finally:
        remove(partial)
    return out


def _names(count: int) -> list[str]:
    return [f"{number:02d}" for number in range(1, count + 1)]


def _pieces(family: Family, voxel_size_um: Triple, report: Callable[[], None]) -> Iterator[Piece]:
    grid = family_grid(family, voxel_size_um)
    for frame in range(family.n_frames):
        crop, offset = render_crop(family, frame, grid)
        yield Piece(crop, offset, grid.shape)
        report()


def _sequence_records(families: Sequence[Family]) -> list[dict[str, object]]:
    return [
        {
            "name": name,
            "mother": family.cells[0],
            "daughters": list(family.cells[1:]),
            "division_frame": family.division_frame,
            "farthest_um": round(family.farthest_um(), 4),
        }
        for name, family in zip(_names(len(families)), families, strict=True)
    ]


def _check_unused(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InUseError(f"{out} holds something already; pass --overwrite or another --out")
    if not (out / "phantom.json").is_file():
        raise InUseError(f"{out} is no phantom set, so it is not replaced; choose another --out")
