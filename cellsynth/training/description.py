"""What a trained preset says about itself: text, numbers, and how good it is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.evaluation.overlap import Fit
from cellsynth.presets.models import (
    Bound,
    Gaussian,
    Neighbourhood,
    Origin,
    Preset,
    Sampling,
    Scale,
    Topology,
    Training,
)
from cellsynth.presets.versions import versions
from cellsynth.rendering.tracking import count_cells
from cellsynth.sampling.prior import code_spread
from cellsynth.shapes import ShapeStore
from cellsynth.training.loop import Trainer
from cellsynth.training.options import TrainOptions

__all__ = ["describe", "observed_topology", "summarise"]


def describe(store: ShapeStore, trainer: Trainer, options: TrainOptions, bound: Bound) -> Preset:
    """The preset's text and numbers, with sampling still to be calibrated."""
    topology, start = observed_topology(store), options.start
    what = f"{store.n_sequences} single-cell sequences of {store.n_frames} frames"
    title = options.title or f"Cells like those in {options.name}"
    return Preset(
        format=1,
        name=options.name,
        title=title,
        description=options.description or f"{title}, learned from {what}.",
        licence=options.licence,
        scale=Scale(
            half_extent_um=store.half_extent_um,
            frame_interval_s=store.frame_interval_s,
            n_frames=store.n_frames,
            assumed=store.assumed,
        ),
        field=options.spec,
        bound=bound,
        sampling=Sampling(
            strategy="gaussian", gaussian=Gaussian(sigma=1), neighbourhood=Neighbourhood(sigma=1)
        ),
        topology=topology,
        training=Training(
            recipe=options.recipe,
            seed=options.seed,
            start=f"{start.preset.name} {start.sha256[:12]}" if start else None,
            steps=trainer.step,
            seconds=round(trainer.seconds, 1),
            sequences=store.n_sequences,
            frames=store.n_sequences * store.n_frames,
            versions=versions(),
        ),
        origin=Origin(
            data=options.data or f"{what}, cut from segmentation masks.",
            licence=options.data_licence,
            source=options.source,
            limits=options.limits or "Shapes like those it was trained on, and no others.",
            commands=options.commands,
        ),
    )


def observed_topology(store: ShapeStore) -> Topology:
    """What most of the training sequences do from the first frame to the last.

    Those that end with fewer pieces than they begin with do not count: no new cell may do that.

    Raises:
        InputError: All of them do.
    """
    share = Topology.model_fields["smallest_share"].default
    seen = Counter(
        tuple(count_cells(store.mask(i, t), share) for t in (0, store.n_frames - 1))
        for i in range(store.n_sequences)
    )
    possible = [ends for ends, _ in seen.most_common() if ends[0] <= ends[1]]
    if not possible:
        (begin, end), n = seen.most_common(1)[0]
        raise InputError(
            f"{n} of {store.n_sequences} training sequences begin in {begin} pieces and end in "
            f"{end}, and none ends in as many as it begins; cells neither fuse nor vanish, so mend "
            "the masks"
        )
    begin, end = possible[0]
    return Topology(begin_cells=begin, divisions=end - begin, end_cells=end, smallest_share=share)


def summarise(
    dsc: NDArray[np.float64],
    store: ShapeStore,
    fit: Fit,
    drawn: dict[str, Any],
    options: TrainOptions,
) -> dict[str, Any]:
    """What ``evaluation.json`` says; ``dsc`` is ``(sequences, frames)``, NaN where not measured."""
    measured = np.flatnonzero(np.isfinite(dsc[0]))
    dsc = dsc[:, measured]
    lowest, at = np.unravel_index(int(dsc.argmin()), dsc.shape)
    worst = int(lowest), int(measured[at])
    voxels = [round(2 * store.half_extent_um / size) for size in store.voxel_size_um(worst[0])]
    return {
        "dsc": {
            "mean": round(float(dsc.mean()), 5),
            "worst": round(float(dsc.min()), 5),
            "worst_where": f"{store.name(worst[0])}, frame {worst[1]} of the sequence",
            "frames": measured.tolist(),
            "per_sequence": [round(float(value), 5) for value in dsc.mean(axis=1)],
            "per_frame": [round(float(value), 5) for value in dsc.mean(axis=0)],
        },
        "grid": voxels,
        "latents": {"std": float(f"{code_spread(fit.latents):.4g}")},
        "sampling": drawn,
        "seed": options.seed,
        "versions": versions(),
    }
