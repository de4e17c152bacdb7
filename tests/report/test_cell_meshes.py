"""Meshes for the page: few faces, closed, of the right size, and the same once decoded."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from closed import check_closed, euler, volume

from cellsynth.formats.mesh_files import Mesh
from cellsynth.report.cell_meshes import LONGEST, cell_mesh, encode_meshes


def ball(n: int, radius: float, voxel=(1.0, 1.0, 1.0)) -> np.ndarray:
    shape = [round(n / side) for side in voxel]
    zyx = np.stack(np.indices(shape), axis=-1) * voxel
    return (((zyx - n / 2) ** 2).sum(axis=-1) < radius**2).astype(np.uint16)


@pytest.mark.parametrize(
    ("n", "radius"), [(24, 8.0), (60, 24.0), (2 * LONGEST + 20, LONGEST - 2.0)]
)
def test_a_ball_keeps_its_volume_and_place_in_few_faces(n, radius):
    mask = ball(n, radius)
    mesh = cell_mesh(mask, 1, (1.0, 1.0, 1.0), faces=600)
    assert len(mesh.faces) <= 620
    check_closed(mesh)
    assert euler(mesh) == 2
    assert volume(mesh) == pytest.approx(np.count_nonzero(mask), rel=0.03)
    np.testing.assert_allclose(mesh.verts.mean(axis=0), n / 2, atol=0.05 * radius)


def test_deep_voxels_make_a_round_ball():
    mesh = cell_mesh(ball(40, 14.0, (2.0, 1.0, 1.0)), 1, (2.0, 1.0, 1.0), faces=600)
    sides = mesh.verts.max(axis=0) - mesh.verts.min(axis=0)
    np.testing.assert_allclose(sides, 28, rtol=0.08)


def test_only_the_label_asked_for():
    labels = np.zeros((12, 12, 30), np.uint16)
    labels[3:9, 3:9, 3:9] = 4
    labels[3:9, 3:9, 20:26] = 5
    mesh = cell_mesh(labels, 5, (1.0, 1.0, 1.0), faces=300)
    assert mesh.verts[:, 0].min() > 18
    assert cell_mesh(labels, 6, (1.0, 1.0, 1.0), faces=300) is None


def test_decoded_meshes_are_those_encoded():
    meshes = [cell_mesh(ball(20, radius), 1, (1.0, 1.0, 1.0), faces=400) for radius in (5.0, 8.0)]
    moved = Mesh(meshes[1].verts + np.float32([30, 0, -4]), meshes[1].faces)
    said = encode_meshes([[(1, meshes[0])], [(2, meshes[0]), (3, moved)], []])
    assert [[cell["label"] for cell in frame] for frame in said["frames"]] == [[1], [2, 3], []]
    low, side = np.array(said["low"]), np.array(said["side"])
    for cell, mesh in [(said["frames"][0][0], meshes[0]), (said["frames"][1][1], moved)]:
        packed = np.frombuffer(base64.b64decode(cell["verts"]), "<u2").reshape(-1, 3)
        faces = np.frombuffer(base64.b64decode(cell["faces"]), "<u2").reshape(-1, 3)
        np.testing.assert_array_equal(faces, mesh.faces)
        np.testing.assert_allclose(low + packed / 65535 * side, mesh.verts, atol=2e-3)
    every = np.concatenate([meshes[0].verts, moved.verts])
    middle = low + side / 2
    assert said["reach"] == pytest.approx(np.linalg.norm(every - middle, axis=1).max(), rel=1e-4)


def test_a_sequence_without_cells_can_be_encoded():
    assert encode_meshes([[], []])["frames"] == [[], []]
