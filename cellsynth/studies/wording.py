"""Numbers as the studies write them: in tables of Markdown, with their spread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.studies.results import StudyResult, Table

__all__ = ["markdown_table", "mean_sd", "paragraph", "plain", "sample_sd", "settings_told"]

TINY_P = 0.001
# What is told of these sections is where they differ from what they are by default.
_USUAL: dict[str, type[Recipe] | type[FieldSpec]] = {
    "recipe": Recipe,
    "field": FieldSpec,
    "siren": FieldSpec,
    "deepsdf": FieldSpec,
}


def mean_sd(values: Sequence[float] | NDArray[np.floating], digits: int = 3) -> str:
    """``0.954 ± 0.009``: mean and standard deviation of the sample."""
    return f"{np.mean(values):.{digits}f} ± {sample_sd(values):.{digits}f}"


def sample_sd(values: Sequence[float] | NDArray[np.floating]) -> float:
    """Standard deviation of a sample; 0 where there is one value alone."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


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
    parts.append(f"Settings: {'; '.join(settings_told(result.settings))}.")
    threads = f"{result.threads} thread{'s' * (result.threads != 1)}"
    if result.device != "cpu":
        threads += f" and {result.device}"
    parts.append(
        f"Scale `{result.scale}`, seed {result.seed}, {result.minutes:.1f} minutes on {threads} "
        f"({result.core_minutes:.1f} of processor time)."
    )
    return "\n\n".join(parts) + "\n"


def settings_told(settings: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Settings as ``cells kind a549``, one after another; of recipes and fields what is unusual."""
    for key, value in settings.items():
        name = f"{path} {key}".strip()
        usual = _USUAL.get(key)
        if isinstance(value, Mapping):
            known = usual().model_dump(mode="json") if usual else {}
            unusual = {k: v for k, v in value.items() if k not in known or known[k] != v}
            if usual:
                unusual = {k: "none" if v is None else v for k, v in unusual.items()}
            if usual and not unusual:
                yield f"{name} as by default"
            yield from settings_told(unusual, name)
        elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
            for i, entry in enumerate(value, 1):
                yield from settings_told(entry, f"{name} {i}")
        elif isinstance(value, Sequence) and not isinstance(value, str):
            yield f"{name} {', '.join(map(_told, value))}"
        elif value is not None:
            yield f"{name} {_told(value)}"


def _told(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"
