"""How steep a field is, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellsynth.field.decoder import Decoder
from cellsynth.field.model import CellModel
from cellsynth.presets.models import FieldSpec
from cellsynth.training.bound import measure_bound


def test_a_distance_has_a_slope_of_one(sphere_bundle):
    model = CellModel.from_bundle(sphere_bundle)
    bound = measure_bound(model.decoder, model.latents, 4, seed=0)
    # 48 directions make a sphere whose slope is 1 but for a few percent.
    assert all(0.95 < slope < 1.1 for slope in bound.slopes)


def test_slopes_are_those_of_their_range_of_values():
    """f = x + 4 relu(x - 0.1): a slope of 1 up to half of the truncation, of 5 beyond."""
    spec = FieldSpec(
        kind="relu", hidden_layers=1, width=3, latent_dim=1, latent_layers=(1,),
        coords_layers="first",
    )  # fmt: skip
    decoder = Decoder(spec)
    with torch.no_grad():
        first, last = decoder.hidden[0], decoder.output
        first.weight.zero_()
        first.weight[:, 1] = torch.tensor([1.0, -1.0, 1.0])
        first.bias.copy_(torch.tensor([0.0, 0.0, -0.1]))
        last.weight.copy_(torch.tensor([[1.0, -1.0, 4.0]]))
        last.bias.zero_()
    bound = measure_bound(decoder, np.zeros((40, 1), np.float32), 4, seed=0)
    assert bound.slopes == pytest.approx((1, 1, 5, 5), rel=1e-3)


@pytest.mark.parametrize(("domain", "expected"), [("ball", (1, 1, 1, 1)), ("cube", (1, 1, 5, 5))])
def test_a_cube_is_looked_at_as_far_as_its_corners_turn(domain, expected):
    """f = x + 4 relu(x - 1.2): steep where no ball reaches."""
    spec = FieldSpec(
        kind="relu", hidden_layers=1, width=3, latent_dim=1, latent_layers=(1,),
        coords_layers="first", truncation=2.0, domain=domain,
    )  # fmt: skip
    decoder = Decoder(spec)
    with torch.no_grad():
        first, last = decoder.hidden[0], decoder.output
        first.weight.zero_()
        first.weight[:, 1] = torch.tensor([1.0, -1.0, 1.0])
        first.bias.copy_(torch.tensor([0.0, 0.0, -1.2]))
        last.weight.copy_(torch.tensor([[1.0, -1.0, 4.0]]))
        last.bias.zero_()
    seen = []
    bound = measure_bound(
        decoder,
        np.zeros((40, 1), np.float32),
        4,
        seed=0,
        on_progress=lambda done, total: seen.append((done, total)),
    )
    assert bound.slopes == pytest.approx(expected, rel=1e-3)
    assert seen == [(i, 80) for i in range(1, 81)]


def test_frames_of_a_code_share_its_matrices(monkeypatch):
    spec = FieldSpec(hidden_layers=2, width=8, latent_dim=3, latent_layers=(1,), experts=2)
    made, own_matrices = [], Decoder.own_matrices

    def noted(decoder, layer, latents):
        made.append(len(latents))
        return own_matrices(decoder, layer, latents)

    monkeypatch.setattr(Decoder, "own_matrices", noted)
    measure_bound(Decoder(spec), np.full((1, 3), 0.1, np.float32), 5, seed=0)
    assert set(made) == {1}


def test_new_codes_are_looked_at_too(sphere_bundle):
    """A field that is steep for other codes than the one it learned."""
    spec = FieldSpec(hidden_layers=2, width=16, latent_dim=3, latent_layers=(1, 2))
    decoder = Decoder(spec, generator=torch.Generator().manual_seed(0))
    narrow = measure_bound(decoder, np.full((1, 3), 1e-3, np.float32), 2, seed=0)
    wide = measure_bound(decoder, np.full((1, 3), 3.0, np.float32), 2, seed=0)
    assert narrow != wide


def test_the_same_seed_gives_the_same_bound(dividing_bundle):
    model = CellModel.from_bundle(dividing_bundle)
    first, again = (measure_bound(model.decoder, model.latents, 40, seed=2) for _ in range(2))
    assert first == again
    assert list(first.slopes) == sorted(first.slopes)
