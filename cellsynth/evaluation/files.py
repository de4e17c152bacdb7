"""The files of results, written and read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from cellsynth.errors import FormatError, InUseError, MissingError
from cellsynth.evaluation.models import FORMAT, Evaluation
from cellsynth.formats.storage import whole_file
from cellsynth.presets.judge import judge

__all__ = ["check_target", "read_evaluation", "read_result", "write_evaluation", "write_result"]

M = TypeVar("M", bound=BaseModel)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse, before anything is measured, a file that could not be written in the end.

    Raises:
        InUseError: It is there already and is not to be replaced, or is a folder.
        MissingError: Its folder is not there.
    """
    if path.is_dir():
        raise InUseError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite:
        raise InUseError(f"{path} is there already; pass --overwrite or another name")
    if not path.absolute().parent.is_dir():
        raise MissingError(f"{path} cannot be written: its folder is not there")


def write_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation; raises as :func:`write_result`."""
    write_result(path, evaluation)


def write_result(path: Path, result: BaseModel) -> None:
    """Write it as JSON under another name, and rename it.

    Raises:
        StorageError: The disk refused; nothing is left behind.
    """
    with whole_file(path) as part:
        part.write_text(result.model_dump_json() + "\n", encoding="utf-8")


def read_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """An evaluation from the file that ``cellsynth evaluate --json`` wrote.

    Raises as :func:`read_result`.
    """
    made_by = "evaluation; make one with cellsynth evaluate SET --json"
    return read_result(path, Evaluation, FORMAT, made_by)


def read_result(path: str | os.PathLike[str], model: type[M], file_format: str, made_by: str) -> M:
    """A result from its file.

    Args:
        path: The file.
        model: What it is.
        file_format: What its key ``format`` says.
        made_by: What it is in words, and how to make one.

    Raises:
        MissingError: There is no such file.
        FormatError: It is something else, or has keys that are missing, unknown or wrong.
    """
    name = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingError(f"{name} is not there") from None
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{name} cannot be read: {error}") from error
    try:
        data = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{name} is no JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != file_format:
        raise FormatError(f"{name} is no {made_by}")
    return judge(model, data, name, FormatError)
