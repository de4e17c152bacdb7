"""Sets of phantoms: seeded, of one kind, written as a Cell Tracking Challenge mask set."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cellsynth.errors import InputError, InUseError
from cellsynth.formats.ctc import Piece, write_ctc
from cellsynth.formats.ctc_names import sequence_name
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.storage import storing, whole_or_nothing
from cellsynth.geometry import Grid
from cellsynth.shapes.phantoms.kinds import find_kind, kind_options
from cellsynth.shapes.phantoms.phantom import Phantom, Triple
from cellsynth.shapes.phantoms.starrynite import LineageTable, read_lineage_table

__all__ = ["phantom_families", "phantom_lineage", "write_phantom"]


def phantom_families(
    kind: str,
    count: int,
    frames: int = 30,
    seed: int = 0,
    lineage: str | os.PathLike[str] | LineageTable | None = None,
    *,
    spread: int | None = None,
) -> list[Any]:
    """The first ``count`` phantoms of a seed; the i-th is the same whatever the count.

    Args:
        kind: One of :data:`.kinds.KINDS`.
        frames: Frames of each.
        lineage: Of ``celegans`` only: a lineage table whose real divisions give moment, sizes,
            axes and distances; without one they are drawn from published statistics.
        spread: Of ``celegans`` only: the division falls on the middle frame, give or take this
            many; 3 unless told otherwise.

    Returns:
        A :class:`.phantom.Phantom` each, of the kind's own class.

    Raises:
        InputError: An unknown kind, an option that is not the kind's, a number out of range, or a
            table with too few divisions.
        FormatError, MissingError: The table cannot be read.
    """
    options = kind_options(kind, lineage=lineage, spread=spread)
    if count < 1:
        raise InputError(f"phantom: count must be at least 1, got {count}")
    if frames < 1:
        raise InputError(f"phantom: frames must be at least 1, got {frames}")
    if seed < 0:
        raise InputError(f"phantom: seed must be at least 0, got {seed}")
    drawn = find_kind(kind).draw(frames, seed, **options)
    families = list(itertools.islice(drawn, count))
    if len(families) < count:
        name = lineage.name if isinstance(lineage, LineageTable) else Path(str(lineage)).name
        raise InputError(
            f"{name}: {len(families)} divisions can be used for {frames} frames, "
            f"expected {count}; lower the count, or leave out the table to draw from statistics"
        )
    return families


def phantom_lineage(family: Phantom) -> Lineage:
    """Every label of a phantom with its first and last frame, and daughters with their mother."""
    return family.lineage()


def write_phantom(
    kind: str,
    out: str | os.PathLike[str],
    *,
    count: int = 33,
    frames: int = 30,
    voxel_size_um: Triple | None = None,
    seed: int = 0,
    lineage: str | os.PathLike[str] | None = None,
    spread: int | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write phantoms: one sequence folder each, 01 … , and ``phantom.json``.

    Every phantom is centred on its centroid in every frame, and its images are just large enough
    that no body touches the border. The set appears under its name once it is whole.

    Args:
        out: Folder to make.
        voxel_size_um: Voxel size ``(z, y, x)``; None is the kind's own.
        overwrite: Replace an earlier phantom set at ``out``.
        on_progress: Called with the number of frames written and of all frames.
        kind, count, frames, seed, lineage, spread: See :func:`phantom_families`.

    Returns:
        The folder.

    Raises:
        InUseError: ``out`` holds something already.
        TopologyError: The voxels are too coarse to show the bodies.
        InputError, FormatError, MissingError, StorageError: As they say.
    """
    out = Path(out)
    _check_unused(out, overwrite)
    options = kind_options(kind, lineage=lineage, spread=spread)
    table = None if lineage is None else read_lineage_table(lineage)
    families = phantom_families(kind, count, frames, seed, table, spread=spread)
    voxel_um = find_kind(kind).voxel_um
    voxel_size_um = voxel_size_um or (voxel_um, voxel_um, voxel_um)
    names = [sequence_name(i + 1) for i in range(count)]
    done = itertools.count(1)

    def report() -> None:
        if on_progress is not None:
            on_progress(next(done), count * frames)

    with whole_or_nothing(out.resolve()) as partial:
        for name, family in zip(names, families, strict=True):
            grid = family.grid(voxel_size_um)
            with grid.in_memory():
                write_ctc(
                    partial,
                    name,
                    _pieces(family, grid, report),
                    family.lineage(),
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
            **({"spread": options["spread"]} if "spread" in options else {}),
            "voxel_size_um": list(voxel_size_um),
            "frame_interval_s": families[0].frame_interval_s,
            **({"lineage": _table_record(table)} if "lineage" in options else {}),
            "sequences": [
                {"name": name, **family.record()}
                for name, family in zip(names, families, strict=True)
            ],
        }
        with storing(partial / "phantom.json"):
            (partial / "phantom.json").write_text(json.dumps(record, indent=1) + "\n")
        _check_unused(out, overwrite)  # another run may have ended first
    return out


def _pieces(family: Phantom, grid: Grid, report: Callable[[], None]) -> Iterator[Piece]:
    for frame in range(family.n_frames):
        crop, offset = family.render_crop(frame, grid)
        yield Piece(crop, offset, grid.shape)
        report()


def _table_record(table: LineageTable | None) -> dict[str, str] | None:
    return None if table is None else {"file": table.name, "sha256": table.sha256}


def _check_unused(out: Path, overwrite: bool) -> None:
    if Path.cwd().is_relative_to(out.resolve()):
        raise InUseError(f"{out} is in use as the current folder; choose another --out")
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise InUseError(f"{out} holds something already; pass --overwrite or another --out")
    if not (out / "phantom.json").is_file():
        raise InUseError(f"{out} is no phantom set, so it is not replaced; choose another --out")
