"""The network against a slow reference that takes one point at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cellsynth.errors import ShapeError
from cellsynth.field.decoder import Decoder, layer_columns, taken
from cellsynth.presets.models import FieldSpec


def seeded(spec: FieldSpec, seed: int = 0, coords_gain: float = 1.0) -> Decoder:
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(spec, generator=generator, coords_gain=coords_gain).double()
    for matrix in decoder.experts.parameters():  # they start at 0
        matrix.data.normal_(0, 0.001, generator=generator)
    return decoder


def reference(decoder: Decoder, point, time: float, latent) -> float:
    """One point, one layer and one unit after the other: the formula of the paper."""
    spec = decoder.spec
    h: list[float] = []
    for number, layer in enumerate(decoder.hidden, start=1):
        inputs = list(h)
        if number in spec.latent_layers:
            inputs += list(latent)
        with_code = spec.coords_layers == "latent" and number in spec.latent_layers
        if number == 1 or with_code or spec.coords_layers in {"all", "all+output"}:
            inputs += [*point, time]
        rows = layer.weight.tolist()
        if spec.experts and number > 1:
            mixing = [
                sum(m * z for m, z in zip(row, latent, strict=True))
                for row in decoder.mixing.tolist()
            ]
            for share, expert in zip(mixing, decoder.experts[number - 2], strict=True):
                for row, more in zip(rows, expert.tolist(), strict=True):
                    row[: len(h)] = [w + share * x for w, x in zip(row, more, strict=False)]
        h = []
        for row, bias in zip(rows, layer.bias.tolist(), strict=True):
            pre = bias + sum(w * value for w, value in zip(row, inputs, strict=True))
            h.append(math.sin(spec.omega_0 * pre) if spec.kind == "siren" else max(0.0, pre))
    if spec.coords_layers == "all+output":
        h += [*point, time]
    row, bias = decoder.output.weight.tolist()[0], decoder.output.bias.item()
    out = bias + sum(w * value for w, value in zip(row, h, strict=True))
    return math.tanh(out) if spec.output == "tanh" else out


def inputs(spec: FieldSpec, frames: int = 3, points: int = 4, seed: int = 1):
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    coords = torch.rand(frames, points, 3, **options) * 2 - 1
    times = torch.rand(frames, **options) * 2 - 1
    latents = torch.randn(frames, spec.latent_dim, **options)
    return coords, times, latents


def test_the_paper_s_network_has_161537_parameters():
    assert sum(p.numel() for p in Decoder(FieldSpec()).parameters()) == 161_537


def test_the_authors_network_has_120141_parameters():
    """Widths that include what is concatenated, and x, y, z, t into the output layer too."""
    spec = FieldSpec(widths_include_inputs=True, coords_layers="all+output")
    assert sum(p.numel() for p in Decoder(spec).parameters()) == 120_141


def test_columns_of_the_paper_s_network():
    columns = layer_columns(FieldSpec())
    assert columns[0] == (slice(0, 0), slice(0, 64), slice(64, 67), slice(67, 68))
    assert columns[1] == (slice(0, 128), slice(128, 128), slice(128, 131), slice(131, 132))
    assert [i + 1 for i, c in enumerate(columns) if taken(c.latent)] == [1, 5, 8]
    assert all(taken(c.coords) and taken(c.time) for c in columns[:-1])
    assert columns[-1] == (slice(0, 128), slice(128, 128), slice(128, 128), slice(128, 128))


def test_columns_fill_every_matrix(spec):
    for columns, (_, c_in) in zip(layer_columns(spec), spec.layer_shapes(), strict=True):
        ends = [0, *(c.stop for c in columns)]
        assert [c.start for c in columns] == ends[:-1]
        assert ends[-1] == c_in
        # Space and time come together or not at all.
        assert (columns.coords.stop - columns.coords.start, taken(columns.time)) in {
            (3, True),
            (0, False),
        }


def test_forward_is_the_formula(spec):
    decoder = seeded(spec)
    coords, times, latents = inputs(spec)
    sdf = decoder(coords, times, latents)
    assert sdf.shape == (3, 4)
    expected = [
        [reference(decoder, p.tolist(), t.item(), z.tolist()) for p in frame]
        for frame, t, z in zip(coords, times, latents, strict=True)
    ]
    np.testing.assert_allclose(sdf.detach(), expected, atol=1e-9)


def test_frames_may_share_codes(spec):
    decoder = seeded(spec)
    coords, times, latents = inputs(spec, frames=6)
    for of in ([0, 0, 0, 1, 1, 1], [0, 2, 2, 2, 1, 1], [3, 0, 3, 3, 0, 5]):
        which = torch.tensor(of)
        shared = decoder(coords, times, latents, which)
        torch.testing.assert_close(shared, decoder(coords, times, latents[which]))


def test_points_of_their_own_codes_have_their_own_derivatives(spec):
    decoder = seeded(spec)
    coords, times, latents = inputs(spec, frames=5, points=1)
    latents = latents[:1].expand(5, -1).clone().requires_grad_(True)
    (found,) = torch.autograd.grad(decoder(coords, times, latents).sum(), latents)
    for i in range(5):
        one = latents[i : i + 1].detach().requires_grad_(True)
        sdf = decoder(coords[i : i + 1], times[i : i + 1], one)
        torch.testing.assert_close(found[i], torch.autograd.grad(sdf.sum(), one)[0][0])


@pytest.mark.parametrize(("frames", "points"), [(1, 1), (1, 5), (4, 1), (2, 0)])
def test_forward_of_any_number_of_frames_and_points(spec, frames, points):
    decoder = seeded(spec)
    coords, times, latents = inputs(spec, frames, points)
    assert decoder(coords, times, latents).shape == (frames, points)


def test_gradient_reaches_every_parameter_and_input(spec):
    decoder = seeded(spec)
    coords, times, latents = (x.requires_grad_() for x in inputs(spec, 4, 64))
    decoder(coords, times, latents).square().sum().backward()
    reached = {**dict(decoder.named_parameters()), "xyz": coords, "t": times, "z": latents}
    for name, parameter in reached.items():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


def test_weights_start_in_their_ranges(spec):
    decoder = seeded(spec)
    for i, layer in enumerate([*decoder.hidden, decoder.output]):
        c_in = layer.in_features
        if spec.kind == "relu":
            bound = math.sqrt(6 / c_in)
        elif i == 0:
            bound = 1 / c_in
        else:
            bound = math.sqrt(6 / c_in) / spec.omega_0
        largest = layer.weight.abs().max().item()
        assert 0.6 * bound < largest <= bound
        assert layer.bias.abs().max().item() <= 1 / math.sqrt(c_in)


def test_coords_gain_acts_on_space_and_time_of_the_first_layer_alone():
    spec = FieldSpec()
    plain, gained = seeded(spec), seeded(spec, coords_gain=8.0)
    expected = plain.state_dict()
    expected["layers.0.weight"][:, 64:68] *= 8
    for name, tensor in gained.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0)


def test_the_draw_comes_from_the_generator_alone():
    spec = FieldSpec(hidden_layers=2, width=8, latent_dim=2, latent_layers=(1,))
    same = [seeded(spec, seed).state_dict()["layers.1.weight"] for seed in (3, 3, 4)]
    assert torch.equal(same[0], same[1])
    assert not torch.equal(same[0], same[2])


def test_save_and_load(spec, tmp_path):
    decoder = seeded(spec)
    torch.save(decoder.state_dict(), tmp_path / "weights.pt")
    other = seeded(spec, seed=5)
    given = inputs(spec)
    assert not torch.equal(other(*given), decoder(*given))
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(other(*given), decoder(*given))


@pytest.mark.parametrize(
    ("coords", "times", "latents"),
    [
        ((3, 4, 2), (3,), (3, 5)),
        ((3, 4), (3,), (3, 5)),
        ((3, 4, 3), (4,), (3, 5)),
        ((3, 4, 3), (3,), (3, 6)),
        ((3, 4, 3), (3,), (5,)),
    ],
)
def test_inputs_that_do_not_fit_are_named(coords, times, latents):
    decoder = Decoder(FieldSpec(hidden_layers=2, width=8, latent_dim=5, latent_layers=(1,)))
    with pytest.raises(ShapeError) as error:
        decoder(torch.zeros(coords), torch.zeros(times), torch.zeros(latents))
    assert f"coords {coords}, times {times}, latents {latents}" in str(error.value)
    assert "expected (f, p, 3), (f,), (f, 5)" in str(error.value)
