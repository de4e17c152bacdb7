"""Images for a whole data set: as projections a set of its own, in 3D within the set.

A sequence is made in a folder of its own, checked there by the public validator, images too, and
only then moved to its place. Its images depend on masks, texture, seed and the sequence's number
alone; a set ends with the same bytes after any number of crashes and on any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from cellsynth.errors import BundleError, InputError, InUseError, MissingError
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.formats.ctc import CTCSequence, read_ctc
from cellsynth.formats.ctc_names import FOLDERS
from cellsynth.formats.lineage import lineage_faults, raise_first
from cellsynth.formats.making import Made, MakerFactory, MakeSequence, Record, fill, made
from cellsynth.formats.manifest import (
    FORMAT,
    check_same,
    find_manifest,
    locked,
    open_manifest,
    origin_of,
    write_manifest,
)
from cellsynth.formats.storage import remove
from cellsynth.presets.bundle import TEXTURE, Bundle, read_bundle
from cellsynth.presets.catalogue import preset_of
from cellsynth.presets.versions import versions
from cellsynth.texture.engines import Engine, GanEngine, OpticsEngine, load_generator
from cellsynth.texture.options import Mode, TextureEvent, TextureOptions
from cellsynth.texture.profiles import OpticsProfile, find_profile, profile_for, shipped_profiles
from cellsynth.texture.sequence_texturer import Job, SequenceTexturer

__all__ = [
    "Summary",
    "TextureEvent",
    "TextureOptions",
    "preset_of",
    "texture_dataset",
    "texture_folder",
]


@dataclass(frozen=True)
class Summary:
    """What was made: the folder, textured sequences and frames in all, sequences made now."""

    out: Path
    sequences: int
    frames: int
    made: int


def texture_folder(source: Path, mode: Mode) -> Path:
    """Where images go unless told otherwise: projections beside the set, slices into it."""
    if mode == "3d":
        return source
    whole = source.resolve()
    named = source.name not in {"", ".."}
    return source.with_name(f"{whole.name}-mip") if named else Path(f"{whole}-mip")


def texture_dataset(
    source: Path,
    options: TextureOptions,
    *,
    bundle: Bundle | None = None,
    out: Path | None = None,
    workers: int | None = 1,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    on_event: Callable[[TextureEvent], None] | None = None,
) -> Summary:
    """Give every sequence of a mask data set images as a microscope would take them.

    Args:
        source: A Cell Tracking Challenge data set with masks of every frame in ``NN_GT/TRA``.
        options: How to texture.
        bundle: The preset whose texture is used; its name also chooses the optics.
        out: A data set of its own; None is beside the set for projections, within it for 3D.
        workers: Processes; None is one per core, or one on a GPU. Never changes the result.
        device: Torch device of the generator.
        resume: Continue what was begun with the same options.
        overwrite: Replace a data set, or images, of ours.
        on_event: Told of progress.

    Returns:
        What was made.

    Raises:
        MissingError: No masks, no texture, no such profile.
        FormatError: Masks that cannot be read, or that break the format's rules.
        InputError: Options that do not fit the masks or the texture.
        InUseError: Images, or something else, lie there already.
        StorageError: The disk refused; whole sequences stay, and the set can be resumed.
    """
    if workers is not None and workers < 1:
        raise InputError(f"workers must be at least 1, got {workers}")
    sequences = read_ctc(source, "TRA")
    for sequence in sequences:
        _check_frames(sequence)
    look, engine_said = _look(options, bundle)
    mode = options.mode or look.mode or "mip"
    for sequence in sequences:
        _check_depth(sequence, mode, options.engine)
    if look.mode not in (None, mode):
        raise InputError(
            f"{look.name} is of mode {look.mode}, not {mode}; give --mode {look.mode}, "
            "or a texture trained with --mode " + mode
        )
    target = out or texture_folder(source, mode)
    within = target.resolve() == source.resolve()
    if within and mode == "mip":
        raise InputError(f"--out {target} is the set of the masks; projections need another folder")
    if target.resolve() in source.resolve().parents:
        raise InputError(f"--out {target} holds the set of the masks; give another folder")
    if target.exists() and not target.is_dir():
        raise InUseError(f"{target} is a file; give another --out")
    job = Job(
        sequences=sequences,
        voxel_sizes_um=[_voxel_size(s, options) for s in sequences],
        out=target,
        masks=not within,
        flat=mode == "mip",
        seed=options.seed,
    )
    said = {
        "mode": mode,
        **engine_said,
        "seed": options.seed,
        "voxel_size_um": None if options.voxel_size_um is None else list(options.voxel_size_um),
        "versions": versions(),
    }
    default = 1 if device != "cpu" else cores()
    notify = on_event or (lambda _: None)

    def make(todo: list[int]) -> Made:
        for i in sorted(set(range(len(sequences))) - set(todo)):
            for _ in range(sequences[i].n_frames):
                notify(TextureEvent("frame", i))
        n = max(1, min(workers or default, len(todo)))
        factory: MakerFactory = partial(_texturer, job, look, device)
        with one_thread_each():
            yield from made(factory, todo, n, notify)

    there = target.exists()
    names = [sequence.name for sequence in sequences]
    with locked(target):
        begin = _begin_within if within else _begin_apart
        manifest, records = begin(source, target, said, names, resume, overwrite)
        try:
            n_made = fill(
                target,
                manifest,
                records,
                names,
                lambda name: [target / name] if within else [target / name, target / f"{name}_GT"],
                make,
                keep=there,
                on_made=lambda i: notify(TextureEvent("sequence", i)),
            )
        except BaseException:
            if within and not records:
                del manifest["texture"]
                write_manifest(target, manifest)
            raise
    frames = sum(record["frames"] for record in records.values())
    return Summary(target, len(records), frames, n_made)


@dataclass(frozen=True)
class _Look:
    """A texture to be loaded in whatever process will use it."""

    name: str
    mode: Mode | None
    bundle: Path | None = None
    sha256: str = ""
    profile: OpticsProfile | None = None


def _look(options: TextureOptions, bundle: Bundle | None) -> tuple[_Look, dict[str, Any]]:
    """The texture asked for, and what the manifest says of it."""
    preset = None if bundle is None else {"name": bundle.preset.name, "sha256": bundle.sha256}
    if options.engine == "optics":
        if options.profile is not None:
            profile = find_profile(options.profile)
        elif bundle is not None:
            profile = profile_for(bundle.preset.name)
        else:
            raise InputError("--engine optics needs a microscope; pass --profile or --preset")
        said = {"engine": "optics", "profile": profile.model_dump(mode="json"), "preset": preset}
        return _Look(f"profile {profile.name}", None, profile=profile), said
    if options.profile is not None:
        raise InputError("--profile is of the simulated microscope; pass --engine optics with it")
    if bundle is None:
        raise InputError(
            "this data set names no preset; pass --preset, or --engine optics with --profile"
        )
    spec = bundle.preset.texture
    if spec is None:
        profiles = shipped_profiles()
        suited = any(bundle.preset.name in profile.for_presets for profile in profiles.values())
        which = "" if suited else f" --profile {' or '.join(profiles)}"
        raise MissingError(
            f"preset {bundle.preset.name} has no texture; pass --engine optics{which}, or learn "
            "one with cellsynth train-texture"
        )
    said = {"engine": "gan", "preset": preset, "sha256": bundle.preset.files[TEXTURE]}
    name = f"the texture of preset {bundle.preset.name}"
    return _Look(name, spec.mode, bundle.folder, bundle.sha256), said


def _texturer(
    job: Job, look: _Look, device: str, notify: Callable[[TextureEvent], None]
) -> MakeSequence:
    """What textures sequences, in the process that will; same bytes need one thread a product."""
    torch.set_num_threads(1)
    engine: Engine
    if look.profile is not None:
        engine = OpticsEngine(look.profile)
    else:
        assert look.bundle is not None  # a look has one or the other
        bundle = read_bundle(look.bundle)
        spec = bundle.preset.texture
        if bundle.sha256 != look.sha256 or spec is None:
            raise BundleError(f"{look.bundle}: the preset was changed while it was in use")
        engine = GanEngine(load_generator(bundle, device), spec)
    return SequenceTexturer(job, engine, notify)


def _check_frames(sequence: CTCSequence) -> None:
    """Refuse a missing mask, and a table that cannot be of these frames; draws go by it."""
    folder = FOLDERS[sequence.kind].of(sequence.root, sequence.name)
    missing = sorted(set(range(sequence.n_frames)) - sequence.frame_paths.keys())
    if missing:
        raise InputError(f"{folder} holds no mask of frame {missing[0]}; every frame needs one")
    tracklets = sequence.lineage.tracklets if sequence.lineage else ()
    raise_first(f"{folder}/man_track.txt", lineage_faults(tracklets, sequence.n_frames))


def _check_depth(sequence: CTCSequence, mode: Mode, engine: str) -> None:
    """Refuse flat masks where they will not do; what is out of focus is not in them either."""
    if len(sequence.shape) == 3:
        return
    where = FOLDERS[sequence.kind].of(sequence.root, sequence.name)
    flat = f"{where}: its masks are flat, {sequence.shape}"
    if engine == "optics":
        raise InputError(
            f"{flat}; --engine optics needs (z, y, x), "
            "give --engine gan with a texture trained on flat images"
        )
    if mode == "3d":
        raise InputError(f"{flat}; --mode 3d needs (z, y, x), give --mode mip")


def _voxel_size(sequence: CTCSequence, options: TextureOptions) -> tuple[float, float, float]:
    size = options.voxel_size_um or sequence.voxel_size_um
    if size is None:
        folder = FOLDERS[sequence.kind].of(sequence.root, sequence.name)
        raise InputError(f"{folder} does not say how large a voxel is; pass --voxel-size")
    return size


def _begin_apart(
    source: Path,
    out: Path,
    said: dict[str, Any],
    names: list[str],
    resume: bool,
    overwrite: bool,
) -> tuple[dict[str, Any], dict[str, Record]]:
    """The manifest of a set of its own, and the part that lists whole sequences."""
    fresh: dict[str, Any] = {
        "format": FORMAT,
        "version": 1,
        "source": {"name": source.resolve().name, **origin_of(find_manifest(source) or {})},
        "texture": said,
        "sequences": {},
    }
    manifest = open_manifest(out, fresh, resume=resume, overwrite=overwrite)
    return manifest, manifest["sequences"]


def _begin_within(
    source: Path,
    out: Path,
    said: dict[str, Any],
    names: list[str],
    resume: bool,
    overwrite: bool,
) -> tuple[dict[str, Any], dict[str, Record]]:
    """As above, for images that go into the set of the masks.

    The manifest lists the sequences whose images are ours before the first is made, so that
    nobody else's are ever taken for ours.
    """
    manifest = find_manifest(source)
    if manifest is None:
        raise InUseError(
            f"{source} is no data set of ours; pass --out for a set with its masks and the images"
        )
    entry = manifest.get("texture")
    if entry and "of" not in entry:
        raise InUseError(
            f"{source} was made with its images, which are not replaced; texture the masks that "
            "it was made of, or pass --out"
        )
    ours = set(entry["of"]) if entry else set()
    for name in names:
        images = FOLDERS["images"].of(out, name)
        if name not in ours and images.exists():
            raise InUseError(
                f"{images} holds images already that are not ours; move it, or pass --out"
            )
    fresh = said | {"of": names, "sequences": {}}
    if entry is None:
        entry = fresh
    elif overwrite:
        for name in sorted(ours):
            remove(FOLDERS["images"].of(out, name))
        entry = fresh
    elif not resume:
        raise InUseError(f"{out} has images already; pass --resume, --overwrite or --out")
    else:
        check_same(out, entry, said)
        entry = entry | {"of": names}
    manifest["texture"] = entry
    return manifest, entry["sequences"]
