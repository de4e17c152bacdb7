"""The models' verdicts in our own words: full path, what was found, what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from cellsynth.errors import BundleError, CellsynthError, InputError

__all__ = ["judge", "nearest", "override"]

M = TypeVar("M", bound=BaseModel)

_WORDS = {
    "missing": "is missing",
    "greater_than": "must be above {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be below {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode text",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "must match {pattern}",
    "tuple_type": "must be a list",
    "dict_type": "must be a section",
    "model_type": "must be a section",
    "model_attributes_type": "must be a section",
}
_MOST = 3  # faults named in one message


def judge(
    model: type[M],
    data: Mapping[str, Any],
    subject: str,
    error: type[CellsynthError] = BundleError,
) -> M:
    """``data`` as a ``model``.

    Args:
        model: The model that judges.
        data: Nested mappings, as read from TOML.
        subject: What the message begins with, such as ``preset celegans``.
        error: Class of the error raised.

    Raises:
        CellsynthError: Of class ``error``, one line: every fault (three at most) with its full
            path, what was expected and what was found; a misspelt key with the nearest right one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as invalid:
        faults = _faults(model, invalid)
    more = f"; and {len(faults) - _MOST} more" if len(faults) > _MOST else ""
    raise error(f"{subject}: {'; '.join(faults[:_MOST])}{more}")


def override(preset: M, changes: Mapping[str, Any], subject: str = "options") -> M:
    """``preset`` with some values replaced, judged by the same model.

    Args:
        preset: Any of the models.
        changes: New values by full path, such as ``{"sampling.gaussian.sigma": 0.002}``.
        subject: What an error message begins with.

    Raises:
        InputError: A path that the model does not know, or a value that it refuses.
    """
    data = preset.model_dump()
    for path, value in changes.items():
        *sections, key = path.split(".")
        section: Any = data
        for name in sections:
            section = section.get(name) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            known = [".".join(p) for p in _paths(type(preset))]
            raise InputError(f"{subject}: {path} is unknown{nearest(path, known)}")
        section[key] = value
    return judge(type(preset), data, subject, InputError)


def nearest(word: str, known: list[str]) -> str:
    """The words ``; did you mean …?`` if one of ``known`` is near, and nothing otherwise."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _faults(model: type[BaseModel], invalid: ValidationError) -> list[str]:
    details = invalid.errors(include_url=False)
    missing = {tuple(map(str, d["loc"])) for d in details if d["type"] == "missing"}
    unknown: list[str] = []
    meant: set[tuple[str, ...]] = set()
    for detail in details:
        if detail["type"] == "extra_forbidden":
            path = tuple(map(str, detail["loc"]))
            right = _right_path(model, path, missing - meant)
            hint = ""
            if right:
                meant.add(right)
                same = right[:-1] == path[:-1]
                hint = f"; did you mean {right[-1] if same else '.'.join(right)}?"
            unknown.append(f"{'.'.join(path)} is unknown{hint}")
    # A misspelt key that must be there is one fault, not two.
    rest = [
        _words(dict(d))
        for d in details
        if d["type"] != "extra_forbidden" and tuple(map(str, d["loc"])) not in meant
    ]
    return unknown + list(dict.fromkeys(rest))


def _right_path(
    model: type[BaseModel], path: tuple[str, ...], missing: set[tuple[str, ...]]
) -> tuple[str, ...] | None:
    """The known path that a misspelt one is likely to mean: a missing one, a sibling, any."""
    paths = list(_paths(model))
    siblings = [p for p in paths if p[:-1] == path[:-1]]
    for candidates in ([p for p in siblings if p in missing], siblings):
        near = difflib.get_close_matches(path[-1], [p[-1] for p in candidates], n=1, cutoff=0.6)
        if near:
            return (*path[:-1], near[0])
    # The right key in the wrong section.
    return next((p for p in paths if p[-1] == path[-1]), None)


def _paths(model: type[BaseModel], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, info in model.model_fields.items():
        yield (*prefix, name)
        # A section that may be absent is the union of its model and None.
        for kind in (info.annotation, *get_args(info.annotation)):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from _paths(kind, (*prefix, name))


def _words(detail: dict[str, Any]) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    loc = [str(part) for part in detail["loc"] if part != "[key]"]
    # Of a flag's several numbers, none has a name that a user would know.
    path = ".".join(loc[:1] if loc and loc[0].startswith("--") else loc)
    if kind == "value_error":
        # Our own validators name the key themselves; the location is the section around it.
        return f"{path}.{context['error']}" if path else str(context["error"])
    words = _WORDS.get(kind)
    expected = words.format(**context) if words else f"is wrong ({detail['msg']})"
    if kind == "missing":
        return f"{path} {expected}"
    got = repr(detail["input"])
    return f"{path} {expected}, got {got if len(got) <= 60 else got[:57] + '...'}"
