"""``dataset.json``: what a data set is, and which of its sequences are whole.

It is written before the first sequence and after each, always whole, and says the same after any
number of crashes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellsynth.errors import InputError, InUseError
from cellsynth.formats.storage import remove, storing
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.versions import versions
from cellsynth.rendering.options import GenerateOptions

__all__ = [
    "MANIFEST",
    "PART",
    "locked",
    "open_manifest",
    "remove_parts",
    "write_manifest",
]

MANIFEST = "dataset.json"
FORMAT = "cellsynth-dataset"
PART = ".part-"  # a sequence that is being made


def open_manifest(
    out: Path, bundle: Bundle, options: GenerateOptions, *, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """The manifest to fill: a new one, or the one there if it is of the same set."""
    scale = bundle.preset.scale
    fresh = {
        "format": FORMAT,
        "version": 1,
        "preset": {"name": bundle.preset.name, "sha256": bundle.sha256},
        "options": {
            "shape": list(options.grid.shape),
            "voxel_size_um": [
                round(s, 9) for s in options.grid.voxel_size_um(scale.half_extent_um)
            ],
            "frames": options.n_frames,
            "frame_interval_s": options.frame_interval_s(scale.n_frames, scale.frame_interval_s),
            "rotation": options.rotation
            if isinstance(options.rotation, str)
            else list(options.rotation),
            "strategy": options.strategy or bundle.preset.sampling.strategy,
            "seed": options.seed,
        },
        "versions": versions(),
        "sequences": {},
    }
    if not any(out.iterdir()):
        return fresh
    found = _read_manifest(out)
    if overwrite:
        # The manifest goes last: as long as anything is there, it says that it is ours.
        for path in sorted(out.iterdir(), key=lambda path: path.name == MANIFEST):
            remove(path)
        return fresh
    if not resume:
        raise InUseError(f"{out} holds a data set already; pass --resume, --overwrite or --out")
    asked = ("version", "preset", "options", "versions")
    differing = [key for key in asked if found.get(key) != fresh[key]]
    if differing:
        key = differing[0]
        raise InputError(
            f"{out} was begun with another {key}: {found.get(key)}, now {fresh[key]}; "
            "give the same again, or another --out"
        )
    return fresh | {"sequences": found["sequences"]}


def _read_manifest(out: Path) -> dict[str, Any]:
    """The manifest of a folder that holds something; other tools have a ``dataset.json`` too."""
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        found = None
    ours = isinstance(found, dict) and found.get("format") == FORMAT
    if not (ours and isinstance(found.get("sequences"), dict)):
        raise InUseError(f"{out} is in use and is no data set of ours; give another --out")
    return dict(found)


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    ordered = dict(sorted(manifest["sequences"].items(), key=lambda item: int(item[0])))
    text = json.dumps(manifest | {"sequences": ordered}, indent=1, ensure_ascii=False)
    path = out / MANIFEST
    with storing(path):
        out.mkdir(parents=True, exist_ok=True)
        part = path.with_name(path.name + ".part")
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(path)


def remove_parts(out: Path) -> None:
    for part in out.glob(f"{PART}*"):
        remove(part)
    remove(out / f"{MANIFEST}.part")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Nobody else writes into ``out`` meanwhile, where the system has advisory locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUseError(f"{out} is being written by another run; wait for it") from None
        yield
    finally:
        os.close(handle)
