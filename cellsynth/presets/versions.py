"""Versions of what made a result, to be carried with it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

__all__ = ["versions"]

_PACKAGES = ("cellsynth", "numpy", "torch", "scipy")


def versions(*also: str) -> dict[str, str]:
    """Python and the packages that a result depends on, and ``also`` these, by name."""
    found = {"python": platform.python_version()}
    for package in (*_PACKAGES, *also):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found
