"""Writing to disk: refusals as one clear line, links where the file system has them."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cellsynth.errors import CellsynthError, StorageError

__all__ = [
    "REPLACES",
    "as_text",
    "link_or_copy",
    "remove",
    "storing",
    "whole_file",
    "whole_or_nothing",
]

# In a working folder: what is made there may replace what lies where it goes, so that whoever
# resumes it need not say so again.
REPLACES = "replaces"

_ADVICE = {
    errno.ENOSPC: "free some space or choose another folder",
    errno.EDQUOT: "free some space or choose another folder",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder you may write to",
}


@contextmanager
def storing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what the operating system refuses while ``path`` is written into a `StorageError`."""
    try:
        yield
    except CellsynthError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error) or type(error).__name__).lower()
        advice = _ADVICE.get(error.errno or 0, "check the folder and the disk")
        message = f"{os.fspath(path)} could not be written: {reason}; {advice}"
        raise StorageError(message) from error


def as_text(name: str) -> str:
    """The name of a file, or a text with such names, as text: bytes that are no UTF-8 become �."""
    return os.fsencode(name).decode("utf-8", "replace")


def link_or_copy(source: Path, target: Path) -> None:
    """Make ``target`` a hard link to ``source``, or a copy where the file system has no links.

    Raises:
        StorageError: The disk refused both, or ``target`` exists.
    """
    with storing(target):
        try:
            target.hardlink_to(source)
        except FileExistsError:
            raise
        except OSError:
            try:
                shutil.copyfile(source, target)
            except OSError:
                remove(target)
                raise


def remove(path: Path) -> None:
    """Remove a file or a whole folder, if it is there; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside ``path`` for a file that takes its name at the end, or is removed.

    Raises:
        StorageError: The disk refused.
    """
    part = path.with_name(f"{path.name}.part")
    with storing(path):
        try:
            yield part
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside ``folder`` that takes its name at the end, or is removed.

    What lies at ``folder`` is replaced; whether it may be is for the caller to say.

    Raises:
        StorageError: The disk refused.
    """
    temporary: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        new, old = temporary / "new", temporary / "old"
        new.mkdir()
        yield new
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    except CellsynthError:
        raise
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
