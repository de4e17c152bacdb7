"""Pairs from CTC folders: what is found, cropped, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from pairs_data import SIDE, counts_of, discs, write_bright_pairs, write_pairs

from cellsynth.errors import FormatError, InputError, MissingError
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.manifest import FORMAT, write_manifest
from cellsynth.texture import pairs
from cellsynth.texture.pairs import ConditionSettings, PairStore, build_store, open_pairs

SETTINGS = ConditionSettings(reach_um=4.0, grain_um=3.0, grain_octaves=2, seed=5)
MEASURING = ConditionSettings(
    reach_um=4.0,
    grain_um=3.0,
    grain_octaves=2,
    seed=5,
    measured=("brightness", "background"),
    required=True,
)
VOXEL = (2.0, 1.0, 1.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def test_flat_pairs(data: Path, tmp_path: Path) -> None:
    source = open_pairs(data, voxel_size_um=VOXEL)
    assert (source.mode, source.n_frames, source.voxel_size_um) == ("mip", 3, (1.0, 1.0))
    assert (source.pixel_size_um, source.depth_um, source.dtype) == (1.0, None, np.uint16)
    assert 13.5 < source.cell_size_um() < 15.5
    told: list[tuple[int, int]] = []
    store = build_store(tmp_path / "s", source, SETTINGS, on_progress=lambda *x: told.append(x))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert [(p.sequence, p.frame, p.z, p.shape) for p in store.pairs] == [
        ("01", t, -1, (SIDE, SIDE)) for t in range(3)
    ]
    assert [len(p.cells) for p in store.pairs] == [2, 2, 2]
    crop = store.draw(np.random.default_rng(0), SIDE, 0.5)
    assert crop.conditions.shape == (4, SIDE, SIDE)
    # Whatever the turn, the bright pixels are those of the mask.
    assert crop.conditions.dtype == np.float32
    np.testing.assert_array_equal(crop.image > 90, crop.conditions[0] == 1)


def test_crops_are_turned_together_and_lie_around_cells(data: Path, tmp_path: Path) -> None:
    store = build_store(tmp_path / "s", open_pairs(data, voxel_size_um=VOXEL), SETTINGS)
    rng = np.random.default_rng(1)
    crops = [store.draw(rng, 16, 1.0) for _ in range(40)]
    assert all(crop.conditions[0].any() for crop in crops)
    for crop in crops:
        np.testing.assert_array_equal(crop.image > 90, crop.conditions[0] == 1)
    again = store.draw(np.random.default_rng(7), 16, 0.5)
    same = store.draw(np.random.default_rng(7), 16, 0.5)
    np.testing.assert_array_equal(again.image, same.image)


def test_3d_frames_as_projections_and_as_slices(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", frames=2, depth=5)
    flat = open_pairs(root, voxel_size_um=VOXEL)
    store = build_store(tmp_path / "flat", flat, SETTINGS)
    assert [pair.z for pair in store.pairs] == [-1, -1]
    assert flat.depth_um == 2.0
    image = np.load(tmp_path / "flat" / "000000-image.npy")
    stack = tifffile.imread(root / "01" / "t000.tif")
    np.testing.assert_array_equal(image, stack.max(axis=0))
    # Voxels are 2 µm high: of planes 4 µm apart, every second one.
    optics = {"engine": "optics", "profile": {"optics": {"z_step_um": 4.0}}}
    write_manifest(root, {"format": FORMAT, "sequences": {}, "texture": optics})
    sparse = open_pairs(root, voxel_size_um=VOXEL)
    assert sparse.every == 2
    build_store(tmp_path / "sparse", sparse, SETTINGS)
    image = np.load(tmp_path / "sparse" / "000000-image.npy")
    np.testing.assert_array_equal(image, stack[::2].max(axis=0))
    assert (image != stack.max(axis=0)).any()
    slices = build_store(
        tmp_path / "slices", open_pairs(root, mode="3d", voxel_size_um=VOXEL), SETTINGS
    )
    assert [(pair.frame, pair.z) for pair in slices.pairs] == [
        (t, z) for t in (0, 1) for z in range(5)
    ]
    seen = np.load(tmp_path / "slices" / "000001-conditions.npy")
    assert seen.shape == (12, SIDE, SIDE)
    # Of the first slice with cells the one below shows none, the one above the same.
    assert not seen[0].any()
    np.testing.assert_array_equal(seen[4], seen[8])
    assert seen[4].any()


@pytest.mark.parametrize("depth", [None, 5])
def test_the_range_holds_the_brightest_of_few_cells(tmp_path: Path, depth: int | None) -> None:
    root = write_pairs(tmp_path / "data", frames=1, depth=depth)
    labels = np.zeros((*(depth,) * bool(depth), 300, 300), np.uint16)
    labels[..., 9:11, 9:12] = 1
    counts = (100 + 1900 * labels + np.arange(300) % 7).astype(np.uint16)
    for path, array in (("01_GT/TRA/man_track000", labels), ("01/t000", counts)):
        tifffile.imwrite(root / f"{path}.tif", array, photometric="minisblack")
    source = open_pairs(root, mode="3d" if depth else "mip", voxel_size_um=VOXEL)
    store = build_store(tmp_path / "s", source, SETTINGS)
    assert 2000 < store.histogram().intensities().high < 2100


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_brightness_and_background_are_painted_where_they_are(tmp_path: Path, mode: str) -> None:
    root = write_bright_pairs(tmp_path / "data", depth=5)
    source = open_pairs(root, mode=mode, voxel_size_um=VOXEL)  # type: ignore[arg-type]
    told: list[tuple[int, int]] = []
    store = build_store(
        tmp_path / "s", source, MEASURING, on_progress=lambda *now: told.append(now)
    )
    assert told == [(n, 18) for n in range(1, 19)]
    assert store.conditions == ("mask", "boundary", "distance", "grain", "brightness", "background")
    light, haze = store.described.brightness, store.described.background
    assert light is not None
    assert haze is not None
    for i, pair in enumerate(store.pairs):
        seen = np.load(tmp_path / "s" / f"{i:06d}-conditions.npy").astype(np.float32)
        seen = seen if mode == "mip" else seen[6:12]  # the slice itself, between its neighbours
        labels = discs(pair.frame) * (mode == "mip" or 0 < pair.z < 4)
        assert (seen[4][labels == 0] == 0).all()
        for label in np.unique(labels[labels > 0]):
            counts = np.exp(seen[4][labels == label] * light.deviation + light.mean)
            assert np.ptp(counts) == 0
            # On the darker side of the frame a cell is less above the median of what is outside.
            side = np.broadcast_to(5.0 * np.arange(SIDE), labels.shape)
            wanted = 100 * int(pair.sequence) / label
            wanted += side[labels == label].mean() - np.median(side[labels == 0])
            assert counts[0] == pytest.approx(wanted, abs=8)
        counts = seen[5] * haze.deviation + haze.mean
        assert 1010 < counts[:, 4].mean() < 1060
        assert 1180 < counts[:, -5].mean() < 1230
    again = build_store(tmp_path / "s", source, MEASURING)
    assert again.described == store.described
    with pytest.raises(InputError, match="had another measured"):
        build_store(tmp_path / "s", source, SETTINGS)


def test_the_same_store_is_found_again_and_another_refused(data: Path, tmp_path: Path) -> None:
    source = open_pairs(data, voxel_size_um=VOXEL)
    build_store(tmp_path / "s", source, SETTINGS)
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").iterdir()}
    build_store(tmp_path / "s", source, SETTINGS)
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "s").iterdir()} == before
    with pytest.raises(InputError, match="had another reach_um"):
        build_store(
            tmp_path / "s",
            source,
            ConditionSettings(reach_um=3.0, grain_um=3.0, grain_octaves=2, seed=5),
        )
    assert len(PairStore(tmp_path / "s").pairs) == 3


def single_frames(root: Path, depth: int | None, numbers: dict[str, list[int]]) -> Path:
    """Sequences whose SEG holds masks of some frames only."""
    for name, frames in numbers.items():
        whole = write_pairs(root / name, frames=max(frames) + 1, depth=depth)
        (root / f"{name}_GT" / "SEG").mkdir(parents=True)
        (root / name / "01").rename(root / name / "images")
        for t in frames:
            mask = whole / "01_GT" / "TRA" / f"man_track{t:03d}.tif"
            mask.rename(root / f"{name}_GT" / "SEG" / f"man_seg{t:03d}.tif")
            (root / name / "images" / f"t{t:03d}.tif").rename(root / name / f"t{t:03d}.tif")
    return root


@pytest.mark.parametrize("depth", [None, 5])
@pytest.mark.parametrize(
    "numbers", [{f"{n:02d}": [0] for n in range(1, 13)}, {"01": [1, 3, 5, 7, 9, 11]}]
)
def test_where_all_pairs_are_too_many_a_share_of_them_is_kept(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    depth: int | None,
    numbers: dict[str, list[int]],
) -> None:
    source = open_pairs(
        single_frames(tmp_path / "data", depth, numbers),
        mode="3d" if depth else "mip",
        voxel_size_um=VOXEL,
    )
    one = SIDE**2 * (2 * 4 * (3 if depth else 1) + 2)
    there = source.n_frames * (depth or 1)
    monkeypatch.setattr(pairs, "STORE_BYTES", there // 2 * one)
    store = build_store(tmp_path / "s", source, SETTINGS)
    assert len(store.pairs) == there // 2
    assert len({pair.z for pair in store.pairs}) == (depth or 1)


def test_only_the_first_frames(data: Path) -> None:
    assert open_pairs(data, n_frames=2, voxel_size_um=VOXEL).n_frames == 2
    (data / "01" / "t002.tif").unlink()
    assert open_pairs(data, n_frames=2, voxel_size_um=VOXEL).n_frames == 2


def refused(data: Path, error: type[Exception], match: str, **options: object) -> None:
    with pytest.raises(error, match=match) as info:
        open_pairs(data, **{"voxel_size_um": VOXEL, **options})  # type: ignore[arg-type]
    assert "\n" not in str(info.value)


def test_masks_without_images(data: Path) -> None:
    (data / "01" / "t001.tif").unlink()
    refused(data, MissingError, r"man_track001\.tif has no image; expected .*t001\.tif")
    for path in (data / "01").iterdir():
        path.unlink()
    (data / "01").rmdir()
    refused(data, MissingError, "TRA holds masks without images; expected .*01 with files as t000")


def test_images_without_masks(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t003.tif", counts_of(discs(3), 3))
    refused(data, MissingError, r"t003\.tif has no mask; expected one in .*TRA")
    (data / "01" / "t003.tif").unlink()
    (data / "02").mkdir()
    tifffile.imwrite(data / "02" / "t000.tif", counts_of(discs(0), 0))
    refused(data, MissingError, "02 holds images without masks; expected 02_GT/TRA beside it")


def test_no_masks_at_all(tmp_path: Path) -> None:
    (tmp_path / "01").mkdir()
    tifffile.imwrite(tmp_path / "01" / "t000.tif", counts_of(discs(0), 0))
    refused(tmp_path, MissingError, "holds no masks; expected 01_GT/TRA")


def test_sizes_that_differ(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t001.tif", np.zeros((SIDE, SIDE + 1), np.uint16))
    refused(data, FormatError, r"t001\.tif has shape \(48, 49\), its mask \(48, 48\)")


@pytest.mark.parametrize("dtype", ["int32", "uint32", "float32"])
def test_wrong_bit_depth(data: Path, dtype: str) -> None:
    tifffile.imwrite(data / "01" / "t001.tif", counts_of(discs(1), 1).astype(dtype))
    refused(data, FormatError, rf"t001\.tif holds {dtype}; expected .* uint8 or uint16")


def test_mixed_bit_depths(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t001.tif", counts_of(discs(1), 1, "uint8"))
    refused(data, FormatError, r"t001\.tif holds uint8, the first image uint16")


def test_nan(data: Path) -> None:
    image = counts_of(discs(1), 1).astype(np.float32)
    image[3, 4:6] = np.nan
    tifffile.imwrite(data / "01" / "t001.tif", image)
    refused(data, FormatError, r"t001\.tif holds float32, 2 of them NaN or infinite")


def test_colour(data: Path) -> None:
    tifffile.imwrite(
        data / "01" / "t000.tif", np.zeros((SIDE, SIDE, 3), np.uint8), photometric="rgb"
    )
    refused(data, FormatError, r"t000\.tif is a colour image")


def test_a_voxel_size_must_come_from_somewhere(data: Path) -> None:
    refused(data, InputError, "no file tells the size of a voxel", voxel_size_um=None)


def test_sequences_have_one_voxel_size(tmp_path: Path) -> None:
    def written(*sizes: float) -> Path:
        root = tmp_path / "-".join(map(str, sizes))
        for n, size in enumerate(sizes, start=1):
            masks, images = root / f"{n:02d}_GT" / "TRA", root / f"{n:02d}"
            masks.mkdir(parents=True)
            images.mkdir()
            tifffile.imwrite(masks / "man_track000.tif", discs(0), photometric="minisblack")
            (masks / "man_track.txt").write_text("1 0 0 0\n2 0 0 0\n")
            write_image(images / "t000.tif", counts_of(discs(0), n), voxel_size_um=(size, size))
        return root

    assert open_pairs(written(0.5, 0.501)).voxel_size_um == pytest.approx((0.5, 0.5))
    two = written(0.5, 0.5, 0.1)
    match = r"03/t000\.tif has voxels of 1 × 0\.1 × 0\.1 µm, .*01/t000\.tif of 1 × 0\.5 × 0\.5; "
    refused(two, InputError, match, voxel_size_um=None)
    assert open_pairs(two, voxel_size_um=VOXEL).voxel_size_um == (1.0, 1.0)


def test_slices_of_flat_frames(data: Path) -> None:
    refused(data, InputError, r"images are flat, of shape \(48, 48\); --mode 3d needs z", mode="3d")


def test_a_constant_image(data: Path, tmp_path: Path) -> None:
    tifffile.imwrite(data / "01" / "t001.tif", np.full((SIDE, SIDE), 9, np.uint16))
    store = build_store(tmp_path / "s", open_pairs(data, voxel_size_um=VOXEL), SETTINGS)
    with pytest.raises(InputError, match=r"01/t001\.tif is constant at 9"):
        store.histogram()


def test_no_cells(data: Path) -> None:
    for t in range(3):
        mask = data / "01_GT" / "TRA" / f"man_track{t:03d}.tif"
        tifffile.imwrite(mask, np.zeros((SIDE, SIDE), np.uint16))
    with pytest.raises(InputError, match="no mask shows a cell"):
        open_pairs(data, voxel_size_um=VOXEL).cell_size_um()


def retyped(data: Path, dtype: str, label: int = 1) -> None:
    """All cells under one label, of another type."""
    for path in (data / "01_GT" / "TRA").glob("*.tif"):
        labels = (tifffile.imread(path) > 0).astype(np.int64) * label
        tifffile.imwrite(path, labels.astype(dtype), photometric="minisblack")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "int64"])
def test_masks_of_any_type(data: Path, tmp_path: Path, dtype: str) -> None:
    retyped(data, dtype)
    source = open_pairs(data, voxel_size_um=VOXEL)
    assert source.cell_size_um() > 13
    store = build_store(tmp_path / "s", source, SETTINGS)
    assert [len(pair.cells) for pair in store.pairs] == [1, 1, 1]


@pytest.mark.parametrize(
    ("dtype", "label"), [("int32", -1), ("int32", 2**31 - 2), ("int32", 70_000)]
)
def test_labels_beyond_the_format(data: Path, tmp_path: Path, dtype: str, label: int) -> None:
    retyped(data, dtype, label)
    source = open_pairs(data, voxel_size_um=VOXEL)
    for use in (source.cell_size_um, lambda: build_store(tmp_path / "s", source, SETTINGS)):
        with pytest.raises(FormatError, match=rf"man_track000.tif: label {label} is outside 1 …"):
            use()
