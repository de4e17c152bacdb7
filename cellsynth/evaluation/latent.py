"""The learned codes of a preset: where they lie, what their cells are like, what is drawn there.

Cells of learned codes are rendered on the grid that a preset's draws are judged on and measured as
``cellsynth evaluate`` measures; drawn codes are only placed among them. The result depends on the
preset and the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import InputError, InUseError, TopologyError
from cellsynth.evaluation.course_sources import rendered_frames
from cellsynth.evaluation.courses import DESCRIPTORS as COURSES
from cellsynth.evaluation.courses import cell_courses
from cellsynth.evaluation.descriptors import Descriptors
from cellsynth.evaluation.digits import short, shorts
from cellsynth.evaluation.embedding import (
    FEWEST,
    Codes,
    components_for,
    nearest_codes,
    perplexity_of,
    principal_components,
    tsne,
)
from cellsynth.evaluation.files import read_result, write_result
from cellsynth.evaluation.latent_models import (
    DESCRIPTORS,
    LATENT_FORMAT,
    Component,
    Correlation,
    Described,
    DrawnCode,
    Held,
    LatentMap,
    LearnedCode,
    Spacing,
)
from cellsynth.evaluation.mask_surface import mask_surface
from cellsynth.evaluation.models import Preset
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.storage import whole_or_nothing
from cellsynth.geometry import Triple
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.models import Sampling, Strategy
from cellsynth.presets.versions import versions
from cellsynth.rendering.sequence import judging_grid, judging_sequence, propose_cell
from cellsynth.shapes.cell_mask import labelled_masks

__all__ = [
    "LATENT_JSON",
    "LatentOptions",
    "check_latent_folder",
    "describe_code",
    "explore_latents",
    "map_latents",
    "read_latent_map",
]

LATENT_JSON = "latent.json"
SHARES = (0.9, 0.99, 0.999)
SHOWN = 3  # principal components in which codes are placed


@dataclass(frozen=True)
class LatentOptions:
    """How to look at codes.

    Attributes:
        draws: Codes drawn with each strategy that the preset has; None is as many as it learned.
        frames: Frames of a learned code's cell that are measured, from first to last.
        seed: Of the draws and of t-SNE.
    """

    draws: int | None = None
    frames: int = 10
    seed: int = 0


def map_latents(
    bundle: Bundle,
    out: Path,
    options: LatentOptions | None = None,
    *,
    device: str = "cpu",
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> LatentMap:
    """Explore the codes of a preset, and write what is found and figures of it to a folder.

    Args:
        bundle: A verified preset.
        out: Folder to write to: ``latent.json``, and two figures as PNG and SVG.
        options: How to look at them.
        device: Torch device of the field.
        overwrite: Replace what this function wrote there before.
        on_progress: Called with cells rendered and cells in all.

    Raises:
        InUseError: ``out`` holds something.
        InputError: Fewer than three learned codes, or an option out of range.
        StorageError: The disk refused. Nothing is left behind.
    """
    from cellsynth.evaluation.latent_figures import draw_drawn, draw_map, save_figure

    check_latent_folder(out, overwrite=overwrite)
    found = explore_latents(
        CellModel.from_bundle(bundle, device), bundle.sha256, options, on_progress=on_progress
    )
    with whole_or_nothing(out) as folder:
        write_result(folder / LATENT_JSON, found)
        save_figure(draw_map(found), folder / "latent")
        save_figure(draw_drawn(found), folder / "drawn")
    return found


def check_latent_folder(out: Path, *, overwrite: bool) -> None:
    """Raise InUseError if ``out`` holds something; with ``overwrite``, other than a map of ours."""
    if out.exists() and not out.is_dir():
        raise InUseError(f"{out} is a file; give another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / LATENT_JSON).is_file():
        raise InUseError(f"{out} is in use and is no map of codes; give another --out")
    if not overwrite:
        raise InUseError(f"{out} holds a map of codes already; pass --overwrite or another --out")


def read_latent_map(path: Path) -> LatentMap:
    """A map from its ``latent.json``; raises as :func:`cellsynth.evaluation.files.read_result`."""
    made_by = "map of codes; make one with cellsynth latent PRESET"
    return read_result(path, LatentMap, LATENT_FORMAT, made_by)


def explore_latents(
    model: CellModel,
    sha256: str,
    options: LatentOptions | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> LatentMap:
    """Where the codes of a model lie, and what their cells are like.

    Args:
        model: The preset.
        sha256: Its hash, to be told.
        options: How to look at them.
        on_progress: Called with cells rendered and cells in all.

    Raises:
        InputError: Fewer than three learned codes, or an option out of range.
    """
    options = options or LatentOptions()
    learned = model.latents
    if len(learned) < FEWEST:
        raise InputError(
            f"preset {model.preset.name} has {len(learned)} learned codes; "
            f"t-SNE needs {FEWEST} or more"
        )
    draws = len(learned) if options.draws is None else options.draws
    if draws < 0:
        raise InputError(f"draws must be at least 0, got {draws}")
    if options.frames < 1:
        raise InputError(f"frames must be at least 1, got {options.frames}")
    drawn = _draw(model, draws, options.seed)
    codes = np.concatenate([learned, *drawn.values()])
    components = principal_components(learned)
    scores = components.scores(codes)[:, :SHOWN]
    alone = tsne(learned, seed=options.seed)
    among = tsne(codes, seed=options.seed) if draws else alone
    described = []
    for i, latent in enumerate(learned):
        described.append(describe_code(model, latent, n_frames=options.frames))
        if on_progress is not None:
            on_progress(i + 1, len(learned))
    grid = judging_grid(model)
    nearest = {"learned": nearest_codes(learned, learned, themselves=True)} | {
        strategy: nearest_codes(of, learned, themselves=False) for strategy, of in drawn.items()
    }
    return LatentMap(
        format="cellsynth-latent",
        version=1,
        versions=versions("scikit-learn", "scikit-image"),
        preset=Preset(name=model.preset.name, sha256=sha256),
        seed=options.seed,
        latent_dim=learned.shape[1],
        frames=options.frames,
        grid=grid.shape,
        voxel_size_um=_triple(grid.voxel_size_um(model.preset.scale.half_extent_um)),
        components=tuple(
            Component(variance=short(v), ratio=short(r))
            for v, r in zip(components.variances, components.ratios, strict=True)
        ),
        held=tuple(
            Held(share=share, components=components_for(components.ratios, share))
            for share in SHARES
        ),
        perplexity=(short(perplexity_of(len(learned))), short(perplexity_of(len(codes)))),
        spacing=tuple(
            _spacing(of, distances) for of, (_, distances) in nearest.items() if len(distances)
        ),
        correlations=_correlations(scores[: len(learned)], nearest["learned"][0], described),
        learned=tuple(
            LearnedCode(
                number=i + 1,
                pca=shorts(scores[i]),
                tsne=_pair(alone[i]),
                tsne_among_drawn=_pair(among[i]),
                nearest=int(nearest["learned"][0][i]) + 1,
                distance=short(nearest["learned"][1][i]),
                described=None if isinstance(cell, str) else cell,
                fault=cell if isinstance(cell, str) else None,
            )
            for i, cell in enumerate(described)
        ),
        drawn=tuple(
            DrawnCode(
                strategy=strategy,
                sequence=i + 1,
                pca=shorts(scores[at]),
                tsne_among_drawn=_pair(among[at]),
                nearest=int(nearest[strategy][0][i]) + 1,
                distance=short(nearest[strategy][1][i]),
            )
            for at, (strategy, i) in enumerate(
                ((strategy, i) for strategy in drawn for i in range(draws)), start=len(learned)
            )
        ),
    )


def describe_code(
    model: CellModel, latent: NDArray[np.float32], *, n_frames: int
) -> Described | str:
    """What the cell of a code is like, rendered upright on the grid that draws are judged on.

    Returns:
        Its descriptors, or what breaks the topology.
    """
    voxel = judging_grid(model).voxel_size_um(model.preset.scale.half_extent_um)
    try:
        with one_thread_each():
            sequence = judging_sequence(model, latent, n_frames=n_frames, threads=cores())
            frames = rendered_frames(sequence, voxel, _mesh_descriptors)
            courses = cell_courses(frames, sequence.lineage())
    except (TopologyError, InputError) as error:
        return str(error)
    means = dict(zip(COURSES, courses.mean(axis=(0, 1)).tolist(), strict=True))
    first, last = (sum(cell.volume_um3 for cell in frames[t].values()) for t in (0, -1))
    return Described(
        volume_um3=short(means["volume"]),
        surface_um2=short(means["surface"]),
        sphericity_paper=short(means["sphericity"]),
        growth=short(last / first),
    )


def _mesh_descriptors(
    labels: NDArray[np.uint16], voxel_size_um: Triple
) -> Mapping[int, Descriptors]:
    """As ``cellsynth evaluate`` measures: surfaces of single cells, however they lie."""
    return {
        label: Descriptors(
            int(np.count_nonzero(mask)) * prod(voxel_size_um),
            mask_surface(mask, voxel_size_um).area_um2,
        )
        for label, mask, _ in labelled_masks(labels)
    }


def _draw(model: CellModel, draws: int, seed: int) -> dict[Strategy, NDArray[np.float32]]:
    """Codes by strategy, ``(draws, latent_dim)``, of all strategies that the preset has."""
    sampling = model.preset.sampling
    known: list[Any] = [
        name
        for name in Sampling.model_fields
        if name != "strategy" and getattr(sampling, name) is not None
    ]
    return {
        strategy: np.array(
            [
                propose_cell(
                    model, seed=seed, sequence=i, strategy=strategy, rotation="none"
                ).latent
                for i in range(draws)
            ],
            np.float32,
        ).reshape(draws, model.latents.shape[1])
        for strategy in known
    }


def _correlations(
    scores: Codes, nearest: NDArray[np.int64], described: list[Described | str]
) -> tuple[Correlation, ...]:
    found = []
    for name in DESCRIPTORS:
        values = np.array(
            [np.nan if isinstance(cell, str) else getattr(cell, name) for cell in described]
        )
        found.append(
            Correlation(
                descriptor=name,
                spearman=tuple(_spearman(values, column) for column in scores.T),
                neighbours=_spearman(values, values[nearest]),
            )
        )
    return tuple(found)


def _spearman(a: NDArray[np.float64], b: NDArray[np.float64]) -> float | None:
    """Rank correlation of what both know; None where either does not vary."""
    from scipy import stats

    known = ~(np.isnan(a) | np.isnan(b))
    if known.sum() < FEWEST or not np.ptp(a[known]) or not np.ptp(b[known]):
        return None
    return short(float(stats.spearmanr(a[known], b[known]).statistic))


def _spacing(of: Any, distances: Codes) -> Spacing:
    least, median, most = shorts(np.percentile(distances, (0, 50, 100)))
    return Spacing(of=of, codes=len(distances), least=least, median=median, most=most)


def _pair(point: Codes) -> tuple[float, float]:
    x, y = shorts(point)
    return x, y


def _triple(values: Triple) -> Triple:
    z, y, x = shorts(values)
    return z, y, x
