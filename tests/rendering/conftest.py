"""Models of the presets in closed form, and one thread for all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from cellsynth.field.model import CellModel


@pytest.fixture(scope="session")
def sphere(sphere_bundle) -> CellModel:
    """A sphere whose radius is 0.4 and the first code together."""
    return CellModel.from_bundle(sphere_bundle)


@pytest.fixture(scope="session")
def dividing(dividing_bundle) -> CellModel:
    """A sphere that becomes two."""
    return CellModel.from_bundle(dividing_bundle)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tests side by side do not fight for the cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
