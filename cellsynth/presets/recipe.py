"""The training recipe: every hyperparameter of shape training, typed and judged in one place."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from cellsynth.presets.base import StrictModel

__all__ = ["Recipe"]


class Recipe(StrictModel):
    """How a field, its codes and its rotations are trained.

    Source: Wiesner et al. 2024, section 5, for the points; the rates and the schedule are ours.
    """

    points_near: float = Field(
        0.8, ge=0, le=1, description="Share of points inside the cell or near its surface"
    )
    near_um: float | None = Field(
        None, gt=0, description="How near the surface is near, in µm; absent: half the truncation"
    )
    focus: float | None = Field(
        0.02,
        gt=0,
        description="Ω from the surface where near points are half as likely; absent: all alike",
    )
    pool_points: int = Field(
        24576, ge=2, description="Points kept ready per frame, near and far, drawn from in steps"
    )
    frames_per_step: int = Field(512, ge=1, description="Frames in one step")
    points_per_frame: int = Field(32, ge=1, description="Points drawn in each of those frames")
    frames_by_loss: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of a step's frames drawn in proportion to their loss, the others evenly",
    )
    optimiser: Literal["soap", "adam"] = Field("soap", description="Optimiser of all parameters")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="Rate of the weights")
    latent_rate: float = Field(5e-3, ge=0, le=1, description="Rate of the codes")
    rotation_rate: float = Field(
        5e-3, ge=0, le=1, description="Rate of the rotations; 0 keeps them as drawn"
    )
    schedule: Literal["cosine", "step"] = Field("cosine", description="How the rates fall")
    warmup_share: float = Field(
        0.02, ge=0, lt=1, description="Share of the training in which the rates rise from 0"
    )
    latent_penalty: float = Field(
        1e-4, ge=0, description="Weight in the loss of a code's squared norm, a mean over frames"
    )
    latent_init_sigma: float = Field(
        0.01, ge=0, description="Standard deviation of the codes before training"
    )
    latent_noise: float = Field(
        0.0,
        ge=0,
        le=10,
        description="Noise on the codes in every step, in standard deviations of all codes",
    )
    rotation_init_sigma: float = Field(
        math.pi**2 / 64, ge=0, description="Standard deviation of the Euler angles before training"
    )
    experts_start: Literal["mixed", "one each"] = Field(
        "mixed",
        description="Experts of a new field: every code mixes all, or each has one for itself",
    )
    coords_gain: float = Field(
        8.0,
        gt=0,
        description="Factor on the first layer's draw for x, y, z, t; the paper's is 1",
    )
    clip: float | None = Field(
        1.0, gt=0, description="Largest norm of the gradient; absent means no limit"
    )
    average: float = Field(
        0.0, ge=0, lt=1, description="Decay per step of the averaged weights; 0 means none"
    )

    @model_validator(mode="after")
    def _points_are_there(self) -> Recipe:
        if self.points_per_frame > self.pool_points:
            raise ValueError(
                f"points_per_frame must be at most pool_points = {self.pool_points}, got "
                f"{self.points_per_frame}"
            )
        return self
