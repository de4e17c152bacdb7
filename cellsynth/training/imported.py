"""From an experiment of the paper's authors to a preset: what it says, what is measured, written.

Their files do not know how large Ω is or how much time passes between two frames; that is asked
for. How steep the field is, and how many cells it shows, is measured here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.preview import preview_png
from cellsynth.field.decoder import Decoder
from cellsynth.field.model import CellModel
from cellsynth.geometry import euler_to_matrix, frame_times
from cellsynth.presets.bundle import Bundle, check_free, write_bundle
from cellsynth.presets.card import write_card
from cellsynth.presets.judge import judge
from cellsynth.presets.models import (
    Bound,
    Gaussian,
    Neighbourhood,
    Origin,
    Preset,
    PresetNames,
    Recipe,
    Sampling,
    Scale,
    Topology,
    Training,
)
from cellsynth.presets.recipes import RECIPES
from cellsynth.presets.versions import versions
from cellsynth.rendering.sequence import Draw, judging_grid, render_frame
from cellsynth.rendering.tracking import count_cells
from cellsynth.sampling.prior import code_spread
from cellsynth.training.bound import measure_bound
from cellsynth.training.experiment import Experiment, Specs, read_experiment

__all__ = ["ImportOptions", "import_experiment"]

SHOWN = 4  # cells of the preview
PREVIEW = 64  # pixels of one of them; a field that is steep takes its time
# Codes times frames on which the slope is measured at least; few sequences are looked at again.
LEAST_FRAMES = 200

Progress = Callable[[Literal["slopes", "cells"], int, int], None]


@dataclass(frozen=True)
class ImportOptions:
    """What the files of an experiment do not say.

    Attributes:
        name: Name of the preset.
        half_extent_um: Half the side of Ω in µm. Their grids include both ends of Ω, so a
            training grid of n voxels spans (n - 1) / 2 times its voxel size.
        frame_interval_s: Seconds between frames; None where nobody knows.
        epoch: Which epoch; the last one by default.
        n_frames: Frames of a training sequence; by default as many as the experiment
            reconstructs.
        divisions, end_cells: Divisions in a sequence and cells in its last frame; by default what
            most learned codes show.
        title, description: For people; made up where absent.
        licence: Of the weights, as an SPDX expression.
        data_licence, source: For the card, in words.
        commands: That import it again, for the card.
    """

    name: str
    half_extent_um: float
    frame_interval_s: float | None = None
    epoch: int | None = None
    n_frames: int | None = None
    divisions: int | None = None
    end_cells: int | None = None
    title: str | None = None
    description: str | None = None
    licence: str = "LicenseRef-unstated"
    data_licence: str = "not stated"
    source: str = "not stated"
    commands: tuple[str, ...] = ()


def import_experiment(
    folder: Path,
    out: Path,
    options: ImportOptions,
    *,
    overwrite: bool = False,
    on_progress: Progress | None = None,
) -> Bundle:
    """Write the preset of an experiment folder that the authors' code wrote.

    Args:
        folder: With ``specs.json``, see :mod:`cellsynth.training.experiment`.
        out: Folder of the preset.
        options: What the folder does not say.
        overwrite: Replace the preset at ``out``.
        on_progress: Called with what is measured, how much is done, and how much there is.

    Raises:
        MissingError, FormatError: See :func:`~cellsynth.training.experiment.read_experiment`.
        InputError: An option out of range, or a model without cells.
        InUseError: ``out`` holds something.
        StorageError: The disk refused.
    """
    notify = on_progress or (lambda *_: None)
    judge(PresetNames, {"name": options.name, "licence": options.licence}, "options", InputError)
    check_free(out, overwrite=overwrite)
    experiment = read_experiment(folder, options.epoch)
    n_frames = options.n_frames or experiment.specs.n_frames
    if n_frames is None:
        raise InputError(
            f"{folder}: specs.json does not say ReconstructionFramesPerSequence; give --frames"
        )
    scale = judge(
        Scale,
        {
            "half_extent_um": options.half_extent_um,
            "frame_interval_s": options.frame_interval_s,
            "n_frames": n_frames,
        },
        "options",
        InputError,
    )
    decoder = Decoder(experiment.field_spec)
    decoder.load_state_dict(
        {
            name.removeprefix("field."): torch.from_numpy(array)
            for name, array in experiment.weights.items()
        }
    )
    decoder.requires_grad_(False)
    repeats = max(1, LEAST_FRAMES // (2 * len(experiment.latents) * n_frames))
    bound = measure_bound(
        decoder,
        np.repeat(experiment.latents, repeats, axis=0),
        n_frames,
        seed=0,
        on_progress=lambda done, total: notify("slopes", done, total),
    )
    preset = _describe(experiment, options, scale, bound)
    rotations = euler_to_matrix(torch.from_numpy(experiment.angles).double()).numpy()
    model = CellModel(preset, decoder, experiment.latents, rotations)
    topology = _topology(model, options, lambda *done: notify("cells", *done))
    preset = preset.model_copy(update={"topology": topology})
    evaluation = {
        "imported": {"epoch": experiment.epoch},
        "latents": {"std": float(f"{code_spread(experiment.latents):.4g}")},
        "versions": versions(),
    }
    learned = [Draw(code, np.eye(3), 0) for code in experiment.latents[:SHOWN]]
    return write_bundle(
        out,
        preset,
        {
            **experiment.weights,
            "latents": experiment.latents,
            "rotations": experiment.angles,
        },
        card=write_card(preset, evaluation),
        evaluation=evaluation,
        preview=preview_png(replace(model, preset=preset), learned, size=PREVIEW),
        overwrite=overwrite,
    )


def _describe(experiment: Experiment, options: ImportOptions, scale: Scale, bound: Bound) -> Preset:
    """The preset's text and numbers, with the topology still to be seen."""
    specs = experiment.specs
    n = len(experiment.latents)
    words = specs.description if isinstance(specs.description, str) else " ".join(specs.description)
    what = f"{n} single-cell sequences, learned by the authors' code in {experiment.epoch} epochs"
    title = options.title or f"Cells of the authors' experiment {experiment.folder.resolve().name}"
    return Preset(
        format=1,
        name=options.name,
        title=title,
        description=options.description or f"{title}: {what}.",
        licence=options.licence,
        scale=scale,
        field=experiment.field_spec,
        bound=bound,
        sampling=_sampling(experiment.latents),
        topology=Topology(),
        training=Training(
            recipe=_recipe(specs),
            seed=0,
            steps=experiment.epoch,
            seconds=0.0,
            sequences=n,
            frames=n * scale.n_frames,
            versions={},
        ),
        origin=Origin(
            data=f"{what}." + (f" In their words: {words}" if words.strip() else ""),
            licence=options.data_licence,
            source=options.source,
            limits="Imported, not trained here: how well it fits its training cells was not "
            "measured, steps are epochs, the seed is unknown, and the recipe says only what "
            "specs.json and a recipe have in common. Size and frame interval were stated by who "
            "imported it. The field's values are no distances in one unit: the authors' code "
            "scales each frame by itself.",
            commands=options.commands,
        ),
    )


def _recipe(specs: Specs) -> Recipe:
    """The paper's recipe with the settings that an experiment has of its own."""
    rates = [schedule.initial for schedule in specs.schedules]
    own: dict[str, float | int] = {}
    if len(rates) == 3:
        # Their code takes ten times the codes' rate where rotations are learned too.
        weights, codes, rotations = rates
        own["learning_rate"] = weights
        own["latent_rate"] = min(1.0, codes * (10 if specs.optimise_rotations else 1))
        own["rotation_rate"] = rotations if specs.optimise_rotations else 0.0
    if specs.frames_per_batch is not None:
        own["frames_per_step"] = specs.frames_per_batch
    if specs.code_init_sigma is not None:
        own["latent_init_sigma"] = specs.code_init_sigma / specs.code_length**0.5
    return Recipe.model_validate({**RECIPES["paper"].model_dump(), **own})


def _sampling(latents: NDArray[np.float32]) -> Sampling:
    """Widths by the learned codes' spread, as training begins with; not calibrated by drawing."""
    # Codes that are all zero, from an experiment of no epochs, have no spread.
    spread = max(code_spread(latents), 1e-6)
    return Sampling(
        strategy="gaussian",
        gaussian=Gaussian(sigma=float(f"{spread:.4g}")),
        neighbourhood=Neighbourhood(sigma=float(f"{spread / 2:.4g}")),
    )


def _topology(
    model: CellModel, options: ImportOptions, on_progress: Callable[[int, int], None]
) -> Topology:
    """What most learned codes show in the first frame and in the last, unless it is given.

    Raises:
        InputError: No learned code shows a cell in the first and as many or more in the last, or
            options that contradict each other.
    """
    share = Topology.model_fields["smallest_share"].default
    n = len(model.latents)
    ends = frame_times(model.preset.scale.n_frames)[[0, -1]]
    seen: Counter[tuple[int, ...]] = Counter()
    for i, code in enumerate(model.latents):
        draw = Draw(code, np.eye(3), 0)
        frames = [render_frame(model, draw, float(time), judging_grid(model)) for time in ends]
        cells = tuple(count_cells(frame.inside, share) for frame in frames)
        if 0 < cells[0] <= cells[1]:  # no new cell may end in fewer
            seen[cells] += 1
        on_progress(i + 1, n)
    if not seen:
        raise InputError(
            f"preset {model.preset.name}: none of the {n} learned codes shows a cell in the first "
            "frame and as many or more in the last; was it trained long enough?"
        )
    begin, end = seen.most_common(1)[0][0]
    if options.end_cells is not None:
        end = options.end_cells
    elif options.divisions is not None:
        end = begin + options.divisions
    divisions = max(0, end - begin) if options.divisions is None else options.divisions
    return judge(
        Topology,
        {"begin_cells": begin, "divisions": divisions, "end_cells": end, "smallest_share": share},
        "options",
        InputError,
    )
