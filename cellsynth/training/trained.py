"""What a training has come to, as it is rendered and measured."""

from __future__ import annotations

import numpy as np

from cellsynth.evaluation.overlap import Fit
from cellsynth.field.decoder import Decoder
from cellsynth.geometry import euler_to_matrix
from cellsynth.presets.models import Bound
from cellsynth.training.loop import Trainer

__all__ = ["PROBE_BOUND", "trained_fit"]

# Before the slope is measured, frames are rendered with this bound: for the probe, and no more.
PROBE_BOUND = Bound(slopes=(1.5, 2.0, 2.0, 2.0), margin=1.0)


def trained_fit(decoder: Decoder, trainer: Trainer, bound: Bound) -> Fit:
    """Field, codes and rotations of a training, on the CPU."""
    angles = trainer.angles.detach().cpu().double()
    return Fit(
        decoder,
        trainer.latents.detach().cpu().numpy().astype(np.float32),
        euler_to_matrix(angles).numpy(),
        bound,
    )
