"""The formats that a set is exported to: OME-Zarr, GEFF, TIFF stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.formats.cell_table import CellTable
from cellsynth.formats.ctc_names import FOLDERS
from cellsynth.formats.ctc_table import format_table
from cellsynth.formats.export_source import Source, find_sources
from cellsynth.formats.exporting import ExportEvent, ExportSummary, Writer, export_sources
from cellsynth.formats.geff_tracks import write_geff
from cellsynth.formats.lineage import Lineage, presence_faults, raise_first
from cellsynth.formats.ome_zarr import ENDING, OmeZarrWriter
from cellsynth.formats.pyramid import slabs_of_planes
from cellsynth.formats.storage import storing
from cellsynth.formats.tiff_reading import read_planes
from cellsynth.formats.tiff_stack import write_stack
from cellsynth.geometry import Triple

__all__ = ["export_dataset", "write_table"]


def export_dataset(
    root: Path,
    out: Path,
    to: Literal["ome-zarr", "geff", "tiff-stack"],
    *,
    voxel_size_um: Triple | None = None,
    frame_interval_s: float | None = None,
    workers: int | None = 1,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Callable[[ExportEvent], None] | None = None,
) -> ExportSummary:
    """Write a set in another format; meshes are :func:`cellsynth.rendering.meshes.export_meshes`.

    Args:
        root: A Cell Tracking Challenge set, ours or anybody's.
        out: Folder to write to.
        to: ``ome-zarr``, an OME-Zarr a sequence; ``geff``, a lineage graph a sequence;
            ``tiff-stack``, a file ``(t, z, y, x)`` a sequence.
        voxel_size_um: ``(z, y, x)`` in µm instead of what the files say.
        frame_interval_s: Seconds between frames instead of what the files say.
        workers: Processes; None is one per core. Never changes the result.
        resume: Continue an export that was begun with the same options.
        overwrite: Replace a data set, or an export, of ours.
        on_event: Told of progress.

    Raises:
        InUseError: ``out`` holds something already.
        InputError, MissingError, FormatError: As :func:`find_sources`; an ``out`` that is a part
            of ``root``.
        StorageError: The disk refused; whole sequences stay, and the export can be resumed.
    """
    sources = find_sources(root, voxel_size_um=voxel_size_um, frame_interval_s=frame_interval_s)
    _, files = _WRITERS[to]
    return export_sources(
        root,
        out,
        sources,
        {"to": to},
        files,
        partial(_chosen, to),
        workers=workers,
        resume=resume,
        overwrite=overwrite,
        on_event=on_event,
    )


def write_table(path: Path, lineage: Lineage) -> None:
    """Write a lineage as ``man_track.txt`` has it."""
    with storing(path):
        path.write_bytes(format_table(lineage).encode("ascii"))


def _chosen(to: str) -> Writer:
    return _WRITERS[to][0]


def _write_ome_zarr(source: Source, folder: Path, tick: Callable[[], None]) -> list[str]:

    with OmeZarrWriter(
        folder,
        source.name,
        shape=(source.n_frames, *source.shape),
        voxel_size_um=source.voxel_size_um,
        frame_interval_s=source.frame_interval_s,
        image_dtype=source.image_dtype,
    ) as writer:
        for t in range(source.n_frames):
            image = None
            if source.images:
                path = source.images[t]
                image = lambda path=path: slabs_of_planes(read_planes(path))  # noqa: E731
            writer.write_slabs(t, partial(source.slabs, t), image)
            tick()
        writer.finish(source.lineage)
    return _ome_zarr_files(source)


def _ome_zarr_files(source: Source) -> list[str]:
    return [f"{source.name}{ENDING}"]


def _write_geff(source: Source, folder: Path, tick: Callable[[], None]) -> list[str]:

    cells = CellTable()
    for t in range(source.n_frames):
        z = 0
        for slab in source.slabs(t):
            cells.add(t, slab, (z, 0, 0))
            z += len(slab)
        tick()
    where = str(FOLDERS["TRA"].of(source.sequence.root, source.name))
    raise_first(where, presence_faults(source.lineage.tracklets, cells.labels()))
    [file] = _geff_files(source)
    write_geff(
        folder / file,
        source.lineage,
        cells.spots(),
        voxel_size_um=source.voxel_size_um,
        frame_interval_s=source.frame_interval_s,
    )
    return [file]


def _geff_files(source: Source) -> list[str]:
    return [f"{source.name}.geff"]


def _write_tiff_stack(source: Source, folder: Path, tick: Callable[[], None]) -> list[str]:

    def masks() -> Iterator[NDArray[Any]]:
        for t in range(source.n_frames):
            yield from source.planes(t)
            tick()

    def images() -> Iterator[NDArray[Any]]:
        for path in source.images:
            yield from read_planes(path)

    files = _tiff_stack_files(source)
    for file in files:
        with storing(folder / file):
            (folder / file).parent.mkdir(exist_ok=True)
    write_table(folder / files[1], source.lineage)
    parts = [(files[0], masks(), np.dtype(np.uint16))]
    if source.image_dtype is not None:
        parts.append((files[2], images(), source.image_dtype))
    for file, planes, dtype in parts:
        write_stack(
            folder / file,
            planes,
            shape=(source.n_frames, *source.shape),
            dtype=dtype,
            voxel_size_um=source.voxel_size_um,
            frame_interval_s=source.frame_interval_s,
        )
    return files


def _tiff_stack_files(source: Source) -> list[str]:
    name = source.name
    images = [f"images/{name}.tif"] if source.images else []
    return [f"masks/{name}.tif", f"masks/{name}_man_track.txt", *images]


_WRITERS: dict[str, tuple[Writer, Callable[[Source], list[str]]]] = {
    "ome-zarr": (_write_ome_zarr, _ome_zarr_files),
    "geff": (_write_geff, _geff_files),
    "tiff-stack": (_write_tiff_stack, _tiff_stack_files),
}
