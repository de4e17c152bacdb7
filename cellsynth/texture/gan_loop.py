"""The training loop of a texture: generator against discriminators, on crops of pairs.

As with shapes, each step draws from its own random stream and the checkpoint holds all that a step
depends on, so a training that was killed and resumed takes the very steps that an uninterrupted one
takes. Its length is work (``steps``) or time (``budget_s``).

The last part is trained with frozen normalisation, since that is how the generator is used; the
averaged weights begin anew there.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cellsynth.presets.texture import GeneratorSpec, Intensities, TextureRecipe
from cellsynth.texture.intensities import to_range
from cellsynth.texture.losses import (
    Perceptual,
    averaged_l1,
    feature_matching,
    fine,
    least_squares,
    noise_difference,
)
from cellsynth.texture.networks import (
    Discriminators,
    Generator,
    LocalEnhancer,
    build_generator,
    detail,
    freeze_norms,
    halved,
)
from cellsynth.texture.pairs import PairStore
from cellsynth.training.checkpoint import Progress, load_checkpoint, save_checkpoint
from cellsynth.training.stepping import Length, Stepping

__all__ = ["GanReport", "GanTrainer", "least_side", "rate_factor"]

# A step of the default size takes 10 to 20 % less time so, on a CPU.
LAYOUT = torch.channels_last
MOMENTS = (0.5, 0.999)  # Adam's, as published
EXAMPLES = 16  # crops of images whose detail and noise are measured
LEAST_NOISE = 1e-3
WARMUP_STEPS = 100  # in which rates rise, at the beginning and once normalisation is frozen


@dataclass(frozen=True)
class GanReport:
    """What a step tells.

    Attributes:
        step: Steps taken.
        seconds: Time spent in steps.
        share: Share of the training that is done.
        losses: ``judges`` (of the discriminators; 0.5 a scale where they cannot tell), ``fooled``
            (of the generator), ``features``, ``l1`` and, where there are such, ``noise`` and
            ``perceptual``, each before it is weighted.
    """

    step: int
    seconds: float
    share: float
    losses: Mapping[str, float]


class GanTrainer(Stepping[Mapping[str, float], GanReport]):
    """One training: two networks, and how they take a step.

    Attributes:
        generator: As it is trained.
        judges: The discriminators.
    """

    def __init__(
        self,
        spec: GeneratorSpec,
        recipe: TextureRecipe,
        store: PairStore,
        intensities: Intensities,
        length: Length,
        *,
        inputs: int,
        seed: int,
        data: str,
        device: str = "cpu",
        start: Mapping[str, Tensor] | None = None,
        perceptual: Perceptual | None = None,
    ) -> None:
        """Set up a training.

        Args:
            spec: The generator.
            recipe: Hyperparameters.
            store: Training pairs.
            intensities: Of their images.
            length: When it ends.
            inputs: Channels that the generator takes, the noise included.
            seed: Of weights and every step's draw.
            data: Names the data in the checkpoint's fingerprint.
            device: Torch device.
            start: Weights to start from, of a generator of the same spec. Its normalisation is
                frozen from the first step on.
            perceptual: The perceptual term, where there is one.
        """
        super().__init__(length)
        self.recipe = recipe
        self.seed = seed
        self._store = store
        self._intensities = intensities
        self._device = torch.device(device)
        self._noise = spec.noise
        self._fine_tuning = start is not None
        self._perceptual = perceptual.to(self._device) if perceptual is not None else None
        self._side = min(recipe.crop, store.smallest_side)
        draw = torch.Generator().manual_seed(seed)
        reals = torch.cat([self.example(i)[1] for i in range(EXAMPLES)])
        noise = float(fine(reals).std().clamp(min=LEAST_NOISE))
        self.generator = build_generator(spec, inputs, generator=draw, noise=noise)
        if start is not None:
            self.generator.load_state_dict(dict(start))
        self.generator.to(self._device, memory_format=LAYOUT)  # type: ignore[call-overload]
        self._judged = self._judged_channels(inputs - spec.noise)
        self.judges = Discriminators(
            len(self._judged),
            recipe.discriminator_channels,
            recipe.discriminator_layers,
            recipe.scales,
            detail_gain=float(1 / detail(reals).std().clamp(min=1e-3)),
            generator=draw,
        )
        self.judges.to(self._device, memory_format=LAYOUT)  # type: ignore[call-overload]
        self._average = copy.deepcopy(self.generator).requires_grad_(False)
        self._optimisers = {
            "generator": torch.optim.Adam(
                self.generator.parameters(), lr=recipe.learning_rate, betas=MOMENTS
            ),
            "judges": torch.optim.Adam(
                self.judges.parameters(), lr=recipe.discriminator_rate, betas=MOMENTS
            ),
        }
        self._averaged_steps = 0
        self._frozen = False
        self._fingerprint = hashlib.sha256(
            json.dumps(
                [
                    spec.model_dump(mode="json"),
                    recipe.model_dump(mode="json"),
                    intensities.model_dump(mode="json"),
                    [length.steps, length.budget_s, seed, data, inputs],
                    [
                        _digest(start or {}),
                        perceptual is not None and _digest(perceptual.state_dict()),
                    ],
                ]
            ).encode()
        ).hexdigest()
        self._enter_phase()

    def save(self, path: Path) -> None:
        """Write the whole state of the training to ``path``."""
        tensors = dict(self._named())
        for owner, optimiser in self._optimisers.items():
            for i, state in optimiser.state_dict()["state"].items():
                tensors |= {f"adam.{owner}.{i}.{k}": torch.as_tensor(v) for k, v in state.items()}
        tensors["averaged_steps"] = torch.tensor(self._averaged_steps)
        tensors["frozen"] = torch.tensor(self._frozen)
        save_checkpoint(path, tensors, Progress(self.step, self.seconds, self._fingerprint))

    def load(self, path: Path) -> None:
        """Continue from a checkpoint.

        Raises:
            FormatError: Not a checkpoint.
            InputError: A checkpoint of another training.
        """
        tensors, progress = load_checkpoint(path, self._fingerprint)
        with torch.no_grad():
            for name, tensor in self._named():
                tensor.copy_(tensors[name])
        states: dict[str, dict[int, dict[str, Tensor]]] = {name: {} for name in self._optimisers}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "adam":
                owner, number, key = rest.split(".")
                states[owner].setdefault(int(number), {})[key] = tensor
        for owner, optimiser in self._optimisers.items():
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": states[owner], "param_groups": groups})
        self._averaged_steps = int(tensors["averaged_steps"])
        self._frozen = bool(tensors["frozen"])
        freeze_norms(self.generator, self._frozen)
        self.step, self.seconds = progress.step, progress.seconds

    def averaged(self) -> Generator:
        """The generator to use: averaged weights, frozen normalisation. A copy.

        Kernels are rounded to the 16 bits that a preset keeps of them.
        """
        found = copy.deepcopy(self._average).eval()
        freeze_norms(found)
        with torch.no_grad():
            for parameter in found.parameters():
                if parameter.ndim > 1:
                    parameter.copy_(parameter.half())
        return found

    def example(self, i: int) -> tuple[Tensor, Tensor]:
        """Conditions ``(1, inputs, y, x)`` and image ``(1, 1, y, x)`` to look at, the i-th."""
        rng = np.random.default_rng([self.seed, 2**32, i])
        return self._drawn(rng, 1, cell_share=1.0)

    def _report(self, loss: Mapping[str, float]) -> GanReport:
        return GanReport(self.step, self.seconds, self.share, loss)

    def _step(self) -> Mapping[str, float]:
        recipe = self.recipe
        self._enter_phase()
        # Until they are frozen, a pass of the generator changes its averages.
        self._whole = self._frozen
        rng = np.random.default_rng([self.seed, self.step])
        # The first step's crops have cells: what normalisation sees first, it goes by.
        cell_share = recipe.cell_share if self.step else 1.0
        conditions, real = self._drawn(rng, recipe.batch, cell_share)
        factor = rate_factor(self.share, recipe.fall_share)
        factor *= min(1.0, (self._averaged_steps + 1) / WARMUP_STEPS)
        rates = {"generator": recipe.learning_rate, "judges": recipe.discriminator_rate}
        for owner, optimiser in self._optimisers.items():
            optimiser.param_groups[0]["lr"] = rates[owner] * factor
            optimiser.zero_grad(set_to_none=True)
        if self._is_coarse():
            assert isinstance(self.generator, LocalEnhancer)
            # Every other pixel of the noise is white noise still; an average would be weaker.
            noise = conditions[:, conditions.shape[1] - self._noise :, ::2, ::2]
            seen = halved(conditions[:, : conditions.shape[1] - self._noise])
            conditions, real = torch.cat([seen, noise], dim=1), halved(real)
            made, still = self.generator.coarse(conditions)
        else:
            made, still = self.generator.noisy(conditions)
        shown = conditions[:, self._judged]

        theirs = self.judges(shown, real)
        caught = least_squares(self.judges(shown, made.detach()), 0.0)
        judged = 0.5 * (least_squares(theirs, 1.0) + caught)
        torch.autograd.backward(judged)

        # The generator's gradient goes through the judges, not into them.
        self.judges.requires_grad_(False)
        ours = self.judges(shown, made)
        losses = {
            "fooled": (1.0, least_squares(ours, 1.0)),
            "features": (recipe.feature_weight, feature_matching(theirs, ours, recipe.window)),
            "l1": (recipe.l1_weight, averaged_l1(real, made, recipe.window)),
        }
        if still is not None:
            term = noise_difference(real, made - still, recipe.window)
            losses["noise"] = (recipe.noise_weight, term)
        if self._perceptual is not None:
            term = self._perceptual(real, made)
            losses["perceptual"] = (recipe.perceptual_weight, term)
        weighted = torch.stack([weight * loss for weight, loss in losses.values()])
        torch.autograd.backward(weighted.sum())
        self.judges.requires_grad_(True)

        self._whole = False
        for optimiser in self._optimisers.values():
            optimiser.step()
        self._update_average()
        told = {name: float(loss.detach()) for name, (_, loss) in losses.items()}
        return {"judges": float(judged.detach()), **told}

    def _drawn(self, rng: np.random.Generator, n: int, cell_share: float) -> tuple[Tensor, Tensor]:
        crops = [self._store.draw(rng, self._side, cell_share) for _ in range(n)]
        seen = np.stack([crop.conditions for crop in crops])
        if self._noise:
            noise = rng.standard_normal((n, 1, *seen.shape[-2:]), dtype=np.float32)
            seen = np.concatenate([seen, noise], axis=1)
        real = np.stack([to_range(crop.image, self._intensities)[None] for crop in crops])
        conditions, images = (
            torch.from_numpy(x).to(self._device, memory_format=LAYOUT) for x in (seen, real)
        )
        return conditions, images

    def _judged_channels(self, channels: int) -> list[int]:
        """Channels of the conditions that the discriminators see."""
        names = self._store.conditions
        return [
            i
            for i in range(channels)
            if self.recipe.judged_grain or names[i % len(names)] != "grain"
        ]

    def _is_coarse(self) -> bool:
        if not isinstance(self.generator, LocalEnhancer) or self._fine_tuning:
            return False
        return self.share < self.recipe.coarse_share

    def _enter_phase(self) -> None:
        """Freeze the normalisation when its time has come."""
        share = self.share
        due = self._fine_tuning or share >= 1 - self.recipe.frozen_share
        if due and not self._frozen:
            freeze_norms(self.generator)
            # What was averaged so far belongs to another operator. To Adam too: biases that
            # normalisation took out again had hardly a gradient, and would now leap.
            self._optimisers["generator"].state.clear()
            self._averaged_steps = 0
            self._average.load_state_dict(self.generator.state_dict())
            # Last: entered anew after Ctrl-C in between, it does the same.
            self._frozen = True

    @torch.no_grad()
    def _update_average(self) -> None:
        self._averaged_steps += 1
        n = self._averaged_steps
        # A short memory at first, so that where it began is forgotten.
        decay = min(self.recipe.average, n / (n + 9))
        ours = self.generator.state_dict()
        for name, tensor in self._average.state_dict().items():
            tensor.lerp_(ours[name], 1 - decay)

    def _named(self) -> list[tuple[str, Tensor]]:
        parts: dict[str, nn.Module] = {
            "generator": self.generator,
            "judges": self.judges,
            "average": self._average,
        }
        return [
            (f"{owner}.{name}", tensor)
            for owner, part in parts.items()
            for name, tensor in part.state_dict().items()
        ]


def _digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for _, tensor in sorted(tensors.items()):
        found.update(tensor.cpu().numpy().tobytes())
    return found.hexdigest()


def least_side(spec: GeneratorSpec, recipe: TextureRecipe) -> int:
    """Pixels that a side of an image must have: two at the coarsest scale, to be normalised by."""
    halvings = recipe.scales - 1 + spec.enhancer  # which is trained alone on halved images first
    return int(2**halvings + 1)


def rate_factor(share: float, fall_share: float) -> float:
    """Factor on both rates: 1, then falling to 0 over the last ``fall_share`` of the training."""
    left = 1 - share
    return 1.0 if left >= fall_share else max(0.0, left / fall_share)
