"""Triangle meshes as PLY, OBJ and GLB files, each a few lines of format.

Coordinates are written as they are, x, y, z in µm, without a turn: glTF counts in metres with y
up, so viewers show a GLB a million times too large and lying on its back unless told.

Sources: Turk 1994, "The PLY polygon file format"; Wavefront OBJ 3.0; Khronos glTF 2.0.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError
from cellsynth.formats.storage import remove, storing

__all__ = ["MESH_FORMATS", "Mesh", "write_mesh"]


class Mesh(NamedTuple):
    """A closed surface, as ``pytorch3d.structures.Meshes`` takes it.

    Attributes:
        verts: ``(V, 3)`` float32, x, y, z in µm.
        faces: ``(F, 3)`` int64, counterclockwise as seen from outside.
    """

    verts: NDArray[np.float32]
    faces: NDArray[np.int64]


def write_mesh(path: Path, mesh: Mesh, *, name: str) -> None:
    """Write a mesh in the format that the path ends with; an existing file is replaced.

    Args:
        path: File to write: ``.ply``, ``.obj`` or ``.glb``.
        mesh: What to write.
        name: What it is, kept in the file.

    Raises:
        InputError: Another ending.
        StorageError: The disk refused; nothing is left behind.
    """
    kind = path.suffix.lstrip(".")
    if kind not in MESH_FORMATS:
        raise InputError(f"{path}: a mesh is {', '.join(MESH_FORMATS)}, got {kind!r}")
    content = MESH_FORMATS[kind](mesh, name)
    with storing(path):
        try:
            path.write_bytes(content)
        except OSError:
            remove(path)
            raise


def _ply(mesh: Mesh, name: str) -> bytes:
    head = (
        f"ply\nformat binary_little_endian 1.0\ncomment {name}\ncomment unit micrometer\n"
        f"element vertex {len(mesh.verts)}\n"
        "property float x\nproperty float y\nproperty float z\n"
        f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n"
    )
    faces = np.empty(len(mesh.faces), np.dtype([("n", "u1"), ("of", "<i4", 3)]))
    faces["n"], faces["of"] = 3, mesh.faces
    return head.encode("ascii") + mesh.verts.astype("<f4").tobytes() + faces.tobytes()


def _obj(mesh: Mesh, name: str) -> bytes:
    lines = ["# unit micrometer", f"o {name}"]
    # Nine digits give back the same float32.
    lines += [f"v {x:.9g} {y:.9g} {z:.9g}" for x, y, z in mesh.verts.tolist()]
    lines += [f"f {a} {b} {c}" for a, b, c in (mesh.faces + 1).tolist()]
    return ("\n".join(lines) + "\n").encode("ascii")


def _glb(mesh: Mesh, name: str) -> bytes:
    verts = mesh.verts.astype("<f4").tobytes()
    faces = mesh.faces.astype("<u4").tobytes()
    said: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "cellsynth", "extras": {"unit": "micrometer"}},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name}],
        "meshes": [{"name": name, "primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "buffers": [{"byteLength": len(verts) + len(faces)}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(verts), "target": 34962},
            {"buffer": 0, "byteOffset": len(verts), "byteLength": len(faces), "target": 34963},
        ],
        "accessors": [
            {
                "bufferView": 0,
                "componentType": 5126,  # float
                "count": len(mesh.verts),
                "type": "VEC3",
                "min": mesh.verts.min(axis=0).tolist(),
                "max": mesh.verts.max(axis=0).tolist(),
            },
            {
                "bufferView": 1,
                "componentType": 5125,  # unsigned int
                "count": mesh.faces.size,
                "type": "SCALAR",
            },
        ],
    }
    text = json.dumps(said, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    binary = verts + faces  # both are multiples of 4 bytes
    chunks = struct.pack("<I4s", len(text), b"JSON") + text
    chunks += struct.pack("<I4s", len(binary), b"BIN\0") + binary
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


MESH_FORMATS: dict[str, Callable[[Mesh, str], bytes]] = {"ply": _ply, "obj": _obj, "glb": _glb}
