"""Filopodial cells: growth, sway, size and roughness of the drawn population, one body."""

import itertools
import json
from pathlib import Path

import cc3d
import numpy as np
import pytest

from cellsynth.errors import InputError
from cellsynth.evaluation.descriptors import describe
from cellsynth.formats.ctc import read_ctc
from cellsynth.geometry import Grid, frame_times
from cellsynth.shapes.phantoms import phantom_families, render_family, write_phantom
from cellsynth.shapes.phantoms.a549 import FARTHEST_UM, VOXEL_UM, FilopodialCell, cells
from cellsynth.shapes.phantoms.a549_render import FOOT_UM
from cellsynth.shapes.phantoms.lobes import smooth_union

FINE = (VOXEL_UM, VOXEL_UM, VOXEL_UM)
COARSE = (0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def drawn() -> list[FilopodialCell]:
    return list(itertools.islice(cells(30, 0), 6))


def _pieces(labels: np.ndarray) -> int:
    return int(cc3d.connected_components(labels, connectivity=26).max())


def test_the_population_has_the_published_size_and_sphericity(
    drawn: list[FilopodialCell],
) -> None:
    # 33 cells of seed 0 measured so give 0.0216 ± 0.0036 and 294,900 ± 37,400 voxels.
    # Six cells differ from their population by 0.4 of its spread; the tolerances are twice that.
    found = [describe(cell.render_crop(29, cell.grid(FINE))[0], FINE) for cell in drawn]
    assert np.mean([d.sphericity for d in found]) == pytest.approx(0.021, abs=0.0032)
    assert 0.001 < np.std([d.sphericity for d in found]) < 0.007
    early = [describe(cell.render_crop(4, cell.grid(COARSE))[0], COARSE) for cell in drawn]
    voxels = np.array([d.volume_um3 for d in found + early]) / VOXEL_UM**3
    assert voxels.mean() == pytest.approx(294_265, abs=33_000)
    assert 15_000 < voxels.std() < 70_000
    # Drawn and measured volume agree, so that the spread of more cells than these is known.
    for cell, late in zip(drawn, found, strict=True):
        assert late.volume_um3 == pytest.approx(cell.volume_um3, rel=0.07)
    # Before filopodia there is a body, blebbing but round.
    assert min(d.sphericity for d in early) > 0.4


def test_five_to_fifteen_filopodia_branch_and_fill_omega(drawn: list[FilopodialCell]) -> None:
    for cell in drawn:
        record = cell.record()
        first = sum(shaft.parent < 0 for shaft in cell.shafts)
        assert record["filopodia"] == first
        assert 5 <= first <= 15
        assert len(cell.shafts) - first >= 20
        assert 300 < cell.length_um(1.0) < 650
        assert cell.length_um(-1.0) < 3
        assert cell.farthest_um() <= FARTHEST_UM
        # Not all tips end at the rim, but some come near it.
        assert cell.farthest_um() > 12.0
        for number, shaft in enumerate(cell.shafts):
            assert 0.2 <= shaft.tip_um <= 0.3
            assert shaft.tip_um <= shaft.base_um <= 0.6
            assert shaft.parent < number
            nodes, radii = shaft.grown(1.0)
            assert radii[-1] == pytest.approx(shaft.tip_um)
            assert np.all(np.diff(radii) <= 0)
            assert np.linalg.norm(np.diff(nodes, axis=0), axis=1).sum() == pytest.approx(
                shaft.length_um
            )


def test_shafts_only_grow_and_branches_sprout_behind_the_tip(drawn: list[FilopodialCell]) -> None:
    times = frame_times(30)
    for cell in drawn[:3]:
        for shaft in cell.shafts:
            lengths = [shaft.length_at(float(t)) for t in times]
            assert np.all(np.diff(lengths) >= 0)
            assert np.diff(lengths).max() < 1.9  # µm in a frame of 20 s
            assert shaft.length_at(shaft.time_of(0.6 * shaft.length_um)) == pytest.approx(
                0.6 * shaft.length_um
            )
            for a, b in itertools.pairwise(times):
                before, radii = shaft.grown(float(a))
                after, wider = shaft.grown(float(b))
                kept = len(before) - 1  # all but the tip, which is no node
                if kept > 0:
                    np.testing.assert_array_equal(before[:kept], after[:kept])
                    assert np.all(wider[:kept] >= radii[:kept])
            if shaft.parent >= 0:
                parent = cell.shafts[shaft.parent]
                root = np.linalg.norm(parent.nodes - shaft.nodes[0], axis=1)
                assert root.min() == 0
                passed = parent.time_of(float(root.argmin()) * 0.5)
                assert shaft.begin > passed


def test_a_frame_holds_the_filopodia_of_the_frame_before(drawn: list[FilopodialCell]) -> None:
    cell = drawn[0]
    inside, moved = [], []
    for a, b in itertools.pairwise(frame_times(30)[9:]):
        before, after = cell.shape(float(a)), cell.shape(float(b))
        later = np.concatenate([nodes for nodes, _ in after.paths])
        wide = np.concatenate([radii for _, radii in after.paths])
        for nodes, _ in before.paths:
            gaps = np.linalg.norm(nodes[:, None] - later[None], axis=2)
            inside.append((gaps < wide).any(axis=1))
        for shaft in cell.shafts:
            nodes, _ = shaft.grown(float(a))
            step = cell.sway.move(nodes, float(b)) - cell.sway.move(nodes, float(a))
            moved.append(np.linalg.norm(step, axis=1))
    # The centre lines of a frame lie within the shafts of the next; all of them sway slowly.
    assert np.concatenate(inside).mean() > 0.97
    assert np.concatenate(moved).max() < 0.3
    # Swaying keeps branches on their parents.
    for t in (-0.2, 0.5, 1.0):
        for shaft in cell.shafts:
            if shaft.parent >= 0 and shaft.length_at(t) > 0:
                root = cell.sway.move(shaft.nodes[:1], t)
                parent = cell.sway.move(cell.shafts[shaft.parent].grown(t)[0], t)
                assert np.linalg.norm(parent - root, axis=1).min() < 1e-9


def test_a_frame_is_as_the_plain_formula_but_for_centre_lines(
    drawn: list[FilopodialCell],
) -> None:
    cell, frame = drawn[2], 14
    grid = cell.grid((0.4, 0.4, 0.4))
    labels = render_family(cell, frame, grid) > 0
    shape = cell.shape(float(frame_times(30)[frame]))
    z, y, x = (
        o + np.arange(n) * 0.4 + c
        for o, n, c in zip(grid.origin, grid.shape, shape.centroid_um, strict=True)
    )
    points = np.stack(np.meshgrid(z, y, x, indexing="ij"), axis=-1)
    thin, near = (np.full(labels.shape, np.inf) for _ in range(2))
    for nodes, radii in shape.paths:
        for (a, b), (ra, rb) in zip(
            itertools.pairwise(nodes), itertools.pairwise(radii), strict=True
        ):
            share = np.clip((points - a) @ (b - a) / ((b - a) @ (b - a)), 0, 1)
            distance = np.linalg.norm(points - a - share[..., None] * (b - a), axis=-1)
            np.minimum(near, distance, out=near)
            np.minimum(thin, distance - ra - (rb - ra) * share, out=thin)
    body = shape.body.field(shape.t, shape.radius_um, (z, y, x))
    plain = smooth_union(body.astype(np.float64), thin, FOOT_UM) < 0
    assert np.count_nonzero(plain & ~labels) <= 2  # float32 against float64
    mended = labels & ~plain
    # A voxel's centre is at most half its diagonal from a line that passes through it.
    assert near[mended].max() < 0.2 * np.sqrt(3) + 1e-6
    assert 0 < np.count_nonzero(mended) < 0.1 * np.count_nonzero(plain)


@pytest.mark.parametrize("voxel_size_um", [FINE, COARSE, (0.5, 0.2, 0.3), (1.5, 1.5, 1.5)])
def test_one_body_at_any_voxel_size(
    drawn: list[FilopodialCell], voxel_size_um: tuple[float, float, float]
) -> None:
    for cell in drawn[:2]:
        grid = cell.grid(voxel_size_um)
        for frame in (0, 12, 20, 29):
            labels = render_family(cell, frame, grid)
            assert labels.dtype == np.uint16
            assert set(np.unique(labels)) == {0, 1}
            assert _pieces(labels) == 1
            assert not any(labels.take([0, -1], axis=axis).any() for axis in range(3))


def test_the_centre_is_the_centroid_and_a_grid_of_omega_the_same_voxels(
    drawn: list[FilopodialCell],
) -> None:
    cell = drawn[1]
    for frame in (3, 29):
        grid = cell.grid(FINE)
        crop, offset = cell.render_crop(frame, grid)
        centroid = (np.argwhere(crop).mean(axis=0) + offset) * VOXEL_UM + grid.origin
        np.testing.assert_allclose(centroid, 0, atol=0.15)
        omega = Grid.from_voxel_size(FINE, 16.0)
        assert omega.shape == (256, 256, 256)
        other, _ = cell.render_crop(frame, omega, half_extent_um=16.0)
        assert np.count_nonzero(other) == np.count_nonzero(crop)


def test_a_cell_depends_on_seed_and_number_only(drawn: list[FilopodialCell]) -> None:
    (again, *_, other) = itertools.islice(cells(30, 0), 2)
    np.testing.assert_array_equal(
        again.render_crop(20, again.grid(COARSE))[0],
        drawn[0].render_crop(20, drawn[0].grid(COARSE))[0],
    )
    assert other.record() == drawn[1].record()
    assert other.record() != again.record()
    (seeded,) = phantom_families("a549", 1, frames=30, seed=1)
    assert seeded.record() != again.record()
    # The course is continuous: 59 frames are the 30 and those between.
    (finer,) = itertools.islice(cells(59, 0), 1)
    for frame in (0, 14, 29):
        np.testing.assert_array_equal(
            finer.render_crop(2 * frame, again.grid(COARSE))[0],
            again.render_crop(frame, again.grid(COARSE))[0],
        )


def test_a_set_is_read_back_as_rendered(tmp_path: Path) -> None:
    out = write_phantom("a549", tmp_path / "set", count=1, frames=3, voxel_size_um=COARSE)
    (cell,) = phantom_families("a549", 1, frames=3)
    (sequence,) = read_ctc(out)
    assert sequence.frame_interval_s == 20
    assert sequence.lineage is not None
    assert [(t.label, t.begin, t.end) for t in sequence.lineage.tracklets] == [(1, 0, 2)]
    np.testing.assert_array_equal(sequence.frame(2), render_family(cell, 2, COARSE))
    record = json.loads((out / "phantom.json").read_text())
    assert record["kind"] == "a549"
    assert record["sequences"] == [{"name": "01", **cell.record()}]


def test_bad_numbers_are_refused(drawn: list[FilopodialCell]) -> None:
    with pytest.raises(InputError, match="frame must be 0 to 29, got 30"):
        drawn[0].render_crop(30, drawn[0].grid(COARSE))
    with pytest.raises(InputError, match=r"voxel size must be above 0.*-1"):
        drawn[0].grid((1.0, -1.0, 1.0))
    with pytest.raises(InputError, match="spread is an option of celegans, not of a549"):
        phantom_families("a549", 1, spread=3)
    with pytest.raises(InputError, match="frames must be at least 1, got 0"):
        phantom_families("a549", 1, frames=0)
