"""The page of experiments: what was measured stands between marks, put there from the results.

A study's part of the page is written by hand, but for what lies between its two marks::

    <!-- measured: omega -->
    <!-- end of omega -->
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from cellsynth.errors import FormatError, MissingError
from cellsynth.formats.storage import storing, whole_file
from cellsynth.studies.catalogue import STUDIES
from cellsynth.studies.results import RESULT, StudyResult, read_study
from cellsynth.studies.runner import FIGURE
from cellsynth.studies.wording import paragraph

__all__ = ["NOT_RUN", "filled", "overview", "update_page"]

NOT_RUN = "**Not run yet.**"
OVERVIEW = "overview"


def update_page(page: Path, folders: Sequence[Path], images: Path) -> list[str]:
    """Put the results of studies, and their figures, in their places.

    Args:
        page: The page, in Markdown; all studies have their marks in it.
        folders: Results of ``cellsynth study``.
        images: Folder beside the page for the figures.

    Returns:
        Names of the studies that are not among them, and so are said to be not run.

    Raises:
        MissingError, FormatError: A folder without a result, or a page without marks.
    """
    if not page.is_file():
        raise MissingError(f"{page} is not there; expected the page of experiments")
    read = [(folder, read_study(folder / RESULT)) for folder in folders]
    results = {result.study: result for _, result in read}
    where = images.relative_to(page.parent).as_posix()
    text = filled(page.read_text(encoding="utf-8"), results, where)
    for folder, result in read:
        with storing(images):
            images.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / FIGURE, images / f"study-{result.study}.png")
    with whole_file(page) as part:
        part.write_text(text, encoding="utf-8")
    return [name for name in STUDIES if name not in results]


def filled(text: str, results: Mapping[str, StudyResult], images: str) -> str:
    """A page with what was measured between the marks of every study, and in the overview."""
    for name in STUDIES:
        result = results.get(name)
        body = NOT_RUN
        if result is not None:
            shown = f"![{result.title}]({images}/study-{name}.png)"
            body = f"{paragraph(result).rstrip()}\n\n{shown}"
        text = _between(text, name, body)
    return _between(text, OVERVIEW, overview(results))


def overview(results: Mapping[str, StudyResult]) -> str:
    """A table of all studies: seed, minutes, how many of the paper's claims hold."""
    lines = ["| study | seed | minutes | of processor time | claims that hold |"]
    lines.append("|---|---:|---:|---:|---:|")
    for name in STUDIES:
        result = results.get(name)
        cells = ["not run", "", "", ""]
        if result is not None:
            holding = sum(ordering.holds for ordering in result.orderings)
            cells = [
                f"{result.seed}",
                f"{result.minutes:.1f}",
                f"{result.core_minutes:.1f}",
                f"{holding} of {len(result.orderings)}",
            ]
        lines.append(f"| [{name}](#{name}) | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _between(text: str, name: str, body: str) -> str:
    begin, end = f"<!-- measured: {name} -->", f"<!-- end of {name} -->"
    found = re.findall(f"{re.escape(begin)}.*?{re.escape(end)}", text, re.DOTALL)
    if len(found) != 1:
        raise FormatError(
            f"the page has {len(found)} places for {name}, expected one: {begin} … {end}"
        )
    return text.replace(found[0], f"{begin}\n{body}\n{end}")
