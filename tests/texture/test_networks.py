"""Generator and discriminators: local, of any size, their tensors as the bundle expects them."""

from __future__ import annotations

import pytest
import torch

from cellsynth.errors import ShapeError
from cellsynth.presets.base import Origin
from cellsynth.presets.tensors import expected_texture
from cellsynth.presets.texture import (
    GeneratorSpec,
    Intensities,
    TextureRecipe,
    TextureSpec,
    TextureTraining,
)
from cellsynth.texture.networks import (
    Discriminators,
    FrozenNorm,
    Generator,
    build_generator,
    detail,
    fold_norms,
    freeze_norms,
    load_generator,
)

SMALL = GeneratorSpec(channels=4, downsamplings=2, blocks=1)
ENHANCED = GeneratorSpec(channels=4, downsamplings=1, blocks=1, enhancer=True, enhancer_blocks=1)
DEEPER = GeneratorSpec(channels=2, downsamplings=3, blocks=2)
SPECS = [SMALL, ENHANCED, SMALL.model_copy(update={"upsampling": "transposed", "noise": False})]


def texture_spec(generator: GeneratorSpec, mode: str = "mip") -> TextureSpec:
    return TextureSpec(
        mode=mode,
        pixel_size_um=0.5,
        depth_um=1.0,
        reach_um=2.0,
        grain_um=1.0,
        generator=generator,
        intensities=Intensities(dtype="uint8", low=0.0, high=200.0, largest=255),
        training=TextureTraining(
            seed=0, steps=1, seconds=1.0, pairs=1, versions={}, recipe=TextureRecipe()
        ),
        origin=Origin(data="d", licence="l", source="s", limits="n", commands=()),
    )


def made(spec: GeneratorSpec, inputs: int = 5, seed: int = 0) -> Generator:
    """A generator whose statistics are not the ones it began with, frozen."""
    draw = torch.Generator().manual_seed(seed)
    generator = build_generator(spec, inputs, generator=draw)
    with torch.no_grad():
        for parameter in generator.parameters():
            # Larger weights than drawn, so that far inputs matter above rounding.
            parameter.mul_(5)
        for part in generator.modules():
            if isinstance(part, FrozenNorm):
                part.mean.normal_(generator=draw)
                part.var.uniform_(0.5, 2, generator=draw)
    freeze_norms(generator)
    return generator.requires_grad_(False)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [(1, 1), (3, 17), (32, 32), (33, 50)])
def test_any_size_goes_in_and_comes_out(spec: GeneratorSpec, size: tuple[int, int]) -> None:
    image = made(spec)(torch.randn(2, 5, *size))
    assert image.shape == (2, 1, *size)
    assert image.abs().max() <= 1
    assert image.isfinite().all()


@pytest.mark.parametrize("spec", [*SPECS, DEEPER])
def test_nothing_beyond_the_reach_matters_and_something_near_it_does(spec: GeneratorSpec) -> None:
    generator = build_generator(spec, 5).double()
    freeze_norms(generator)
    with torch.no_grad():
        # All positive, so that nothing cancels and no ReLU closes.
        for parameter in generator.parameters():
            parameter.fill_(1e-3)
    middle = generator.reach + 4 * generator.step
    side = 2 * middle + 1
    conditions = torch.ones(1, 5, side, side, dtype=torch.float64, requires_grad=True)
    image = generator(conditions)
    far = 0
    for place in range(middle, middle + generator.step):
        (effect,) = torch.autograd.grad(image[0, 0, place, place], conditions, retain_graph=True)
        far = max(far, int((effect[0].sum(0).nonzero() - place).abs().max()))
    assert generator.reach - generator.step <= far <= generator.reach


@pytest.mark.parametrize("spec", SPECS)
def test_a_tile_with_its_halo_agrees_with_the_whole(spec: GeneratorSpec) -> None:
    generator = made(spec)
    step = generator.step
    halo = -(-generator.reach // step) * step
    conditions = torch.randn(1, 5, 2 * halo + 8 * step, 40)
    whole = generator(conditions)
    begin, end = 2 * step, 2 * halo + 5 * step
    tile = generator(conditions[:, :, begin:end])
    inner = slice(begin + halo, end - halo)
    torch.testing.assert_close(tile[:, :, halo:-halo], whole[:, :, inner], rtol=0, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    for spec in SPECS:
        generator = build_generator(spec, 5, generator=torch.Generator().manual_seed(1))
        generator(torch.randn(1, 5, 32, 32)).square().sum().backward()
        unused = {name for name, p in generator.named_parameters() if p.grad is None}
        assert all(name.startswith("head.") for name in unused)
        assert not unused or spec.enhancer  # whose global generator lends its features only


def test_the_coarse_part_of_an_enhancer_is_a_generator_of_half_the_size() -> None:
    enhancer = made(ENHANCED)
    assert enhancer.coarse(torch.randn(1, 5, 16, 16))[0].shape == (1, 1, 16, 16)
    assert enhancer.step == 4


def test_folding_changes_nothing_but_the_time() -> None:
    for spec in SPECS:
        generator = made(spec)
        conditions = torch.randn(1, 5, 24, 24)
        before = generator(conditions)
        fold_norms(generator)
        assert not any(isinstance(part, FrozenNorm) for part in generator.modules())
        torch.testing.assert_close(generator(conditions), before, rtol=0, atol=1e-5)


def test_frozen_statistics_are_the_averages_of_what_was_seen() -> None:
    norm = FrozenNorm(2)
    x = torch.randn(3, 2, 16, 16) * torch.tensor([2.0, 5.0])[:, None, None] + 1
    torch.testing.assert_close(
        norm(x), torch.nn.functional.instance_norm(x, eps=1e-5), rtol=0, atol=1e-5
    )
    for _ in range(200):
        norm(x)
    torch.testing.assert_close(norm.mean, x.mean(dim=(0, 2, 3)), rtol=0.01, atol=0.01)
    torch.testing.assert_close(norm.var, x.var(dim=(0, 2, 3), correction=0), rtol=0.01, atol=0.01)
    freeze_norms(norm)
    once, before = norm(x[:1]), norm.mean.clone()
    torch.testing.assert_close(once, norm(x)[:1])
    assert torch.equal(norm.mean, before)


def test_noise_reaches_the_image_and_only_there_where_it_is() -> None:
    generator = made(SMALL)
    conditions = torch.zeros(1, 5, 32, 32)
    noisy = conditions.clone()
    noisy[0, -1, 16, 16] = 3
    moved = (generator(noisy) - generator(conditions)).abs()[0, 0].nonzero()
    assert len(moved)
    assert (moved - 16).abs().max() <= 2


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_the_tensors_are_those_that_a_bundle_expects(spec: GeneratorSpec, mode: str) -> None:
    texture = texture_spec(spec, mode)
    state = build_generator(spec, texture.inputs).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes == expected_texture(texture)
    loaded = load_generator(texture, {name: t.numpy() for name, t in state.items()})
    assert not any(p.requires_grad for p in loaded.parameters())
    assert loaded(torch.randn(1, texture.inputs, 16, 16)).shape == (1, 1, 16, 16)


def test_the_default_fits_a_bundle() -> None:
    texture = texture_spec(GeneratorSpec())
    numbers = sum(torch.Size(shape).numel() for shape in expected_texture(texture).values())
    assert numbers < 750_000


def test_other_channels_are_refused() -> None:
    for spec in (SMALL, ENHANCED):
        with pytest.raises(ShapeError, match=r"shape \(1, 4, 8, 8\), expected \(n, 5, y, x\)"):
            made(spec)(torch.zeros(1, 4, 8, 8))


def test_the_same_seed_draws_the_same_weights() -> None:
    first, again, other = (made(SMALL, seed=seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_discriminators_see_ever_coarser_images() -> None:
    judges = Discriminators(3, channels=4, layers=2, scales=3)
    found = judges(torch.randn(1, 3, 64, 64), torch.randn(1, 1, 64, 64))
    assert [len(features) for features in found] == [4, 4, 4]
    assert [features[0].shape[-1] for features in found] == [33, 17, 9]
    assert all(features[-1].shape[1] == 1 for features in found)
    sum(features[-1].sum() for features in found).backward()
    assert all(p.grad is not None for p in judges.parameters())


def test_detail_is_what_differs_from_the_surroundings() -> None:
    ramp = torch.arange(12.0).expand(1, 1, 12, 12)
    assert detail(ramp)[..., 2:-2].abs().max() < 1e-5
    spot = torch.zeros(1, 1, 9, 9)
    spot[..., 4, 4] = 25
    found = detail(spot)[0, 0]
    assert abs(found[4, 4] - 24) < 1e-5
    assert abs(found[2, 6] + 1) < 1e-5
    assert found[1, 4] == 0
