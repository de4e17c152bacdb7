"""The folded decoder is the decoder, whatever it is folded for and however it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cellsynth.errors import ShapeError
from cellsynth.field import folded as folded_module
from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.geometry import random_rotation
from cellsynth.presets.models import FieldSpec


@st.composite
def specs(draw) -> FieldSpec:
    """Settings of all kinds that a bundle may come with."""
    n = draw(st.integers(1, 5))
    layers = draw(st.sets(st.integers(1, n), min_size=1))
    return FieldSpec(
        kind=draw(st.sampled_from(["siren", "relu"])),
        hidden_layers=n,
        width=draw(st.integers(12, 24)),
        latent_dim=draw(st.integers(1, 6)),
        latent_layers=tuple(sorted(layers)),
        coords_layers=draw(st.sampled_from(["all", "first", "all+output"])),
        omega_0=draw(st.sampled_from([1.0, 30.0])),
        widths_include_inputs=draw(st.booleans()),
        output=draw(st.sampled_from(["linear", "tanh"])),
        equivariant=draw(st.booleans()),
        experts=draw(st.integers(0, 3)),
    )


def fold(spec: FieldSpec, seed: int = 0) -> tuple[Decoder, FoldedDecoder, dict]:
    """A random decoder, the same folded for a random frame, and that frame."""
    generator = torch.Generator().manual_seed(seed)
    decoder = Decoder(spec, generator=generator)
    for matrix in decoder.experts.parameters():  # they start at 0
        matrix.data.normal_(0, 0.001, generator=generator)
    frame = {
        "latent": torch.randn(spec.latent_dim, generator=generator),
        "time": float(torch.rand((), generator=generator) * 2 - 1),
        "rotation": random_rotation(np.random.default_rng(seed)),
    }
    return decoder, FoldedDecoder(decoder, **frame), frame


def points(n: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (n, 3))


@settings(max_examples=60, deadline=None)
@given(specs(), st.integers(0, 1000))
def test_folded_is_forward_at_the_turned_point(spec, seed):
    decoder, field, frame = fold(spec, seed)
    coords = points(50)
    turned = torch.from_numpy(coords @ frame["rotation"])  # rows: Rᵀx
    expected = decoder.double()(
        turned[None], torch.tensor([frame["time"]]).double(), frame["latent"].double()[None]
    )[0]
    exact = field.sdf(coords, exact=True)
    assert exact.dtype == np.float64
    np.testing.assert_allclose(exact, expected.detach(), atol=1e-10)
    fast = field.sdf(coords)
    assert fast.dtype == np.float32
    np.testing.assert_allclose(fast, exact, atol=2e-4)


def test_a_cell_is_turned_by_its_rotation():
    """A point x of the upright cell lies at Rx in the turned one."""
    decoder, _, frame = fold(FieldSpec(), 4)
    upright = FoldedDecoder(decoder, frame["latent"], frame["time"], np.eye(3))
    turned = FoldedDecoder(decoder, frame["latent"], frame["time"], frame["rotation"])
    x = points(100)
    at = np.einsum("ij,nj->ni", frame["rotation"], x)
    np.testing.assert_allclose(turned.sdf(at, exact=True), upright.sdf(x, exact=True), atol=1e-10)
    assert np.abs(turned.sdf(x, exact=True) - upright.sdf(x, exact=True)).max() > 1e-3


def on_the_surface(field: FoldedDecoder, n: int) -> np.ndarray:
    """Points 1e-8 from the surface, too near for float32 and not for float64, by halving."""
    coords = points(20 * n)
    inside = field.sdf(coords, exact=True) < 0
    a, b = coords[inside][:n], coords[~inside][:n]
    for _ in range(27):
        middle = (a + b) / 2
        below = field.sdf(middle, exact=True) < 0
        a[below], b[~below] = middle[below], middle[~below]
    return np.concatenate([a, b])


def test_inside_does_not_depend_on_chunks_neighbours_or_threads(monkeypatch):
    decoder, field, frame = fold(FieldSpec(), 1)
    with torch.no_grad():
        decoder.output.bias -= float(np.median(field.sdf(points(1000))))
    field = FoldedDecoder(decoder, **frame)
    surface = on_the_surface(field, 500)
    assert (np.abs(field.sdf(surface)) < field.rounding).all()
    # Float32 alone would waver there.
    expected = np.repeat([True, False], 500)
    assert ((field.sdf(surface) < 0) != expected).any()
    np.testing.assert_array_equal(field.inside(surface), expected)
    coords = np.concatenate([surface, points(4000)])
    expected = field.sdf(coords, exact=True) < 0
    np.testing.assert_array_equal(field.inside(coords), expected)
    order = np.random.default_rng(0).permutation(len(coords))
    np.testing.assert_array_equal(field.inside(coords[order]), expected[order])
    one_by_one = [field.inside(coords[i : i + 1])[0] for i in range(200)]
    np.testing.assert_array_equal(one_by_one, expected[:200])
    torch.set_num_threads(3)
    np.testing.assert_array_equal(field.inside(coords), expected)
    for chunk in (1000, 7, 100_000):
        monkeypatch.setattr(folded_module, "CHUNK", chunk)
        other = FoldedDecoder(decoder, **frame)
        np.testing.assert_array_equal(other.inside(coords), expected)


@pytest.mark.parametrize("seed", range(4))
def test_float32_stays_within_its_bound(spec, seed):
    _, field, _ = fold(spec, seed)
    coords = points(40_000, seed=99)
    error = np.abs(field.sdf(coords) - field.sdf(coords, exact=True)).max()
    assert 0 < error <= field.rounding < 1e-3


def test_no_points_give_no_values(spec):
    _, field, _ = fold(spec)
    assert field.sdf(np.empty((0, 3))).shape == (0,)
    assert field.inside(np.empty((0, 3))).shape == (0,)


def test_asking_changes_nothing_and_tracks_no_gradients(spec):
    decoder, field, _ = fold(spec)
    coords = points(3000)
    first = field.sdf(coords)
    field.sdf(points(10))
    field.sdf(coords, exact=True)
    np.testing.assert_array_equal(field.sdf(coords), first)
    assert all(p.grad is None for p in decoder.parameters())


def test_later_training_does_not_change_a_folded_field():
    decoder, field, _ = fold(FieldSpec())
    before = field.sdf(points(10))
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(1)
    np.testing.assert_array_equal(field.sdf(points(10)), before)


def test_a_code_that_does_not_fit_is_refused():
    decoder = Decoder(FieldSpec())
    with pytest.raises(ShapeError, match=r"latent has shape \(63,\), this field takes \(64,\)"):
        FoldedDecoder(decoder, torch.zeros(63), 0.0, np.eye(3))
