"""Settings that have a name, or lie in a TOML file of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from cellsynth.errors import FormatError, MissingError, StorageError
from cellsynth.presets.judge import judge
from cellsynth.presets.toml import parse_toml

__all__ = ["find_named"]

M = TypeVar("M", bound=BaseModel)


def find_named(what: str, name: str, known: Mapping[str, M], model: type[M]) -> M:
    """The one of ``known`` of that name, or what the TOML file ``name`` says.

    What the file leaves out is as the model's default.

    Args:
        what: What it is called in messages: "recipe", "field".

    Raises:
        MissingError: Neither a known name nor a file.
        BundleError: A key or value that the model refuses.
        FormatError, StorageError: The file is no text, or cannot be read.
    """
    if name in known:
        return known[name]
    try:
        text = Path(name).read_text(encoding="utf-8")
    except FileNotFoundError:
        names = ", ".join(known)
        raise MissingError(f"{what} {name} is not there; give {names}, or a TOML file") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{what} {name} is not UTF-8 text ({error})") from None
    except (OSError, ValueError) as error:
        raise StorageError(f"{what} {name} cannot be read: {error}") from error
    subject = f"{what} {name}"
    return judge(model, parse_toml(text, subject), subject)
