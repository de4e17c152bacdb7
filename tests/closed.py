"""What makes a mesh a closed surface, counted edge by edge."""

from __future__ import annotations

from collections import Counter

import numpy as np

from cellsynth.formats.mesh_files import Mesh


def volume(mesh: Mesh) -> float:
    """Volume enclosed, by the divergence theorem; below 0 where faces look inwards."""
    a, b, c = (mesh.verts[mesh.faces[:, i]].astype(np.float64) for i in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


def euler(mesh: Mesh) -> int:
    """V - E + F: 2 for a sphere, 4 for two of them, 0 for a torus."""
    edges = {tuple(sorted(e)) for f in mesh.faces.tolist() for e in zip(f, f[1:] + f[:1])}  # noqa: B905
    return len(mesh.verts) - len(edges) + len(mesh.faces)


def check_closed(mesh: Mesh) -> None:
    """Every edge belongs to exactly two faces, which run along it in opposite directions."""
    assert mesh.verts.dtype == np.float32
    assert mesh.faces.dtype == np.int64
    assert mesh.verts.shape[1] == mesh.faces.shape[1] == 3
    assert np.isfinite(mesh.verts).all()
    assert set(mesh.faces.ravel().tolist()) == set(range(len(mesh.verts)))
    along = Counter((f[i], f[(i + 1) % 3]) for f in mesh.faces.tolist() for i in range(3))
    assert set(along.values()) == {1}
    assert all((b, a) in along for a, b in along)
