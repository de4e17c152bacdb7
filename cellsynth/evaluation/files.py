"""The file of an evaluation, written and read."""

from __future__ import annotations

import json
import os
from pathlib import Path

from cellsynth.errors import FormatError, InUseError, MissingError
from cellsynth.evaluation.models import FORMAT, Evaluation
from cellsynth.formats.storage import storing
from cellsynth.presets.judge import judge

__all__ = ["check_target", "read_evaluation", "write_evaluation"]


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
    """Write it under another name, and rename it.

    Raises:
        StorageError: The disk refused; nothing is left behind.
    """
    part = path.with_name(f"{path.name}.part")
    with storing(path):
        try:
            part.write_text(evaluation.model_dump_json() + "\n", encoding="utf-8")
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def read_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """An evaluation from the file that ``cellsynth evaluate --json`` wrote.

    Raises:
        MissingError: There is no such file.
        FormatError: It is no evaluation, or has keys that are missing, unknown or wrong.
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
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f"{name} is no evaluation; make one with cellsynth evaluate SET --json")
    return judge(Evaluation, data, name, FormatError)
