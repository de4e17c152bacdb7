"""What was made and how, from ``dataset.json``: facts to read, and commands that make it again."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from typing import Any

from cellsynth.rendering.manifest import is_cube
from cellsynth.report.source import SetSource

__all__ = ["again", "facts", "preset_named"]

ROTATIONS = {"random": "random, uniform on SO(3)", "none": "none"}


def preset_named(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """Name and SHA-256 of the preset that a set says it was made from."""
    preset = {**manifest.get("source", {}), **manifest}.get("preset")
    if not isinstance(preset, dict) or not isinstance(preset.get("name"), str):
        return None
    return preset["name"], str(preset.get("sha256"))


def facts(source: SetSource) -> list[tuple[str, str]]:
    """What is known of a set, as names and values."""
    said = {**source.manifest.get("source", {}), **source.manifest}
    rows = [
        ("sequences", f"{len(source.sequences)}"),
        ("frames", _several(str(s.n_frames) for s in source.sequences)),
        *_grids(source),
        ("frame interval", _several(_interval(s.frame_interval_s) for s in source.sequences)),
    ]
    preset = preset_named(source.manifest)
    if preset is not None:
        rows += [("preset", preset[0]), ("SHA-256 of the preset", preset[1])]
    options = said.get("options", {})
    walk = said.get("walk")
    if isinstance(walk, dict):
        first, last = walk["codes"]
        rows.append(("codes", f"{walk['steps']} on the way from learned code {first} to {last}"))
    elif "strategy" in options:
        rows.append(("codes", f"drawn, strategy {options['strategy']}"))
    if "rotation" in options:
        rows.append(("rotation", _rotation(options["rotation"])))
    if "seed" in options:
        rows.append(("seed", f"{options['seed']}"))
    refused = [r.get("refused_draws") for r in source.manifest.get("sequences", {}).values()]
    if refused and all(isinstance(n, int) for n in refused):
        rows.append(("draws refused for their topology", f"{sum(refused)}"))
    texture = said.get("texture")
    if isinstance(texture, dict):
        rows.append(("images", _texture(texture)))
    versions = said.get("versions")
    if isinstance(versions, dict):
        rows.append(("made with", ", ".join(f"{name} {v}" for name, v in versions.items())))
    return rows


def _grids(source: SetSource) -> list[tuple[str, str]]:
    """Voxels and their size; of flat sets, pixels."""
    what, axes, first = ("pixel", "(y, x)", 1) if source.flat else ("voxel", "(z, y, x)", 0)
    shapes = (" × ".join(map(str, s.shape[first:])) for s in source.sequences)
    sizes = (_size(s.voxel_size_um and s.voxel_size_um[first:]) for s in source.sequences)
    return [(f"{what}s {axes}", _several(shapes)), (f"{what} size {axes}", _several(sizes))]


def again(source: SetSource) -> list[str]:
    """The commands that make a set of ours again, as far as it says; nothing for sets of others."""
    said = {**source.manifest.get("source", {}), **source.manifest}
    preset, options, walk = preset_named(source.manifest), said.get("options"), said.get("walk")
    commands = []
    name = str(source.manifest.get("source", {}).get("name", source.name))
    if preset is not None and isinstance(options, dict) and "shape" in options:
        words = []
        if isinstance(walk, dict):
            words = _walked(preset[0], options, walk)
        elif "seed" in options:
            words = _generated(preset[0], options, len(source.sequences))
        if words:
            commands.append(shlex.join(["cellsynth", *words, "--out", name]))
    texture = said.get("texture")
    if isinstance(texture, dict):
        words = ["cellsynth", "texture", name, "--mode", str(texture.get("mode"))]
        words += ["--engine", str(texture.get("engine"))]
        if isinstance(texture.get("profile"), dict):
            words += ["--profile", str(texture["profile"].get("name"))]
        if isinstance(texture.get("preset"), dict):
            words += ["--preset", str(texture["preset"].get("name"))]
        if texture.get("voxel_size_um"):
            words += ["--voxel-size", ",".join(f"{size:.10g}" for size in texture["voxel_size_um"])]
        words += ["--seed", str(texture.get("seed"))]
        if name != source.name:
            words += ["--out", source.name]
        commands.append(shlex.join(words))
    return commands


def _generated(preset: str, options: Mapping[str, Any], count: int) -> list[str]:
    words = ["generate", "--preset", preset, "--count", str(count), *_grid(options)]
    words += ["--frames", str(options["frames"])]
    if options["rotation"] != "random":
        words += ["--rotation", _degrees(options["rotation"])]
    words += ["--strategy", str(options["strategy"]), "--seed", str(options["seed"])]
    if options.get("format", "ctc") != "ctc":
        words += ["--format", str(options["format"])]
    return words


def _walked(preset: str, options: Mapping[str, Any], walk: Mapping[str, Any]) -> list[str]:
    words = ["latent", preset, "--walk", *map(str, walk["codes"]), "--steps", str(walk["steps"])]
    words += [*_grid(options), "--frames", str(options["frames"])]
    return [*words, "--rotation", str(options["rotation"])]


def _grid(options: Mapping[str, Any]) -> list[str]:
    """Ω filled is ``--res``; where voxels leave a rest of it, their size was given."""
    shape, size = options["shape"], options["voxel_size_um"]
    if not (is_cube(shape, size) and options.get("fills_omega", True)):
        return ["--voxel-size", ",".join(f"{s:.10g}" for s in size)]
    return ["--res", str(shape[0]) if len(set(shape)) == 1 else ",".join(map(str, shape))]


def _degrees(radians: str | list[float]) -> str:
    if isinstance(radians, str):
        return radians
    return ",".join(f"{math.degrees(angle):.10g}" for angle in radians)


def _rotation(rotation: Any) -> str:
    if isinstance(rotation, str):
        return ROTATIONS.get(rotation, rotation)
    return f"{_degrees(rotation).replace(',', ', ')} degrees, Euler XYZ"


def _texture(texture: Mapping[str, Any]) -> str:
    mode = "maximum projections" if texture.get("mode") == "mip" else "3D"
    if isinstance(texture.get("profile"), dict):
        return f"{mode}, simulated microscope {texture['profile'].get('name')}"
    preset = texture.get("preset")
    named = f" of preset {preset['name']}" if isinstance(preset, dict) else ""
    return f"{mode}, generator{named}"


def _size(size: tuple[float, ...] | None) -> str:
    return "not known" if size is None else f"{' × '.join(f'{s:.4g}' for s in size)} µm"


def _interval(seconds: float | None) -> str:
    return "not known" if seconds is None else f"{seconds:.4g} s"


def _several(values: Any) -> str:
    """Each value once, the first four."""
    found = list(dict.fromkeys(values))
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
