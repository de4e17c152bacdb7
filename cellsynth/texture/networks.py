"""pix2pixHD for images of one channel: generator, local enhancer, patch discriminators.

Normalisation is by instance while training begins, with statistics that are averaged on the way;
then they are frozen. A generator in use is therefore a local operator: a pixel of the image
depends on the conditions within :attr:`Generator.reach` pixels and on nothing else.

Source: Wang et al. 2018, "High-Resolution Image Synthesis and Semantic Manipulation with
Conditional GANs", sections 3.1 to 3.3 and the appendix on architectures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from cellsynth.errors import ShapeError
from cellsynth.presets.texture import GeneratorSpec, TextureSpec

__all__ = [
    "Discriminators",
    "FrozenNorm",
    "Generator",
    "LocalEnhancer",
    "build_generator",
    "detail",
    "draw_weights",
    "fold_norms",
    "freeze_norms",
    "halved",
    "load_generator",
]

NOISE_KERNEL = 5  # pixels; a camera's noise is nearly white, what is resampled or projected is not
MEMORY = 0.05  # weight of the newest instance in the averaged statistics
EPSILON = 1e-5
# An instance with less than this share of the average variance is normalised by the averages.
DULL = 0.02
MOST_CHANNELS = 512  # of a discriminator's layer, as published
DETAIL = 5  # pixels across, see :func:`detail`


class FrozenNorm(nn.Module):
    """Instance normalisation whose statistics are averaged, and used alone once frozen.

    Without weights of its own, as published. Source: Ulyanov et al. 2016, equation 5.

    Attributes:
        mean, var: Averages over instances, ``(channels,)``.
        frozen: Whether they are used instead of the instance's own.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("var", torch.ones(channels))
        self.frozen = False

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, y, x)``, normalised."""
        if self.frozen:
            return (x - self.mean[:, None, None]) * self._scale(self.var)
        var, mean = torch.var_mean(x, dim=(2, 3), correction=0)  # (n, channels)
        unseen = (self.var == 1) & (self.mean == 0)
        # A crop of mere background has no spread of its own to divide by.
        dull = (var < DULL * self.var) & ~unseen
        with torch.no_grad():
            lively = (~dull).sum(dim=0)
            weight = torch.where(unseen, 1.0, MEMORY) * (lively > 0)
            for average, own in ((self.mean, mean), (self.var, var)):
                over = torch.where(dull, 0.0, own).sum(dim=0) / lively.clamp(min=1)
                average.lerp_(over, weight)
        mean = torch.where(dull, self.mean.clone(), mean)
        var = torch.where(dull, self.var.clone(), var)
        return (x - mean[..., None, None]) * self._scale(var)

    @staticmethod
    def _scale(var: Tensor) -> Tensor:
        return torch.rsqrt(var + EPSILON)[..., None, None]


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Reflection padding, convolution, normalisation, ReLU; the resolution divided by stride."""
    return nn.Sequential(
        nn.ReflectionPad2d(size // 2),
        nn.Conv2d(inputs, outputs, size, stride=stride),
        FrozenNorm(outputs),
        nn.ReLU(inplace=True),
    )


def _raise(inputs: int, outputs: int, how: str) -> nn.Sequential:
    """Twice the resolution."""
    if how == "resize":
        return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), _conv(inputs, outputs, 3))
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1),
        FrozenNorm(outputs),
        nn.ReLU(inplace=True),
    )


class _Residual(nn.Module):
    """x + two convolutions of it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = _conv(channels, channels, 3)
        self.second = _conv(channels, channels, 3)[:-1]

    def forward(self, x: Tensor) -> Tensor:
        change: Tensor = self.second(self.first(x))
        return x + change


class _Head(nn.Module):
    """From features to the image: its expected value, and noise as strong as they say.

    A network sees noise as an error to be rid of, unless it is given some. Here a small learned
    kernel colours white noise, and the features decide in each pixel how much of it there is, as
    photons do.
    """

    def __init__(self, channels: int, noise: bool) -> None:
        super().__init__()
        self.pad = nn.ReflectionPad2d(3)
        self.image = nn.Conv2d(channels, 1, 7)
        self.strength = nn.Conv2d(channels, 1, 1) if noise else None
        self.kernel = (
            nn.Conv2d(1, 1, NOISE_KERNEL, padding=NOISE_KERNEL // 2, bias=False) if noise else None
        )

    def forward(self, features: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The image with its noise, and what it would be without."""
        expected = self.image(self.pad(features))
        if self.kernel is None or self.strength is None or noise is None:
            return torch.tanh(expected), None
        noisy = expected + functional.softplus(self.strength(features)) * self.kernel(noise)
        return torch.tanh(noisy), torch.tanh(expected)


class Generator(nn.Module):
    """The global generator: down, residual blocks, up.

    Attributes:
        spec: Sizes.
        inputs: Channels that it takes, the noise included.
        reach: Pixels, in any direction, beyond which nothing changes a pixel of the image, once
            normalisation is frozen.
        step: Tiles must begin at multiples of it to agree with the whole.
    """

    def __init__(self, spec: GeneratorSpec, inputs: int) -> None:
        super().__init__()
        self.spec = spec
        self.inputs = inputs
        self.step = 2**spec.downsamplings
        width = spec.channels
        layers: list[nn.Module] = [_conv(inputs - spec.noise, width, 7)]
        for _ in range(spec.downsamplings):
            layers.append(_conv(width, 2 * width, 3, stride=2))
            width *= 2
        layers += [_Residual(width) for _ in range(spec.blocks)]
        for _ in range(spec.downsamplings):
            layers.append(_raise(width, width // 2, spec.upsampling))
            width //= 2
        self.body = nn.Sequential(*layers)
        self.head = _Head(width, spec.noise)
        # Of the lowest resolution's pixels two for a block; three for all layers on the way down
        # and up, the first one's 3 pixels included; the last layer's 3 pixels.
        self.reach = 3 + self.step * (2 * spec.blocks + 3)

    def forward(self, conditions: Tensor) -> Tensor:
        """An image of conditions.

        Args:
            conditions: ``(n, inputs, y, x)``, of any size; white noise of unit variance in the
                last channel where the spec says so.

        Returns:
            ``(n, 1, y, x)`` in [-1, 1].

        Raises:
            ShapeError: Another number of channels.
        """
        return self.noisy(conditions)[0]

    def noisy(self, conditions: Tensor) -> tuple[Tensor, Tensor | None]:
        """The image, and what it would be without its noise; None where it has none.

        Raises:
            ShapeError: Another number of channels.
        """
        return self._any_size(conditions, self._drawn)

    def _any_size(
        self, conditions: Tensor, draw: Callable[[Tensor], tuple[Tensor, Tensor | None]]
    ) -> tuple[Tensor, Tensor | None]:
        if conditions.ndim != 4 or conditions.shape[1] != self.inputs:
            raise ShapeError(
                f"generator: got conditions of shape {tuple(conditions.shape)}, expected "
                f"(n, {self.inputs}, y, x)"
            )
        rows, columns = conditions.shape[-2:]
        image, still = draw(_filled(conditions, self.step))
        return image[..., :rows, :columns], None if still is None else still[..., :rows, :columns]

    def _parted(self, conditions: Tensor) -> tuple[Tensor, Tensor | None]:
        """What is seen, and the noise."""
        seen = conditions[:, : self.inputs - self.spec.noise]
        return seen, conditions[:, -1:] if self.spec.noise else None

    def _drawn(self, conditions: Tensor) -> tuple[Tensor, Tensor | None]:
        """As :meth:`noisy`; sides are multiples of the step."""
        seen, noise = self._parted(conditions)
        found: tuple[Tensor, Tensor | None] = self.head(self.features(seen), noise)
        return found

    def features(self, conditions: Tensor) -> Tensor:
        """What the image is made of, ``(n, channels, y, x)``; sides are multiples of the step."""
        found: Tensor = self.body(conditions)
        return found


class LocalEnhancer(Generator):
    """Twice the resolution of a global generator, whose features it adds to its own.

    The global generator sees the conditions at half the size. It is trained alone first, see
    :meth:`coarse`.
    """

    def __init__(self, spec: GeneratorSpec, inputs: int) -> None:
        super().__init__(spec, inputs)
        width = spec.channels // 2
        self.lower = nn.Sequential(
            _conv(inputs - spec.noise, width, 7), _conv(width, 2 * width, 3, stride=2)
        )
        self.upper = nn.Sequential(
            *(_Residual(2 * width) for _ in range(spec.enhancer_blocks)),
            _raise(2 * width, width, spec.upsampling),
        )
        self.fine = _Head(width, spec.noise)
        self.reach = 2 * self.reach + 4 * spec.enhancer_blocks + 4
        self.step *= 2

    def coarse(self, conditions: Tensor) -> tuple[Tensor, Tensor | None]:
        """As :meth:`noisy`, by the global generator alone: conditions at half the size."""
        return self._any_size(conditions, super()._drawn)

    def _drawn(self, conditions: Tensor) -> tuple[Tensor, Tensor | None]:
        seen, noise = self._parted(conditions)
        coarse = self.features(halved(seen))
        found: tuple[Tensor, Tensor | None] = self.fine(
            self.upper(self.lower(seen) + coarse), noise
        )
        return found


def build_generator(
    spec: GeneratorSpec,
    inputs: int,
    *,
    generator: torch.Generator | None = None,
    noise: float = 0.02,
) -> Generator:
    """A generator of that spec, its weights drawn as published: normal, deviation 0.02.

    Args:
        spec: Sizes.
        inputs: Channels of the conditions, the noise included.
        generator: Decides the draw; without one the weights stay as PyTorch draws them.
        noise: Deviation of the noise that is drawn into images, above 0, where it begins.
    """
    made = LocalEnhancer(spec, inputs) if spec.enhancer else Generator(spec, inputs)
    if generator is not None:
        draw_weights(made, generator, noise)
    return made


@torch.no_grad()
def draw_weights(module: nn.Module, generator: torch.Generator, noise: float) -> None:
    """Weights from N(0, 0.02²), biases zero; noise starts white, of that deviation."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            part.weight.normal_(0.0, 0.02, generator=generator)
            if part.bias is not None:
                part.bias.zero_()
    for part in module.modules():
        if isinstance(part, _Head) and part.kernel is not None and part.strength is not None:
            part.kernel.weight.zero_()
            part.kernel.weight[..., NOISE_KERNEL // 2, NOISE_KERNEL // 2] = 1.0
            assert part.strength.bias is not None
            part.strength.bias.fill_(math.log(math.expm1(noise)))  # whose softplus it is


def freeze_norms(module: nn.Module, frozen: bool = True) -> None:
    """Use the averaged statistics of all normalisations from now on, or no longer."""
    for part in module.modules():
        if isinstance(part, FrozenNorm):
            part.frozen = frozen


def fold_norms(module: nn.Module) -> None:
    """Put frozen normalisations into the convolutions before them, which is faster and the same.

    In place; such a network can be used, no longer trained.
    """
    for part in module.modules():
        if not isinstance(part, nn.Sequential):
            continue
        for i in range(1, len(part)):
            norm, before = part[i], part[i - 1]
            if isinstance(norm, FrozenNorm) and isinstance(before, nn.Conv2d | nn.ConvTranspose2d):
                assert before.bias is not None
                scale = torch.rsqrt(norm.var + EPSILON)
                out = 0 if isinstance(before, nn.Conv2d) else 1
                shape = [-1 if axis == out else 1 for axis in range(4)]
                with torch.no_grad():
                    before.weight.mul_(scale.view(shape))
                    before.bias.sub_(norm.mean).mul_(scale)
                part[i] = nn.Identity()


def load_generator(
    spec: TextureSpec, tensors: Mapping[str, NDArray[np.float32]], device: str = "cpu"
) -> Generator:
    """The generator of a preset, ready for use: frozen, folded, without gradients.

    Args:
        spec: The preset's texture.
        tensors: Its weights, see :func:`~cellsynth.presets.tensors.expected_texture`.
        device: Torch device.
    """
    made = build_generator(spec.generator, spec.inputs)
    made.load_state_dict({name: torch.from_numpy(array) for name, array in tensors.items()})
    freeze_norms(made)
    fold_norms(made)
    return made.requires_grad_(False).eval().to(device)


def halved(images: Tensor) -> Tensor:
    """Images ``(n, c, y, x)`` at half the size, averaged over 3 × 3 pixels."""
    return functional.avg_pool2d(images, 3, stride=2, padding=1, count_include_pad=False)


def _filled(images: Tensor, step: int) -> Tensor:
    """``images`` reflected beyond their last row and column, to multiples of the step.

    Sides are at least twice the step, so that the lowest resolution has something to reflect.
    """
    for axis in (-2, -1):
        have = images.shape[axis]
        missing = max(-(-have // step), 2) * step - have
        while missing:
            # A reflection is at most as wide as the image without its edge; a pixel is repeated.
            part = min(missing, max(have - 1, 1))
            pad = (0, part, 0, 0) if axis == -1 else (0, 0, 0, part)
            images = functional.pad(images, pad, mode="reflect" if have > 1 else "replicate")
            missing -= part
            have += part
    return images


class Discriminators(nn.Module):
    """Patch discriminators, each of which sees half the resolution of the one before.

    Source: Wang et al. 2018, section 3.2; Isola et al. 2017 for the patches. Normalisation is by
    instance throughout: they are not used once training is over.
    """

    def __init__(
        self,
        inputs: int,
        channels: int,
        layers: int,
        scales: int,
        *,
        detail_gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        """Set up ``scales`` discriminators.

        Args:
            inputs: Channels of the conditions.
            channels: Of the first layer; they double from layer to layer.
            layers: Layers of stride 2.
            scales: How many discriminators.
            detail_gain: Factor on :func:`detail`, such that it is about 1 in real images.
            generator: Decides the draw of the weights (He et al. 2015); without one they stay as
                PyTorch draws them.
        """
        super().__init__()
        self.detail_gain = detail_gain
        # Beside the conditions the image and its detail.
        self.scales = nn.ModuleList(_patches(inputs + 2, channels, layers) for _ in range(scales))
        if generator is not None:
            for part in self.modules():
                if isinstance(part, nn.Conv2d):
                    nn.init.kaiming_normal_(part.weight, a=0.2, generator=generator)
                    assert part.bias is not None
                    nn.init.zeros_(part.bias)

    def forward(self, conditions: Tensor, image: Tensor) -> list[list[Tensor]]:
        """What each discriminator makes of ``image`` given its conditions.

        Args:
            conditions: ``(n, c, y, x)``, without noise.
            image: ``(n, 1, y, x)``.

        Returns:
            For each discriminator the features of its layers, ``(n, channels, y', x')``, the
            verdict on each patch last.
        """
        found = []
        for i, scale in enumerate(self.scales):
            if i:
                conditions, image = halved(conditions), halved(image)
            fine = self.detail_gain * detail(image)
            features = [torch.cat([conditions, image, fine], dim=1)]
            for layer in scale:  # type: ignore[attr-defined]
                features.append(layer(features[-1]))
            found.append(features[1:])
        return found


def detail(image: Tensor) -> Tensor:
    """What of an image ``(n, 1, y, x)`` differs from the mean of the 5 × 5 pixels around.

    Grain and noise are a few hundredths of what cells differ from the background by; beside that,
    discriminators take thousands of steps to see them.
    """
    side = DETAIL // 2
    around = functional.pad(image, (side,) * 4, mode="replicate")
    return image - functional.avg_pool2d(around, DETAIL, stride=1)


def _patches(inputs: int, channels: int, layers: int) -> nn.Sequential:
    widths: Sequence[int] = [min(channels * 2**i, MOST_CHANNELS) for i in range(layers + 1)]
    parts = [
        nn.Sequential(
            nn.Conv2d(inputs, widths[0], 4, stride=2, padding=2), nn.LeakyReLU(0.2, inplace=True)
        )
    ]
    for i in range(1, layers + 1):
        parts.append(
            nn.Sequential(
                nn.Conv2d(widths[i - 1], widths[i], 4, stride=2 if i < layers else 1, padding=2),
                nn.InstanceNorm2d(widths[i]),
                nn.LeakyReLU(0.2, inplace=True),
            )
        )
    return nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, padding=2))
