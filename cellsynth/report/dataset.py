"""The report of a data set: looked at, measured, written as one page."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cellsynth.errors import CellsynthError, InputError
from cellsynth.evaluation.dataset import EvaluateOptions, evaluate_dataset
from cellsynth.evaluation.models import Evaluation
from cellsynth.formats.manifest import MANIFEST, find_manifest
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.catalogue import find_preset
from cellsynth.presets.versions import versions
from cellsynth.report.files import REPORT, check_report, write_page
from cellsynth.report.latent_map import LatentMap, latent_map
from cellsynth.report.measures import comparison_section, descriptors_section
from cellsynth.report.options import (
    ReportOptions,
    ReportSummary,
    frames_at_the_end,
    sequences_at_the_end,
)
from cellsynth.report.origin import again, facts, preset_named
from cellsynth.report.page import Section, page
from cellsynth.report.pictures import take_pictures
from cellsynth.report.sections import (
    cells_section,
    gallery_section,
    latent_section,
    lineage_section,
    made_section,
)
from cellsynth.report.source import SetSource, open_set

__all__ = ["Stage", "default_report", "latent_of", "page_of", "report_dataset", "set_digest"]

Stage = Literal["looking", "measuring"]
# A set of so few voxels is measured sooner than another process starts.
ONE_PROCESS = 1e8


def default_report(path: Path) -> Path:
    """Where a report goes unless told otherwise: into sets of ours, else into the current folder.

    Folders of others are not written into.
    """
    if find_manifest(path) is not None:
        return path / REPORT
    return Path(f"{path.resolve().name}-{REPORT}")


def report_dataset(
    folder: Path,
    options: ReportOptions | None = None,
    *,
    out: Path | None = None,
    against: Path | None = None,
    evaluation: Evaluation | None = None,
    bundle: Bundle | None = None,
    workers: int | None = 1,
    overwrite: bool = False,
    on_progress: Callable[[Stage, int, int], None] | None = None,
) -> ReportSummary:
    """Write one page that shows a data set and says what is known of it.

    The page depends on the set, on what it is compared with and on the preset alone.

    Args:
        folder: A Cell Tracking Challenge set, 3D or flat, or masks that
            :func:`~cellsynth.shapes.masks.open_masks` reads.
        options: How to report.
        out: File to write; None as :func:`default_report`.
        against: Masks to compare with.
        evaluation: What :func:`~cellsynth.evaluation.dataset.evaluate_dataset` said of the set, so
            that it need not be measured once more.
        bundle: The preset that it was made from; None is looked for by the name the set gives.
        workers: Processes that measure; None is one per core. Never changes the result.
        overwrite: Replace a file that is no report of ours.
        on_progress: Told the stage, frames done and frames in all.

    Raises:
        MissingError, FormatError: Nothing there, or masks and images that cannot be read.
        InputError: An evaluation of another set, or an option out of range.
        InUseError: Another file lies where the report goes.
        StorageError: The disk refused.
    """
    options = options or ReportOptions()
    if evaluation is not None and against is not None:
        raise InputError("an evaluation says what it is against; give it or --against, not both")
    out = out or default_report(folder)
    check_report(out, overwrite=overwrite)
    notify = on_progress or (lambda *_: None)
    source = open_set(folder, voxel_size_um=options.voxel_size_um, kind=options.kind)
    n = sequences_at_the_end(source) if options.brief else len(source.sequences)
    frames = frames_at_the_end(source) if options.brief else None
    if evaluation is not None:
        _check_evaluation(source, evaluation)
    measurable = not source.flat and all(s.voxel_size_um for s in source.sequences[:n])
    if against is not None and not measurable:
        raise InputError(
            f"{folder} cannot be compared: "
            + ("its masks are flat" if source.flat else "no voxel size is known; pass --voxel-size")
        )
    pictures = take_pictures(
        source.sequences[:n],
        lambda done, total: notify("looking", done, total),
        frames=frames,
    )
    if evaluation is None and measurable:
        evaluation = evaluate_dataset(
            folder,
            EvaluateOptions(
                voxel_size_um=options.voxel_size_um,
                against_voxel_size_um=options.against_voxel_size_um,
                kind=options.kind,
                against_kind=options.against_kind,
                overlap=False,
                sequences=n,
                frames=frames,
            ),
            against=against,
            opened=source.masks,
            workers=1 if against is None and _voxels(source, n) < ONE_PROCESS else workers,
            on_progress=lambda done, total: notify("measuring", done, total),
        )
    sections = [
        cells_section(source, pictures),
        gallery_section(source, pictures),
        _measures(source, evaluation, frames),
        None if evaluation is None else comparison_section(evaluation),
        latent_section(*latent_of(source, bundle)),
        lineage_section(source),
        made_section(_facts(source, evaluation), again(source)),
    ]
    content = page_of(
        title=source.name,
        eyebrow="Data set",
        lead=_lead(source),
        figures=_figures(source),
        sections=sections,
        of=set_digest(folder),
    )
    write_page(out, content)
    measured = 0 if evaluation is None else len(evaluation.of.sequences)
    return ReportSummary(out, len(content), len(source.sequences), measured)


def page_of(*, sections: Sequence[Section | None], **others: Any) -> bytes:
    """The :func:`~cellsynth.report.page.page` of those sections that are there."""
    footer = f"cellsynth {versions()['cellsynth']}. One file, no network."
    return page(sections=[s for s in sections if s is not None], footer=footer, **others)


def set_digest(folder: Path) -> str:
    """SHA-256 of what a set of ours says of itself; empty for sets of others."""
    if find_manifest(folder) is None:
        return ""
    return hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()


def _voxels(source: SetSource, n: int) -> int:
    return sum(math.prod(s.shape) * s.n_frames for s in source.sequences[:n])


def _check_evaluation(source: SetSource, evaluation: Evaluation) -> None:
    """Refuse figures that are of another set."""
    names = {s.name: s.n_frames for s in source.sequences}
    theirs = {s.name: s.frames for s in evaluation.of.sequences}
    preset = preset_named(source.manifest)
    of_preset = evaluation.of.preset and (evaluation.of.preset.name, evaluation.of.preset.sha256)
    if evaluation.of.name != source.name or not theirs.items() <= names.items():
        raise InputError(
            f"the evaluation is of {evaluation.of.name} with {_sequences(len(theirs))}, not of "
            f"{source.name} with {_sequences(len(names))}; measure it anew"
        )
    if of_preset != preset:
        raise InputError(
            f"the evaluation of {source.name} is of a set made from preset {of_preset}, now "
            f"{preset}; measure it anew"
        )


def _measures(source: SetSource, evaluation: Evaluation | None, frames: int | None) -> Section:
    if evaluation is not None:
        return descriptors_section(evaluation, len(source.sequences), frames)
    why = "nobody says how large a voxel is; --voxel-size tells"
    if source.flat:
        why = "its masks are flat, and volume and surface are of bodies"
        named = source.manifest.get("source", {}).get("name")
        if named:
            why += f"; the report of {named}, whose projections these are, has them"
    return Section("measures", "Measures", "Descriptors over time", "", [], f"Not measured: {why}.")


def latent_of(source: SetSource, bundle: Bundle | None) -> tuple[LatentMap | None, list[str], str]:
    """The map, names of the drawn codes, and why there is no map."""
    named = preset_named(source.manifest)
    records: Mapping[str, Any] = source.manifest.get("sequences", {})
    codes = {name: r["latent"] for name, r in records.items() if "latent" in r}
    if named is None:
        return None, [], ""
    name, sha256 = named
    if bundle is None:
        try:
            bundle = find_preset(name)
        except CellsynthError:
            return None, [], f"Preset {name} is not here; its learned codes cannot be shown."
    if bundle.sha256 != sha256:
        why = f"The preset {name} that is here now is not the one that the set was made from."
        return None, [], f"{why} Its learned codes are not shown."
    drawn = np.array(list(codes.values()), np.float64)
    try:
        found = latent_map(bundle.tensors()["latents"], drawn)
    except InputError as none:
        return None, [], f"No map of the codes of preset {name}: {none}."
    return found, list(codes), ""


def _facts(source: SetSource, evaluation: Evaluation | None) -> list[tuple[str, str]]:
    rows = facts(source)
    if evaluation is not None:
        used = ", ".join(f"{name} {version}" for name, version in evaluation.versions.items())
        rows.append(("measured with", used))
    return rows


def _lead(source: SetSource) -> str:
    preset = preset_named(source.manifest)
    what = "Living cells in 3D over time" if not source.flat else "Living cells over time, flat"
    if preset is None:
        return f"{what}."
    how = "drawn from" if "options" in source.manifest else "of cells drawn from"
    if source.flat:
        return f"Projections of cells drawn from the preset {preset[0]}, with their masks."
    return f"{what}, {how} the preset {preset[0]}{', with images' if source.imaged else ''}."


def _figures(source: SetSource) -> list[tuple[str, str]]:
    """What stands at the top in large letters."""
    frames = sum(s.n_frames for s in source.sequences)
    first = source.sequences[0]
    shape = first.shape[1:] if first.flat else first.shape
    cells = sum(len(s.lineage) for s in source.sequences if s.lineage is not None)
    found = [
        (f"{len(source.sequences)}", "sequence" if len(source.sequences) == 1 else "sequences"),
        (f"{frames}", "frames in all"),
        (" × ".join(map(str, shape)), "voxels" if not first.flat else "pixels"),
    ]
    if first.voxel_size_um is not None:
        sizes = first.voxel_size_um[1:] if first.flat else first.voxel_size_um
        one = len({f"{size:.4g}" for size in sizes}) == 1
        shown = sizes[:1] if one else sizes
        what = "pixel" if first.flat else "voxel"
        found.append((f"{' × '.join(f'{s:.3g}' for s in shown)} µm", f"side of a {what}"))
    if cells:
        found.append((f"{cells}", "cells with a lineage"))
    return found


def _sequences(n: int) -> str:
    return f"{n} sequence{'s' * (n != 1)}"
