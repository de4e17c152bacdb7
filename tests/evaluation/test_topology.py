"""First draws: which keep the topology, and what is wrong with the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cellsynth.errors import InputError, TopologyError
from cellsynth.evaluation.topology import Validity, first_draws
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid
from cellsynth.presets.models import Gaussian, Neighbourhood, Sampling
from cellsynth.rendering.sequence import check_topology, propose_cell

GRID = Grid.over_omega((48, 48, 48))


@pytest.fixture
def wide(sphere_bundle) -> CellModel:
    """A ball that vanishes for many codes."""
    model = CellModel.from_bundle(sphere_bundle)
    sampling = Sampling(
        strategy="gaussian", gaussian=Gaussian(sigma=1.5), neighbourhood=Neighbourhood(sigma=0.01)
    )
    return replace(model, preset=model.preset.model_copy(update={"sampling": sampling}))


def keeps(model: CellModel, sequence: int) -> bool:
    latent = propose_cell(model, seed=3, sequence=sequence).latent
    try:
        check_topology(model, latent)
    except TopologyError:
        return False
    return True


def test_the_first_draw_of_each_sequence_is_judged(wide):
    told = []
    found = first_draws(wide, 12, GRID, seed=3, on_progress=lambda *a: told.append(a))
    bad = [i for i in range(12) if not keeps(wide, i)]
    assert 0 < len(bad) < 12
    assert list(found.faults) == bad
    assert found.share == pytest.approx(1 - len(bad) / 12)
    assert found.reasons() == {"cells in the last frame: got 0, expected 1": len(bad)}
    assert told[-1] == (12, 12 - len(bad))
    assert first_draws(wide, 12, GRID, seed=3, strategy="neighbourhood").share == 1


def test_dividing_cells_are_valid(dividing_bundle):
    model = CellModel.from_bundle(dividing_bundle)
    assert first_draws(model, 4, GRID, seed=0) == Validity(4, {})


def test_reasons_are_counted_whatever_the_frame():
    faults = {
        3: "frame 7: a cell lies in more than one piece",
        4: "divisions: got 0, expected 1",
        9: "frame 12: a cell lies in more than one piece",
    }
    assert list(Validity(10, faults).reasons().items()) == [
        ("a cell lies in more than one piece", 2),
        ("divisions: got 0, expected 1", 1),
    ]
    assert Validity(10, faults).share == pytest.approx(0.7)


def test_nothing_to_judge(wide):
    with pytest.raises(InputError, match="number of sequences must be at least 1, got 0"):
        first_draws(wide, 0, GRID, seed=0)
