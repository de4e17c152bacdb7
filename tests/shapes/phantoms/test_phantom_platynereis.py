"""Growing, deforming cells: published size, growth, one body, smooth in time, no symmetry."""

import itertools
import json
from pathlib import Path

import cc3d
import numpy as np
import pytest
from scipy.ndimage import binary_erosion

from cellsynth.errors import InputError, TopologyError
from cellsynth.evaluation.descriptors import describe
from cellsynth.formats.ctc import read_ctc
from cellsynth.geometry import Grid
from cellsynth.shapes.phantoms import KINDS, phantom_families, render_family, write_phantom
from cellsynth.shapes.phantoms.lobes import sphere_directions
from cellsynth.shapes.phantoms.platynereis import (
    FARTHEST_UM,
    MEAN_VOLUMES_UM3,
    VOXEL_UM,
    GrowingCell,
    cells,
)
from cellsynth.shapes.phantoms.warped import WarpedBody

FINE = (VOXEL_UM, VOXEL_UM, VOXEL_UM)
COARSE = (0.8, 0.8, 0.8)
TIMES_S = np.arange(30) * 90.0


@pytest.fixture(scope="module")
def population() -> list[GrowingCell]:
    return list(itertools.islice(cells(30, 0), 33))


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.count_nonzero(a & b) / (a.sum() + b.sum()))


def _normal_size(body: WarpedBody, volume_um3: float, turn: np.ndarray | None = None) -> np.ndarray:
    """The body, turned, on a lattice of 40³ that grows with it: shape alone."""
    half = 2.6 * (volume_um3 * 3 / 4 / np.pi) ** (1 / 3)
    lattice = np.linspace(-half, half, 40)
    grid = np.stack(np.meshgrid(lattice, lattice, lattice, indexing="ij"))
    turned = np.tensordot(np.eye(3) if turn is None else turn, grid, axes=1)
    return body.inside(list(turned))


def test_the_population_has_the_published_volumes(population: list[GrowingCell]) -> None:
    volumes = np.array([cell.volume_um3(TIMES_S) for cell in population])
    means = volumes.mean(axis=1)
    assert means == pytest.approx([cell.mean_volume_um3 for cell in population])
    least, greatest = MEAN_VOLUMES_UM3
    assert least <= means.min() < 1.03 * least
    assert 0.97 * greatest < means.max() <= greatest
    assert means.mean() == pytest.approx(3324.0, rel=0.04)
    voxels = volumes / VOXEL_UM**3
    assert voxels.mean() == pytest.approx(260_903, rel=0.04)
    assert voxels.std() == pytest.approx(186_188, rel=0.05)


def test_the_expected_volume_is_the_published_one() -> None:
    # Many cells of another seed, whose bodies need not be drawn.
    steps = (np.arange(2000)[:, None] + 0.5) / 2000 * np.ones(3)
    rng = np.random.default_rng(1)
    drawn = [GrowingCell(rng, place, 1).mean_volume_um3 for place in steps[::4]]
    assert np.mean(drawn) == pytest.approx(3324.0, rel=0.003)


def test_every_cell_grows(population: list[GrowingCell]) -> None:
    for cell in population:
        volumes = cell.volume_um3(TIMES_S)
        assert 3 < volumes[-1] / volumes[0] < 6.5
        # It breathes, but over ten minutes it always gains.
        assert (volumes[7:] > volumes[:-7]).all()
        later = cell.volume_um3(np.array([2e4, 4e4, 8e4]))
        assert (later < 2 * volumes[-1]).all()


def test_the_rendered_cells_have_these_volumes_and_the_stated_sphericity(
    population: list[GrowingCell],
) -> None:
    voxel_size_um = (0.6, 0.6, 0.6)
    found = []
    for index, cell in enumerate(population):
        frame = index * 29 // 32
        crop, _ = cell.render_crop(frame, cell.grid(voxel_size_um))
        found.append(describe(crop, voxel_size_um))
        expected = cell.volume_um3(TIMES_S[frame : frame + 1])[0]
        assert found[-1].volume_um3 == pytest.approx(expected, rel=0.015)
    sphericity = np.cbrt([d.sphericity for d in found])
    assert sphericity.mean() == pytest.approx(0.84, abs=0.02)
    assert 0.025 < sphericity.std() < 0.06
    assert 0.6 < sphericity.min() < sphericity.max() < 0.97


def test_omega_is_about_thirty_micrometres(population: list[GrowingCell]) -> None:
    farthest = [cell.farthest_um() for cell in population]
    assert max(farthest) <= FARTHEST_UM
    # As the store of shapes sets it: 256 voxels are 59.8 µm.
    assert 28 < 1.15 * max(farthest) < 30


def test_cells_are_long_bent_and_lobed(population: list[GrowingCell]) -> None:
    ratios, hidden = [], []
    for cell, time_s in itertools.product(population, (0.0, 900.0, 1800.0, 2610.0)):
        body = cell.body(time_s)
        lattice = np.linspace(-26, 26, 32)
        index = np.argwhere(body.inside(np.ix_(lattice, lattice, lattice)))
        spread = np.sqrt(np.linalg.eigvalsh(np.cov(index.T)))
        ratios.append(spread[2] / spread[0])
        # From the centre of a star-shaped body the whole surface is seen.
        shares = np.linspace(0.05, 0.97, 24)[:, None, None]
        rays = shares * body.surface_um(sphere_directions(400))
        hidden.append(1 - body.inside(list(np.moveaxis(rays, -1, 0))).all(axis=0).mean())
    assert max(ratios) > 2.5
    assert np.median(ratios) > 1.5
    assert max(hidden) > 0.05
    assert sum(share > 0 for share in hidden) >= 3


@pytest.mark.parametrize("voxel_size_um", [COARSE, (2.031, 0.406, 0.406)])
def test_one_body_with_its_centroid_in_the_middle(
    population: list[GrowingCell], voxel_size_um: tuple[float, float, float]
) -> None:
    for cell in population[::5]:
        grid = cell.grid(voxel_size_um)
        for frame in (0, 3, 11, 20, 29):
            labels = render_family(cell, frame, voxel_size_um)
            assert labels.dtype == np.uint16
            assert labels.shape == grid.shape
            assert set(np.unique(labels)) == {0, 1}
            assert cc3d.connected_components(labels, connectivity=26).max() == 1
            middle = np.argwhere(labels).mean(axis=0) * grid.spacing + grid.origin
            assert np.abs(middle).max() < 0.12 * max(voxel_size_um)
            for axis in range(3):
                assert not labels.take([0, -1], axis=axis).any()


def test_the_thinnest_part_is_several_voxels_wide(population: list[GrowingCell]) -> None:
    smallest = sorted(population, key=lambda cell: cell.mean_volume_um3)[:4]
    for cell in smallest:
        for frame in (0, 2, 5, 12):
            labels = render_family(cell, frame, FINE)
            # Six voxels thinner everywhere, it is still one piece.
            worn = binary_erosion(labels, np.ones((3, 3, 3)), iterations=3)
            assert cc3d.connected_components(worn, connectivity=26).max() == 1


def test_the_crop_is_all_there_is(population: list[GrowingCell]) -> None:
    cell, half_extent_um = population[5], 30.0
    grid = Grid.over_omega((60, 64, 68))
    axes = [
        half_extent_um * (o + np.arange(n) * s)
        for o, n, s in zip(grid.origin, grid.shape, grid.spacing, strict=True)
    ]
    for frame in (0, 14, 29):
        labels = render_family(cell, frame, grid, half_extent_um=half_extent_um)
        expected = cell.body(TIMES_S[frame]).inside(np.ix_(*axes))
        assert np.count_nonzero(labels != expected) <= 1  # float32 against float64


def test_shape_changes_smoothly_and_for_good(population: list[GrowingCell]) -> None:
    following, ends = [], []
    for cell in population[::11]:
        volumes = cell.volume_um3(TIMES_S)
        shapes = [_normal_size(cell.body(t), v) for t, v in zip(TIMES_S, volumes, strict=True)]
        following += [_dice(a, b) for a, b in itertools.pairwise(shapes)]
        ends.append(_dice(shapes[0], shapes[-1]))
        # A hundredth of the time, a hundredth of the way: the course has no jumps.
        near = _normal_size(cell.body(900.9), cell.volume_um3(np.array([900.9]))[0])
        assert _dice(shapes[10], near) > 0.995
    assert 0.85 < min(following) < max(following) < 0.985
    assert 0.91 < np.mean(following) < 0.96
    assert max(ends) < 0.88
    assert np.mean(ends) < 0.82


def test_no_turn_brings_a_cell_onto_itself(population: list[GrowingCell]) -> None:
    for cell in population[:6]:
        body, volume = cell.body(1350.0), cell.volume_um3(np.array([1350.0]))[0]
        shape = _normal_size(body, volume)
        _, axes = np.linalg.eigh(np.cov(np.argwhere(shape).T))
        # Half turns about the principal axes: what alignment by them leaves open.
        for k in range(3):
            half_turn = 2 * np.outer(axes[:, k], axes[:, k]) - np.eye(3)
            assert _dice(shape, _normal_size(body, volume, half_turn)) < 0.96


def test_a_cell_is_the_same_whatever_the_count_and_the_frames() -> None:
    few = phantom_families("platynereis", 2, frames=5, seed=3)
    more = phantom_families("platynereis", 4, frames=12, seed=3)
    other = phantom_families("platynereis", 2, frames=5, seed=4)
    grid = Grid((64, 64, 64), COARSE, (-25.2, -25.2, -25.2))
    assert [cell.n_frames for cell in few + more] == [5, 5, 12, 12, 12, 12]
    for i in (0, 1):
        for frame in (0, 4):
            labels = render_family(few[i], frame, grid)
            np.testing.assert_array_equal(labels, render_family(more[i], frame, grid))
            assert not np.array_equal(labels, render_family(other[i], frame, grid))


def test_a_set_on_disk(tmp_path: Path) -> None:
    options = {"count": 2, "frames": 3, "voxel_size_um": COARSE}
    out = write_phantom("platynereis", tmp_path / "a", **options)  # type: ignore[arg-type]
    again = write_phantom("platynereis", tmp_path / "b", **options)  # type: ignore[arg-type]
    files = [path.relative_to(out) for path in sorted(out.rglob("*")) if path.is_file()]
    assert [(out / f).read_bytes() for f in files] == [(again / f).read_bytes() for f in files]
    for sequence, cell in zip(read_ctc(out), cells(3, 0), strict=False):
        assert sequence.frame_interval_s == 90
        assert sequence.lineage is not None
        assert [(t.label, t.begin, t.end, t.parent) for t in sequence.lineage.tracklets] == [
            (1, 0, 2, 0)
        ]
        for frame in range(3):
            expected = render_family(cell, frame, COARSE)
            np.testing.assert_array_equal(sequence.frame(frame), expected)
    record = json.loads((out / "phantom.json").read_text())
    assert (record["kind"], record["frame_interval_s"]) == ("platynereis", 90)
    assert not {"lineage", "spread"} & record.keys()
    (first, _) = record["sequences"]
    assert first["name"] == "01"
    assert 586.5 <= first["mean_volume_um3"] <= 5719.9
    assert KINDS["platynereis"].voxel_um == VOXEL_UM


def test_what_is_no_option_of_a_kind_is_refused(tmp_path: Path) -> None:
    for option in ({"lineage": "table.csv"}, {"spread": 0}):
        (name,) = option
        message = f"{name} is an option of celegans, not of platynereis"
        with pytest.raises(InputError, match=message):
            phantom_families("platynereis", 1, **option)  # type: ignore[arg-type]
        with pytest.raises(InputError, match=message):
            write_phantom("platynereis", tmp_path / "out", **option)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="frames must be at least 1, got 0"):
        phantom_families("platynereis", 1, frames=0)
    with pytest.raises(InputError, match=r"unknown kind 'worm'; expected celegans or"):
        phantom_families("worm", 1)
    assert list(tmp_path.iterdir()) == []


def test_bad_frames_and_voxels_are_refused() -> None:
    (cell,) = phantom_families("platynereis", 1, frames=2)
    with pytest.raises(InputError, match="frame must be 0 to 1, got 2"):
        render_family(cell, 2, COARSE)
    with pytest.raises(InputError, match=r"voxel size must be above 0.*0\.0"):
        render_family(cell, 0, (0.0, 1.0, 1.0))
    with pytest.raises(TopologyError, match=r"frame 0: voxels of \(90, 90, 90\) µm show no cell"):
        render_family(cell, 0, (90.0, 90.0, 90.0))
