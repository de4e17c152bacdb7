"""Meshes of every cell in every frame of a data set.

A generated set's ``dataset.json`` has preset, code and rotation of each sequence, so its surfaces
come from the field, at any resolution, and its masks say which piece bears which label. Sets of
others have masks alone, and their surfaces are those of the masks, rounded off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from cellsynth.errors import BundleError, InputError
from cellsynth.field.model import CellModel
from cellsynth.field.threads import one_thread_each
from cellsynth.formats.ctc_names import frame_digits
from cellsynth.formats.export_source import Source, find_sources
from cellsynth.formats.exporting import ExportEvent, ExportSummary, Writer, export_sources
from cellsynth.formats.exports import write_table
from cellsynth.formats.manifest import find_manifest
from cellsynth.formats.mesh_files import Mesh, write_mesh
from cellsynth.formats.storage import storing
from cellsynth.geometry import Grid, Triple, frame_times
from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.rendering.surface import lattice_of_field, mesh_of_mask, meshes_by_label
from cellsynth.shapes.cell_mask import bounding_box

__all__ = ["DEFAULT_RES", "MeshOptions", "export_meshes"]

DEFAULT_RES = 128

FrameMeshes = Callable[[Source, int], Iterator[tuple[int, Mesh]]]


@dataclass(frozen=True)
class MeshOptions:
    """How to make meshes.

    Attributes:
        mesh_format: Of the files.
        surface: ``field`` or ``mask``; None is the field, where the set says which.
        res: Points of the field's lattice along each side of Ω; None is 128.
    """

    mesh_format: Literal["ply", "obj", "glb"] = "ply"
    surface: Literal["field", "mask"] | None = None
    res: int | None = None


def export_meshes(
    root: Path,
    out: Path,
    options: MeshOptions,
    *,
    bundle: Bundle | None = None,
    device: str = "cpu",
    voxel_size_um: Triple | None = None,
    frame_interval_s: float | None = None,
    workers: int | None = 1,
    resume: bool = False,
    overwrite: bool = False,
    on_event: Callable[[ExportEvent], None] | None = None,
) -> ExportSummary:
    """Write each cell of each frame as a mesh, ``NN/t000_cell001.ply``.

    Vertices are x, y, z in µm from the centre of the masks' voxel ``[0, 0, 0]``. Meshes are
    closed and their faces counterclockwise from outside.

    Args:
        root: A Cell Tracking Challenge set, ours or anybody's, with 3D masks in ``NN_GT/TRA``.
        out: Folder to write to.
        options: How to make them.
        bundle: The preset that the set was made from, where its field is asked.
        device: Torch device of the field.
        voxel_size_um: ``(z, y, x)`` in µm instead of what the files say; for masks.
        frame_interval_s: As `voxel_size_um`.
        workers: Processes; None is one per core, or one on a GPU. Never changes the result.
        resume: Continue an export that was begun with the same options.
        overwrite: Replace a data set, or an export, of ours.
        on_event: Told of progress.

    Raises:
        InputError: Options that do not fit the set, or a cell too small for ``res``; and as
            :func:`cellsynth.formats.exports.export_dataset`, all others too.
    """
    sources = find_sources(root, voxel_size_um=voxel_size_um, frame_interval_s=frame_interval_s)
    for source in sources:
        if len(source.sequence.shape) != 3:
            raise InputError(f"{root}: its masks are flat; meshes need (z, y, x)")
    said = find_manifest(root) or {}
    codes = {
        name: record for name, record in said.get("sequences", {}).items() if "latent" in record
    }
    generated = "preset" in said and {source.name for source in sources} <= codes.keys()
    surface = options.surface or ("field" if generated else "mask")
    told: dict[str, Any] = {"to": "mesh", "mesh_format": options.mesh_format, "surface": surface}
    make: Callable[[], FrameMeshes]
    if surface == "mask":
        if options.res is not None:
            raise InputError("--res is of the field; a mask has the voxels that it has")
        make = _mask_meshes
    else:
        if not generated:
            raise InputError(f"{root} does not say which field it is of; give --surface mask")
        if voxel_size_um is not None:
            raise InputError("--voxel-size is of masks; a generated set knows its own")
        if bundle is None or bundle.sha256 != said["preset"]["sha256"]:
            raise InputError(
                f"{root} was made from another preset {said['preset']['name']} than the one there "
                "is now; give the same as --preset, or --surface mask"
            )
        told["res"] = options.res or DEFAULT_RES
        told["preset"] = said["preset"]
        make = partial(
            _field_meshes, bundle.folder, bundle.sha256, codes, options.res or DEFAULT_RES, device
        )
    with one_thread_each():
        return export_sources(
            root,
            out,
            sources,
            told,
            _files,
            partial(_writer, make, options.mesh_format),
            workers=workers or (None if device == "cpu" else 1),
            resume=resume,
            overwrite=overwrite,
            on_event=on_event,
        )


def _files(source: Source) -> list[str]:
    return [source.name]


def _writer(make: Callable[[], FrameMeshes], ending: str) -> Writer:
    meshes = make()

    def write(source: Source, folder: Path, tick: Callable[[], None]) -> Sequence[str]:
        target = folder / source.name
        with storing(target):
            target.mkdir()
        write_table(target / "man_track.txt", source.lineage)
        digits = frame_digits(source.n_frames)
        for t in range(source.n_frames):
            found = set()
            for label, mesh in meshes(source, t):
                cell, frame = f"cell{label:03d}", f"t{t:0{digits}d}"
                write_mesh(target / f"{frame}_{cell}.{ending}", mesh, name=f"{cell}_{frame}")
                found.add(label)
            missing = sorted(set(source.lineage.at(t)) - found)
            if missing:
                raise InputError(
                    f"{source.sequence.frame_paths[t]}: no surface of cell {missing[0]}; it is "
                    "too small for this --res, or not in the mask"
                )
            tick()
        return _files(source)

    return write


def _mask_meshes() -> FrameMeshes:
    def meshes(source: Source, t: int) -> Iterator[tuple[int, Mesh]]:
        labels = source.sequence.frame(t)
        for label in source.lineage.at(t):
            box = bounding_box(labels == label)
            if box is not None:
                z, y, x = (s.start for s in box)
                yield label, mesh_of_mask(labels[box] == label, source.voxel_size_um, (z, y, x))

    return meshes


def _field_meshes(
    folder: Path, sha256: str, codes: dict[str, Any], res: int, device: str
) -> FrameMeshes:
    torch.set_num_threads(1)
    bundle = read_bundle(folder)
    if bundle.sha256 != sha256:
        raise BundleError(f"{folder}: the preset was changed while it was in use")
    model = CellModel.from_bundle(bundle, device)
    half_um = model.preset.scale.half_extent_um
    fine = Grid.over_omega((res, res, res))

    def meshes(source: Source, t: int) -> Iterator[tuple[int, Mesh]]:
        code = codes[source.name]
        latent = np.array(code["latent"], np.float32)
        time = float(frame_times(source.n_frames)[t])
        field = model.at(latent, time, np.array(code["rotation"]))
        lattice = lattice_of_field(field, fine, bound=model.preset.bound)
        if lattice is None:
            return
        coarse = Grid.centred(source.shape, source.voxel_size_um, half_um)
        for label, mesh in meshes_by_label(lattice, fine, source.sequence.frame(t), coarse):
            yield label, Mesh(mesh.verts * np.float32(half_um), mesh.faces)

    return meshes
