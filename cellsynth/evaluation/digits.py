"""Numbers as results carry them: six digits, and None for what is not there."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

__all__ = ["short", "shorts", "with_gaps"]


def short(value: float) -> float:
    """Six digits: more than any of it is good for."""
    return float(f"{value:.6g}")


def shorts(values: Iterable[float]) -> tuple[float, ...]:
    """Six digits of each."""
    return tuple(short(value) for value in values)


def with_gaps(values: Iterable[float]) -> tuple[float | None, ...]:
    """Six digits of each, None for NaN."""
    return tuple(None if np.isnan(value) else short(value) for value in values)
