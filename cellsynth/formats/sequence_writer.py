"""What writers of one sequence share: whole or absent, each frame once, a lineage that fits."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from cellsynth.errors import InputError, InUseError, StorageError
from cellsynth.formats.ctc_names import is_sequence_name
from cellsynth.formats.lineage import Lineage, presence_faults, raise_first
from cellsynth.formats.storage import remove, storing

__all__ = ["SequenceWriter", "StrPath"]

StrPath = str | os.PathLike[str]
Self = TypeVar("Self", bound="SequenceWriter")


class SequenceWriter:
    """Writes one sequence into a folder of its own.

    Frames may be written in any order and from several threads. Used as a context manager it
    leaves nothing behind where the block fails or the sequence was not finished.

    Attributes:
        folder: The sequence's folder.
        n_frames: Its frames.
    """

    def __init__(self, root: StrPath, name: str, ending: str, n_frames: int) -> None:
        """Begin a sequence; nothing is made yet.

        Args:
            root: Folder of the data set; it is made where it is missing.
            name: Number of the sequence, as ``"01"``.
            ending: What its folder is called after the number.
            n_frames: Its frames.

        Raises:
            InputError: No number of a sequence.
            InUseError: The sequence is there already.
        """
        if not is_sequence_name(name):
            raise InputError(f"a sequence is named 01, 02 … 99, 100 …, got {name!r}")
        self.folder = Path(root) / f"{name}{ending}"
        self.n_frames = n_frames
        self._finished = False
        if self.folder.exists():
            raise InUseError(f"{self.folder} is there already; choose another folder or remove it")
        self._root_is_ours = not Path(root).exists()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._finished:
            self.abort()

    def abort(self) -> None:
        """Remove what was written."""
        remove(self.folder)
        if self._root_is_ours:
            with suppress(OSError):  # somebody else put something there meanwhile
                self.folder.parent.rmdir()

    @contextmanager
    def _making(self, folder: Path) -> Iterator[None]:
        """Make ``folder``, and in the block what is needed in it; a failure leaves nothing."""
        try:
            with storing(folder):
                folder.mkdir(parents=True)
                yield
        except StorageError:
            self.abort()
            raise

    def _check_new(self, t: int, written: Container[int]) -> None:
        """Raise InputError unless ``t`` is a frame that was not written before."""
        there = t in written
        if there or not 0 <= t < self.n_frames:
            what = "was written before" if there else f"is not in 0 … {self.n_frames - 1}"
            raise InputError(f"{self.folder.name}: frame {t} {what}")

    def _check_whole(self, lineage: Lineage, labels: Mapping[int, set[int]]) -> None:
        """Raise InputError where a frame is missing, or lineage and ``labels`` do not fit."""
        missing = sorted(set(range(self.n_frames)) - labels.keys())
        if missing:
            raise InputError(
                f"{self.folder.name}: frame {missing[0]} was not written "
                f"({len(missing)} of {self.n_frames} missing)"
            )
        lineage.check(self.n_frames)
        raise_first(self.folder.name, presence_faults(lineage.tracklets, labels))
