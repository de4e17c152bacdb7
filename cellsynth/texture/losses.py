"""What generator and discriminators are judged by.

Source: Wang et al. 2018, equations 1 to 5; Mao et al. 2017 for least squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from cellsynth.errors import FormatError, MissingError

__all__ = [
    "Perceptual",
    "averaged_l1",
    "feature_matching",
    "fine",
    "least_squares",
    "noise_difference",
]

Features = Sequence[Sequence[Tensor]]

# The difference of two Laplacians; the root of the sum of its squares is 6.
NOISE_MASK = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


def least_squares(verdicts: Features, target: float) -> Tensor:
    """Mean (D - target)² over patches, summed over discriminators.

    Args:
        verdicts: As :class:`~cellsynth.texture.networks.Discriminators` gives them.
        target: 1 for real, 0 for generated.
    """
    return torch.stack([(scale[-1] - target).square().mean() for scale in verdicts]).sum()


def averaged_l1(a: Tensor, b: Tensor, window: int) -> Tensor:
    """Mean absolute difference of two ``(n, c, y, x)`` after averaging over windows.

    What is random in each of them, such as noise, need not agree pixel by pixel.
    """
    side = min(window, *a.shape[-2:])
    difference = a - b
    if side > 1:
        difference = functional.avg_pool2d(difference, side, stride=max(1, side // 2))
    return difference.abs().mean()


def fine(image: Tensor) -> Tensor:
    """What of an image ``(n, 1, y, x)`` is too fine for a lens; of white noise as strong as that.

    Source: Immerkær 1996, "Fast Noise Variance Estimation".
    """
    mask = image.new_tensor(NOISE_MASK)[None, None] / 6
    return functional.conv2d(functional.pad(image, (1,) * 4, mode="replicate"), mask)


def noise_difference(real: Tensor, noise: Tensor, window: int) -> Tensor:
    """How far noise ``(n, 1, y, x)`` is from as strong as that of ``real``, over windows.

    Discriminators are content with fine detail that is a function of the conditions. It then moves
    with the cell, where a camera's noise is new in every frame.
    """
    return averaged_l1(fine(real).abs(), fine(noise).abs(), window)


def feature_matching(real: Features, made: Features, window: int) -> Tensor:
    """Mean absolute difference of features, over layers and discriminators.

    Args:
        real, made: As the discriminators give them; the verdicts are left out.
        window: Pixels of the image over which features are averaged first, 1 as published. A
            layer that sees the image at half the size is averaged over half as many.
    """
    terms = []
    for i, (theirs, ours) in enumerate(zip(real, made, strict=True)):
        for layer, (a, b) in enumerate(zip(theirs[:-1], ours[:-1], strict=True)):
            side = window // 2 ** (i + layer + 1)
            terms.append(averaged_l1(a.detach(), b, max(1, side)) / (len(theirs) - 1))
    return torch.stack(terms).sum() / len(real)


class Perceptual(nn.Module):
    """Differences in the features of a network trained to recognise things, such as VGG-19.

    Source: Johnson et al. 2016; taps and weights as in Wang et al. 2018, appendix.
    """

    # ImageNet's, by which such networks are normalised.
    MEAN = (0.485, 0.456, 0.406)
    DEVIATION = (0.229, 0.224, 0.225)
    mean: Tensor
    deviation: Tensor

    def __init__(self, path: Path) -> None:
        """Read the weights.

        Args:
            path: safetensors with ``features.{i}.weight`` and ``.bias`` of a plain VGG, numbered
                as torchvision does: a convolution, its ReLU, and where a number is skipped a
                pooling before the next convolution.

        Raises:
            MissingError: There is no such file.
            FormatError: It is no safetensors file, or holds another network.
        """
        super().__init__()
        try:
            found = load_file(path)
        except FileNotFoundError as error:
            raise MissingError(f"{path}: perceptual weights are not there") from error
        except (SafetensorError, OSError) as error:
            raise FormatError(f"{path}: not a safetensors file ({error})") from error
        prefix, suffix = "features.", ".weight"
        numbers = sorted(
            int(name[len(prefix) : -len(suffix)])
            for name in found
            if name.startswith(prefix)
            and name.endswith(suffix)
            and name[len(prefix) : -len(suffix)].isdecimal()
        )
        channels = 3
        parts: list[nn.Module] = []
        self.taps: list[int] = []
        for i, number in enumerate(numbers):
            weight = found[f"{prefix}{number}{suffix}"]
            bias = found.get(f"{prefix}{number}.bias")
            fits = weight.ndim == 4 and weight.shape[1:] == (channels, 3, 3)
            if not fits or bias is None or bias.shape != weight.shape[:1]:
                raise FormatError(
                    f"{path}: features.{number} does not fit a VGG: weight {tuple(weight.shape)}, "
                    f"expected (n, {channels}, 3, 3), and a bias"
                )
            pooled = i > 0 and number - numbers[i - 1] > 2
            if pooled:
                parts.append(nn.MaxPool2d(2))
            if pooled or i == 0:
                self.taps.append(len(parts) + 1)
            convolution = nn.Conv2d(channels, len(weight), 3, padding=1)
            convolution.load_state_dict({"weight": weight.float(), "bias": bias.float()})
            parts += [convolution, nn.ReLU()]
            channels = len(weight)
        if not parts:
            raise FormatError(f"{path}: no features.N.weight in it; expected the state of a VGG")
        self.layers = nn.ModuleList(parts).requires_grad_(False)
        self.register_buffer("mean", torch.tensor(self.MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(self.DEVIATION)[:, None, None])

    def forward(self, real: Tensor, made: Tensor) -> Tensor:
        """How much two images ``(n, 1, y, x)`` in [-1, 1] differ; deeper layers weigh more."""
        n = len(real)
        x = torch.cat([real.detach(), made]).expand(-1, 3, -1, -1)
        x = ((x + 1) / 2 - self.mean) / self.deviation
        total = real.new_zeros(())
        weight = 2.0 ** -len(self.taps)
        for i, layer in enumerate(self.layers):
            # Nothing smaller than the kernel can be pooled further.
            if isinstance(layer, nn.MaxPool2d) and min(x.shape[-2:]) < 2:
                break
            x = layer(x)
            if i in self.taps:
                total = total + weight * (x[:n] - x[n:]).abs().mean()
                weight *= 2
        return total
