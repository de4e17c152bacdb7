"""Textures: how close to real images, how coherent in time, how true to the masks, how fast.

``python benchmarks/texture.py look --preset P --real TEST [--train TRAIN] [--every 5] [--brief]``
    Images never trained on, ``TEST`` (masks and images), against those that the preset's
    generator makes of the same masks, against a blurred mask with noise fitted to ``TRAIN``,
    against ``TRAIN`` itself, and one half of ``TEST`` against the other, the mean of several
    halvings by sequence (of one sequence by pieces of its field). Where ``TRAIN`` is ``TEST``, it
    is the frames that ``--begin`` and ``--end`` leave. Then, unless ``--brief``, coherence:
    correlation of texture between successive frames in the cell's own coordinates, with the grain
    that moves with the cell and with a new one in every frame. Then what a threshold on the
    smoothed image gives of the mask.

``python benchmarks/texture.py run SET [arguments of cellsynth texture]``
    Wall time and peak memory of ``cellsynth texture``; killed half way and resumed, the same bytes.

``python benchmarks/texture.py large --preset P [--side 4096]``
    One flat frame of that side as a process of its own, and tiles against the whole on a small one.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from reporting import print_machine, print_table
from running import run

from cellsynth.errors import InputError
from cellsynth.evaluation.coherence import mask_agreement, texture_coherence
from cellsynth.evaluation.mask_baseline import fit_mask_baseline
from cellsynth.evaluation.scattering import FEATURES
from cellsynth.evaluation.textures import (
    MEASURES,
    Textured,
    TextureSample,
    distances,
    sample_textures,
)
from cellsynth.field.threads import one_thread_each
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.tiff_reading import read_labels
from cellsynth.presets.bundle import Bundle
from cellsynth.presets.catalogue import find_preset
from cellsynth.texture.conditions import CONDITIONS, MEASURED, conditions_2d
from cellsynth.texture.engines import GanEngine, Movie, load_generator
from cellsynth.texture.frame_noise import frame_noise
from cellsynth.texture.pairs import PairSource, open_pairs
from cellsynth.texture.projection import project_labels
from cellsynth.texture.tiles import apply_generator

SEED = 12345
HALVINGS = 12


@dataclass(frozen=True)
class Frames:
    """Real and generated images of one movie; flat, or stacks in 3D."""

    labels: list[NDArray[Any]]
    real: list[NDArray[Any]]
    made: list[NDArray[Any]]
    fresh: list[NDArray[Any]]
    size_um: tuple[float, ...]


def textured(
    bundle: Bundle,
    source: PairSource,
    number: int,
    frames: range,
    *,
    seed: int,
    fresh: bool,
) -> Frames:
    """The same masks of a sequence seen by the real microscope and by the generator.

    Made are the images of ``frames``; of every one of them another with a new grain, if ``fresh``.
    """
    spec = bundle.preset.texture
    assert spec is not None
    sequence, size = source.masks[number], source.voxel_size_um
    engine = GanEngine(load_generator(bundle), spec)
    flat = spec.mode == "mip"
    movie = Movie(size, sequence.lineage or Lineage(()), seed, int(sequence.name), flat)
    camera = engine.begin(movie)
    found = Frames([], [], [], [], size[-2:] if flat else size)
    # Coherence needs the frames between, so that cells are followed from one to the next.
    for t in range(frames.stop) if fresh else frames:
        labels = sequence.frame(t).astype(np.uint16)
        deep = labels.ndim == 3 and flat
        seen = project_labels(labels) if deep else labels
        made = camera.image(t, labels, seen if flat else None)
        if t not in frames:
            continue
        real = read_labels(source.images[number][t])
        found.labels.append(seen)
        found.real.append(source.projection(real) if deep else real)
        found.made.append(made)
        if not fresh:
            continue
        other = engine.begin(replace(movie, seed=seed + 1 + t))
        found.fresh.append(other.image(t, labels, seen if flat else None))
    return found


def slices(images: list[NDArray[Any]], labels: list[NDArray[Any]]) -> Iterator[Textured]:
    """Flat frames as they are; of a stack every slice that shows a cell, every fourth."""
    for image, cells in zip(images, labels, strict=True):
        if image.ndim == 2:
            yield Textured(image, cells)
            continue
        shown = np.flatnonzero(cells.any(axis=(1, 2)))
        yield from (Textured(image[z], cells[z]) for z in shown[::4])


def real_frames(source: PairSource, every: int, without: range) -> list[Textured]:
    """Images of a set as they are, projected where the texture is of projections."""
    found: list[Textured] = []
    for sequence, images in zip(source.masks, source.images, strict=True):
        for t in [t for t in sorted(sequence.frame_paths) if t not in without][::every]:
            labels, image = sequence.frame(t), read_labels(images[t])
            if source.mode == "mip" and labels.ndim == 3:
                labels, image = project_labels(labels), source.projection(image)
            found += slices([image], [labels])
    return found


def closeness(real: list[list[Textured]], others: dict[str, list[Textured]], patch: int) -> bool:
    """Print the table; whether the generator beats the baseline and is within twice the halves."""
    every = [one for movie in real for one in movie]
    sample: TextureSample = sample_textures(every, patch=patch)
    apart = [
        distances(*(sample_textures(half, patch=patch) for half in halves))
        for halves in halvings(real, 3 * patch)
    ]
    between = {measure: float(np.mean([one[measure] for one in apart])) for measure in MEASURES}
    found = {
        name: distances(sample, sample_textures(images, patch=patch))
        for name, images in others.items()
    }
    good = True
    rows = []
    for measure in MEASURES:
        gan, baseline, own = (
            found["GAN"][measure], found["baseline"][measure], between[measure]
        )  # fmt: skip
        holds = gan < baseline and gan <= 2 * own
        good &= holds
        again = found["train"][measure] if "train" in found else float("nan")
        rows.append(
            (measure, f"{gan:.4g}", f"{baseline:.4g}", f"{again:.4g}", f"{own:.4g}",
             f"{gan / own:.2f}", f"{again / own:.2f}", "yes" if holds else "no")
        )  # fmt: skip
    print(f"{len(sample.patches)} patches of {patch} pixels; Fréchet on {FEATURES}\n")
    print_table(
        ("distance to the real images", "GAN", "baseline", "training images",
         f"two halves, {len(apart)} times", "GAN / halves", "training / halves", "holds"),
        rows,
    )  # fmt: skip
    return good


def halvings(real: list[list[Textured]], side: int) -> list[list[list[Textured]]]:
    """Two halves of the sequences, several times; of a single one, of its field.

    One halving is a single draw of the distance that it stands for, and is off by half as often
    as not. The frames of one movie show the same cells: halved in time they would be too alike.
    """
    if len(real) == 1:
        real = list(zip(*(pieces(frame, side) for frame in real[0]), strict=True))
    rng = np.random.default_rng(SEED)
    found = []
    for _ in range(HALVINGS):
        order = rng.permutation(len(real))
        half = len(real) // 2
        parts = order[:half], order[half : 2 * half]
        found.append([[one for i in part for one in real[i]] for part in parts])
    return found


def pieces(frame: Textured, side: int) -> list[Textured]:
    """The field in squares of about ``side`` pixels."""
    cuts = [np.linspace(0, n, max(2, n // side) + 1).astype(int) for n in frame.image.shape]
    boxes = product(*(list(map(slice, cut[:-1], cut[1:])) for cut in cuts))
    return [Textured(frame.image[box], frame.labels[box]) for box in boxes]


def look(given: argparse.Namespace) -> bool:
    bundle = find_preset(given.preset)
    spec = bundle.preset.texture
    assert spec is not None, "the preset has no texture"
    sources = [
        open_pairs(root, mode=spec.mode, kind=given.kind, voxel_size_um=given.voxel_size)
        for root in (given.real, given.train or given.real)
    ]
    movies = []
    for number, sequence in enumerate(sources[0].masks):
        last = given.end or sequence.n_frames
        every = given.every if given.brief else 1
        frames = range(given.begin, last, every)
        movies.append(
            textured(
                bundle,
                sources[0],
                number,
                frames,
                seed=given.seed,
                fresh=not given.brief,
            )
        )
        print(f"sequence {sequence.name} textured", file=sys.stderr, flush=True)
    # What is compared fits no baseline, where the set has other frames.
    others_left = given.train in {None, given.real} and (given.begin or given.end)
    left = range(given.begin, given.end or sys.maxsize) if others_left else range(0)
    train = real_frames(sources[1], given.every, left)
    if not train:
        raise InputError(f"{sources[1].root}: no frame is left to fit the baseline to")
    baseline = fit_mask_baseline(train[:: -(-len(train) // 64)])
    rng = np.random.default_rng(SEED)
    n = 1 if given.brief else given.every
    real = [list(slices(m.real[::n], m.labels[::n])) for m in movies]
    others = {
        "GAN": [one for m in movies for one in slices(m.made[::n], m.labels[::n])],
        "baseline": [
            Textured(baseline.image(one.labels, rng), one.labels) for movie in real for one in movie
        ],
    }
    if given.train:
        others["train"] = train
    print(f"Baseline: {baseline}\n")
    good = closeness(real, others, given.patch)
    if given.brief:
        return good

    smooth = given.smooth or spec.grain_um
    kinds = {"real": "real", "GAN": "made", "GAN, a new grain in every frame": "fresh"}
    rows = []
    means = {}
    for name, kind in kinds.items():
        values = np.concatenate(
            [
                texture_coherence(
                    zip(getattr(m, kind), m.labels, strict=True), m.size_um, smooth_um=smooth
                )
                for m in movies
            ]
        )
        means[name] = values.mean() if values.size else float("nan")
        rows.append((name, len(values), f"{means[name]:.3f}", f"{np.median(values):.3f}"))
    print(f"Texture finer than {smooth:g} µm, from a frame to the next:\n")
    print_table(("correlation in the cell's own coordinates", "n", "mean", "median"), rows)
    rows = []
    for name, kind in list(kinds.items())[:2]:
        values = np.array(
            [
                mask_agreement(image, labels, smooth=given.blur, body=given.body)
                for m in movies
                for image, labels in zip(getattr(m, kind)[::n], m.labels[::n], strict=True)
                if labels.any()
            ]
        )
        rows.append((name, f"{values.mean():.4f}", f"{values.min():.4f}"))
    print_table(
        (f"DSC of a threshold after a blur of {given.blur:g} pixels", "mean", "worst"), rows
    )
    return good


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file below, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def timed(given: argparse.Namespace) -> bool:
    with tempfile.TemporaryDirectory() as temporary:
        outs = [Path(temporary) / name for name in ("whole", "killed")]
        commands = [
            [
                sys.executable,
                "-m",
                "cellsynth",
                "texture",
                given.set,
                *given.more,
                "--out",
                str(out),
            ]
            for out in outs
        ]
        seconds, peak = run(commands[0])
        images = list(outs[0].glob("[0-9]*/t*.tif"))
        rows: list[tuple[str, str]] = [
            ("images", f"{len(images)}"),
            ("wall time", f"{seconds / 60:.1f} min ({seconds / len(images):.2f} s an image)"),
            ("peak memory, all processes", f"{peak / 2**30:.2f} GiB"),
        ]
        same = True
        if not given.no_kill:
            running = subprocess.Popen(
                commands[1], stderr=subprocess.DEVNULL, start_new_session=True
            )
            try:
                running.wait(seconds / 2)
            except subprocess.TimeoutExpired:
                os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            whole = len([p for p in outs[1].glob("[0-9]*") if p.name.isdigit()])
            run([*commands[1], "--resume"])
            same = contents(outs[0]) == contents(outs[1])
            rows.append(
                (f"killed with {whole} sequences whole, resumed", "the same" if same else "differ")
            )
        print_table(("what", "measured"), rows)
    return same


def many_cells(side: int) -> NDArray[np.uint16]:
    """A flat frame of discs."""
    labels = np.zeros((side, side), np.uint16)
    y, x = np.ogrid[-20:21, -20:21]
    disc = y**2 + x**2 < 18**2
    rng = np.random.default_rng(0)
    for label, (row, column) in enumerate(rng.integers(21, side - 21, (side * side // 6000, 2)), 1):
        labels[row - 20 : row + 21, column - 20 : column + 21][disc] = label
    return labels


def large(given: argparse.Namespace) -> bool:
    bundle = find_preset(given.preset)
    spec = bundle.preset.texture
    assert spec is not None, "the preset has no texture"
    pixel = spec.pixel_size_um
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "set"
        labels = many_cells(given.side)
        tracks = tuple(Tracklet(int(label), 0, 0) for label in np.unique(labels[labels > 0]))
        write_ctc(root, "01", [labels[None]], Lineage(tracks), voxel_size_um=(1.0, pixel, pixel))
        command = [
            sys.executable,
            "-m",
            "cellsynth",
            "texture",
            str(root),
            "--preset",
            given.preset,
        ]
        seconds, peak = run([*command, "--workers", "1"])
        image = tifffile.imread(root.with_name("set-mip") / "01/t000.tif")
    small = many_cells(given.small)
    grain = np.random.default_rng(1).standard_normal(small.shape, np.float32) * (small > 0)
    told = conditions_2d(small, grain.astype(np.float32), (pixel, pixel), spec.reach_um)
    middling = np.zeros((len(MEASURED), *small.shape), np.float32)
    names = (*CONDITIONS, *MEASURED)
    seen = np.concatenate([told, middling])[[names.index(name) for name in spec.conditions]]
    noise = None
    if spec.generator.noise:
        noise = frame_noise(small.shape, seed=0, sequence=1, frame=0)
    generator = load_generator(bundle)
    with one_thread_each():
        whole = apply_generator(generator, seen, noise, tile=10**6)
        tiled = apply_generator(generator, seen, noise, tile=given.tile)
    off = f"{np.abs(whole - tiled).max():.2g}"
    rows = [
        (f"{image.shape[0]} × {image.shape[1]} pixels, {len(tracks)} cells", f"{seconds:.0f} s"),
        ("peak memory", f"{peak / 2**30:.2f} GiB"),
        (f"{given.small}² in tiles of {given.tile} and whole, largest difference of 2", off),
    ]
    print_table(("what", "measured"), rows)
    return peak < 3 * 2**30


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("look")
    verb.add_argument("--preset", required=True)
    verb.add_argument("--real", type=Path, required=True, help="masks and images to compare with")
    verb.add_argument("--train", type=Path, help="what the baseline is fitted to; --real")
    verb.add_argument("--kind", choices=("TRA", "SEG", "ST"), default="TRA")
    verb.add_argument(
        "--voxel-size", type=float, nargs=3, metavar="UM", help="instead of the set's"
    )
    verb.add_argument("--begin", type=int, default=0, help="first frame compared")
    verb.add_argument("--end", type=int, help="frame after the last one compared")
    verb.add_argument("--every", type=int, default=1, help="frames from one compared to the next")
    verb.add_argument("--brief", action="store_true", help="closeness only")
    verb.add_argument("--seed", type=int, default=SEED, help="of what the generator draws")
    verb.add_argument("--patch", type=int, default=64)
    verb.add_argument("--smooth", type=float, help="µm above which it is no texture; the grain's")
    verb.add_argument("--blur", type=float, default=2.0, help="pixels, before the threshold")
    verb.add_argument("--body", type=int, default=0, help="pixels of an opening of both masks")
    verb.set_defaults(measure=look)
    verb = verbs.add_parser("run")
    verb.add_argument("set")
    verb.add_argument("--no-kill", action="store_true", help="only time and memory")
    verb.set_defaults(measure=timed)
    verb = verbs.add_parser("large")
    verb.add_argument("--preset", required=True)
    verb.add_argument("--side", type=int, default=4096)
    verb.add_argument("--small", type=int, default=700)
    verb.add_argument("--tile", type=int, default=192)
    verb.set_defaults(measure=large)
    given, given.more = parser.parse_known_args()
    if given.more and given.measure is not timed:
        parser.error(f"unknown arguments: {' '.join(given.more)}")
    print(f"`{' '.join(['python', *sys.argv])}`\n")
    print_machine()
    good = given.measure(given)
    print("All hold." if good else "Not all hold.")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
