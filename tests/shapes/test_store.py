import errno
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import zarr

from cellsynth.errors import FormatError, InputError, InUseError, MissingError, StorageError
from cellsynth.geometry import rotation_angle
from cellsynth.shapes import store as store_module
from cellsynth.shapes.cell_mask import CellMask
from cellsynth.shapes.cells import CellSequence
from cellsynth.shapes.distance import signed_distance
from cellsynth.shapes.store import ShapeStore, build_store

VOXEL_UM = (1.0, 0.5, 0.25)


@dataclass
class Source:
    name: str = "01"
    shape: tuple = (40, 90, 180)
    voxel_size_um: tuple = VOXEL_UM
    frame_interval_s: float = 60.0
    n_frames: int = 3
    assumed: tuple = field(default=())
    lineage: None = None


def egg(shape, centre_um, voxel_size_um, rotation=None):
    """An egg of half axes 12, 7, 5 µm along x, y, z, with a bump at +x and one at +y."""
    zyx_um = np.indices(shape).transpose(1, 2, 3, 0) * np.array(voxel_size_um) - centre_um
    xyz = zyx_um[..., ::-1] @ (np.eye(3) if rotation is None else rotation)
    body = (xyz / (12, 7, 5)) ** 2
    bump = ((xyz - (9, 0, 0)) ** 2).sum(-1) < 5.5**2
    side = ((xyz - (0, 5, 0)) ** 2).sum(-1) < 4.5**2
    return (body.sum(-1) < 1) | bump | side


def cut(masks, source, name="01 track 1"):
    pieces = []
    for mask in masks:
        at = [(int(i.min()), int(i.max()) + 1) for i in np.nonzero(mask)]
        box = tuple(slice(*a) for a in at)
        pieces.append(CellMask.of(mask[box], tuple(a[0] for a in at)))
    n = len(masks)
    return CellSequence(name, source, tuple(range(n)), (frozenset({1}),) * n, tuple(pieces))


def turn(degrees):
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    return about_z @ about_x


def moving_egg(rotation=None, source=None):
    source = source or Source()
    centres = [(20, 22, 20), (20.4, 23.3, 22), (19.2, 21.1, 24)]
    return [egg(source.shape, c, source.voxel_size_um, rotation) for c in centres]


@pytest.fixture(scope="module")
def masks():
    return moving_egg(turn(30))


def test_round_trip(tmp_path, masks):
    source = Source(assumed=("frame interval",))
    seen = []
    built = build_store(
        tmp_path / "a", [cut(masks, source)], on_progress=lambda *step: seen.append(step)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    found = ShapeStore.open(tmp_path / "a")
    assert (found.n_sequences, found.n_frames, found.truncation) == (1, 3, 0.2)
    assert (found.frame_interval_s, found.orientation) == (60.0, "sequence")
    assert found.assumed == ("frame interval",)
    assert found.sources == ("01",)
    assert found.name(0) == "01 track 1"
    assert found.half_extent_um == built.half_extent_um
    whole = [signed_distance(m, VOXEL_UM) / found.half_extent_um for m in masks]
    for t, mask in enumerate(masks):
        sdf = found.sdf(0, t)
        assert sdf.dtype == np.float16
        assert np.abs(sdf).max() <= 0.2
        grid, _ = found.grid(0, t)
        assert grid.shape == sdf.shape
        np.testing.assert_allclose(grid.spacing, np.array(VOXEL_UM) / found.half_extent_um)
        # Where the crop lies in the frame follows from the cell's centroid.
        centroid = np.array([i.mean() for i in np.nonzero(mask)])
        offset = np.array(grid.origin) / grid.spacing + centroid
        np.testing.assert_allclose(offset, np.round(offset), atol=1e-6)
        crop = inside_frame(np.round(offset).astype(int), sdf.shape, mask.shape)
        np.testing.assert_array_equal(found.mask(0, t)[crop[0]], mask[crop[1]])
        assert found.mask(0, t).sum() == mask.sum()
        expected = np.clip(whole[t][crop[1]], -0.2, 0.2)
        np.testing.assert_allclose(sdf[crop[0]], expected, atol=1e-4)
        # Everything outside the crop is beyond the truncation.
        outside = whole[t].copy()
        outside[crop[1]] = np.inf
        assert outside.min() > 0.2


def inside_frame(offset, crop_shape, frame_shape):
    """Slices of the crop and of the frame where the two overlap."""
    low = np.maximum(0, -offset)
    high = np.minimum(crop_shape, np.array(frame_shape) - offset)
    crop = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    frame = tuple(slice(a, b) for a, b in zip(low + offset, high + offset, strict=True))
    return crop, frame


def test_default_half_extent_holds_every_cell(tmp_path, masks):
    found = build_store(tmp_path / "a", [cut(masks, Source())])
    farthest_um = 0.0
    for t in range(3):
        grid, _ = found.grid(0, t)
        points = grid.voxel_to_coords(np.argwhere(found.mask(0, t)))
        np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)
        farthest_um = max(farthest_um, np.linalg.norm(points, axis=1).max() * found.half_extent_um)
    assert farthest_um * 1.15 <= found.half_extent_um < farthest_um * 1.15 + 1
    assert found.half_extent_um == round(found.half_extent_um)


@pytest.mark.parametrize("orientation", ["sequence", "frame"])
def test_alignment_undoes_a_turn(tmp_path, orientation):
    """The same egg turned anywhere gives the same aligned cell."""
    aligned = []
    for i, degrees in enumerate((0, 30, 75, 200)):
        cell = cut(moving_egg(turn(degrees)), Source())
        found = build_store(tmp_path / str(i), [cell], orientation=orientation, half_extent_um=18.0)
        alignments = np.array([found.grid(0, t)[1] for t in range(3)])
        np.testing.assert_allclose(np.linalg.det(alignments), 1)
        aligned.append(turn(degrees).T @ alignments[0])
        assert max(rotation_angle(a, alignments[0]) for a in alignments) < 3
    for rotation in aligned[1:]:
        assert rotation_angle(rotation, aligned[0]) < 3
    # Longest axis first, and the heavier end to the positive side.
    assert rotation_angle(aligned[0], np.eye(3)) < 20


def test_alignment_points_into_the_aligned_frame(tmp_path):
    found = build_store(tmp_path / "a", [cut(moving_egg(turn(75)), Source())])
    grid, alignment = found.grid(0, 1)
    points = grid.voxel_to_coords(np.argwhere(found.mask(0, 1))) @ alignment  # alignmentᵀ · p
    spread = points.std(axis=0)
    assert spread[0] > spread[1] > spread[2]
    assert (points[:, :2] ** 3).mean(axis=0).min() > 0


def test_orientation_none(tmp_path, masks):
    found = build_store(tmp_path / "a", [cut(masks, Source())], orientation="none")
    np.testing.assert_array_equal(found.grid(0, 2)[1], np.eye(3))


def test_frame_signs_are_continuous(tmp_path):
    """A cell that turns by 20° a frame: its axes follow without a flip."""
    source = Source(shape=(50, 100, 200))
    masks = [egg(source.shape, (25, 25, 25), VOXEL_UM, turn(20 * t)) for t in range(9)]
    found = build_store(tmp_path / "a", [cut(masks, source)], orientation="frame")
    turns = [rotation_angle(found.grid(0, t)[1], found.grid(0, t + 1)[1]) for t in range(8)]
    assert 10 < min(turns) < max(turns) < 30


def test_voxel_sizes_may_differ(tmp_path):
    fine = Source("02", (40, 80, 80), (1.0, 0.6, 0.6))
    cells = [cut(moving_egg(), Source()), cut(moving_egg(source=fine), fine, "02 track 1")]
    found = build_store(tmp_path / "a", cells, truncation=0.1)
    assert found.voxel_size_um(0) == VOXEL_UM
    assert found.voxel_size_um(1) == (1.0, 0.6, 0.6)
    volumes = [found.mask(i, 0).sum() * np.prod(found.voxel_size_um(i)) for i in range(2)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)
    assert found.sources == ("01", "02")


def test_cell_at_the_corner_of_the_frame(tmp_path):
    """The crop may reach beyond the frame; there it is background."""
    mask = np.zeros((6, 6, 6), dtype=bool)
    mask[1:3, 1:3, 1:3] = True
    source = Source(shape=(6, 6, 6), voxel_size_um=(1.0, 1.0, 1.0))
    found = build_store(tmp_path / "a", [cut([mask], source)], truncation=1.5)
    assert found.mask(0, 0).sum() == 8
    assert found.sdf(0, 0).max() == np.float16(1.5)


@pytest.mark.parametrize("options", [{}, {"half_extent_um": 4.0}])
def test_cells_of_one_voxel_are_no_shapes(tmp_path, options):
    point = np.zeros((5, 5, 5), dtype=bool)
    point[2, 2, 2] = True
    with pytest.raises(InputError, match=r"marker: one voxel in every frame, .* pass --kind ST"):
        build_store(tmp_path / "a", [cut([point] * 3, Source(), "marker")], **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"orientation": "up"}, "one of sequence, none, frame, got up"),
        ({"truncation": 0.0}, "truncation must be above 0 .* got 0.0"),
        ({"half_extent_um": -1.0}, "half_extent_um must be above 0, got -1"),
        ({"half_extent_um": 9.0}, r"01 track 1: reaches 1\d\.\d+ µm .* half_extent_um 9; pass"),
    ],
)
def test_bad_options(tmp_path, masks, options, message):
    with pytest.raises(InputError, match=message):
        build_store(tmp_path / "a", [cut(masks, Source())], **options)
    assert not list(tmp_path.iterdir())


def test_cells_must_agree(tmp_path, masks):
    first = cut(masks, Source())
    with pytest.raises(InputError, match="no cells given"):
        build_store(tmp_path / "a", [])
    with pytest.raises(InputError, match="b: 2 frames, but 01 track 1 has 3"):
        build_store(tmp_path / "a", [first, cut(masks[:2], Source(), "b")])
    with pytest.raises(InputError, match="b: 90 s between frames, but 01 track 1 has 60 s"):
        build_store(tmp_path / "a", [first, cut(masks, Source(frame_interval_s=90.0), "b")])
    assert not list(tmp_path.iterdir())


def test_existing_folder_is_refused(tmp_path, masks):
    (tmp_path / "a").mkdir()
    with pytest.raises(InUseError, match="a exists already"):
        build_store(tmp_path / "a", [cut(masks, Source())])
    assert not list((tmp_path / "a").iterdir())


def test_full_disk_leaves_nothing(tmp_path, masks, monkeypatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_module, "signed_distance", full)
    with pytest.raises(StorageError, match="a could not be written: no space left on device"):
        build_store(tmp_path / "a", [cut(masks, Source())])
    assert not list(tmp_path.iterdir())


def test_leftover_of_a_killed_run_is_replaced(tmp_path, masks):
    (tmp_path / ".a.partial" / "0007").mkdir(parents=True)
    found = build_store(tmp_path / "a", [cut(masks, Source())])
    assert found.n_sequences == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_open_refuses_what_is_not_a_store(tmp_path, masks):
    with pytest.raises(MissingError, match="none: no such shape store"):
        ShapeStore.open(tmp_path / "none")
    with pytest.raises(FormatError, match="not a Zarr group"):
        ShapeStore.open(tmp_path)
    zarr.open_group(str(tmp_path / "other"), mode="w", zarr_format=3)
    with pytest.raises(FormatError, match="format None version None"):
        ShapeStore.open(tmp_path / "other")
    build_store(tmp_path / "a", [cut(masks, Source())])
    at = tmp_path / "a" / "zarr.json"
    text = json.loads(at.read_text())
    text["attributes"]["version"] = 2
    at.write_text(json.dumps(text))
    with pytest.raises(FormatError, match="version 2, expected cellsynth-shapes version 1"):
        ShapeStore.open(tmp_path / "a")
