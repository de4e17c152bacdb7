"""The card of a preset: what a reader needs before trusting it, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cellsynth.presets.models import Preset

__all__ = ["write_card"]


def write_card(preset: Preset, evaluation: Mapping[str, Any]) -> str:
    """Trained on what, how good, limits, licence, how to make it again.

    Args:
        preset: The preset.
        evaluation: ``dsc`` with ``mean``, ``worst``, ``worst_where`` (text) and ``per_sequence``
            (mean of each sequence), ``grid`` (voxels per side or a shape), ``latents`` with
            ``std``, ``versions``, ``seed``; ``sampling`` as the calibration found it, by strategy;
            ``measured``, a list of ``what``, ``value`` and ``command``, texts. What is absent is
            left out of the card.
    """
    training, origin, scale = preset.training, preset.origin, preset.scale
    interval = scale.frame_interval_s
    parts = [
        f"# {preset.title}",
        preset.description,
        f"```\ncellsynth generate --preset {preset.name}\n```",
        "## Trained on what",
        origin.data,
        f"Source: {origin.source}",
        _table(
            ("", ""),
            [
                ("sequences", f"{training.sequences}"),
                ("frames of a sequence", f"{scale.n_frames}"),
                ("frame interval", "unknown" if interval is None else f"{interval:g} s"),
                ("side of the space a cell lives in", f"{2 * scale.half_extent_um:g} µm"),
                ("divisions in a sequence", f"{preset.topology.divisions}"),
                ("training", f"{training.steps} steps{_time_taken(training.seconds)}"),
                *([("started from", training.start)] if training.start else []),
                ("seed", f"{training.seed}"),
                ("versions", _versions(training.versions) or "unknown"),
            ],
        ),
    ]
    if scale.assumed:
        parts.append(
            f"Assumed, since neither the data nor the user said: {', '.join(scale.assumed)}."
        )
    parts += [
        *_textured(preset),
        "## How good",
        _table(("measured against the training masks", ""), _scores(preset, evaluation)),
        *_drawn(preset, evaluation),
        *_measured(evaluation),
        "## Limits",
        origin.limits,
        "## Licence",
        f"Weights: {preset.licence}. Data: {origin.licence}",
        "## How to make it again",
        "\n".join(["```", *origin.commands, "```"]),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(preset: Preset, evaluation: Mapping[str, Any]) -> list[tuple[str, str]]:
    dsc = evaluation.get("dsc", {})
    rows = []
    if "mean" in dsc:
        measured = dsc.get("frames", [])
        every = len(measured) in {0, preset.scale.n_frames}
        which = "all frames" if every else f"frames {', '.join(map(str, measured))}"
        rows.append((f"DSC, mean of {which}", f"{dsc['mean']:.4f}"))
    if "worst" in dsc:
        where = f" ({dsc['worst_where']})" if dsc.get("worst_where") else ""
        rows.append(("DSC, worst frame", f"{dsc['worst']:.4f}{where}"))
    if dsc.get("per_frame"):
        rows.append(("DSC, last frame, mean of all sequences", f"{dsc['per_frame'][-1]:.4f}"))
    if dsc.get("per_sequence"):
        lowest, highest = min(dsc["per_sequence"]), max(dsc["per_sequence"])
        rows.append(("DSC, mean of a sequence", f"{lowest:.4f} to {highest:.4f}"))
    if "grid" in evaluation:
        grid = evaluation["grid"]
        sides = [grid] * 3 if isinstance(grid, int) else list(grid)
        rows.append(("grid, voxels", " × ".join(map(str, sides))))
    if "std" in evaluation.get("latents", {}):
        rows.append(("standard deviation of the codes", f"{evaluation['latents']['std']:.4g}"))
    if "seed" in evaluation:
        rows.append(("seed", f"{evaluation['seed']}"))
    if "versions" in evaluation:
        rows.append(("versions", _versions(evaluation["versions"])))
    return rows or [("not measured", "")]


def _drawn(preset: Preset, evaluation: Mapping[str, Any]) -> list[str]:
    """What the calibration found of each strategy."""
    sampling = evaluation.get("sampling", {})
    rows = []
    for name in ("mixture", "gaussian", "kernel", "neighbourhood"):
        found = sampling.get(name, {})
        if "p" not in found:
            continue
        p = ", ".join(f"{key} {value:.2g}" for key, value in found["p"].items())
        used = f"**{name}**" if name == preset.sampling.strategy else name
        kept = f"{found['kept_topology']:.0%} of {found['draws']}"
        rows.append((used, f"{found['width']:g}", kept, p or "too few"))
    if not rows:
        return []
    grid = preset.topology.judged_at
    learned = sampling.get("learned", {}).get("kept_topology")
    whole = "" if learned is None else f" Of the learned cells {learned:.0%} keep the topology."
    return [
        "## New cells",
        f"Each strategy was calibrated by drawing cells on a grid of {grid}³ and comparing them "
        f"with the learned ones.{whole} The strategy used unless told otherwise is bold.",
        _table(("strategy", "width", "keep the topology", "alike (p of Kolmogorov-Smirnov)"), rows),
    ]


def _textured(preset: Preset) -> list[str]:
    """What the texture was trained on, and how it is made again."""
    texture = preset.texture
    if texture is None:
        return []
    training, origin, counts = texture.training, texture.origin, texture.intensities
    mode = "maximum projections" if texture.mode == "mip" else "slices"
    return [
        "## Texture",
        f"```\ncellsynth texture SET --preset {preset.name} --mode {texture.mode}\n```",
        f"Trained on: {origin.data}",
        f"Source: {origin.source}. Licence of the images: {origin.licence}.",
        f"Limits: {origin.limits}",
        _table(
            ("", ""),
            [
                ("images", f"{mode}, {counts.dtype}"),
                ("pixel", f"{texture.pixel_size_um:g} µm"),
                ("pairs", f"{training.pairs}"),
                ("training", f"{training.steps} steps{_time_taken(training.seconds)}"),
                ("seed", f"{training.seed}"),
            ],
        ),
        "To fine-tune it on pairs of your own: "
        f"`cellsynth train-texture DATA --preset {preset.name} --from-preset`",
        *(["\n".join(["```", *origin.commands, "```"])] if origin.commands else []),
    ]


def _measured(evaluation: Mapping[str, Any]) -> list[str]:
    """Benchmarks, each with the command that repeats it."""
    rows = [(m["what"], m["value"], f"`{m['command']}`") for m in evaluation.get("measured", [])]
    return ["## Benchmarks", _table(("what", "measured", "command"), rows)] if rows else []


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = []
    for row in [head, ("---",) * len(head), *rows]:
        cells = [cell.replace("|", "\\|") for cell in row]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _time_taken(seconds: float) -> str:
    if not seconds:
        return ""  # an imported preset was trained elsewhere
    if seconds < 120:
        return f" in {seconds:.0f} s"
    minutes = seconds / 60
    return f" in {minutes:.0f} minutes" if minutes < 120 else f" in {minutes / 60:.1f} hours"
