"""Settings that have a name, are those of a preset, or lie in a TOML file of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from cellsynth.errors import FormatError, MissingError, StorageError
from cellsynth.presets.catalogue import find_preset
from cellsynth.presets.container import is_file
from cellsynth.presets.judge import judge
from cellsynth.presets.models import Preset
from cellsynth.presets.toml import parse_toml, said_nones

__all__ = ["find_named"]

M = TypeVar("M", bound=BaseModel)


def find_named(
    what: str,
    name: str,
    known: Mapping[str, M],
    model: type[M],
    of_preset: Callable[[Preset], M] | None = None,
) -> M:
    """The one of ``known`` of that name, that of a preset, or what the TOML file ``name`` says.

    What the file leaves out is as the model's default; ``"none"`` is what a preset leaves out.

    Args:
        what: What it is called in messages: "recipe", "field".
        name: Of one that is known, of a preset (or its folder or zip), or of a file.
        known: Those with a name.
        model: Judges the file.
        of_preset: Where presets have it too.

    Raises:
        MissingError: None of these.
        BundleError: A key or value that the model refuses, or a preset that cannot be trusted.
        FormatError, StorageError: The file is no text, or cannot be read.
    """
    if name in known:
        return known[name]
    if of_preset is not None and (not is_file(Path(name)) or Path(name).suffix == ".zip"):
        with suppress(MissingError):
            return of_preset(find_preset(name).preset)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join([*known, "a preset"] if of_preset else known)
        raise MissingError(f"{what} {name} is not there; give {names}, or a TOML file") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} {name} is not UTF-8 text ({error})") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{what} {name} cannot be read: {error}") from error
    subject = f"{what} {name}"
    return judge(model, said_nones(model, parse_toml(text, subject)), subject)
