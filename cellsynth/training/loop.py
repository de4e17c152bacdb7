"""The training loop: field, codes and rotations learned together from points.

Each step draws frames and points; the schedule ends where the training ends.

On several processes every one draws the whole step and computes its share of the frames; the
gradient is summed, so their number changes nothing but rounding.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellsynth.errors import InputError
from cellsynth.field.decoder import Decoder
from cellsynth.geometry import euler_to_matrix, frame_times
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from cellsynth.training.points import PointPool
from cellsynth.training.soap import Soap
from cellsynth.training.stepping import Length, Stepping
from cellsynth.training.team import Team

__all__ = ["Report", "Trainer", "check_start", "clamped_difference", "clamped_l1", "schedule"]

# Points that go through the network at once on a CPU: activations of more leave the cache, and
# fresh buffers cost more in page faults than the arithmetic on them.
CPU_POINTS = 4096
# What a code has where it weighs an expert of its own with 1. Codes learn at a rate of a few
# thousandths a step, so that an expert is kept for some time and can be left.
EACH_CODE = 0.1
# Weight of a frame's newest loss against those before: one is the mean of a few dozen points.
LOSS_MEMORY = 0.3


@dataclass(frozen=True)
class Report:
    """What a step tells: steps taken, seconds spent, share done, mean distance error (in Ω)."""

    step: int
    seconds: float
    share: float
    loss: float


class Trainer(Stepping[float, Report]):
    """One training: its parameters, and how they take a step.

    Attributes:
        decoder: The field.
        latents: Codes ``(sequences, latent_dim)``.
        angles: Euler angles ``(sequences, 3)`` of the learned rotations.
    """

    def __init__(
        self,
        spec: FieldSpec,
        recipe: Recipe,
        pool: PointPool,
        length: Length,
        *,
        seed: int,
        data: str,
        start: Mapping[str, NDArray[np.float32]] | None = None,
        team: Team | None = None,
    ) -> None:
        """Set up a training from scratch.

        Args:
            spec: The field.
            recipe: Hyperparameters.
            pool: Training points.
            length: When it ends.
            seed: Of weights, codes, angles and every step's draw.
            data: Names the data in the checkpoint's fingerprint.
            start: Tensors of a preset with the same field, to start from instead of a new draw.
                Its codes and rotations are taken over if they are as many as the sequences;
                else codes start around the mean of its codes.
            team: The processes that train together, and the device; by default this one alone,
                on the CPU.
        """
        super().__init__(length)
        check_start(spec, recipe)
        self.recipe = recipe
        self.pool = pool
        self.seed = seed
        self.team = team or Team()
        self.device = torch.device(self.team.device)
        generator = torch.Generator().manual_seed(seed)
        n = pool.n_sequences
        self.decoder = Decoder(spec, generator=generator, coords_gain=recipe.coords_gain).to(
            self.device
        )
        self.latents = nn.Parameter(
            (torch.randn(n, spec.latent_dim, generator=generator) * recipe.latent_init_sigma).to(
                self.device
            )
        )
        self.angles = nn.Parameter(
            (torch.randn(n, 3, generator=generator) * recipe.rotation_init_sigma).to(self.device)
        )
        if start is not None:
            self._start_from(start)
        elif recipe.experts_start == "one each":
            self._start_with_one_each()
        if not spec.equivariant:
            self.angles.requires_grad_(False).zero_()
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if pool.nbytes < free / 2:
                pool.hold(self.device)
        self._times = torch.from_numpy(frame_times(pool.n_frames)).to(self.device, torch.float32)
        self._optimiser = self._make_optimiser()
        # Mean distance error of each frame when it was last drawn, smoothed; below 0 if never.
        self._losses = torch.full((pool.n_sets,), -1.0)
        self._average = {name: p.detach().clone() for name, p in self.decoder.named_parameters()}
        self._fingerprint = hashlib.sha256(
            json.dumps(
                [
                    spec.model_dump(mode="json"),
                    recipe.model_dump(mode="json"),
                    [length.steps, length.budget_s, seed, data],
                    # Trainings from a new draw keep the fingerprints that they had before.
                    *([] if start is None else [_digest(start)]),
                ]
            ).encode()
        ).hexdigest()

    def run(
        self, checkpoint: Path | None = None, on_step: Callable[[Report], None] | None = None
    ) -> None:
        """Train to the end; checkpoints by time, at the end, and when interrupted.

        In a team all processes take the same steps by the first one's clock, and it alone writes.

        Raises:
            InputError: The training diverges; the last checkpoint stays as it was.
        """
        super().run(checkpoint if self.team.leads else None, on_step)

    def save(self, path: Path) -> None:
        """Write the whole state of the training to ``path``."""
        tensors = dict(self._named())
        tensors |= {f"average.{name}": tensor for name, tensor in self._average.items()}
        tensors["losses"] = self._losses
        for i, state in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{key}": torch.as_tensor(v) for key, v in state.items()}
        save_checkpoint(path, tensors, Progress(self.step, self.seconds, self._fingerprint))

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            FormatError: Not a checkpoint.
            InputError: A checkpoint of another training.
        """
        tensors, progress = load_checkpoint(path, self._fingerprint)
        with torch.no_grad():
            for name, parameter in self._named():
                parameter.copy_(tensors[name])
            for name, average in self._average.items():
                average.copy_(tensors[f"average.{name}"])
            self._losses.copy_(tensors["losses"])
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "optimiser":
                number, key = rest.split(".")
                state.setdefault(int(number), {})[key] = tensor
        self._optimiser.load_state_dict(
            {"state": state, "param_groups": self._optimiser.state_dict()["param_groups"]}
        )
        self.step, self.seconds = progress.step, progress.seconds

    def averaged(self) -> Decoder:
        """The decoder to use: its weights averaged over steps where the recipe says so.

        Experts, which are many, are rounded to the 16 bits that a preset keeps of them.
        """
        decoder = Decoder(self.decoder.spec).to(self.device)
        if self.recipe.average:
            decoder.load_state_dict(self._average)
        else:
            decoder.load_state_dict(self.decoder.state_dict())
        with torch.no_grad():
            for matrices in decoder.experts:
                matrices.copy_(matrices.half())
        return decoder.requires_grad_(False)

    @torch.no_grad()
    def _start_from(self, tensors: Mapping[str, NDArray[np.float32]]) -> None:
        for name, parameter in self.decoder.named_parameters():
            parameter.copy_(torch.from_numpy(tensors[f"field.{name}"]))
        codes = torch.from_numpy(tensors["latents"])
        if len(codes) == len(self.latents):
            self.latents.copy_(codes)
            self.angles.copy_(torch.from_numpy(tensors["rotations"]))
        else:
            self.latents.add_(codes.mean(dim=0).to(self.device))

    @torch.no_grad()
    def _start_with_one_each(self) -> None:
        """Let every sequence begin with an expert of its own, or share it with few."""
        experts = self.decoder.spec.experts
        codes = torch.eye(experts, self.decoder.spec.latent_dim, device=self.device)
        self.latents.add_(EACH_CODE * codes[torch.arange(len(self.latents)) % experts])
        assert self.decoder.mixing is not None
        self.decoder.mixing.copy_(codes / EACH_CODE)

    def _agreed(self, seconds: float) -> float:
        return self.team.agree(seconds)

    def _report(self, loss: float) -> Report:
        return Report(self.step, self.seconds, self.share, loss)

    def _step(self) -> float:
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, self.step])
        drawn = self._draw_frames(rng)
        if self.decoder.spec.experts:
            drawn.sort()  # frames of one cell take the same matrices
        share = slice(self.team.rank, None, self.team.size)
        coords, sdf = (x[share].to(self.device) for x in self.pool.draw(rng, drawn))
        sequence, frame = (
            torch.from_numpy(x[share]).to(self.device) for x in np.divmod(drawn, self.pool.n_frames)
        )
        noise = self._latent_noise(rng)
        self._set_rates()
        self._optimiser.zero_grad(set_to_none=True)
        errors = torch.zeros(len(drawn), device=self.device)
        for part in self._parts(len(frame)):
            which = sequence[part]
            rotations = euler_to_matrix(self.angles[which])
            latents = self.latents + noise
            penalty = recipe.latent_penalty * self.latents[which].square().sum()
            # Rows are points: (Rᵀx)ᵀ = xᵀR.
            turned = coords[part] @ rotations
            with _fast_products(self.device):
                predicted = self.decoder(turned, self._times[frame[part]], latents, which)
                error = clamped_l1(predicted, sdf[part], self.decoder.spec.truncation)
                torch.autograd.backward((error.sum() + penalty) / len(drawn))
            errors[share][part] = error.detach()
        self._sum(errors)
        clip = math.inf if recipe.clip is None else recipe.clip
        norm = nn.utils.clip_grad_norm_([p for _, p in self._named()], clip)
        errors = errors.cpu()
        # Of what has diverged no checkpoint is kept either.
        self._whole = False
        self._check_finite(float(errors.mean()), float(norm))
        self._optimiser.step()
        self._update_average()
        self._note_losses(drawn, errors)
        return float(errors.mean())

    def _check_finite(self, loss: float, gradient: float) -> None:
        if math.isfinite(loss) and math.isfinite(gradient):
            return
        recipe = self.recipe
        raise InputError(
            f"step {self.step + 1}: the loss is {loss:g} and the norm of its gradient "
            f"{gradient:g}, expected finite numbers: the training diverges at learning_rate "
            f"{recipe.learning_rate:g}, latent_rate {recipe.latent_rate:g}, rotation_rate "
            f"{recipe.rotation_rate:g}; train anew with a --recipe of lower rates, or with clip"
        )

    def _sum(self, errors: Tensor) -> None:
        """Add up what the processes found in their shares: the gradient and ``errors``."""
        gradients = []
        for _, parameter in self._named():
            if parameter.requires_grad:
                # A process may have no frame at all in a small step.
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                gradients.append(parameter.grad)
        self.team.sum_([*gradients, errors])

    def _draw_frames(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """The step's frames: some evenly, some in proportion to their loss."""
        n = self.pool.n_sets
        losses = self._losses.numpy().astype(np.float64)
        seen = losses >= 0
        if not self.recipe.frames_by_loss or not losses[seen].sum():
            return rng.integers(n, size=self.recipe.frames_per_step)
        # A frame that was never drawn counts as an average one.
        losses[~seen] = losses[seen].mean()
        by_loss = self.recipe.frames_by_loss
        chance = (1 - by_loss) / n + by_loss * losses / losses.sum()
        return rng.choice(n, self.recipe.frames_per_step, p=chance / chance.sum())

    def _latent_noise(self, rng: np.random.Generator) -> Tensor:
        """What is added to the codes in this step, ``(sequences, latent_dim)``."""
        if not self.recipe.latent_noise:
            return torch.zeros(len(self.latents), 1, device=self.device)
        drawn = rng.standard_normal(self.latents.shape, dtype=np.float32)
        spread = self.latents.detach().std(dim=0, correction=0)
        return torch.from_numpy(drawn).to(self.device) * (self.recipe.latent_noise * spread)

    def _note_losses(self, drawn: NDArray[np.int64], errors: Tensor) -> None:
        # Of a frame that was drawn twice in a step, one of the two decides: which is no matter,
        # as long as it is always the same.
        frames, first = np.unique(drawn, return_index=True)
        old, new = self._losses[frames], errors[first]
        self._losses[frames] = torch.where(old < 0, new, old.lerp(new, LOSS_MEMORY))

    def _parts(self, frames: int) -> list[slice]:
        """So many frames in portions that fit the cache; all at once on a GPU."""
        portion = max(1, frames)
        if self.device.type == "cpu":
            portion = max(1, CPU_POINTS // self.recipe.points_per_frame)
        return [slice(i, i + portion) for i in range(0, frames, portion)]

    def _make_optimiser(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        groups: list[dict[str, Any]] = [
            {"params": list(self.decoder.parameters()), "rate": recipe.learning_rate},
            {"params": [self.latents], "rate": recipe.latent_rate},
            {"params": [self.angles], "rate": recipe.rotation_rate},
        ]
        if recipe.optimiser == "adam":
            return torch.optim.Adam(groups, lr=recipe.learning_rate)
        for group in groups[1:]:
            group["rotate"] = False
        return Soap(groups, lr=recipe.learning_rate)

    def _set_rates(self) -> None:
        factor = schedule(self.share, self.recipe)
        for group in self._optimiser.param_groups:
            group["lr"] = group["rate"] * factor

    @torch.no_grad()
    def _update_average(self) -> None:
        if not self.recipe.average:
            return
        # A short memory at first, so that the draw of the weights is forgotten.
        decay = min(self.recipe.average, (self.step + 1) / (self.step + 10))
        for name, parameter in self.decoder.named_parameters():
            self._average[name].lerp_(parameter, 1 - decay)

    def _named(self) -> list[tuple[str, Tensor]]:
        field = [(f"field.{name}", p) for name, p in self.decoder.named_parameters()]
        return [*field, ("latents", self.latents), ("angles", self.angles)]


def check_start(spec: FieldSpec, recipe: Recipe) -> None:
    """Raise InputError where the field cannot begin as the recipe says."""
    if recipe.experts_start == "mixed":
        return
    if not spec.experts:
        raise InputError(
            'recipe: experts_start is "one each", but the field has no experts; give a --field of '
            "as many as there are sequences"
        )
    if spec.experts > spec.latent_dim:
        raise InputError(
            f'recipe: experts_start is "one each", but codes of {spec.latent_dim} numbers cannot '
            f"tell {spec.experts} experts apart; give a --field with a latent_dim of that"
        )


def _digest(tensors: Mapping[str, NDArray[np.float32]]) -> str:
    """Names tensors by their numbers."""
    parts = (part for name in sorted(tensors) for part in (name.encode(), tensors[name].tobytes()))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def clamped_l1(predicted: Tensor, sdf: Tensor, truncation: float) -> Tensor:
    """Mean |f - d| of each frame, where beyond the truncation f need only be beyond it too.

    Without that freedom the field must bend sharply where distances are cut off, and a steep
    field is slow to render. Source: Park et al. 2019, equation 4.

    Args:
        predicted: ``(frames, points)``.
        sdf: ``(frames, points)``.
        truncation: Where distances are cut off.

    Returns:
        ``(frames,)``.
    """
    return clamped_difference(predicted, sdf, truncation).abs().mean(dim=-1)


def clamped_difference(predicted: Tensor, sdf: Tensor, truncation: float) -> Tensor:
    """f - d of each point, both cut off at the truncation; as many as there are points."""
    # Distances come back from 16 bits: what was cut off is within a rounding of the truncation.
    limit = truncation * (1 - 1e-3)
    return predicted.clamp(-limit, limit) - sdf.clamp(-limit, limit)


def schedule(share: float, recipe: Recipe) -> float:
    """Factor on all rates when ``share`` of the training is done."""
    warmup = recipe.warmup_share
    if share < warmup:
        return max(0.01, share / warmup)
    done = (share - warmup) / (1 - warmup)
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    # The paper halves the rate every 350 of 2000 epochs.
    return 0.5 ** math.floor(done * 2000 / 350)


@contextmanager
def _fast_products(device: torch.device) -> Iterator[None]:
    """Matrix products of a GPU in TF32: rounded factors, exact products, sums of 32 bits.

    Sines take 32 bits all the while. The setting is one for the process and reaches the CPU too,
    so it holds for no longer than the field is computed.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
