"""Numbers as the studies write them: in tables of Markdown, with their spread."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from cellsynth.studies.results import StudyResult, Table

__all__ = ["markdown_table", "mean_sd", "paragraph", "plain"]

TINY_P = 0.001


def mean_sd(values: Sequence[float] | NDArray[np.floating], digits: int = 3) -> str:
    """``0.954 ± 0.009``: mean and standard deviation, of the sample where there are two or more."""
    known = np.asarray(values, np.float64)
    sd = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    return f"{known.mean():.{digits}f} ± {sd:.{digits}f}"


def plain(p: float) -> str:
    """A p-value as the paper writes them."""
    return "< 0.001" if p < TINY_P else f"{p:.3f}"


def markdown_table(table: Table) -> str:
    """A table; the first column is text, the others are numbers."""
    lines = [_row(table.head), "|---|" + "---:|" * (len(table.head) - 1)]
    return "\n".join([*lines, *(_row(row) for row in table.rows)])


def paragraph(result: StudyResult) -> str:
    """What a study says, in Markdown: text, tables, and whether the paper's orderings hold."""
    parts = [result.text]
    parts += [f"{table.title}:\n\n{markdown_table(table)}" for table in result.tables]
    claims = [
        f"- {'Holds' if o.holds else '**Does not hold**'}: {o.claim}. Here: {o.ours}."
        for o in result.orderings
    ]
    parts.append("\n".join(claims))
    threads = f"{result.threads} thread{'s' * (result.threads != 1)}"
    parts.append(
        f"Scale `{result.scale}`, seed {result.seed}, {result.minutes:.1f} minutes on {threads} "
        f"({result.core_minutes:.1f} of processor time)."
    )
    return "\n\n".join(parts) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
