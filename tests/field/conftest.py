"""Fields drawn at random, of many kinds, and one thread for all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cellsynth.presets.models import FieldSpec

SPECS = {
    "paper": FieldSpec(),
    "small": FieldSpec(hidden_layers=4, width=24, latent_dim=5, latent_layers=(1, 3)),
    "relu": FieldSpec(
        kind="relu", hidden_layers=3, width=20, latent_dim=4, latent_layers=(1,),
        coords_layers="first",
    ),
    "tanh": FieldSpec(hidden_layers=3, width=16, latent_dim=3, latent_layers=(2,), output="tanh"),
    "widths include inputs": FieldSpec(
        hidden_layers=4, width=24, latent_dim=5, latent_layers=(1, 3), widths_include_inputs=True
    ),
    "the authors'": FieldSpec(
        hidden_layers=4, width=24, latent_dim=5, latent_layers=(1, 3), widths_include_inputs=True,
        coords_layers="all+output", domain="cube",
    ),
    "coordinates first": FieldSpec(
        hidden_layers=3, width=16, latent_dim=3, latent_layers=(1, 3), coords_layers="first"
    ),
    "coordinates with the code": FieldSpec(
        kind="relu", hidden_layers=5, width=24, latent_dim=5, latent_layers=(1, 4),
        coords_layers="latent", widths_include_inputs=True,
    ),
    "not equivariant": FieldSpec(
        kind="relu", hidden_layers=8, width=32, latent_dim=6, latent_layers=(1, 4),
        coords_layers="first", equivariant=False, output="tanh", domain="cube",
    ),
    "experts": FieldSpec(
        hidden_layers=4, width=24, latent_dim=5, latent_layers=(1, 3), experts=3
    ),
    "experts of unequal widths": FieldSpec(
        hidden_layers=4, width=24, latent_dim=5, latent_layers=(1, 3), experts=2,
        widths_include_inputs=True, coords_layers="all+output",
    ),
    "one layer": FieldSpec(hidden_layers=1, width=8, latent_dim=2, latent_layers=(1,)),
}  # fmt: skip


@pytest.fixture(params=SPECS.values(), ids=SPECS.keys())
def spec(request) -> FieldSpec:
    """A network's settings."""
    return request.param


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tests side by side do not fight for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
