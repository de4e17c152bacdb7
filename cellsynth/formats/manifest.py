"""``dataset.json``: what a data set is, and which of its sequences are whole.

It is written before the first sequence and after each, always whole, and says the same after any
number of crashes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cellsynth.errors import InputError, InUseError
from cellsynth.formats.storage import as_text, remove, storing, whole_file

__all__ = [
    "FORMAT",
    "MANIFEST",
    "PART",
    "check_same",
    "find_manifest",
    "locked",
    "open_manifest",
    "origin_of",
    "remove_parts",
    "write_manifest",
]

MANIFEST = "dataset.json"
FORMAT = "cellsynth-dataset"
PART = ".part-"  # a sequence that is being made
# What a set says of the one that it was made from, as that says it.
_CARRIED = ("preset", "options", "walk")


def origin_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """How the masks of a set came about, for the manifest of what is made from it."""
    return {key: manifest[key] for key in _CARRIED if key in manifest}


def open_manifest(
    out: Path, fresh: dict[str, Any], *, resume: bool, overwrite: bool
) -> dict[str, Any]:
    """The manifest to fill: ``fresh``, or the one there if it is of the same set.

    Args:
        out: Folder of the data set, which is there.
        fresh: What the set is; ``sequences`` holds what is whole, so far nothing.
        resume: Continue the set that lies there.
        overwrite: Replace it.

    Raises:
        InUseError: Something lies there that is not ours, or nobody said what to do with it.
        InputError: To resume, but what lies there was begun otherwise.
    """
    if not any(out.iterdir()):
        return fresh
    found = find_manifest(out)
    if found is None:
        raise InUseError(f"{out} is in use and is no data set of ours; give another --out")
    if overwrite:
        # The manifest goes last: as long as anything is there, it says that it is ours.
        for path in sorted(out.iterdir(), key=lambda path: path.name == MANIFEST):
            remove(path)
        return fresh
    if not resume:
        raise InUseError(f"{out} holds a data set already; pass --resume, --overwrite or --out")
    check_same(out, found, fresh)
    # What others added, such as a texture, stays.
    return found | fresh | {"sequences": found["sequences"]}


def check_same(out: Path, found: dict[str, Any], fresh: dict[str, Any]) -> None:
    """Raise InputError where what lies in ``out`` was begun otherwise than it would be now."""
    for key, value in json.loads(_text(fresh)).items():
        if key != "sequences" and found.get(key) != value:
            raise InputError(
                f"{out} was begun with another {key}: {found.get(key)}, now {value}; "
                "give the same again, or another --out"
            )


def find_manifest(out: Path) -> dict[str, Any] | None:
    """The manifest in a folder, None where there is none; other tools have ``dataset.json`` too."""
    try:
        found = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return None
    ours = isinstance(found, dict) and found.get("format") == FORMAT
    return dict(found) if ours and isinstance(found.get("sequences"), dict) else None


def write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    """Write it under another name, and rename it; sequences stand by their number."""
    path = out / MANIFEST
    text = _text(_ordered(manifest))
    with storing(path):
        out.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _text(said: dict[str, Any]) -> str:
    return as_text(json.dumps(said, indent=1, ensure_ascii=False))


def _ordered(said: Any) -> Any:
    if not isinstance(said, dict):
        return said
    found = {key: _ordered(value) for key, value in said.items()}
    if isinstance(found.get("sequences"), dict):
        found["sequences"] = dict(sorted(found["sequences"].items(), key=lambda of: int(of[0])))
    return found


def remove_parts(out: Path) -> None:
    """Remove what a crash left half made."""
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
