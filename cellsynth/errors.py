"""Every error the library raises on purpose.

Each class is also the builtin a caller would expect, so ``except ValueError`` works for those who
do not know us. A message reads: where · what was found · what was expected · what to do next.
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CellsynthError",
    "DependencyError",
    "FormatError",
    "InUseError",
    "InputError",
    "MissingError",
    "ShapeError",
    "StorageError",
    "TeamError",
    "TopologyError",
]


class CellsynthError(Exception):
    """Base of all errors below; the command line prints it as one red line and exits with 1."""


class InputError(CellsynthError, ValueError):
    """An option or argument that cannot be used."""


class ShapeError(CellsynthError, ValueError):
    """An array or tensor whose shape does not fit."""


class FormatError(CellsynthError, ValueError):
    """A file that does not follow its format."""


class BundleError(CellsynthError, ValueError):
    """A preset bundle that is incomplete, misspelt, altered or unsafe."""


class MissingError(CellsynthError, FileNotFoundError):
    """A file, folder or preset that is not there."""


class InUseError(CellsynthError, FileExistsError):
    """An output folder that holds something already."""


class StorageError(CellsynthError, OSError):
    """The disk refused: full, read-only, gone."""


class DependencyError(CellsynthError, ImportError):
    """An optional package that is not installed; the message names the extra."""


class TeamError(CellsynthError, ConnectionError):
    """One of several processes at one training that is gone, or cannot be reached."""


class TopologyError(CellsynthError, RuntimeError):
    """Drawn cells that break the preset's rule more often than a generator may accept."""
