"""The picture of a preset."""

from __future__ import annotations

import io

import matplotlib.image
import numpy as np
import pytest

from cellsynth.evaluation.preview import FRAMES, preview_png
from cellsynth.field.model import CellModel
from cellsynth.rendering.sequence import Draw

SIZE = 32


@pytest.fixture(scope="module")
def model(dividing_bundle) -> CellModel:
    return CellModel.from_bundle(dividing_bundle)


@pytest.fixture(scope="module")
def draws() -> list[Draw]:
    return [Draw(np.zeros(2, np.float32), np.eye(3), 0)] * 3


def picture(png: bytes) -> np.ndarray:
    return matplotlib.image.imread(io.BytesIO(png))


def test_a_row_per_cell_and_a_column_per_frame(model, draws):
    pixels = picture(preview_png(model, draws, size=SIZE))
    # Four frames are all there are, though eight would be shown.
    assert FRAMES > model.preset.scale.n_frames == 4
    assert pixels.shape[:2] == (3 * SIZE, 4 * SIZE)
    light = pixels[..., :3].sum(axis=-1)
    rows = light.reshape(3, SIZE, 4 * SIZE)
    np.testing.assert_array_equal(rows[0], rows[1])
    first, last = light[:SIZE, :SIZE], light[:SIZE, -SIZE:]
    middle = SIZE // 2
    # One cell, thickest in the middle; at the end two, with nothing between them.
    assert first[middle, middle] == first.max() > first[0, 0]
    assert last[middle, middle] == last[0, 0] < last[middle, SIZE // 4]


def test_the_same_cells_give_the_same_bytes(model, draws):
    first, again = (preview_png(model, draws, size=SIZE) for _ in range(2))
    assert first == again
    assert first.startswith(b"\x89PNG")
    other = [Draw(np.full(2, 0.1, np.float32), np.eye(3), 0)] * 3
    assert preview_png(model, other, size=SIZE) != first
