"""Recipes by name, of a preset, or from a TOML file of one's own."""

from __future__ import annotations

from cellsynth.presets.named import find_named
from cellsynth.presets.recipe import Recipe

__all__ = ["RECIPES", "find_recipe"]

RECIPES = {
    "default": Recipe(),
    # Wiesner et al. 2024, section 5: batches of 5 frames, Adam at 1e-4 halved every 350 of 2000
    # epochs, rotations at ten times the rate of the weights (as in the authors' settings, the
    # codes too). The paper does not say how many points a frame has; these are the authors' 2^15
    # as far as a pool goes.
    "paper": Recipe(
        points_near=0.7,
        near_um=0.6,
        focus=None,
        pool_points=32768,
        frames_per_step=5,
        points_per_frame=32768,
        frames_by_loss=0,
        optimiser="adam",
        coords_gain=1.0,
        learning_rate=1e-4,
        latent_rate=1e-3,
        rotation_rate=1e-3,
        schedule="step",
        warmup_share=0,
        clip=None,
    ),
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name, that a preset was trained by, or in that TOML file.

    A file has the keys of the section ``training.recipe`` of a ``preset.toml``; what it leaves
    out is as in the default recipe, and ``"none"`` says what a preset says by leaving a key out.

    Raises:
        MissingError: Neither a known name, nor a preset, nor a file.
        BundleError: A key or value that the recipe refuses.
        FormatError, StorageError: The file is no text, or cannot be read.
    """
    return find_named("recipe", name, RECIPES, Recipe, lambda preset: preset.training.recipe)
