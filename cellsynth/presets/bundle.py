"""The preset bundle on disk: a folder that is written whole or not at all, and read with doubt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import (
    BundleError,
    InputError,
    InUseError,
    MissingError,
)
from cellsynth.formats.storage import whole_or_nothing
from cellsynth.presets.container import Container, open_container
from cellsynth.presets.judge import judge
from cellsynth.presets.models import Preset
from cellsynth.presets.tensors import (
    Tensors,
    decode_tensors,
    encode_tensors,
    expected_tensors,
    expected_texture,
    refuse_pickle,
)
from cellsynth.presets.toml import parse_toml, to_toml, with_nones

__all__ = [
    "Bundle",
    "check_free",
    "expected_tensors",
    "read_bundle",
    "read_preset",
    "write_bundle",
]

PRESET = "preset.toml"
SHAPE = "shape.safetensors"
TEXTURE = "texture.safetensors"
CARD = "CARD.md"
EVALUATION = "evaluation.json"
PREVIEW = "preview.png"

_MAX_TOML = 2**20


@dataclass(frozen=True)
class Bundle:
    """A preset whose files were found whole: every hash matches, every tensor fits.

    Attributes:
        preset: What ``preset.toml`` says.
        folder: The folder, or the zip, that it was read from.
        toml: Bytes of ``preset.toml``.
        contents: Bytes of the files that it lists, by name.
    """

    preset: Preset
    folder: Path
    toml: bytes = field(repr=False)
    contents: Mapping[str, bytes] = field(repr=False)

    @property
    def sha256(self) -> str:
        """Hash of ``preset.toml``; since that holds all other hashes, of the whole preset."""
        return hashlib.sha256(self.toml).hexdigest()

    def tensors(self) -> Tensors:
        """Weights, codes and rotations by name, see :func:`expected_tensors`; fresh arrays."""
        return _tensors(self.preset, self.contents[SHAPE])

    def texture_tensors(self) -> Tensors:
        """Weights of the texture's generator by name, see ``expected_texture``; fresh arrays.

        Raises:
            MissingError: The preset has no texture.
        """
        if self.preset.texture is None:
            raise MissingError(
                f"preset {self.preset.name} has no texture; learn one with cellsynth train-texture"
            )
        return _texture(self.preset, self.contents[TEXTURE])

    def card(self) -> str:
        """``CARD.md``, empty where the bundle has none."""
        return self.contents.get(CARD, b"").decode()

    def evaluation(self) -> dict[str, Any]:
        """``evaluation.json``, empty where the bundle has none.

        Raises:
            BundleError: The file is no JSON object.
        """
        try:
            found = json.loads(self.contents.get(EVALUATION, b"{}"))
        except ValueError as error:
            raise BundleError(f"preset {self.preset.name}: {EVALUATION}: {error}") from None
        if not isinstance(found, dict):
            raise BundleError(f"preset {self.preset.name}: {EVALUATION} is no JSON object")
        return found

    def preview(self) -> bytes | None:
        """``preview.png``, or None."""
        return self.contents.get(PREVIEW)


def read_preset(path: Path | str) -> Preset:
    """What the bundle at ``path`` (folder or zip) says about itself; no other file is looked at.

    Raises:
        MissingError: Nothing is there, or it holds no ``preset.toml``.
        BundleError: A key that is misspelt, missing or refused; named with its full path.
    """
    return _preset(open_container(Path(path)))[0]


def read_bundle(path: Path | str) -> Bundle:
    """The bundle at ``path``, a folder or a zip, with every file verified.

    Raises:
        MissingError: Nothing is there, or it holds no ``preset.toml``.
        BundleError: A key that the models refuse, a file that is missing, altered, a pickle or
            too large, a card that is no text, tensors whose names, shapes or values do not fit,
            an unsafe zip.
    """
    container = open_container(Path(path))
    preset, toml = _preset(container)
    where = f"preset {preset.name}"
    if SHAPE not in preset.files:
        raise BundleError(f"{where}: files.{SHAPE} is missing; a preset cannot do without")
    if (preset.texture is None) != (TEXTURE not in preset.files):
        has, lacks = f"files.{TEXTURE}", "texture"
        if preset.texture is not None:
            has, lacks = lacks, has
        raise BundleError(f"{where}: {lacks} is missing, though there is {has}")
    for name in container.names:
        refuse_pickle(b"", f"{where}: {name}")
    contents = {}
    for name, expected in preset.files.items():
        if name not in container.names:
            raise BundleError(f"{where}: {name} is missing in {path}; get the bundle again")
        contents[name] = container.read(name)
        refuse_pickle(contents[name], f"{where}: {name}")
        got = hashlib.sha256(contents[name]).hexdigest()
        if got != expected:
            raise BundleError(
                f"{where}: {name} has SHA-256 {got}, expected {expected}; "
                "it was altered or damaged, get the bundle again"
            )
    try:
        contents.get(CARD, b"").decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{where}: {CARD} is not UTF-8 text ({error})") from None
    _tensors(preset, contents[SHAPE])
    if preset.texture is not None:
        _texture(preset, contents[TEXTURE])
    return Bundle(preset, Path(path), toml, contents)


def write_bundle(
    folder: Path | str,
    preset: Preset,
    tensors: Mapping[str, NDArray[np.floating]],
    *,
    card: str,
    evaluation: Mapping[str, Any],
    preview: bytes | None = None,
    texture: Mapping[str, NDArray[np.floating]] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Write a bundle under a temporary name, read it back, and rename it to ``folder``.

    Args:
        folder: Where it will lie. An empty folder may be there already.
        preset: Its ``files`` are filled here.
        tensors: As :func:`expected_tensors` has it for ``training.sequences`` sequences; any
            floating-point type, stored as float32, or as float16 where that loses nothing.
        card: Markdown.
        evaluation: Plain numbers, texts, lists and dicts; NaN is refused.
        preview: PNG.
        texture: Weights of the texture's generator, where ``preset.texture`` is there.
        overwrite: Replace the preset that lies there. Anything else is never replaced.

    Returns:
        The bundle as it lies on disk, ``preset.files`` filled.

    Raises:
        InUseError: ``folder`` holds something.
        BundleError: Tensors that do not fit.
        InputError: ``evaluation`` cannot be written as JSON.
        StorageError: The disk refused. Nothing is left behind.
    """
    folder = Path(folder)
    expected = expected_tensors(preset.field, preset.training.sequences)
    where = f"preset {preset.name}"
    files = {SHAPE: encode_tensors(tensors, expected, where), CARD: card.encode()}
    if preset.texture is not None:
        files[TEXTURE] = encode_tensors(texture or {}, expected_texture(preset.texture), where)
    elif texture is not None:
        raise BundleError(f"{where}: texture is missing, though there are tensors for it")
    try:
        text = json.dumps(evaluation, indent=2, allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: evaluation cannot be written as JSON: {error}") from None
    files[EVALUATION] = f"{text}\n".encode()
    if preview is not None:
        files[PREVIEW] = preview
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    # Built anew, not copied, so that the model judges once more.
    preset = Preset.model_validate({**dict(preset), "files": hashes})
    files[PRESET] = to_toml(preset, f"cellsynth preset {preset.name}").encode()
    check_free(folder, overwrite=overwrite)
    with whole_or_nothing(folder) as temporary:
        for name, data in files.items():
            (temporary / name).write_bytes(data)
        read_bundle(temporary)
    return read_bundle(folder)


def check_free(folder: Path, *, overwrite: bool = False) -> None:
    """Raise InUseError if ``folder`` holds something; with ``overwrite``, other than a preset."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / PRESET).is_file():
        raise InUseError(f"{folder} is in use and is no preset; give another --out")
    if not overwrite:
        raise InUseError(f"{folder} holds a preset already; pass --overwrite or another --out")


def _preset(container: Container) -> tuple[Preset, bytes]:
    """``preset.toml`` of a container, judged and as it stands."""
    data = container.read(PRESET)
    where = f"preset {container.path.stem if container.path.is_file() else container.path.name}"
    if len(data) > _MAX_TOML:
        raise BundleError(f"{where}: {PRESET} has {len(data)} bytes, at most {_MAX_TOML}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise BundleError(f"{where}: {PRESET} is not UTF-8 text ({error})") from None
    said = parse_toml(text, where)
    name = said.get("name")
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= 64:
        where = f"preset {name}"
    return judge(Preset, with_nones(Preset, said), where), data


def _tensors(preset: Preset, data: bytes) -> Tensors:
    expected = expected_tensors(preset.field, preset.training.sequences)
    return decode_tensors(data, expected, f"preset {preset.name}: {SHAPE}")


def _texture(preset: Preset, data: bytes) -> Tensors:
    assert preset.texture is not None  # the caller has looked
    return decode_tensors(
        data, expected_texture(preset.texture), f"preset {preset.name}: {TEXTURE}"
    )
