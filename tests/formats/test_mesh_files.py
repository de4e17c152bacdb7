"""PLY, OBJ and GLB: read back by trimesh to the same numbers."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh

from cellsynth.errors import InputError, StorageError
from cellsynth.formats.mesh_files import MESH_FORMATS, Mesh, write_mesh

# A tetrahedron with corners that a short decimal would miss.
MESH = Mesh(
    np.array([[0, 0, 0], [1 / 3, 0, 0], [0, 2e-7, 1e4], [0.1, 123.456789, 0]], np.float32),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int64),
)


@pytest.mark.parametrize("ending", MESH_FORMATS)
def test_a_mesh_comes_back_to_the_bit(tmp_path, ending):
    path = tmp_path / f"m.{ending}"
    write_mesh(path, MESH, name="cell001_t000")
    read = trimesh.load(path, process=False, force="mesh")
    np.testing.assert_array_equal(np.asarray(read.vertices, np.float32), MESH.verts)
    np.testing.assert_array_equal(read.faces, MESH.faces)
    assert read.is_watertight
    assert b"cell001_t000" in path.read_bytes()
    first = path.read_bytes()
    write_mesh(path, MESH, name="cell001_t000")
    assert path.read_bytes() == first


def test_glb_says_its_bounds_and_lengths(tmp_path):
    path = tmp_path / "m.glb"
    write_mesh(path, MESH, name="cell é")
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    n, kind = struct.unpack_from("<I4s", content, 12)
    assert (n % 4, kind) == (0, b"JSON")
    said = json.loads(content[20 : 20 + n])
    assert said["nodes"][0]["name"] == "cell é"
    position = said["accessors"][0]
    assert position["min"] == MESH.verts.min(axis=0).tolist()
    assert position["max"] == MESH.verts.max(axis=0).tolist()
    assert struct.unpack_from("<I4s", content, 20 + n) == (4 * 12 + 4 * 12, b"BIN\0")


def test_another_ending_is_refused(tmp_path):
    with pytest.raises(InputError, match="a mesh is ply, obj, glb, got 'stl'"):
        write_mesh(tmp_path / "m.stl", MESH, name="x")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_is_one_line(tmp_path):
    with pytest.raises(StorageError, match=r"m\.ply could not be written"):
        write_mesh(tmp_path / "nowhere" / "m.ply", MESH, name="x")
