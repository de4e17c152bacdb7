"""Kinds of cells of different size: brought to one, each kind's own ratios kept."""

from __future__ import annotations

import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.shapes.cells import CellSequence, cut_cells
from cellsynth.shapes.mask_sequence import MaskSequence
from cellsynth.shapes.one_size import ONE_SIZE, bring_to_one_size
from cellsynth.shapes.pose import measure_pose
from cellsynth.shapes.store import build_store


def balls(name: str, radii: tuple[float, ...], voxel_um: float, interval: float) -> CellSequence:
    """A cell of one frame for each radius, in voxels."""
    zyx = np.indices((21, 21, 21)).transpose(1, 2, 3, 0) - 10.0
    frames = [(np.linalg.norm(zyx, axis=-1) < r).astype(np.uint8) for r in radii]
    size = (voxel_um,) * 3
    source = MaskSequence(name, len(radii), (21, 21, 21), size, interval, lambda t: frames[t])
    (cell,), _ = cut_cells([source])
    return cell


def reach(cell: CellSequence) -> float:
    return measure_pose(cell, "none").radius_um


def test_the_largest_of_each_kind_reach_equally_far():
    first = [balls("a", (4.0, 8.0), 0.5, 60.0), balls("b", (4.0, 6.0), 0.5, 60.0)]
    second = [balls("c", (3.0, 5.0), 2.0, 20.0), balls("d", (3.0, 9.0), 2.0, 20.0)]
    found = bring_to_one_size([first, second])
    assert [cell.name for cell in found] == [c.name for c in (*first, *second)]
    before = [reach(cell) for cell in (*first, *second)]
    after = [reach(cell) for cell in found]
    assert after[:2] == before[:2]
    assert max(after[2:]) == pytest.approx(max(before[:2]))
    assert after[2] / after[3] == pytest.approx(before[2] / before[3])
    assert {cell.source.frame_interval_s for cell in found} == {60.0}
    assert all(ONE_SIZE in cell.source.assumed for cell in found)


def test_a_store_takes_them_all(tmp_path):
    kinds = [[balls("a", (4.0, 8.0), 0.5, 60.0)], [balls("c", (3.0, 9.0), 2.0, 20.0)]]
    store = build_store(tmp_path / "s", bring_to_one_size(kinds))
    assert store.n_sequences == 2
    assert ONE_SIZE in store.assumed
    largest = [np.count_nonzero(store.mask(i, 1)) * np.prod(store.voxel_size_um(i)) for i in (0, 1)]
    assert largest[0] == pytest.approx(largest[1], rel=0.1)


def test_a_kind_of_single_voxels_has_no_size():
    kinds = [[balls("a", (4.0,), 0.5, 60.0)], [balls("marker", (0.5,), 0.5, 60.0)]]
    with pytest.raises(InputError, match=r"marker track 1 .*: one voxel in every frame"):
        bring_to_one_size(kinds)


def test_cells_of_one_source_go_on_sharing_it():
    a = balls("a", (4.0, 8.0), 0.5, 60.0)
    found = bring_to_one_size([[a, a], [a]])
    assert found[0].source is found[1].source
