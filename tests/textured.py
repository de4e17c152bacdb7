"""A preset with a texture that nobody trained: small, its weights drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cellsynth.presets.bundle import Bundle, write_bundle
from cellsynth.presets.models import Origin
from cellsynth.presets.texture import (
    GeneratorSpec,
    Intensities,
    TextureRecipe,
    TextureSpec,
    TextureTraining,
)
from cellsynth.texture.networks import Generator, build_generator, freeze_norms

PIXEL_UM = 0.5


def random_generator(spec: GeneratorSpec, inputs: int, seed: int = 0) -> Generator:
    """Weights that change with the conditions, and statistics frozen as after a training."""
    rng = torch.Generator().manual_seed(seed)
    made = build_generator(spec, inputs, generator=rng)
    with torch.no_grad():
        for name, tensor in made.state_dict().items():
            if name.endswith("var"):
                tensor.fill_(0.01)
            elif name.endswith("mean"):
                tensor.zero_()
    freeze_norms(made)
    return made.eval().requires_grad_(False)


def texture_spec(mode: str = "mip", **others: Any) -> TextureSpec:
    """Settings of a small texture."""
    said: dict[str, Any] = {
        "mode": mode,
        "pixel_size_um": PIXEL_UM,
        "depth_um": 1.0 if mode == "3d" else None,
        "reach_um": 1.5,
        "grain_um": 1.0,
        "grain_octaves": 2,
        "generator": GeneratorSpec(channels=4, downsamplings=1, blocks=1),
        "intensities": Intensities(dtype="uint16", low=100, high=900, largest=4095),
        "training": TextureTraining(
            seed=0, steps=0, seconds=0, pairs=1, versions={}, recipe=TextureRecipe()
        ),
        "origin": Origin(
            data="None.", licence="CC0-1.0", source="Chance.", limits="All.", commands=("pytest",)
        ),
    }
    return TextureSpec(**said | others)


def with_texture(bundle: Bundle, folder: Path, mode: str = "mip", **others: Any) -> Bundle:
    """``bundle`` with a random texture, written to ``folder``."""
    spec = texture_spec(mode, **others)
    state = random_generator(spec.generator, spec.inputs).state_dict()
    return write_bundle(
        folder,
        bundle.preset.model_copy(update={"texture": spec}),
        bundle.tensors(),
        card=bundle.card(),
        evaluation=bundle.evaluation(),
        texture={name: tensor.numpy() for name, tensor in state.items()},
    )
