"""Descriptors of cells over time: by label, by connected pieces, of cells that are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellsynth.errors import InputError, TopologyError
from cellsynth.evaluation.course_sources import draw_courses, mask_courses, store_courses
from cellsynth.evaluation.courses import Courses, cell_courses, lineage_courses
from cellsynth.evaluation.descriptors import Descriptors, describe, frame_descriptors
from cellsynth.field.model import CellModel
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid
from cellsynth.presets.models import Gaussian, Neighbourhood, Sampling, Topology
from cellsynth.rendering.sequence import LabelledSequence, draw_cell
from cellsynth.shapes.cells import cut_cells
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.store import build_store

VOXEL = (0.5, 0.25, 0.25)
DIVISION = Lineage((Tracklet(1, 0, 1), Tracklet(2, 2, 3, 1), Tracklet(5, 2, 3, 1)))


def cell(volume: float) -> Descriptors:
    return Descriptors(volume, 10 * volume)


def family(labels=(1, 2, 5), *, gap: int = 4) -> np.ndarray:
    """Four frames of a mother and then two daughters, ``gap`` voxels between them."""
    mother, left, right = labels
    frames = np.zeros((4, 14, 20, 40), np.uint16)
    frames[:2, 3:10, 4:14, 10:30] = mother
    frames[2:, 3:9, 4:14, 8:18] = left
    frames[2:, 3:11, 4:14, 18 + gap : 30] = right
    return frames


def masks(labels: np.ndarray, lineage: Lineage | None = None) -> MaskSequence:
    return MaskSequence("m", 4, labels.shape[1:], VOXEL, 60.0, lambda t: labels[t], lineage)


def values(mask: np.ndarray, voxel=VOXEL) -> tuple[float, float, float]:
    found = describe(mask, voxel)
    return found.surface_um2, found.volume_um3, found.sphericity


def test_a_division_gives_two_courses_that_share_their_mother():
    frames = [{1: cell(4)}, {1: cell(5)}, {2: cell(2), 5: cell(3)}, {2: cell(2.5), 5: cell(3.5)}]
    found = cell_courses(frames, DIVISION)
    assert found.shape == (2, 4, 3)
    np.testing.assert_array_equal(found[..., 1], [[4, 5, 2, 2.5], [4, 5, 3, 3.5]])
    np.testing.assert_array_equal(found[..., 0], 10 * found[..., 1])
    np.testing.assert_allclose(found[..., 2], 36 * np.pi / 1000 / found[..., 1])


def test_without_lineage_a_label_is_a_cell():
    found = cell_courses([{3: cell(1), 7: cell(2)}, {3: cell(3), 7: cell(4)}], None)
    np.testing.assert_array_equal(found[..., 1], [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([{1: cell(4)}, {}, {2: cell(1)}], "cell 2: 0 labels in frame 1 of 3, expected 1"),
        ([{1: cell(4)}, {1: cell(4), 2: cell(1)}], "cell 2: 2 labels in frame 1 of 2"),
        ([{1: cell(4)}, {}], "no cell in the last of 2 frames"),
        ([], "no cell in the last of 0 frames"),
    ],
)
def test_a_course_needs_its_cell_in_every_frame(frames, message):
    with pytest.raises(InputError, match=message):
        cell_courses(frames, DIVISION)


def test_courses_of_several_sequences():
    courses = Courses.join([np.ones((2, 4, 3)), np.full((1, 4, 3), 5.0), np.zeros((2, 4, 3))])
    courses.values[0] = 3
    assert courses.sequences.tolist() == [0, 0, 1, 2, 2]
    assert (courses.n_sequences, courses.n_frames) == (3, 4)
    np.testing.assert_array_equal(courses.per_sequence()[..., 0], [[2] * 4, [5] * 4, [0] * 4])


def test_courses_of_different_lengths_are_refused():
    with pytest.raises(InputError, match=r"courses of \[4, 5\] frames"):
        Courses.join([np.ones((1, 4, 3)), np.ones((1, 5, 3))])


@pytest.mark.parametrize("gap", [0, 4])
def test_masks_with_a_lineage(gap):
    """By label, so daughters that touch are two all the same."""
    labels = family(gap=gap)
    told = []
    cells, _ = cut_cells([masks(labels, DIVISION)])
    courses = mask_courses(cells, on_progress=lambda *a: told.append(a))
    assert courses.sequences.tolist() == [0, 0]
    for course, last in zip(courses.values, (2, 5), strict=True):
        line = [1, 1, last, last]
        expected = [values(labels[t] == label) for t, label in enumerate(line)]
        np.testing.assert_array_equal(course, expected)
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_several_cells_of_a_source_and_windows_of_a_track():
    labels = np.concatenate([family((1, 1, 7)), family((1, 1, 7))])
    labels[:2, 3:8, 4:9, 33:38] = labels[4:6, 3:8, 4:9, 33:38] = 7
    source = MaskSequence("m", 8, labels.shape[1:], VOXEL, 60.0, lambda t: labels[t])
    cells, _ = cut_cells([source], n_frames=4)
    courses = mask_courses(cells)
    assert len(cells) == courses.n_sequences == 4
    expected = [
        [values(labels[t] == label) for t in range(begin, begin + 4)]
        for label in (1, 7)
        for begin in (0, 4)
    ]
    np.testing.assert_array_equal(courses.values, expected)


def test_coarser_voxels_are_those_of_the_coarser_grid():
    labels = family()
    cells, _ = cut_cells([masks(labels, DIVISION)])
    courses = mask_courses(cells, coarsen=2)
    expected = values(labels[3, ::2, ::2, ::2] == 5, tuple(2 * s for s in VOXEL))
    assert tuple(courses.values[1, 3]) == expected


def test_a_cell_that_coarse_voxels_lose_is_named():
    labels = family()
    cells, _ = cut_cells([masks(labels, DIVISION)])
    with pytest.raises(InputError, match="m track 1 frames 0-3: no cell in the last of 4 frames"):
        mask_courses(cells, coarsen=20)
    with pytest.raises(InputError, match="coarsen must be at least 1, got 0"):
        mask_courses(cells, coarsen=0)


def test_training_data_are_told_apart_by_their_pieces(tmp_path):
    """The store holds both daughters in one mask; where they are apart it comes to the same."""
    cells, _ = cut_cells([masks(family(), DIVISION), masks(family()[:, :, ::-1], DIVISION)])
    store = build_store(tmp_path / "store", cells)
    topology = Topology(divisions=1, end_cells=2)
    for coarsen in (1, 2):
        courses, left_out = store_courses(store, topology, coarsen=coarsen)
        expected = mask_courses(cells, coarsen=coarsen)
        assert left_out == ()
        assert courses.sequences.tolist() == expected.sequences.tolist()
        # Which daughter comes first, and which voxels every second one is, may differ.
        rel = 1e-12 if coarsen == 1 else 0.25
        for found, truth in zip(courses.values, expected.values, strict=True):
            np.testing.assert_allclose(found[:2], truth[:2], rtol=rel)
        np.testing.assert_allclose(
            np.sort(courses.values, axis=0), np.sort(expected.values, axis=0), rtol=rel
        )


def test_training_sequences_that_break_the_topology_are_left_out(tmp_path):
    touching = masks(family(gap=0), DIVISION)
    cells, _ = cut_cells([masks(family(), DIVISION), touching])
    topology = Topology(divisions=1, end_cells=2)
    courses, left_out = store_courses(build_store(tmp_path / "one", cells), topology)
    assert courses.n_sequences == 1
    assert [str(entry) for entry in left_out] == [
        "m track 1 frames 0-3: cells in the last frame: got 1, expected 2"
    ]
    with pytest.raises(TopologyError, match="no sequence keeps the topology; m track 1"):
        store_courses(build_store(tmp_path / "none", cells[1:]), topology)


def test_drawn_cells_are_those_that_generate_makes(dividing_bundle):
    model = CellModel.from_bundle(dividing_bundle)
    grid = Grid.from_voxel_size((0.4, 0.3, 0.3), model.preset.scale.half_extent_um)
    told = []
    drawn = draw_courses(model, 3, grid, seed=4, on_progress=lambda *a: told.append(a))
    assert drawn.refused == (0, 0, 0)
    assert drawn.share_valid == 1
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert drawn.courses.values.shape == (6, 4, 3)
    sequence = LabelledSequence(model, draw_cell(model, seed=4, sequence=1), grid, 4)
    frames = {t: frame_descriptors(labels, (0.4, 0.3, 0.3)) for t, labels, _ in sequence.frames()}
    for course, last in zip(drawn.courses.values[2:4], (2, 3), strict=True):
        line = [last if last in frames[t] else 1 for t in range(4)]
        expected = [
            (frames[t][x].surface_um2, frames[t][x].volume_um3, frames[t][x].sphericity)
            for t, x in enumerate(line)
        ]
        np.testing.assert_allclose(course, expected)
    # Neither the number drawn nor the threads decide what a cell looks like.
    fewer = draw_courses(model, 2, grid, seed=4, threads=1)
    np.testing.assert_array_equal(fewer.courses.values, drawn.courses.values[:4])


def test_drawn_balls_have_the_size_of_their_formula(sphere_bundle):
    """The radius of the tests' ball is 0.4 units of 5 µm and the first code's half."""
    model = CellModel.from_bundle(sphere_bundle)
    grid = Grid.from_voxel_size((0.1, 0.1, 0.1), 5.0)
    drawn = draw_courses(model, 2, grid, seed=0)
    for i, course in enumerate(drawn.courses.values):
        radius = 5 * (0.4 + draw_cell(model, seed=0, sequence=i).latent[0] / 2)
        surface, volume, sphericity = course.T
        np.testing.assert_allclose(surface, 4 * np.pi * radius**2, rtol=0.04)
        np.testing.assert_allclose(volume, 4 / 3 * np.pi * radius**3, rtol=0.06)
        np.testing.assert_allclose(sphericity, 1, atol=0.02)


def test_refused_draws_are_counted(sphere_bundle):
    """A ball that vanishes for half of all codes."""
    model = CellModel.from_bundle(sphere_bundle)
    sampling = Sampling(
        strategy="gaussian",
        gaussian=Gaussian(sigma=1.5),
        neighbourhood=Neighbourhood(sigma=0.01),
    )
    wide = replace(model, preset=model.preset.model_copy(update={"sampling": sampling}))
    drawn = draw_courses(wide, 6, Grid.over_omega((24, 24, 24)), seed=0)
    expected = [draw_cell(wide, seed=0, sequence=i).attempt for i in range(6)]
    assert sum(expected) > 0
    assert list(drawn.refused) == expected
    assert drawn.share_valid == pytest.approx(6 / (6 + sum(expected)))


def test_no_cells_to_draw(sphere_bundle):
    with pytest.raises(InputError, match="number of sequences must be at least 1, got 0"):
        draw_courses(CellModel.from_bundle(sphere_bundle), 0, Grid.over_omega((8, 8, 8)), seed=0)


def test_courses_of_cells_that_come_and_go():
    """1 divides into 2 and 5, of which 5 is lost in a frame; 8 is listed, and never seen."""
    nan = np.nan
    values = {
        1: np.array([[4.0], [5], [nan], [nan]]),
        2: np.array([[nan], [nan], [2], [3]]),
        5: np.array([[nan], [nan], [nan], [6]]),
    }
    lineage = Lineage((*DIVISION.tracklets, Tracklet(8, 0, 3)))
    found = lineage_courses(values, lineage)
    np.testing.assert_array_equal(found[..., 0], [[4, 5, 2, 3], [4, 5, nan, 6]])
    courses = Courses.join([found, np.full((1, 4, 1), nan)], ("volume",))
    np.testing.assert_array_equal(
        courses.per_sequence()[..., 0], [[4, 5, 2, 4.5], [nan, nan, nan, nan]]
    )
    np.testing.assert_array_equal(courses.sequence_means(), [[15.5 / 4], [nan]])
