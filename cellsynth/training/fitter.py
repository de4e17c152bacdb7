"""Code and rotation of cells that a field was not trained on, with its weights fixed.

Many starts are compared on a few points; the best are refined a little, and the best of those to
the end. The field is the same function of every point, so one backward pass gives the derivative
of every distance by code and rotation, and Levenberg-Marquardt steps take a fit to its minimum in
a few dozen evaluations of its points, where a gradient descent takes many hundred.

Codes move in the coordinates in which the learned ones are standard normal, with a weak pull to
their mean, so that equal shapes get equal codes. Rotations move by small turns in the field's own
frame, R ← R·exp(ω): a cell and its rotated copy take the same path, which is Theorem 1 step by
step.

Source: Wiesner et al. 2024, sections 3.5 and 3.6, equation 10; Marquardt 1963.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellsynth.errors import InputError, ShapeError
from cellsynth.field.decoder import Decoder
from cellsynth.field.model import CellModel
from cellsynth.geometry import rotvec_to_matrix
from cellsynth.sampling.prior import CodePrior
from cellsynth.training.loop import CPU_POINTS, clamped_difference
from cellsynth.training.starts import Starts

__all__ = ["CellFitter", "FitOptions", "FittedPose", "Points"]

GPU_POINTS = 1 << 17
FEWEST = 256  # points at once, however many experts there are
SCREEN = (8, 48)  # frames that starts are compared on, and points of each
JUDGE = (30, 1024)  # the same for the last ones
# Starts of one rotation that are refined at most, so that others get their turn.
EACH = 4
# Starts that have come this close are one: radians, and the distance of two codes in standard
# deviations of each number. Learned codes lie about 8 apart, starts for one place 1 or 2.
NEAR_TURN = 0.1
NEAR_CODE = 3.0
# A stage is over for a start when a step lowers its objective by less than this share.
ENOUGH = 1e-4


@dataclass(frozen=True)
class _Stage:
    """A part of the refinement.

    Attributes:
        keep: Starts that take part.
        frames, points: What of the cell it looks at.
        steps: Steps at most.
        soft: Errors well above this (units of Ω) count by their size, those below by their square.
    """

    keep: int
    frames: int
    points: int
    steps: int
    soft: float


STAGES = (
    _Stage(keep=16, frames=30, points=16, steps=10, soft=0.05),
    _Stage(keep=8, frames=30, points=48, steps=15, soft=0.01),
    _Stage(keep=4, frames=30, points=256, steps=20, soft=0.005),
)


@dataclass(frozen=True)
class FitOptions:
    """How a fit is made.

    Attributes:
        starts: Rotations that are tried first, with every learned code or 64 of them.
        steps: Steps of the last refinement, at most.
        prior: Pull of codes to the mean of the learned ones: what one squared standard deviation,
            averaged over a code, costs, in units of Ω.
        rotate: Whether the rotation is sought; else the cell is taken as it lies.
        seed: Of everything random.
    """

    starts: int = 24
    steps: int = 20
    prior: float = 1e-4
    rotate: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("starts", "steps"):
            if getattr(self, name) < 1:
                raise InputError(f"fit: {name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.prior < math.inf:
            raise InputError(f"fit: prior must be at least 0, got {self.prior}")
        if self.seed < 0:
            raise InputError(f"fit: seed must be at least 0, got {self.seed}")


@dataclass(frozen=True)
class Points:
    """What is known of a cell: signed distances at points of its frames.

    Attributes:
        coords: ``(frames, points, 3)`` in x, y, z, units of Ω.
        sdf: ``(frames, points)``, in units of Ω.
        times: Normalised times ``(frames,)`` in [-1, 1].
    """

    coords: NDArray[np.floating]
    sdf: NDArray[np.floating]
    times: NDArray[np.floating]

    def __post_init__(self) -> None:
        frames, points, *_ = (*self.coords.shape, 0, 0)
        if (
            self.coords.shape != (frames, points, 3)
            or self.sdf.shape != (frames, points)
            or self.times.shape != (frames,)
            or not frames * points
        ):
            raise ShapeError(
                f"fit: got coords {self.coords.shape}, sdf {self.sdf.shape}, times "
                f"{self.times.shape}; expected (f, p, 3), (f, p), (f,)"
            )


@dataclass(frozen=True)
class FittedPose:
    """Code and rotation of one cell.

    Attributes:
        latent: ``(latent_dim,)``.
        rotation: Proper rotation ``(3, 3)``; the cell is f(Rᵀx, t, latent).
        loss: Mean error of the distance, in units of Ω.
    """

    latent: NDArray[np.float32]
    rotation: NDArray[np.float64]
    loss: float


class CellFitter:
    """Fits cells with one model; what all of them need is made ready once."""

    def __init__(self, model: CellModel, options: FitOptions | None = None) -> None:
        """Measure which way the learned codes' cells lie in the field; takes a few seconds."""
        self.options = options or FitOptions()
        self.decoder: Decoder = model.decoder
        parameter = self.decoder.output.weight
        self._device, self._dtype = parameter.device, parameter.dtype
        self._starts = Starts.of(self.decoder, model.latents)
        prior = CodePrior.of(model.latents, sigma=model.preset.sampling.gaussian.sigma)
        self._mean, self._basis = self._tensor(prior.mean), self._tensor(prior.basis)
        self._whitened = self._tensor(prior.whiten(self._starts.latents))

    def fit(
        self,
        points: Points,
        axes: NDArray[np.float64],
        *,
        stream: int = 0,
    ) -> FittedPose:
        """Find code and rotation of one cell.

        Args:
            points: Its signed distances.
            axes: Its principal axes ``(3, 3)`` as columns, longest first, a proper rotation.
            stream: Number of the cell, so that each has its own random stream.
        """
        stages = (*STAGES[:-1], replace(STAGES[-1], steps=self.options.steps))
        rng = np.random.default_rng([self.options.seed, stream])
        batch = _Batch(points, self._device, self._dtype)

        rotations = self._starts.rotations(axes, self.options.starts)
        if not self.options.rotate:
            rotations = np.tile(np.eye(3), (1, len(self._whitened), 1, 1))
        state = self._screen(batch.draw(rng, *SCREEN), self._tensor(rotations))
        for stage in stages:
            state = state.at(_distinct(state, stage.keep))
            drawn = batch.draw(rng, stage.frames, stage.points)
            state, objective = self._descend(state, drawn, stage)
            state = state.at(objective.argsort(stable=True))
        drawn = batch.draw(rng, *JUDGE)
        residuals = self._residuals(state, drawn)
        best = int(self._objective(state, residuals, STAGES[-1].soft).argmin())
        code = self._codes(state.whitened)[best].cpu().numpy().astype(np.float32)
        rotation = _orthonormal(state.rotations[best].cpu().double().numpy())
        return FittedPose(code, rotation, float(residuals[best].abs().mean()))

    def _screen(self, drawn: _Drawn, rotations: Tensor) -> _State:
        """The best of all codes in all rotations ``(count, n, 3, 3)``, best first."""
        count, n = rotations.shape[:2]
        state = _State(self._whitened.repeat(count, 1), rotations.reshape(count * n, 3, 3))
        residuals = self._residuals(state, drawn)
        objective = self._objective(state, residuals, STAGES[0].soft)
        chosen: list[int] = []
        of_rotation = [0] * count
        for start in objective.argsort(stable=True).tolist():
            rotation = start // n
            if of_rotation[rotation] < EACH or not self.options.rotate:
                of_rotation[rotation] += 1
                chosen.append(start)
            if len(chosen) == STAGES[0].keep:
                break
        return state.at(torch.tensor(chosen, device=self._device))

    def _descend(self, state: _State, drawn: _Drawn, stage: _Stage) -> tuple[_State, Tensor]:
        """Refine all starts of ``state``, each on its own; also their objectives ``(starts,)``.

        The objective, with soft absolute values, is minimised by least squares with weights
        anew in every step. Where a step does not lower it, the next one is damped more.
        """
        size = state.whitened.shape[1]
        objective, matrix, slope = self._normal_equations(state, drawn, stage.soft)
        damping = torch.full_like(objective, 1e-3)
        moving = torch.ones_like(objective, dtype=torch.bool)
        for _ in range(stage.steps):
            diagonal = matrix.diagonal(dim1=1, dim2=2)
            damped = matrix + torch.diag_embed(damping[:, None] * diagonal)
            move = -torch.linalg.solve(damped, slope[..., None])[..., 0]
            if not self.options.rotate:
                move[:, size:] = 0
            # Beyond half a radian the distances say nothing about where to turn.
            turn = move[:, size:]
            turn = turn * (0.5 / turn.norm(dim=1, keepdim=True).clamp_min(0.5))
            tried = _State(
                state.whitened + move[:, :size].to(self._dtype),
                state.rotations @ rotvec_to_matrix(turn.to(self._dtype)),
            )
            found = self._normal_equations(tried, drawn, stage.soft)
            better = (found[0] < objective) & moving
            gain = (objective - found[0]) / objective
            state = state.where(better, tried)
            matrix = torch.where(better[:, None, None], found[1], matrix)
            slope = torch.where(better[:, None], found[2], slope)
            objective = torch.where(better, found[0], objective)
            moving = moving & ~(better & (gain < ENOUGH)) & (damping < 1e6)
            damping = torch.where(better, damping / 4, damping * 8).clamp_min(1e-7)
            if not moving.any():
                break
        return state, objective

    def _objective(self, state: _State, residuals: Tensor, soft: float) -> Tensor:
        """Mean soft error and pull of every start, ``(starts,)`` float64."""
        error = (residuals.double().square() + soft**2).sqrt().mean(dim=1)
        return error + self.options.prior * state.whitened.double().square().mean(dim=1)

    def _normal_equations(
        self, state: _State, drawn: _Drawn, soft: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Objective, its Gauss-Newton matrix (s, d+3, d+3) and slope (s, d+3), all float64."""
        starts, size = state.whitened.shape
        matrix = torch.zeros(starts, size + 3, size + 3, dtype=torch.float64, device=self._device)
        slope = torch.zeros(starts, size + 3, dtype=torch.float64, device=self._device)
        residuals = torch.empty(starts, drawn.sdf.numel(), dtype=self._dtype, device=self._device)
        points = drawn.sdf.numel()
        # Every point has a code of its own here, and goes through every expert.
        portion = max(FEWEST, self._portion // max(1, self.decoder.spec.experts))
        for start in range(starts):
            for part in _runs(points, portion, self._device):
                residual, by_code, by_turn = self._derivatives(state, start, drawn, part)
                residuals[start, part] = residual
                jacobian = torch.cat([by_code, by_turn], dim=1)
                weight = (residual.square() + soft**2).rsqrt() / points
                weighted = jacobian * weight[:, None]
                matrix[start] += (weighted.T @ jacobian).double()
                slope[start] += (weighted.T @ residual).double()
        pull = 2 * self.options.prior / size
        matrix[:, range(size), range(size)] += pull
        slope[:, :size] += pull * state.whitened
        matrix.diagonal(dim1=1, dim2=2).add_(1e-12)
        return self._objective(state, residuals, soft), matrix, slope

    def _derivatives(
        self, state: _State, start: int, drawn: _Drawn, part: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Residuals (p,) of one start, and their derivatives by code (p, d) and turn (p, 3)."""
        frame = part // drawn.sdf.shape[1]
        coords = drawn.coords.view(-1, 3)[part] @ state.rotations[start]
        coords = coords[:, None].requires_grad_(True)
        # A code for each point, so that one pass gives all derivatives.
        codes = self._codes(state.whitened[start]).expand(len(part), -1).requires_grad_(True)
        sdf = self.decoder(coords, drawn.times[frame], codes)
        residual = self._difference(sdf[:, 0], drawn.sdf.view(-1)[part])
        by_code, by_coords = torch.autograd.grad(residual.sum(), (codes, coords))
        # (R·exp ω)ᵀ x = Rᵀx - ω × Rᵀx to first order.
        by_turn = -torch.linalg.cross(coords.detach()[:, 0], by_coords[:, 0])
        return residual.detach(), by_code @ self._basis, by_turn

    def _residuals(self, state: _State, drawn: _Drawn) -> Tensor:
        """Errors of the distance at the drawn points for every start, ``(starts, points)``."""
        frames, points, _ = drawn.coords.shape
        starts = len(state.whitened)
        codes = self._codes(state.whitened)
        parts = []
        with torch.no_grad():
            for part in _runs(starts * frames, max(1, self._portion // points), self._device):
                start, frame = part // frames, part % frames
                # Rows are points: (Rᵀx)ᵀ = xᵀR.
                coords = drawn.coords[frame] @ state.rotations[start]
                sdf = self.decoder(coords, drawn.times[frame], codes, start)
                parts.append(self._difference(sdf, drawn.sdf[frame]))
        return torch.cat(parts).view(starts, frames * points)

    def _difference(self, sdf: Tensor, wanted: Tensor) -> Tensor:
        """Beyond the truncation the field need only be beyond it too, as in training."""
        return clamped_difference(sdf, wanted, self.decoder.spec.truncation)

    @property
    def _portion(self) -> int:
        return GPU_POINTS if self._device.type == "cuda" else CPU_POINTS

    def _codes(self, whitened: Tensor) -> Tensor:
        return self._mean + whitened @ self._basis.T

    def _tensor(self, array: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device, self._dtype)


@dataclass(frozen=True)
class _State:
    """Starts on their way: whitened codes (s, d), rotations (s, 3, 3)."""

    whitened: Tensor
    rotations: Tensor

    def at(self, which: Tensor) -> _State:
        return _State(self.whitened[which], self.rotations[which])

    def where(self, better: Tensor, other: _State) -> _State:
        return _State(
            torch.where(better[:, None], other.whitened, self.whitened),
            torch.where(better[:, None, None], other.rotations, self.rotations),
        )


@dataclass(frozen=True)
class _Drawn:
    """Points of one step: (f, p, 3), (f, p), (f,)."""

    coords: Tensor
    sdf: Tensor
    times: Tensor


class _Batch:
    """Draws of one cell's points."""

    def __init__(self, points: Points, device: torch.device, dtype: torch.dtype) -> None:
        self._coords, self._sdf, self._times = (
            torch.from_numpy(np.ascontiguousarray(array)).to(device, dtype)
            for array in (points.coords, points.sdf, points.times)
        )

    def draw(self, rng: np.random.Generator, frames: int, points: int) -> _Drawn:
        """Some frames, spread over time, and points of each."""
        n_frames, n_points = self._sdf.shape
        frames, points = min(frames, n_frames), min(points, n_points)
        # One frame of each stretch of time, so that no step misses a part of the sequence.
        edges = np.linspace(0, n_frames, frames + 1)
        frame = np.floor(rng.uniform(edges[:-1], edges[1:])).astype(int).clip(0, n_frames - 1)
        point = rng.integers(n_points, size=(frames, points))
        row = torch.from_numpy(frame).to(self._sdf.device)
        column = torch.from_numpy(point).to(self._sdf.device)
        at = (row[:, None], column)
        return _Drawn(self._coords[at], self._sdf[at], self._times[row])


def _distinct(state: _State, keep: int) -> Tensor:
    """The first ``keep`` starts that did not come to where an earlier one is."""
    chosen: list[int] = []
    for i in range(len(state.whitened)):
        # ‖A - B‖ is √2 θ for a small angle θ between two rotations.
        turns = (state.rotations[chosen] - state.rotations[i]).flatten(1).norm(dim=1) / 2**0.5
        codes = (state.whitened[chosen] - state.whitened[i]).norm(dim=1)
        if not ((turns < NEAR_TURN) & (codes < NEAR_CODE)).any():
            chosen.append(i)
        if len(chosen) == keep:
            break
    return torch.tensor(chosen, device=state.whitened.device)


def _runs(count: int, size: int, device: torch.device) -> list[Tensor]:
    """The numbers below ``count`` in runs of ``size``."""
    return [
        torch.arange(first, min(first + size, count), device=device)
        for first in range(0, count, size)
    ]


def _orthonormal(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The proper rotation nearest to a product of many."""
    left, _, right = np.linalg.svd(matrix)
    return np.asarray(left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right)
