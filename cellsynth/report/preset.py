"""The report of a preset: what it was learned from, how good it is, and cells drawn from it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dominate.tags as html

from cellsynth.evaluation.dataset import EvaluateOptions, evaluate_dataset
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.dataset import generate
from cellsynth.rendering.options import Event, GenerateOptions
from cellsynth.report.dataset import latent_of, page_of
from cellsynth.report.files import REPORT, check_report, write_page
from cellsynth.report.measures import descriptors_section
from cellsynth.report.options import ReportSummary
from cellsynth.report.page import Section, scrolling_table
from cellsynth.report.pictures import take_pictures
from cellsynth.report.sections import (
    cells_section,
    gallery_section,
    latent_section,
    lineage_section,
    made_section,
)
from cellsynth.report.source import open_set

__all__ = ["preset_report_path", "report_preset"]

# Cells to look at: few and coarse, since a report must not take as long as a training.
DRAWN = 4
SIDE = 64


def preset_report_path(folder: Path) -> Path:
    """Where it goes unless told otherwise: beside the bundle, whose files are closed by hashes."""
    whole = folder.resolve()
    return whole.with_name(f"{whole.name.removesuffix('.zip')}-{REPORT}")


def report_preset(
    bundle: Bundle,
    *,
    out: Path | None = None,
    device: str = "cpu",
    overwrite: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ReportSummary:
    """Write one page about a preset.

    Four cells are drawn on 64³ voxels, shown and measured; they are not kept.

    Args:
        bundle: A verified preset.
        out: File to write; None as :func:`preset_report_path`.
        device: Torch device of the field.
        overwrite: Replace a file that is no report of ours.
        on_progress: Told the stage, frames done and frames in all.

    Raises:
        InUseError: Another file lies where the report goes.
        TopologyError: Draws keep breaking the preset's topology.
        StorageError: The disk refused.
    """
    out = out or preset_report_path(bundle.folder)
    check_report(out, overwrite=overwrite)
    notify = on_progress or (lambda *_: None)
    preset = bundle.preset
    options = GenerateOptions(Grid.over_omega((SIDE,) * 3), preset.scale.n_frames)
    done = 0

    def tick(event: Event) -> None:
        nonlocal done
        done += event.kind == "frame"
        notify("drawing", min(done, DRAWN * options.n_frames), DRAWN * options.n_frames)

    with tempfile.TemporaryDirectory(prefix="cellsynth-") as place:
        folder = Path(place) / preset.name
        generate(bundle, folder, options, count=DRAWN, device=device, on_event=tick)
        source = open_set(folder)
        pictures = take_pictures(
            source.sequences, lambda done, total: notify("looking", done, total)
        )
        found = evaluate_dataset(
            folder,
            EvaluateOptions(overlap=False),
            on_progress=lambda done, total: notify("measuring", done, total),
        )
        sections = [
            _good(bundle.evaluation()),
            cells_section(source, pictures),
            gallery_section(source, pictures),
            descriptors_section(found, len(source.sequences)),
            latent_section(*latent_of(source, bundle)),
            lineage_section(source),
            made_section(_facts(bundle), list(preset.origin.commands)),
        ]
    scale = preset.scale
    content = page_of(
        title=preset.name,
        eyebrow="Preset",
        lead=f"{preset.title}. Cells shown here are new: {DRAWN} draws on {SIDE}³ voxels.",
        figures=[
            (f"{preset.training.sequences}", "training sequences"),
            (f"{scale.n_frames}", "frames each"),
            (f"{2 * scale.half_extent_um:.3g} µm", "side of a cell's space"),
            (f"{preset.training.steps}", "training steps"),
        ],
        sections=sections,
        of=bundle.sha256,
    )
    write_page(out, content)
    return ReportSummary(out, len(content), DRAWN, DRAWN)


def _good(evaluation: Mapping[str, Any]) -> Section | None:
    """How well training cells are given back; None where the bundle does not say."""
    dsc = evaluation.get("dsc")
    if not isinstance(dsc, dict) or "mean" not in dsc:
        return None
    rows = [["mean of all frames", f"{dsc['mean']:.4f}"]]
    if "worst" in dsc:
        rows.append([f"worst frame: {dsc.get('worst_where', '')}", f"{dsc['worst']:.4f}"])
    if dsc.get("per_sequence"):
        rows.append(["worst sequence", f"{min(dsc['per_sequence']):.4f}"])
    table = scrolling_table("Dice coefficients", ["training cells", "DSC"], rows)
    about = "Dice coefficient of each training mask with what the preset makes of its code: "
    about += "1 is the same voxels."
    return Section("good", "How good", "How good it is", about, [html.div(table)])


def _facts(bundle: Bundle) -> list[tuple[str, str]]:
    preset = bundle.preset
    scale, training, origin = preset.scale, preset.training, preset.origin
    interval = scale.frame_interval_s
    return [
        ("what", preset.description),
        ("trained on", origin.data),
        ("source", origin.source),
        ("licence of the data", origin.licence),
        ("licence of the weights", preset.licence),
        ("limits", origin.limits),
        ("frame interval", "not known" if interval is None else f"{interval:.4g} s"),
        ("codes", f"{preset.field.latent_dim} numbers, strategy {preset.sampling.strategy}"),
        ("training", f"{training.steps} steps, seed {training.seed}"),
        ("SHA-256", bundle.sha256),
        ("trained with", ", ".join(f"{name} {v}" for name, v in training.versions.items())),
    ]
