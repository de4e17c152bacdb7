"""The file of a report: replaced where it is one of ours, refused where it is not."""

from __future__ import annotations

import re
from pathlib import Path

from cellsynth.errors import InUseError, MissingError
from cellsynth.formats.storage import whole_file
from cellsynth.report.page import GENERATOR

__all__ = ["REPORT", "check_report", "report_is_of", "write_page"]

REPORT = "report.html"
HEAD_BYTES = 4096  # the part of a page in which it says what it is

_GENERATOR = re.compile(rf'<meta content="{re.escape(GENERATOR)}" name="generator">')
_OF = re.compile(r'<meta content="([0-9a-f]{64})" name="cellsynth-of">')


def check_report(path: Path, *, overwrite: bool) -> None:
    """Refuse, before anything is looked at, a file that could not be written in the end.

    Raises:
        InUseError: Something else lies there, or it is a folder.
        MissingError: Its folder is not there.
    """
    if path.is_dir():
        raise InUseError(f"{path} is a folder; give the name of a file")
    if path.exists() and not overwrite and not _GENERATOR.search(_head(path)):
        raise InUseError(f"{path} is there already and is no report; pass --overwrite or --out")
    if not path.absolute().parent.is_dir():
        raise MissingError(f"{path} cannot be written: its folder is not there")


def report_is_of(path: Path, digest: str) -> bool:
    """Whether a report lies there that was made of a set with this digest."""
    found = _OF.search(_head(path)) if path.is_file() else None
    return bool(digest) and found is not None and found[1] == digest


def write_page(path: Path, content: bytes) -> None:
    """Write it under another name, and rename it.

    Raises:
        StorageError: The disk refused; nothing is left behind.
    """
    with whole_file(path) as part:
        part.write_bytes(content)


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
