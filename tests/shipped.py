"""What a shipped preset gives: of a training sequence made again, and of a textured cell."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellsynth.evaluation.overlap import Fit, training_dice
from cellsynth.field.model import CellModel
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.tiff_reading import read_labels
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.occupancy import occupancy
from cellsynth.shapes import build_store, cut_cells, open_masks
from cellsynth.shapes.phantoms import render_family
from cellsynth.shapes.phantoms.phantom import Phantom
from cellsynth.texture.dataset import TextureOptions, texture_dataset

N_FRAMES = 30


def dice_made_again(
    bundle: Bundle,
    sequence: int,
    phantom: Phantom,
    folder: Path,
    *,
    voxel_um: float,
    frames: Iterable[int],
) -> NDArray[np.float64]:
    """DSC of a preset's training sequence against its phantom, made again in ``folder``."""
    voxel_size_um = (voxel_um, voxel_um, voxel_um)
    grid = phantom.grid(voxel_size_um)
    write_ctc(
        folder / "masks",
        "01",
        (render_family(phantom, frame, grid) for frame in range(N_FRAMES)),
        phantom.lineage(),
        voxel_size_um=voxel_size_um,
        frame_interval_s=phantom.frame_interval_s,
        n_frames=N_FRAMES,
    )
    cells, left_out = cut_cells(open_masks(folder / "masks"), n_frames=N_FRAMES)
    assert (len(cells), left_out) == (1, [])
    store = build_store(
        folder / "shapes.zarr", cells, half_extent_um=bundle.preset.scale.half_extent_um
    )
    model = CellModel.from_bundle(bundle)
    one = slice(sequence, sequence + 1)
    fit = Fit(model.decoder, model.latents[one], model.rotations[one], bundle.preset.bound)
    return training_dice(fit, store, where=[(0, t) for t in frames])


def textured_cell(
    bundle: Bundle, folder: Path, *, pixel_um: float
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The first learned cell in its first frame, projected: the texture's image, and the mask."""
    model = CellModel.from_bundle(bundle)
    scale = bundle.preset.scale
    side = round(2 * scale.half_extent_um / pixel_um)
    grid = Grid.over_omega((side // 3, side, side))
    field = model.at(model.latents[0], -1.0, model.rotations[0])
    inside = occupancy(field, grid, bound=bundle.preset.bound).to_dense()
    write_ctc(
        folder / "set",
        "01",
        [inside.astype(np.uint16)],
        Lineage((Tracklet(1, 0, 0),)),
        voxel_size_um=grid.voxel_size_um(scale.half_extent_um),
        frame_interval_s=scale.frame_interval_s,
    )
    out = texture_dataset(folder / "set", TextureOptions(), bundle=bundle).out
    return (
        read_labels(out / "01" / "t000.tif"),
        read_labels(out / "01_GT" / "TRA" / "man_track000.tif"),
    )
