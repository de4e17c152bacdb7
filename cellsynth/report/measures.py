"""The sections of a report that are numbers: descriptors over time, and how two sets compare."""

from __future__ import annotations

import dominate.tags as html
from dominate import svg
from dominate.dom_tag import dom_tag

from cellsynth.evaluation.models import Descriptor, Distribution, Evaluation, SetMeasures, Test
from cellsynth.report.charts import Curve, line_chart, number
from cellsynth.report.page import Section, scrolling_table

__all__ = ["comparison_section", "descriptors_section"]

TITLES: dict[Descriptor, str] = {
    "volume_um3": "Volume, µm³",
    "surface_um2": "Surface, µm²",
    "sphericity_wadell": "Sphericity, π^⅓(6V)^⅔/S",
    "sphericity_paper": "Sphericity of the paper, 36πV²/S³",
}
TOPOLOGY = {
    "bodies": "cells, counted in every frame",
    "in_pieces": "of these in several pieces",
    "with_handles": "of these with a handle",
    "with_voids": "of these with a closed hollow",
    "at_border": "of these cut by the border of the image, left out",
}
DEFINITIONS = (
    (
        "Kolmogorov-Smirnov distance D",
        "The largest difference of the two distribution functions: 0 where both sets are alike, "
        "1 where no value of one is reached by the other.",
    ),
    (
        "p exchanged",
        "The one to trust. Families are dealt out to the two sets anew, and p is the share of "
        "deals in which D is at least as large as here.",
    ),
    (
        "p per family",
        "One mean a family is a sample: honest, but blind to what happens within its time.",
    ),
    (
        "p worst frame",
        "The smallest p of all frames, which is small by itself; only where frames agree.",
    ),
    (
        "p pooled",
        "As in the paper: every frame of every cell as if it were independent of the others. It "
        "believes in too many samples, so it finds differences that are none.",
    ),
)


def descriptors_section(found: Evaluation, n_sequences: int, frames: int | None = None) -> Section:
    """Descriptors over time, and their means.

    Args:
        found: What was measured.
        n_sequences: Sequences of the set, of which fewer may have been measured.
        frames: How many frames of a sequence were shown and measured; None is all.
    """
    sets = [found.of] if found.against is None else [found.of, found.against]
    scale, x_title = _time_axis(sets)
    legend = html.ul(
        *(html.li(_mark(i), f"{one.name}, {_families(one)}") for i, one in enumerate(sets)),
        cls="legend",
    )
    charts = []
    for key, title in TITLES.items():
        curves = [_curve(one, key, i, scale[i], gaps=frames is None) for i, one in enumerate(sets)]
        told = f"{title} over time: {'; '.join(_told(one, key) for one in sets)}"
        drawing = line_chart(curves, title=told, x_title=x_title)
        charts.append(html.figure(html.h3(title), drawing))
    head = ["mean ± standard deviation over frames", *(one.name for one in sets)]
    rows = [[title, *(_mean_sd(one, key) for one in sets)] for key, title in TITLES.items()]
    rows.append(["independent samples (families)", *(str(_n_families(one)) for one in sets)])
    rows += [
        [name, *(str(getattr(one.topology, key)) for one in sets)] for key, name in TOPOLOGY.items()
    ]
    about = "Lines are means over families, bands hold the middle half of them. A family is a cell "
    about += "and all that it divides into; its cells are averaged first."
    measured = len(found.of.sequences)
    parts = []
    if measured < n_sequences:
        parts.append(f"the first {measured} of {n_sequences} sequences")
    if frames is not None:
        longest = max(s.frames for s in found.of.sequences)
        parts.append(f"{min(frames, longest)} of {longest} frames, in pictures too")
    note = f"Measured are {' and '.join(parts)}; cellsynth report takes all." if parts else ""
    table = scrolling_table("Means and topology", head, rows)
    content = [legend, html.div(*charts, cls="charts"), html.details(
        html.summary("Numbers"), table, open=True)]  # fmt: skip
    return Section("measures", "Measures", "Descriptors over time", about, content, note)


def comparison_section(found: Evaluation) -> Section | None:
    """Kolmogorov-Smirnov tests; None where there is nothing to compare with."""
    if found.samples is None or found.against is None:
        return None
    head = [
        "",
        "D",
        "p exchanged",
        "p per family",
        "p worst frame",
        "p pooled",
        "families",
        "values",
    ]
    rows = [_row(d) for d in found.samples.distributions]
    table = scrolling_table("Kolmogorov-Smirnov tests", head, rows)
    definitions = html.dl(cls="defs")
    for term, meaning in DEFINITIONS:
        definitions.add(html.dt(term), html.dd(meaning))
    mine, other = found.samples.distributions[0].independent
    about = (
        f"Two-sample Kolmogorov-Smirnov tests of {found.of.name} against {found.against.name}: "
        f"{mine} against {other} independent samples, which are families, not frames; "
        f"{found.samples.exchanges} exchanges, seed {found.samples.seed}."
    )
    sizes = {s.voxel_size_um for one in (found.of, found.against) for s in one.sequences}
    note = ""
    if len(sizes) > 1:
        note = (
            "Voxels of the two sets differ in size; surfaces of small cells differ by that alone."
        )
    name = "Compared"
    return Section("compared", name, "Alike or not", about, [table, definitions], note)


def _row(d: Distribution) -> list[str]:
    tests = d.tests
    return [
        TITLES[d.descriptor],
        f"{tests.exchanged.statistic:.3f}",
        *(
            _p(test)
            for test in (tests.exchanged, tests.per_family, tests.worst_frame, tests.pooled)
        ),
        " and ".join(map(str, d.independent)),
        " and ".join(map(str, d.values)),
    ]


def _p(test: Test | None) -> str:
    if test is None:
        return "–"
    return f"{test.p:.3f}" if test.p >= 0.001 else "< 0.001"


def _time_axis(sets: list[SetMeasures]) -> tuple[list[float], str]:
    """What a frame counts in each set, and the name of the axis: minutes, frames, or a share."""
    intervals = [{s.frame_interval_s for s in one.sequences} for one in sets]
    if all(len(of_set) == 1 and None not in of_set for of_set in intervals):
        seconds = [next(iter(of_set)) or 0.0 for of_set in intervals]
        longest = max(
            s * (len(one.summary["volume_um3"].n) - 1) for s, one in zip(seconds, sets, strict=True)
        )
        unit, name = (1.0, "time, s") if longest < 300 else (60.0, "time, min")
        if longest > 6 * 3600:
            unit, name = 3600.0, "time, h"
        return [s / unit for s in seconds], name
    lengths = [len(one.summary["volume_um3"].n) for one in sets]
    if len(set(lengths)) == 1:
        return [1.0] * len(sets), "frame"
    return [100 / max(1, n - 1) for n in lengths], "share of the sequence, %"


def _curve(one: SetMeasures, key: Descriptor, series: int, scale: float, *, gaps: bool) -> Curve:
    """The course of a descriptor; where frames were left out, without ``gaps`` between others."""
    summary = one.summary[key]
    at = [i for i, n in enumerate(summary.n) if gaps or n]
    mean, low, high = ([part[i] for i in at] for part in (summary.mean, summary.q1, summary.q3))
    return Curve(one.name, series, [scale * i for i in at], mean, low, high)


def _told(one: SetMeasures, key: Descriptor) -> str:
    means = [value for value in one.summary[key].mean if value is not None]
    if not means:
        return f"{one.name}, no whole cell"
    return f"{one.name}, {number(means[0])} first, {number(means[-1])} last"


def _mean_sd(one: SetMeasures, key: Descriptor) -> str:
    overall = one.overall[key]
    if overall.mean is None:
        return "no whole cell"
    return f"{number(overall.mean)} ± {number(float(f'{overall.sd:.3g}'))}"


def _n_families(one: SetMeasures) -> int:
    return max(overall.families for overall in one.overall.values())


def _families(one: SetMeasures) -> str:
    n = _n_families(one)
    return f"{n} {'family' if n == 1 else 'families'}"


def _mark(series: int) -> dom_tag:
    line = svg.polyline(points="1,10 33,10", cls=f"line series{series}")
    band = svg.rect(x=1, y=3, width=32, height=14, cls=f"band series{series}")
    return svg.svg(band, line, viewBox="0 0 34 20", aria_hidden="true")
