"""The authors' training files: which voxels, in which order, and what is told of broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from cellsynth.errors import DependencyError, FormatError, InputError
from cellsynth.shapes import build_store, cut_cells, open_masks

AUTHORS = Path(__file__).parents[2].parent / "shared" / "data" / "reference_experiment" / "data"
FRAMES = 3


def movie() -> np.ndarray:
    """Masks ``(t, z, y, x)`` of a box that grows along z: no two axes are alike."""
    inside = np.zeros((FRAMES, 9, 10, 12), bool)
    for t in range(FRAMES):
        inside[t, 2 : 5 + t, 3:6, 4:9] = True
    return inside


def write_authors(path, inside, *, clamp=4.0, name="sdf_vid", dtype=np.float32):
    """As their script does: distances of both sides, cut off outside, each frame by its largest."""
    t_x_y_z = []
    for mask in inside.transpose(0, 3, 2, 1):
        sdf = np.minimum(distance_transform_edt(~mask), clamp) - distance_transform_edt(mask)
        t_x_y_z.append(sdf / np.abs(sdf).max())
    with h5py.File(path, "w") as file:
        # What transpose(3, 2, 1, 0) turns into (t, x, y, z).
        stored = np.stack(t_x_y_z).transpose(3, 2, 1, 0).astype(dtype)
        file.create_dataset(name, data=stored, chunks=(*stored.shape[:3], 1), compression="gzip")


def test_a_file_is_a_sequence_of_binary_masks(tmp_path):
    write_authors(tmp_path / "a.h5", movie())
    (source,) = open_masks(tmp_path / "a.h5", voxel_size_um=(0.3, 0.2, 0.1))
    assert (source.name, source.n_frames, source.shape) == ("a.h5", FRAMES, (9, 10, 12))
    assert source.voxel_size_um == (0.3, 0.2, 0.1)
    assert source.assumed == ("frame interval",)
    assert source.lineage is None
    for t, expected in enumerate(movie()):
        np.testing.assert_array_equal(source.frame(t), expected)


def test_a_folder_is_a_sequence_a_file(tmp_path):
    write_authors(tmp_path / "b.h5", movie())
    write_authors(tmp_path / "a.h5", movie()[::-1])
    (tmp_path / "preview").mkdir()
    first, second = open_masks(tmp_path)
    assert (first.name, second.name) == ("a.h5", "b.h5")
    assert first.assumed == ("voxel size", "frame interval")
    np.testing.assert_array_equal(first.frame(0), second.frame(FRAMES - 1))


def test_distances_are_measured_anew_in_one_scale(tmp_path):
    """The frames' own scales differ; the distances that training sees do not."""
    write_authors(tmp_path / "a.h5", movie())
    cells, left_out = cut_cells(open_masks(tmp_path, voxel_size_um=(0.5, 0.5, 0.5)))
    assert left_out == []
    store = build_store(tmp_path / "shapes.zarr", cells, orientation="none")
    for t in range(FRAMES):
        assert store.mask(0, t).sum() == movie()[t].sum()
        # A voxel beside a face lies half a voxel from it in every frame.
        nearest_um = store.sdf(0, t)[store.mask(0, t)].max() * store.half_extent_um
        assert nearest_um == pytest.approx(-0.25, rel=1e-3)


def not_hdf5(path):
    path.write_bytes(b"no HDF5 at all")


def cut_short(path):
    write_authors(path, movie())
    path.write_bytes(path.read_bytes()[:900])


def without_dataset(path):
    write_authors(path, movie(), name="volume")


def a_group(path):
    with h5py.File(path, "w") as file:
        file.create_group("sdf_vid")


def empty(path):
    with h5py.File(path, "w"):
        pass


def one_frame_without_time(path):
    with h5py.File(path, "w") as file:
        file["sdf_vid"] = np.zeros((4, 4, 4), np.float32)


def labels(path):
    write_authors(path, movie(), dtype=np.uint8)


def no_frames(path):
    with h5py.File(path, "w") as file:
        file["sdf_vid"] = np.zeros((4, 4, 4, 0), np.float32)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (not_hdf5, r"a\.h5: not readable as HDF5"),
        (cut_short, r"a\.h5: not readable as HDF5"),
        (without_dataset, r"a\.h5: holds volume, expected a dataset sdf_vid"),
        (a_group, r"a\.h5: holds sdf_vid, expected a dataset sdf_vid"),
        (empty, r"a\.h5: holds nothing, expected a dataset sdf_vid"),
        (one_frame_without_time, r"sdf_vid has shape \(4, 4, 4\), expected \(z, y, x, t\)"),
        (labels, r"sdf_vid holds uint8, expected signed distances"),
        (no_frames, r"sdf_vid has shape \(4, 4, 4, 0\)"),
    ],
)
def test_broken_files(tmp_path, write, message):
    write(tmp_path / "a.h5")
    with pytest.raises(FormatError, match=message) as error:
        open_masks(tmp_path)
    assert "\n" not in str(error.value)


def test_a_frame_of_nan_and_a_damaged_chunk_are_told_with_their_frame(tmp_path):
    inside = movie()
    write_authors(tmp_path / "a.h5", inside)
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["sdf_vid"][0, 0, 0, 2] = np.nan
        chunk = file["sdf_vid"].id.get_chunk_info(1)
    with pytest.raises(FormatError, match=r"a\.h5 frame 2: sdf_vid holds NaN"):
        open_masks(tmp_path)[0].frame(2)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + 40] = b"\xff" * 40
    (tmp_path / "a.h5").write_bytes(data)
    (source,) = open_masks(tmp_path)
    np.testing.assert_array_equal(source.frame(0), inside[0])
    with pytest.raises(FormatError, match=r"a\.h5 frame 1 could not be read"):
        source.frame(1)


def test_nothing_inside_anywhere(tmp_path):
    write_authors(tmp_path / "a.h5", np.zeros((2, 4, 4, 4), bool), clamp=1.0)
    with pytest.raises(InputError, match=r"a\.h5: all 2 frames are background"):
        cut_cells(open_masks(tmp_path))


def test_an_experiment_folder_is_not_training_data(tmp_path):
    (tmp_path / "specs.json").write_text("{}")
    with pytest.raises(InputError, match="cellsynth presets import"):
        open_masks(tmp_path)


def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch):
    write_authors(tmp_path / "a.h5", movie())
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DependencyError, match=r"pip install 'cellsynth\[authors\]'"):
        open_masks(tmp_path)


@pytest.mark.skipif(not AUTHORS.is_dir(), reason="the authors' files are not beside this project")
def test_the_authors_own_files():
    sources = open_masks(AUTHORS)
    assert [source.name for source in sources] == ["seq0.h5", "seq1.h5", "seq2.h5"]
    for source in sources:
        with h5py.File(AUTHORS / source.name) as file:
            t_x_y_z = np.asarray(file["sdf_vid"]).transpose(3, 2, 1, 0)
        for t in range(4):
            np.testing.assert_array_equal(source.frame(t), t_x_y_z[t].transpose(2, 1, 0) < 0)
    cells, left_out = cut_cells(sources)
    assert (len(cells), left_out) == (3, [])
