"""A folder or a zip, seen alike: named files that are read into memory, up to a limit.

A zip is never unpacked to disk. Its directory is judged whole before any of it is read.
"""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cellsynth.errors import BundleError, MissingError, StorageError
from cellsynth.presets.tensors import refuse_pickle

__all__ = ["Container", "is_file", "is_folder", "open_container"]

MAX_FILE = 256 * 2**20
MAX_TOTAL = 512 * 2**20
MAX_FILES = 64
_NOISE = ("__MACOSX/", ".DS_Store")  # what macOS adds to a zip


@dataclass(frozen=True)
class Container:
    """Named files.

    Attributes:
        path: The folder or zip they lie in.
        names: Their names, without folders.
        read: Bytes of a file of that name. Raises MissingError where there is none, BundleError
            where it is too large or damaged.
    """

    path: Path
    names: frozenset[str]
    read: Callable[[str], bytes]


def open_container(path: Path) -> Container:
    """The folder or zip at ``path``.

    Raises:
        MissingError: Nothing is there.
        StorageError: It cannot be read.
        BundleError: A pickle, neither folder nor zip, or a zip that is unsafe or damaged.
    """
    if is_folder(path):
        return _folder(path)
    if not is_file(path):
        raise MissingError(f"{path} is not there; expected a preset's folder or zip")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    # By name alone here: a zip is welcome as a container, and what is in it is judged below.
    refuse_pickle(b"" if start[:4] == b"PK\x03\x04" else start, str(path))
    if not zipfile.is_zipfile(path):
        raise BundleError(f"{path} is neither a folder nor a zip; expected a preset bundle")
    return _zip(path)


def is_file(path: Path) -> bool:
    """Whether a file is there that we may look at; a name too long for a file is none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a folder is there that we may look at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _folder(path: Path) -> Container:
    try:
        names = frozenset(entry.name for entry in path.iterdir() if is_file(entry))
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error

    def read(name: str) -> bytes:
        if name not in names:
            raise MissingError(f"{path}: {name} is missing")
        try:
            with (path / name).open("rb") as file:
                data = file.read(MAX_FILE + 1)
        except OSError as error:
            raise StorageError(f"{path / name} cannot be read: {error.strerror}") from error
        if len(data) > MAX_FILE:
            raise BundleError(f"{path}: {name} is too large; at most {_mib(MAX_FILE)} MiB")
        return data

    return Container(path, names, read)


def _zip(path: Path) -> Container:
    try:
        with zipfile.ZipFile(path) as archive:
            members = _judged(path, archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path} is a damaged zip ({error})") from None

    def read(name: str) -> bytes:
        if name not in members:
            raise MissingError(f"{path}: {name} is missing")
        try:
            with zipfile.ZipFile(path) as archive, archive.open(members[name]) as file:
                # The size in the directory was judged; a member that says less than it holds
                # is cut there and then fails its checksum.
                return file.read(members[name].file_size + 1)
        except (zipfile.BadZipFile, NotImplementedError, zlib.error, EOFError, OSError) as error:
            raise BundleError(f"{path}: {name} is damaged ({error})") from None

    return Container(path, frozenset(members), read)


def _judged(path: Path, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """The files of a zip by name; a zip that only one who means harm would make is refused."""
    if len(infos) > MAX_FILES:
        raise BundleError(f"{path} holds {len(infos)} files; a preset has at most {MAX_FILES}")
    total = sum(info.file_size for info in infos)
    if total > MAX_TOTAL:
        raise BundleError(
            f"{path} would unpack to {_mib(total)} MiB; a preset has at most {_mib(MAX_TOTAL)} MiB"
        )
    members: dict[str, zipfile.ZipInfo] = {}
    parents: set[str] = set()
    for info in infos:
        name = info.filename
        parts = name.rstrip("/").split("/")
        # A drive, a stream or a backslash means another folder on some systems.
        if any(part in {"", ".", ".."} for part in parts) or set(name) & set("\\:\0"):
            raise BundleError(f"{path}: {name!r} leaves the folder; refused")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            raise BundleError(f"{path}: {name!r} is a link or a device; refused")
        if info.flag_bits & 1:
            raise BundleError(f"{path}: {name!r} is encrypted; expected a plain zip")
        if info.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise BundleError(f"{path}: {name!r} is not packed with deflate; pack it again")
        if info.file_size > MAX_FILE:
            raise BundleError(
                f"{path}: {name!r} would unpack to {_mib(info.file_size)} MiB; "
                f"at most {_mib(MAX_FILE)} MiB"
            )
        refuse_pickle(b"", f"{path}: {name}")
        if info.is_dir() or name.startswith(_NOISE[0]) or parts[-1] == _NOISE[1]:
            continue
        if len(parts) > 2:
            raise BundleError(f"{path}: {name!r} lies too deep; expected one folder of files")
        if parts[-1] in members:
            raise BundleError(f"{path}: {parts[-1]!r} is there twice; refused")
        parents.add("/".join(parts[:-1]))
        members[parts[-1]] = info
    if len(parents) > 1:
        raise BundleError(f"{path} holds folders {sorted(parents)}; expected one preset")
    return members


def _mib(size: int) -> int:
    return -(-size // 2**20)
