"""Projections: the right place, size, colour and light, on sheets that hold every frame."""

from __future__ import annotations

import base64
import io
import math

import numpy as np
import pytest
from PIL import Image

from cellsynth.report.colours import COLOURS, cell_colour, colour_number
from cellsynth.report.tiles import (
    LEVELS,
    Canvas,
    Sheet,
    Window,
    image_sheet,
    mask_sheet,
    project_frame,
    shrink,
)


def ball(shape, middle, radius, voxel=(1.0, 1.0, 1.0)):
    zyx = np.stack(np.indices(shape), axis=-1) * voxel
    return ((zyx - np.array(middle)) ** 2).sum(axis=-1) < radius**2


def whole(canvas: Canvas) -> Window:
    y, x = canvas.size
    return np.arange(y), np.arange(x)


def picture_of(labels: np.ndarray, canvas: Canvas) -> np.ndarray:
    return project_frame(labels, canvas).within(whole(canvas))


def decoded(sheet: Sheet) -> np.ndarray:
    return np.asarray(
        Image.open(io.BytesIO(base64.b64decode(sheet.uri.split(",")[1]))).convert("RGBA")
    )


@pytest.mark.parametrize(
    ("voxel", "pixel"),
    [
        ((1.0, 1.0, 1.0), 1.0),
        ((2.0, 1.0, 1.0), 0.5),
        ((1.0, 1.0, 1.0), 2.0),
        ((3.0, 0.5, 1.0), 1.0),
    ],
)
def test_a_ball_is_a_disc_of_its_size_whatever_the_voxels(voxel, pixel):
    side = np.array([48, 64, 80])
    shape = tuple(np.rint(side / voxel).astype(int))
    middle = (24.0, 30.0, 44.0)
    picture = picture_of(
        ball(shape, middle, 16, voxel).astype(np.uint16), Canvas(pixel, voxel, shape[1:])
    )
    assert picture.shape == (64 / pixel, 80 / pixel)
    area = np.count_nonzero(picture) * pixel**2
    assert area == pytest.approx(math.pi * 16**2, rel=0.05)
    y, x = (at.mean() * pixel for at in np.nonzero(picture))
    # Middles of voxels and of pixels lie half of each from their corner.
    assert y == pytest.approx(30 + voxel[1] / 2 - pixel / 2, abs=0.6)
    assert x == pytest.approx(44 + voxel[2] / 2 - pixel / 2, abs=0.6)


def test_light_comes_from_above_left():
    picture = picture_of(
        ball((40, 40, 40), (20, 20, 20), 15).astype(np.uint16), Canvas(1, (1, 1, 1), (40, 40))
    )
    levels = (picture.astype(int) - 1) % LEVELS
    assert levels[13, 14] > levels[20, 20] > levels[27, 26]
    assert set(np.unique((picture[picture > 0] - 1) // LEVELS)) == {0}


def test_a_cell_has_its_colour_and_the_nearer_one_does_not_hide_the_thicker():
    labels = np.zeros((30, 20, 40), np.uint16)
    labels[ball(labels.shape, (15, 10, 10), 6)] = 2
    labels[ball(labels.shape, (15, 10, 30), 6)] = 15
    picture = picture_of(labels, Canvas(1, (1, 1, 1), (20, 40)))
    colours = (picture.astype(int) - 1) // LEVELS
    assert colours[10, 10] == colour_number(2) == 1
    assert colours[10, 30] == colour_number(15) == 2
    assert picture[10, 20] == 0


def test_colours_repeat_and_neighbours_differ():
    assert len(set(COLOURS)) == len(COLOURS) == 12
    assert cell_colour(1) == cell_colour(13) != cell_colour(2)


@pytest.mark.parametrize("pixel", [0.25, 1.0])
def test_one_voxel_at_any_corner_is_seen(pixel):
    for corner in np.ndindex(2, 2, 2):
        labels = np.zeros((5, 6, 7), np.uint16)
        labels[tuple((np.array(corner) * (4, 5, 6)).tolist())] = 3
        picture = picture_of(labels, Canvas(pixel, (1, 1, 1), (6, 7)))
        y, x = (at.mean() * pixel for at in np.nonzero(picture))
        assert (y > 3, x > 3) == (bool(corner[1]), bool(corner[2]))


def test_an_empty_frame_is_empty_and_a_flat_one_keeps_its_labels():
    assert not picture_of(np.zeros((3, 8, 9), np.uint8), Canvas(1, (1, 1, 1), (8, 9))).any()
    flat = np.zeros((1, 8, 9), np.uint16)
    flat[0, 2:5, 3:8] = 7
    picture = picture_of(flat, Canvas(1, (1, 1, 1), (8, 9)))
    np.testing.assert_array_equal(picture > 0, flat[0] > 0)
    assert set(((picture[picture > 0].astype(int) - 1) // LEVELS).tolist()) == {6}


def test_cells_do_not_tremble_where_only_their_neighbours_move():
    still = ball((20, 40, 40), (10, 30, 30), 6)
    pictures = []
    for at in (3, 4, 5):
        labels = still.astype(np.uint16)
        labels[10, at, at] = 2
        pictures.append(picture_of(labels, Canvas(0.37, (1, 1, 1), (40, 40)))[60:, 60:])
    np.testing.assert_array_equal(pictures[0] > 0, pictures[1] > 0)
    np.testing.assert_array_equal(pictures[0] > 0, pictures[2] > 0)


def test_a_sheet_of_masks_holds_every_frame_transparent_outside():
    frames = [np.zeros((5, 4), np.uint8) for _ in range(8)]
    for i, frame in enumerate(frames):
        frame[2, 1] = 1 + i * LEVELS + round(0.66 * LEVELS)
    sheet = mask_sheet(frames)
    assert (sheet.columns, sheet.rows, sheet.size) == (6, 2, (5, 4))
    pixels = decoded(sheet)
    assert pixels.shape == (10, 24, 4)
    for i in range(8):
        tile = pixels[5 * (i // 6) :, 4 * (i % 6) :][:5, :4]
        assert np.count_nonzero(tile[..., 3]) == 1
        found = tile[2, 1, :3].astype(int)
        nearest = min(COLOURS, key=lambda c: np.abs(np.array(c) - found).sum())
        assert nearest == COLOURS[i]


def test_a_sheet_of_images_is_on_one_scale():
    frames = [np.full((16, 16), value, np.float32) for value in (100, 100, 300, 500)]
    pixels = decoded(image_sheet(frames))[..., 0].astype(int)
    tiles = [pixels[:, 16 * i : 16 * i + 16].mean() for i in range(4)]
    assert tiles[0] == pytest.approx(tiles[1], abs=2)
    assert tiles[0] < 5
    assert tiles[1] < tiles[2] < tiles[3]
    assert tiles[3] > 250


def test_images_are_their_projection_averaged_to_pixels():
    image = np.zeros((3, 6, 9), np.uint16)
    image[1, 2:4, 3:6] = 60
    image[2, 0, 0] = 36
    canvas = Canvas(3.0, (5.0, 1.0, 1.0), (6, 9))
    found = shrink(image, canvas, whole(canvas))
    np.testing.assert_allclose(found, [[4, 20, 0], [0, 20, 0]])
    canvas = Canvas(0.5, (1.0, 1.0, 1.0), (6, 9))
    fine = shrink(image, canvas, whole(canvas))
    assert fine.shape == (12, 18)
    assert fine.sum() == pytest.approx(4 * image.max(axis=0).sum())


@pytest.mark.parametrize("pixel", [0.5, 1.0, 2.5])
def test_windows_show_parts_and_are_dark_beyond(pixel):
    rng = np.random.default_rng(0)
    canvas = Canvas(pixel, (1.0, 1.0, 1.0), (9, 14))
    labels = np.zeros((3, 9, 14), np.uint16)
    labels[1, 2:9, 5:12] = 3
    image = rng.integers(5, 99, labels.shape, np.uint16)
    window = np.arange(-3, 40, 2), np.arange(1, 6)
    inside = window[0][(window[0] >= 0) & (window[0] < canvas.size[0])]
    first = np.count_nonzero(window[0] < 0)
    beyond = np.ones(len(window[0]), bool)
    beyond[first : first + len(inside)] = False
    for all_of_it, shown in (
        (picture_of(labels, canvas), project_frame(labels, canvas).within(window)),
        (shrink(image, canvas, whole(canvas)), shrink(image, canvas, window)),
    ):
        np.testing.assert_array_equal(shown[~beyond], all_of_it[np.ix_(inside, window[1])])
        assert (shown[beyond] == shown.min()).all()
