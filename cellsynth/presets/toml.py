"""A model as TOML that reads as prose, and back without loss.

The standard library reads TOML and does not write it. This writes what our models need: text,
numbers, truth values, lists of them, sections. Every section begins with what it is about, every
value is followed by what it means. A value of None is left out, and what is left out is None.
"""

from __future__ import annotations

import re
import textwrap
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel

from cellsynth.errors import BundleError
from cellsynth.presets.judge import judge

__all__ = ["from_toml", "parse_toml", "said_nones", "to_toml", "with_nones"]

M = TypeVar("M", bound=BaseModel)

_COLUMNS = 96
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SHORT_ESCAPES = {"\n": "\\n", "\r": "\\r", "\f": "\\f", "\b": "\\b"}


def to_toml(model: BaseModel, title: str = "") -> str:
    """``model`` as TOML; ``title`` becomes the comment on the first line."""
    lines = [f"# {line}" for line in title.splitlines()]
    lines += _section(model, ())
    return "\n".join(lines) + "\n"


def from_toml(text: str, model: type[M], subject: str) -> M:
    """The model that :func:`to_toml` wrote.

    Raises:
        BundleError: No TOML, or the model refuses it; the message begins with ``subject``.
    """
    return judge(model, with_nones(model, parse_toml(text, subject)), subject)


def parse_toml(text: str, subject: str) -> dict[str, Any]:
    """``text`` as nested mappings, not yet judged.

    Raises:
        BundleError: No TOML; the message begins with ``subject`` and names line and column.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise BundleError(f"{subject}: no valid TOML: {error or 'nested too deeply'}") from None


def with_nones(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` with None wherever ``model`` admits it and ``data`` says nothing.

    TOML has no null, so leaving a key out has to mean None even where the default is another.
    """
    complete = dict(data)
    for name, info in model.model_fields.items():
        kind = info.annotation
        if type(None) in get_args(kind):
            complete.setdefault(name, None)
        elif isinstance(kind, type) and issubclass(kind, BaseModel):
            inner = complete.get(name)
            if isinstance(inner, Mapping):
                complete[name] = with_nones(kind, inner)
    return complete


def said_nones(model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
    """``data`` with None wherever it says ``"none"`` and ``model`` admits None.

    Of a file in which what is left out is the default, None needs a word.
    """
    found = dict(data)
    for name, value in data.items():
        kind = model.model_fields[name].annotation if name in model.model_fields else None
        if value == "none" and type(None) in get_args(kind):
            found[name] = None
        elif isinstance(value, Mapping) and isinstance(kind, type) and issubclass(kind, BaseModel):
            found[name] = said_nones(kind, value)
    return found


def _section(model: BaseModel, path: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    tables: list[str] = []
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            about = (type(value).__doc__ or "").strip().splitlines()
            tables += ["", *(f"# {line}" for line in about[:1]), _header((*path, name))]
            tables += _section(value, (*path, name))
        elif isinstance(value, dict):
            tables += ["", *([f"# {info.description}"] if info.description else [])]
            tables += [_header((*path, name))]
            tables += [f"{_key(k)} = {_value(v)}" for k, v in value.items()]
        elif value is not None:
            lines += _entry(name, value, info.description)
    return lines + tables


def _entry(name: str, value: Any, about: str | None) -> list[str]:
    entry = f"{_key(name)} = {_prose(value) if isinstance(value, str) else _value(value)}"
    if not about:
        return [entry]
    beside = f"{entry}  # {about}"
    if "\n" not in entry and len(beside) <= _COLUMNS:
        return [beside]
    return [f"# {about}:", entry]


def _header(path: tuple[str, ...]) -> str:
    return f"[{'.'.join(map(_key, path))}]"


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _quoted(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _quoted(value)
    items = [_value(item) for item in value]
    flat = f"[{', '.join(items)}]"
    if len(flat) <= _COLUMNS - 30:
        return flat
    if all(isinstance(item, int | float) for item in value):
        return (
            "[\n" + textwrap.indent(textwrap.fill(f"{', '.join(items)},", _COLUMNS), "  ") + "\n]"
        )
    return "[\n" + "".join(f"  {item},\n" for item in items) + "]"


def _escape(character: re.Match[str]) -> str:
    found = character.group()
    return _SHORT_ESCAPES.get(found, f"\\u{ord(found):04x}")


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_UNPRINTABLE.sub(_escape, escaped)}"'


def _prose(text: str) -> str:
    """Long text as a multi-line string, filled to the width of the page.

    A backslash at the end of a line takes the line break and the blanks after it out of the value,
    so lines break only before a word; a line break of the text itself stands as it is.
    """
    if len(text) < 70 and "\n" not in text:
        return _quoted(text)
    # The blanks that follow the opening backslash would be lost: the first one is spelt out.
    first = re.match(r"[ \t\n]", text)
    head = f"\\u{ord(first.group()):04x}" if first else ""
    paragraphs = text[len(first.group()) if first else 0 :].split("\n")
    body = "\n".join(_fill(paragraph) for paragraph in paragraphs)
    return f'"""\\\n{head}{body}\\\n"""'


def _fill(paragraph: str) -> str:
    lines = [""]
    for word in re.split(r"(?<= )(?=[^ \t])", paragraph):
        escaped = word.replace("\\", "\\\\").replace('"""', '""\\"')
        escaped = _UNPRINTABLE.sub(_escape, escaped)
        if lines[-1] and len(lines[-1]) + len(escaped) >= _COLUMNS:
            lines.append("")
        lines[-1] += escaped
    return "\\\n".join(lines)
