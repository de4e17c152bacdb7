"""Small sets to report on, and a page."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_sets import write_set

from cellsynth.geometry import Grid
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.report.dataset import report_dataset


@pytest.fixture(scope="session")
def generated(dividing_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sequences of dividing cells, as ``cellsynth generate`` makes them."""
    out = tmp_path_factory.mktemp("generated") / "dividing-24"
    options = GenerateOptions(Grid.over_omega((24, 24, 24)), n_frames=4, seed=5)
    generate(dividing_bundle, out, options, count=3)
    return out


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sequences with images, of nobody we know."""
    return write_set(tmp_path_factory.mktemp("others") / "real", 4, images=True)


@pytest.fixture(scope="session")
def page(
    generated: Path,
    real: Path,
    dividing_bundle: Bundle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The report of the generated set, compared with the others'."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    report_dataset(generated, out=out, against=real, bundle=dividing_bundle)
    return out
