"""What was measured, put in the words of :mod:`cellsynth.evaluation.models`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.evaluation import models
from cellsynth.evaluation.courses import Courses
from cellsynth.evaluation.digits import short, with_gaps
from cellsynth.evaluation.distributions import Comparison, KSTest, compare
from cellsynth.evaluation.families import MeasuredSequence, set_courses
from cellsynth.evaluation.measures import Agreement, Measures
from cellsynth.evaluation.models import DESCRIPTORS
from cellsynth.formats.lineage import Lineage
from cellsynth.geometry import Triple
from cellsynth.presets.versions import versions

__all__ = ["MeasuredSet", "Pairs", "tell"]

# What measured, beside what every result depends on.
PACKAGES = ("scikit-image", "connected-components-3d")


@dataclass(frozen=True)
class MeasuredSet:
    """A data set, all of whose frames are measured.

    Attributes:
        name: Of its folder.
        sequences: Its sequences.
        manifest: What ``dataset.json`` says; empty where there is none.
    """

    name: str
    sequences: Sequence[MeasuredSequence]
    manifest: Mapping[str, Any]


@dataclass(frozen=True)
class Pairs:
    """Cells that both sets have.

    Attributes:
        partners: Of each compared sequence its number in the set, and in the other one.
        cells: By number in the set and frame, how far each label agrees.
    """

    partners: Mapping[int, int]
    cells: Mapping[tuple[int, int], Mapping[int, Agreement]]


def tell(
    sets: Sequence[MeasuredSet], pairs: Pairs, *, exchanges: int, seed: int
) -> models.Evaluation:
    """The evaluation of one set, or of one against a second.

    Args:
        sets: One or two.
        pairs: Cells that both have.
        exchanges: Times that families are dealt out anew.
        seed: Of that.
    """
    courses = [set_courses(one.sequences) for one in sets]
    told = [_set(one, c) for one, c in zip(sets, courses, strict=True)]
    both = len(sets) == 2
    whole = all(not np.isnan(c.values).all() for c in courses)
    return models.Evaluation(
        format="cellsynth-evaluation",
        version=1,
        versions=versions(*PACKAGES),
        of=told[0],
        against=told[1] if both else None,
        samples=models.Samples(
            exchanges=exchanges,
            seed=seed,
            distributions=tuple(
                _distribution(name, c)
                for name, c in zip(
                    DESCRIPTORS,
                    compare(courses[0], courses[1], exchanges=exchanges, seed=seed),
                    strict=True,
                )
            ),
        )
        if both and whole
        else None,
        overlap=_overlap(sets, pairs) if both and pairs.partners else None,
    )


def _set(one: MeasuredSet, courses: Courses) -> models.SetMeasures:
    said = {**one.manifest.get("source", {}), **one.manifest}
    preset = said.get("preset")
    return models.SetMeasures(
        name=one.name,
        preset=None
        if not isinstance(preset, dict)
        else models.Preset(name=str(preset.get("name")), sha256=str(preset.get("sha256"))),
        seed=said.get("options", {}).get("seed"),
        made_with=said.get("versions"),
        sequences=tuple(_sequence(sequence) for sequence in one.sequences),
        overall={
            name: _overall(values, courses.sequences)
            for name, values in zip(DESCRIPTORS, np.moveaxis(courses.values, -1, 0), strict=True)
        },
        summary={
            name: _summary(values)
            for name, values in zip(
                DESCRIPTORS, np.moveaxis(courses.per_sequence(), -1, 0), strict=True
            )
        },
        topology=_topology(one.sequences),
    )


def _sequence(sequence: MeasuredSequence) -> models.SequenceMeasures:
    source = sequence.source
    known = "frame interval" not in source.assumed
    return models.SequenceMeasures(
        name=source.short_name,
        frames=source.n_frames,
        shape=source.shape,
        voxel_size_um=_point(source.voxel_size_um),
        frame_interval_s=short(source.frame_interval_s) if known else None,
        cells=tuple(
            models.TrackEntry(
                label=t.label,
                begin=t.begin,
                end=t.end,
                parent=t.parent,
                series=_series(sequence.cell(t.label)),
            )
            for t in sequence.lineage().tracklets
        ),
        families=tuple(
            _family(sequence, founder, lineage) for founder, lineage in sequence.families().items()
        ),
    )


def _family(sequence: MeasuredSequence, founder: int, lineage: Lineage) -> models.Family:
    labels = tuple(t.label for t in lineage.tracklets)
    courses = sequence.courses(lineage)
    means = np.full(len(DESCRIPTORS), np.nan)
    if len(courses):
        means = Courses.join([courses], DESCRIPTORS).sequence_means()[0]
    return models.Family(
        founder=founder,
        labels=labels,
        mean=models.Mean(**dict(zip(DESCRIPTORS, with_gaps(means), strict=True))),
        series=_series(sequence.body(founder, labels)),
    )


def _series(found: Mapping[int, Measures]) -> models.Series:
    def numbers(of: Callable[[Measures], float]) -> tuple[float, ...]:
        return tuple(short(of(m)) for m in found.values())

    def counts(of: Callable[[Measures], int]) -> tuple[int, ...]:
        return tuple(of(m) for m in found.values())

    return models.Series(
        frames=tuple(found),
        volume_um3=numbers(lambda m: m.volume_um3),
        surface_um2=numbers(lambda m: m.surface_um2),
        sphericity_wadell=numbers(lambda m: m.sphericity_wadell),
        sphericity_paper=numbers(lambda m: m.sphericity_paper),
        components=counts(lambda m: m.betti.components),
        handles=counts(lambda m: m.betti.handles),
        voids=counts(lambda m: m.betti.voids),
        euler=counts(lambda m: m.betti.euler),
        centroid_um=tuple(_point(m.centroid_um) for m in found.values()),
        at_border=tuple(m.at_border for m in found.values()),
    )


def _overall(values: NDArray[np.float64], families: NDArray[np.int64]) -> models.Overall:
    """Of ``(courses, frames)``, and the family of each course."""
    there = ~np.isnan(values)
    known = values[there]
    mean, sd = with_gaps(
        (known.mean(), known.std(ddof=int(len(known) > 1))) if len(known) else (np.nan,) * 2
    )
    n_families = len(np.unique(families[there.any(axis=1)]))
    return models.Overall(mean=mean, sd=sd, values=len(known), families=n_families)


def _summary(values: NDArray[np.float64]) -> models.FrameSummary:
    """Of ``(families, frames)``."""
    frames = [column[~np.isnan(column)] for column in values.T]
    quartiles = [np.percentile(f, (25, 50, 75)) if len(f) else (np.nan,) * 3 for f in frames]
    q1, median, q3 = zip(*quartiles, strict=True)
    return models.FrameSummary(
        n=tuple(map(len, frames)),
        mean=with_gaps(f.mean() if len(f) else np.nan for f in frames),
        q1=with_gaps(q1),
        median=with_gaps(median),
        q3=with_gaps(q3),
    )


def _topology(sequences: Sequence[MeasuredSequence]) -> models.Topology:
    found = [
        measures
        for sequence in sequences
        for frame in sequence.frames
        for measures in frame.cells.values()
    ]
    return models.Topology(
        bodies=len(found),
        in_pieces=sum(m.betti.components > 1 for m in found),
        with_handles=sum(m.betti.handles > 0 for m in found),
        with_voids=sum(m.betti.voids > 0 for m in found),
        at_border=sum(m.at_border for m in found),
    )


def _distribution(name: models.Descriptor, c: Comparison) -> models.Distribution:
    return models.Distribution(
        descriptor=name,
        independent=c.sequences,
        values=c.samples,
        tests=models.Tests(
            exchanged=_test(c.exchanged),
            per_family=_test(c.per_sequence),
            pooled=_test(c.pooled),
            worst_frame=None if c.worst_frame is None else _test(c.worst_frame),
            worst_frame_at=c.worst_frame_at,
        ),
    )


def _test(test: KSTest) -> models.Test:
    return models.Test(statistic=short(test.statistic), p=short(test.p))


def _overlap(sets: Sequence[MeasuredSet], pairs: Pairs) -> models.Overlap:
    by_cell: dict[tuple[int, int], dict[int, Agreement]] = {}
    for (i, t), of_frame in sorted(pairs.cells.items()):
        for label, agreement in of_frame.items():
            by_cell.setdefault((i, label), {})[t] = agreement
    everything = [a for of_cell in by_cell.values() for a in of_cell.values()]
    mine, other = (
        sum(len(f.cells) for i in numbers for f in one.sequences[i].frames) - len(everything)
        for one, numbers in zip(
            sets, (list(pairs.partners), list(pairs.partners.values())), strict=True
        )
    )

    def mean(values: Iterable[float]) -> float | None:
        return short(float(np.mean(list(values)))) if everything else None

    return models.Overlap(
        pairs=len(everything),
        unmatched=(mine, other),
        dsc_mean=mean(a.dsc for a in everything),
        dsc_min=min((short(a.dsc) for a in everything), default=None),
        distance_mean_um=mean(a.distance.mean_um for a in everything),
        distance_p95_um=mean(a.distance.p95_um for a in everything),
        cells=tuple(
            models.Agreements(
                sequence=sets[0].sequences[i].source.short_name,
                label=label,
                frames=tuple(of_cell),
                dsc=tuple(short(a.dsc) for a in of_cell.values()),
                distance_mean_um=tuple(short(a.distance.mean_um) for a in of_cell.values()),
                distance_p95_um=tuple(short(a.distance.p95_um) for a in of_cell.values()),
            )
            for (i, label), of_cell in sorted(by_cell.items())
        ),
    )


def _point(zyx: Triple) -> Triple:
    z, y, x = map(short, zyx)
    return z, y, x
