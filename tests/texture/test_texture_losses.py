"""Losses in closed form."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cellsynth.errors import FormatError, MissingError
from cellsynth.texture.losses import (
    Perceptual,
    averaged_l1,
    feature_matching,
    least_squares,
    noise_difference,
)


def test_least_squares() -> None:
    verdicts = [[torch.zeros(1, 3, 4, 4), torch.full((1, 1, 4, 4), 0.5)], [torch.ones(1, 1, 2, 2)]]
    assert least_squares(verdicts, 1.0) == 0.25
    assert least_squares(verdicts, 0.0) == 1.25


def test_feature_matching_leaves_the_verdicts_out_and_the_real_ones_alone() -> None:
    real = [[torch.zeros(1, 2, 8, 8, requires_grad=True), torch.zeros(1, 1, 8, 8)]] * 2
    made = [[torch.full((1, 2, 8, 8), 3.0, requires_grad=True), torch.ones(1, 1, 8, 8)]] * 2
    loss = feature_matching(real, made, window=1)
    assert loss == 3
    loss.backward()
    assert real[0][0].grad is None
    assert made[0][0].grad is not None


def test_noise_is_no_difference_once_it_is_averaged() -> None:
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, 1, 64, 64, generator=draw) for _ in range(2))
    apart = averaged_l1(a, b, 1)
    assert abs(apart - (a - b).abs().mean()) < 1e-6
    assert averaged_l1(a, b, 8) < apart / 6
    assert abs(averaged_l1(a, a + 0.5, 8) - 0.5) < 1e-5
    assert abs(averaged_l1(a, a + 0.5, 1000) - 0.5) < 1e-5


def test_how_strong_noise_is_does_not_depend_on_what_it_lies_on() -> None:
    draw = torch.Generator().manual_seed(0)
    noise, other = (0.1 * torch.randn(1, 1, 256, 256, generator=draw) for _ in range(2))
    x = torch.linspace(0, 6, 256)
    image = noise + torch.sin(x) + torch.cos(2 * x)[:, None]
    # Of a normal variable, the mean size is √(2/π) of its deviation.
    assert abs(noise_difference(image, torch.zeros_like(noise), 256) / 0.0798 - 1) < 0.02
    assert noise_difference(image, other, 256) < 0.002
    assert abs(noise_difference(image, 3 * other, 256) / 0.16 - 1) < 0.03


def vgg(path: Path, **changes: torch.Tensor) -> Path:
    draw = torch.Generator().manual_seed(0)
    state = {}
    channels = 3
    for number, out in ((0, 4), (2, 4), (5, 6), (7, 6), (10, 8)):
        state[f"features.{number}.weight"] = torch.randn(out, channels, 3, 3, generator=draw) / 5
        state[f"features.{number}.bias"] = torch.zeros(out)
        channels = out
    save_file({**state, **changes}, path)
    return path


def test_the_perceptual_term_reads_a_vgg(tmp_path: Path) -> None:
    term = Perceptual(vgg(tmp_path / "vgg.safetensors"))
    kinds = [type(layer).__name__ for layer in term.layers]
    assert kinds.count("MaxPool2d") == 2
    assert len(term.taps) == 3
    assert not any(p.requires_grad for p in term.parameters())
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    other = torch.rand(2, 1, 16, 16, requires_grad=True)
    assert term(image, image) == 0
    term(image, other).backward()
    assert other.grad is not None
    assert other.grad.abs().sum() > 0
    assert term(image[..., :1, :1], -image[..., :1, :1]) > 0


def test_other_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="perceptual weights are not there"):
        Perceptual(tmp_path / "no.safetensors")
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(FormatError, match="not a safetensors file"):
        Perceptual(tmp_path / "text")
    save_file({"other": torch.zeros(1)}, tmp_path / "empty.safetensors")
    with pytest.raises(FormatError, match=r"no features\.N\.weight in it"):
        Perceptual(tmp_path / "empty.safetensors")
    wrong = vgg(tmp_path / "wrong.safetensors", **{"features.5.weight": torch.zeros(6, 9, 3, 3)})
    with pytest.raises(FormatError, match=r"features\.5 does not fit a VGG: weight \(6, 9, 3, 3\)"):
        Perceptual(wrong)
