"""The claims of the textures in ``presets``, on a learned cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from shipped import textured_cell

from cellsynth.evaluation.coherence import mask_agreement
from cellsynth.presets.bundle import read_bundle

PRESETS = Path(__file__).parents[1] / "presets"


@pytest.mark.parametrize(
    ("name", "pixel_um", "dtype", "body", "least"),
    [
        ("celegans", 0.09, np.uint8, 0, 0.85),
        ("platynereis", 0.406, np.uint16, 0, 0.9),
        ("a549", 0.16, np.uint16, 2, 0.85),
    ],
)
def test_a_texture_shows_where_the_cell_is(
    tmp_path: Path, name: str, pixel_um: float, dtype: type, body: int, least: float
) -> None:
    bundle = read_bundle(PRESETS / name)
    image, mask = textured_cell(bundle, tmp_path, pixel_um=pixel_um)
    assert image.dtype == dtype
    assert mask_agreement(image, mask, body=body) > least
    # Background is noise, not a constant; the card says what was measured.
    assert image[mask == 0].std() > 1
    assert "Better than the blurred mask in all six" in bundle.card()
