"""Presets of the studies: shipped ones, or trained on phantoms as ``train-preset`` would."""

from __future__ import annotations

from typing import Any

from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.shapes.phantoms import write_phantom
from cellsynth.studies.fields import Learning
from cellsynth.studies.phantom_cells import Cells, half_extent_um
from cellsynth.studies.study import Bench
from cellsynth.training.options import TrainOptions
from cellsynth.training.preset import TrainEvent, train_preset, work_folder
from cellsynth.training.stepping import Length

__all__ = ["trained_preset"]


def trained_preset(bench: Bench[Any], cells: Cells, learning: Learning) -> Bundle:
    """The preset of phantoms of a kind, under its name; made once and kept.

    It is trained on all frames of the course, as masks in a Cell Tracking Challenge set.
    """
    out = bench.folder / "presets" / cells.kind
    if out.is_dir():
        return read_bundle(out)
    masks = bench.folder / f"{cells.kind}-masks"
    voxel = 2 * half_extent_um(cells.kind) / cells.across
    if not masks.is_dir():
        write_phantom(
            cells.kind,
            masks,
            count=cells.count,
            frames=cells.course,
            voxel_size_um=(voxel, voxel, voxel),
            seed=bench.seed,
            on_progress=bench.progress("making phantoms"),
        )
    options = TrainOptions(
        name=cells.kind,
        length=Length(steps=learning.steps),
        recipe=learning.recipe,
        spec=learning.field,
        seed=bench.seed,
    )

    def told(event: TrainEvent) -> None:
        bench.tell(event.stage, event.done, event.total, "")

    summary = train_preset(
        masks, out, options, device=bench.device, resume=work_folder(out).exists(), on_event=told
    )
    assert summary is not None  # one process alone
    return summary.bundle
