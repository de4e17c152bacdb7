"""Where presets lie, and how one is found by name, folder or zip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from cellsynth.errors import CellsynthError, MissingError
from cellsynth.formats.manifest import find_manifest
from cellsynth.presets.bundle import PRESET, Bundle, read_bundle, read_preset
from cellsynth.presets.container import is_file, is_folder
from cellsynth.presets.judge import nearest
from cellsynth.presets.models import Preset

__all__ = [
    "Listed",
    "find_preset",
    "list_presets",
    "preset_folders",
    "preset_of",
]

VARIABLE = "CELLSYNTH_PRESETS"


@dataclass(frozen=True)
class Listed:
    """One preset found; a broken one is listed with its fault, and hides no other.

    Attributes:
        name: What ``--preset`` takes: the name of its folder, or of its zip without ``.zip``.
        path: Its folder or zip.
        preset: What it says about itself, None where that cannot be read.
        fault: Why it cannot be read, empty where it can.
    """

    name: str
    path: Path
    preset: Preset | None
    fault: str = ""


def preset_folders() -> list[Path]:
    """Folders that hold presets, in the order of the search.

    ``$CELLSYNTH_PRESETS`` (several, separated as in ``$PATH``), the user's data folder, the
    installed package.
    """
    named = [Path(part) for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return [*named, user_folder(), _shipped()]


def user_folder() -> Path:
    """Where the user's own presets lie."""
    return platformdirs.user_data_path("cellsynth", appauthor=False) / "presets"


def find_preset(name_or_path: str | Path) -> Bundle:
    """The preset of that name, or in that folder or zip, verified.

    A folder or zip of that path comes first; then a name is looked up in
    :func:`preset_folders`.

    Raises:
        MissingError: No such preset; the message lists the known ones and the nearest.
        BundleError: It is there and cannot be trusted, see :func:`read_bundle`.
    """
    path = Path(name_or_path)
    # A folder that happens to carry the name, such as a data set in the current folder, is no
    # preset; the search goes on.
    if is_file(path) or is_file(path / PRESET):
        return read_bundle(path)
    name = name_or_path if isinstance(name_or_path, str) else ""
    if name in {"", ".."} or path.name != name or path.suffix == ".zip":
        if is_folder(path):
            raise MissingError(f"{path}: {PRESET} is missing; expected a preset's folder")
        raise MissingError(f"{path} is not there; expected a preset's folder or zip")
    for folder in preset_folders():
        found = _named(folder, name)
        if found is not None:
            return read_bundle(found)
    known = [listed.name for listed in list_presets()]
    raise MissingError(
        f"no preset {name!r}; expected a folder, a zip or one of: {', '.join(known) or 'none yet'}"
        f"{nearest(name, known)}"
    )


def preset_of(source: Path) -> Bundle | None:
    """The preset that a data set of ours was made from; None for sets of others.

    Raises:
        MissingError: The preset is not there; the message says to name another.
    """
    said = find_manifest(source) or {}
    preset = said.get("preset", said.get("source", {}).get("preset"))
    if not isinstance(preset, dict):
        return None
    try:
        return find_preset(str(preset.get("name")))
    except MissingError as error:
        raise MissingError(f"{source} names its preset: {error}; pass --preset") from None


def list_presets() -> list[Listed]:
    """Every preset that a name finds, by name; only ``preset.toml`` of each is read."""
    found: dict[str, Listed] = {}
    for folder in preset_folders():
        for name in sorted(_names(folder)):
            path = _named(folder, name)
            if name in found or path is None:
                continue
            try:
                found[name] = Listed(name, path, read_preset(path))
            except CellsynthError as error:
                found[name] = Listed(name, path, None, str(error))
    return [found[name] for name in sorted(found)]


def _shipped() -> Path:
    """The presets that come with the package: inside a wheel, or beside it in a checkout."""
    package = Path(__file__).parent
    installed = package / "bundles"
    return installed if installed.is_dir() else package.parents[1] / "presets"


def _named(folder: Path, name: str) -> Path | None:
    for path in (folder / name, folder / f"{name}.zip"):
        if is_file(path / PRESET) or (path.suffix == ".zip" and is_file(path)):
            return path
    return None


def _names(folder: Path) -> set[str]:
    try:
        entries = list(folder.iterdir())
    except OSError:
        return set()  # as $PATH does: a folder that is not there is passed over
    # A hidden folder is a bundle being written.
    return {
        entry.stem if entry.suffix == ".zip" else entry.name
        for entry in entries
        if not entry.name.startswith(".")
    }
