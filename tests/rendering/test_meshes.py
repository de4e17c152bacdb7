"""Meshes of whole sets: named, labelled and placed as the masks say."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest
import trimesh
from closed import check_closed, euler, volume

from cellsynth.errors import InputError, InUseError
from cellsynth.formats.ctc import read_ctc
from cellsynth.formats.ctc_table import read_table
from cellsynth.formats.mesh_files import Mesh
from cellsynth.geometry import Grid
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.rendering.meshes import MeshOptions, export_meshes

OPTIONS = GenerateOptions(Grid.over_omega((28, 32, 36)), n_frames=4, seed=3)


@pytest.fixture(scope="module")
def dividing_set(dividing_bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("meshes") / "set"
    generate(dividing_bundle, out, OPTIONS, count=2)
    return out


@pytest.fixture
def tree():
    return lambda folder: {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def load(path) -> Mesh:
    found = trimesh.load(path, process=False, force="mesh")
    return Mesh(np.asarray(found.vertices, np.float32), np.asarray(found.faces, np.int64))


def meshes_of(folder, ending="ply"):
    """Frame, label and mesh of each file."""
    for path in sorted(folder.glob(f"*.{ending}")):
        t, cell = path.stem.split("_")
        yield int(t.removeprefix("t")), int(cell.removeprefix("cell")), load(path)


@pytest.mark.parametrize("surface", ["field", "mask"])
def test_every_cell_of_every_frame_is_closed(dividing_set, dividing_bundle, tmp_path, surface):
    res = 64 if surface == "field" else None
    export_meshes(
        dividing_set,
        tmp_path / "out",
        MeshOptions(surface=surface, res=res),
        bundle=dividing_bundle,
    )
    for sequence in read_ctc(dividing_set):
        found = {(t, label) for t, label, _ in meshes_of(tmp_path / "out" / sequence.name)}
        assert found == {(t, label) for t in range(4) for label in sequence.lineage.at(t)}
        assert len(found) > 4  # it divides
        unit = np.prod(sequence.voxel_size_um)
        for t, label, mesh in meshes_of(tmp_path / "out" / sequence.name):
            check_closed(mesh)
            # Balls, two where the field has come apart and the mask has not yet.
            assert euler(mesh) == 2 * trimesh.Trimesh(*mesh).body_count
            mask = sequence.frame(t) == label
            assert volume(mesh) == pytest.approx(mask.sum() * unit, rel=0.1)
            centre = np.argwhere(mask).mean(axis=0) * sequence.voxel_size_um
            assert trimesh.Trimesh(*mesh).center_mass[::-1] == pytest.approx(centre, abs=0.1)
        table = tmp_path / "out" / sequence.name / "man_track.txt"
        assert read_table(table) == sequence.lineage


def test_the_field_is_finer_than_the_masks(sphere_bundle, tmp_path):
    options = GenerateOptions(Grid.over_omega((12, 12, 12)), n_frames=1)
    generate(sphere_bundle, tmp_path / "set", options)
    export_meshes(tmp_path / "set", tmp_path / "out", MeshOptions(res=96), bundle=sphere_bundle)
    [(_, label, mesh)] = meshes_of(tmp_path / "out" / "01")
    centre = mesh.verts.mean(axis=0)
    radii = np.linalg.norm(mesh.verts - (5 - 5 / 12), axis=1)
    assert label == 1
    assert centre == pytest.approx((5 - 5 / 12,) * 3, abs=0.01)
    assert radii.max() - radii.min() < 0.1  # voxels of the masks are 0.83 µm wide
    assert volume(mesh) == pytest.approx(4 / 3 * math.pi * radii.mean() ** 3, rel=0.01)


@pytest.mark.parametrize("ending", ["obj", "glb"])
def test_formats_hold_the_same(dividing_set, dividing_bundle, tmp_path, ending):
    for kind in ("ply", ending):
        options = MeshOptions(mesh_format=kind, res=24)
        export_meshes(dividing_set, tmp_path / kind, options, bundle=dividing_bundle)
    ply = list(meshes_of(tmp_path / "ply" / "01"))
    other = list(meshes_of(tmp_path / ending / "01", ending))
    assert len(ply) == len(other) > 0
    for (t, label, ours), (t2, label2, theirs) in zip(ply, other, strict=True):
        assert (t, label) == (t2, label2)
        np.testing.assert_array_equal(ours.verts, theirs.verts)
        np.testing.assert_array_equal(ours.faces, theirs.faces)


def test_workers_and_crashes_change_no_byte(dividing_set, dividing_bundle, tmp_path, tree):
    given = {"bundle": dividing_bundle}
    options, finer = MeshOptions(res=24), MeshOptions(res=25)
    export_meshes(dividing_set, tmp_path / "one", options, **given)
    export_meshes(dividing_set, tmp_path / "two", options, workers=2, **given)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")

    def stop(event):
        if event.sequence == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_meshes(dividing_set, tmp_path / "out", options, on_event=stop, **given)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["01", "dataset.json"]
    with pytest.raises(InUseError, match="pass --resume"):
        export_meshes(dividing_set, tmp_path / "out", options, **given)
    with pytest.raises(InputError, match="begun with another export"):
        export_meshes(dividing_set, tmp_path / "out", finer, resume=True, **given)
    export_meshes(dividing_set, tmp_path / "out", options, resume=True, **given)
    assert tree(tmp_path / "one") == tree(tmp_path / "out")


def test_sets_of_others_are_meshed_from_their_masks(dividing_set, tmp_path):
    foreign = tmp_path / "set"
    shutil.copytree(dividing_set, foreign)
    (foreign / "dataset.json").unlink()
    export_meshes(foreign, tmp_path / "out", MeshOptions())
    said = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert said["export"]["surface"] == "mask"
    with pytest.raises(InputError, match="does not say which field it is of; give --surface mask"):
        export_meshes(foreign, tmp_path / "no", MeshOptions(surface="field"))
    with pytest.raises(InputError, match="--res is of the field"):
        export_meshes(foreign, tmp_path / "no", MeshOptions(res=64))
    export_meshes(foreign, tmp_path / "wide", MeshOptions(), voxel_size_um=(2.0, 2.0, 2.0))
    a, b = (next(meshes_of(tmp_path / out / "01"))[2] for out in ("out", "wide"))
    assert np.ptp(b.verts, axis=0).max() > 3 * np.ptp(a.verts, axis=0).max()
    assert not (tmp_path / "no").exists()


def test_another_preset_is_not_taken_for_the_one_it_was(dividing_set, sphere_bundle, tmp_path):
    with pytest.raises(InputError, match="was made from another preset dividing than the one"):
        export_meshes(dividing_set, tmp_path / "out", MeshOptions(), bundle=sphere_bundle)
    with pytest.raises(InputError, match="a generated set knows its own"):
        export_meshes(dividing_set, tmp_path / "out", MeshOptions(), voxel_size_um=(1, 1, 1))
    assert not (tmp_path / "out").exists()


def test_a_lattice_too_coarse_for_a_cell_is_told(dividing_set, dividing_bundle, tmp_path):
    with pytest.raises(InputError, match=r"no surface of cell \d; it is too small for this --res"):
        export_meshes(dividing_set, tmp_path / "out", MeshOptions(res=1), bundle=dividing_bundle)
    assert list(tmp_path.iterdir()) == []
