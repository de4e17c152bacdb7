"""Presets of the tests with something changed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from cellsynth.presets.bundle import Bundle, write_bundle
from cellsynth.presets.models import Topology


def changed(
    bundle: Bundle,
    folder: Path,
    *,
    topology: Topology | None = None,
    latents: ArrayLike | None = None,
    rotations: ArrayLike | None = None,
) -> Bundle:
    """The bundle with another topology, other learned codes, or other Euler angles."""
    tensors = bundle.tensors()
    if latents is not None:
        tensors["latents"] = np.asarray(latents, np.float32)
        tensors["rotations"] = np.zeros((len(tensors["latents"]), 3), np.float32)
    if rotations is not None:
        tensors["rotations"] = np.asarray(rotations, np.float32)
    n = len(tensors["latents"])
    preset = bundle.preset.model_copy(
        update={
            "files": {},
            "topology": topology or bundle.preset.topology,
            "training": bundle.preset.training.model_copy(update={"sequences": n}),
        }
    )
    return write_bundle(folder, preset, tensors, card="", evaluation={})


def sphere_radius(first: float) -> float:
    """Radius in units of Ω of the sphere preset's cell, of the first number of its code.

    The field is 4 · mean(relu(n·x - b)) - 0.4 with b half that number, and the mean over all
    directions n is (r - b)² / 4r.
    """
    b = first / 2
    return b + 0.2 + math.sqrt(0.4 * b + 0.04)
