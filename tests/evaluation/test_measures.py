"""Every cell of a frame, and families as one body."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.evaluation.betti import Betti
from cellsynth.evaluation.bodies import ball, voxelise
from cellsynth.evaluation.families import MeasuredSequence, families_of, set_courses
from cellsynth.evaluation.mask_surface import mask_surface
from cellsynth.evaluation.measures import FrameMeasures, Measures, measure_frame
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.shapes.mask_sequence import MaskSequence

VOXEL = (0.5, 0.25, 0.25)
# 1 divides into 2 and 3 in frame 2; 7 is alone, and comes late.
LINEAGE = Lineage(
    (Tracklet(1, 0, 1), Tracklet(2, 2, 3, 1), Tracklet(3, 2, 3, 1), Tracklet(7, 1, 3))
)


def place(frame: np.ndarray, label: int, radius: float, at: tuple[int, int, int]) -> np.ndarray:
    """Put a ball of that label there; its mask."""
    mask = voxelise(ball(radius), VOXEL, np.random.default_rng(label), turn=False)
    box = tuple(slice(a, a + n) for a, n in zip(at, mask.shape, strict=True))
    frame[box][mask] = label
    return mask


def test_cells_and_families_of_a_frame():
    frame = np.zeros((20, 40, 80), np.uint16)
    one = place(frame, 2, 2.0, (3, 4, 5))
    place(frame, 3, 1.5, (5, 10, 40))
    place(frame, 9, 1.0, (8, 20, 60))
    found = measure_frame(frame, VOXEL, {1: 1, 2: 1, 3: 1, 9: 9})
    assert list(found.cells) == [2, 3, 9]
    cell = found.cells[2]
    assert cell.volume_um3 == pytest.approx(np.count_nonzero(one) * 0.5 * 0.25 * 0.25)
    assert cell.surface_um2 == pytest.approx(mask_surface(one, VOXEL).area_um2)
    assert cell.betti == Betti(1, 0, 0)
    centroid = np.argwhere(frame == 2).mean(axis=0) * VOXEL
    np.testing.assert_allclose(cell.centroid_um, centroid)
    assert not cell.at_border
    assert cell.sphericity_wadell**3 == pytest.approx(cell.sphericity_paper)
    assert list(found.families) == [1]  # 9 is alone, and stands among the cells
    body = found.families[1]
    assert body.volume_um3 == pytest.approx(cell.volume_um3 + found.cells[3].volume_um3)
    both = cell.surface_um2 + found.cells[3].surface_um2
    assert body.surface_um2 == pytest.approx(both, rel=1e-3)  # they do not touch
    assert body.betti == Betti(2, 0, 0)
    assert measure_frame(frame, VOXEL).families == {}
    assert measure_frame(frame, VOXEL).cells == found.cells


def test_touching_daughters_are_one_piece_as_a_family():
    frame = np.zeros((8, 20, 20), np.uint16)
    frame[2:6, 5:15, 5:10] = 2
    frame[2:6, 5:15, 10:15] = 3
    found = measure_frame(frame, VOXEL, {2: 1, 3: 1})
    assert found.families[1].betti == Betti(1, 0, 0)
    whole = mask_surface(frame[2:6, 5:15, 5:15] > 0, VOXEL).area_um2
    assert found.families[1].surface_um2 == pytest.approx(whole)
    assert whole < 0.9 * sum(cell.surface_um2 for cell in found.cells.values())


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", [0, -1])
def test_every_border_counts(axis, side):
    frame = np.zeros((9, 9, 9), np.uint8)
    frame[3:6, 3:6, 3:6] = 4
    assert not measure_frame(frame, VOXEL).cells[4].at_border
    np.moveaxis(frame, axis, 0)[side, 4, 4] = 4
    assert measure_frame(frame, VOXEL).cells[4].at_border


def test_background_has_no_cells():
    assert measure_frame(np.zeros((3, 4, 5), np.uint16), VOXEL) == FrameMeasures({}, {})


def measures(volume: float, *, at_border: bool = False) -> Measures:
    return Measures(volume, 10.0, Betti(1, 0, 0), (0.0, 0.0, 0.0), at_border)


def sequence(frames: list[dict[int, Measures]], lineage: Lineage | None) -> MeasuredSequence:
    source = MaskSequence(
        "set/01", len(frames), (4, 5, 6), VOXEL, 60.0, lambda t: np.zeros((4, 5, 6)), lineage
    )
    return MeasuredSequence(source, [FrameMeasures(cells, {}) for cells in frames])


def family() -> MeasuredSequence:
    frames = [
        {1: measures(8)},
        {1: measures(9), 7: measures(5)},
        {2: measures(3), 3: measures(4), 7: measures(5, at_border=True)},
        {2: measures(3.5), 3: measures(4.5), 7: measures(6)},
    ]
    return sequence(frames, LINEAGE)


def test_families_and_their_founders():
    assert families_of(family().source) == {1: 1, 2: 1, 3: 1, 7: 7}
    families = family().families()
    assert list(families) == [1, 7]
    assert [t.label for t in families[1].tracklets] == [1, 2, 3]
    broken = sequence([{}], Lineage((Tracklet(1, 0, 0, 5),)))
    with pytest.raises(InputError, match=r"set/01: lineage.*parent 5, which is not listed"):
        families_of(broken.source)


def test_courses_of_mothers_and_daughters():
    courses = set_courses([family()])
    np.testing.assert_array_equal(courses.sequences, [0, 0, 1])
    nan = np.nan
    volumes = courses.values[..., courses.names.index("volume_um3")]
    np.testing.assert_array_equal(volumes, [[8, 9, 3, 3.5], [8, 9, 4, 4.5], [nan, 5, nan, 6]])
    np.testing.assert_array_equal(
        courses.per_sequence()[..., 0], [[8, 9, 3.5, 4], [nan, 5, nan, 6]]
    )
    np.testing.assert_allclose(courses.sequence_means()[:, 0], [24.5 / 4, 5.5])


def test_sequences_of_other_lengths_are_padded():
    short = sequence([{5: measures(2)}], None)
    courses = set_courses([family(), short])
    assert courses.values.shape == (4, 4, 4)
    np.testing.assert_array_equal(courses.values[3, :, 0], [2, np.nan, np.nan, np.nan])
    assert courses.n_sequences == 3


def test_labels_that_nobody_lists_are_cells_of_their_own():
    frames = [{1: measures(8), 40: measures(1)}, {1: measures(9)}, {40: measures(2)}]
    listed = sequence(frames, Lineage((Tracklet(1, 0, 1), Tracklet(6, 0, 2))))
    assert listed.lineage().tracklets == (
        Tracklet(1, 0, 1), Tracklet(6, 0, 2), Tracklet(40, 0, 2)
    )  # fmt: skip
    # 6 is listed and never seen: no course.
    assert len(set_courses([listed]).values) == 2
    assert sequence(frames, None).lineage().tracklets == (Tracklet(1, 0, 1), Tracklet(40, 0, 2))


def test_a_family_as_one_body():
    one = family()
    one.frames[2].families[1] = measures(7.5)
    body = one.body(1, [1, 2, 3])
    assert [m.volume_um3 for m in body.values()] == [8, 9, 7.5, 3.5]
    assert list(one.body(7, [7])) == [1, 2, 3]
