"""Pairs of an image and its mask, from Cell Tracking Challenge folders, ready to be cropped.

Conditions depend on frames before (a cell's pose) and on whole frames (distances), so they are
made once, frame by frame, and kept on disk; a step of the training reads a few crops of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import FormatError, InputError, MissingError
from cellsynth.formats.ctc import CTCSequence, read_ctc
from cellsynth.formats.ctc_names import FOLDERS, list_folder, sequence_names
from cellsynth.formats.manifest import find_manifest
from cellsynth.formats.storage import storing, whole_file
from cellsynth.formats.tiff_reading import read_header, read_labels, read_voxel_size_um
from cellsynth.presets.texture import BackgroundSpec, BrightnessSpec, Condition, Mode
from cellsynth.shapes.cell_mask import label_boxes
from cellsynth.texture.appearance import Described, Pictured, describe
from cellsynth.texture.conditioner import Conditioner, FrameConditions
from cellsynth.texture.conditions import CONDITIONS, SAME_SIZE, stack_slices
from cellsynth.texture.intensities import Histogram
from cellsynth.texture.projection import planes_apart, project_image, project_labels

__all__ = ["ConditionSettings", "Crop", "PairSource", "PairStore", "build_store", "open_pairs"]

MANIFEST = "pairs.json"
# Pairs are chosen evenly where all of them would take more.
STORE_BYTES = 2 * 2**30
Kind = Literal["TRA", "SEG", "ST"]


@dataclass(frozen=True)
class ConditionSettings:
    """How conditions are made; see :class:`~cellsynth.texture.conditioner.Conditioner`.

    Attributes:
        reach_um: Distances to the boundary are cut off here.
        grain_um: Size of the grain's largest features.
        grain_octaves: Octaves of the grain.
        seed: Of the grain; that of the images where they were made with the same grain.
        measured: Which of brightness and background are conditions.
        required: Whether it is a fault if one of them cannot be measured; else it is left out.
    """

    reach_um: float
    grain_um: float
    grain_octaves: int
    seed: int
    measured: tuple[Condition, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class PairSource:
    """Images and masks that were found to belong together; nothing but headers is read yet.

    Attributes:
        root: The data set.
        mode: What becomes of 3D frames: their projections, or their slices.
        masks: Each sequence's masks.
        images: Each sequence's image files by frame, those that have a mask.
        voxel_size_um: ``(z, y, x)``, or ``(y, x)`` for flat frames.
        dtype: Type of the images.
        every: Of a stack that is projected, every so-manieth plane of the image.
        simulated: What the manifest says of the images, if a simulated microscope made them.
    """

    root: Path
    mode: Mode
    masks: tuple[CTCSequence, ...]
    images: tuple[dict[int, Path], ...]
    voxel_size_um: tuple[float, ...]
    dtype: np.dtype[Any]
    every: int = 1
    simulated: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_frames(self) -> int:
        """Frames with an image and a mask."""
        return sum(len(images) for images in self.images)

    @property
    def pixel_size_um(self) -> float:
        """Geometric mean of a pixel's sides."""
        y, x = self.voxel_size_um[-2:]
        return float(np.sqrt(y * x))

    @property
    def depth_um(self) -> float | None:
        """Distance of slices, where the frames have any."""
        return self.voxel_size_um[0] if len(self.voxel_size_um) == 3 else None

    def projection(self, stack: NDArray[Any]) -> NDArray[Any]:
        """An image ``(y, x)`` of one ``(z, y, x)``, by the planes that a microscope sees."""
        return project_image(stack[:: self.every])

    def cell_size_um(self) -> float:
        """Diameter of the median cell in the first frame that has cells, seen along z.

        Raises:
            InputError: There is no cell in any frame.
        """
        for masks, images in zip(self.masks, self.images, strict=True):
            for t in images:
                labels = masks.labels(t)
                seen = labels[None] if labels.ndim == 2 else labels
                areas = [
                    np.count_nonzero((seen[box] == label).any(axis=0))
                    for label, box in label_boxes(seen)
                ]
                if areas:
                    return float(2 * np.sqrt(np.median(areas) / np.pi) * self.pixel_size_um)
        raise InputError(f"{self.root}: no mask shows a cell; expected labels above 0")


def open_pairs(
    root: Path,
    *,
    mode: Mode | None = None,
    kind: Kind | None = None,
    n_frames: int | None = None,
    voxel_size_um: tuple[float, float, float] | None = None,
) -> PairSource:
    """Find images and masks; every header is read, so that bad data is refused before work begins.

    Args:
        root: A Cell Tracking Challenge folder: ``01`` with images beside ``01_GT`` or ``01_ST``.
        mode: ``mip`` (by default, and for flat frames) or ``3d``.
        kind: Masks to use; by default those of TRA, else SEG, else ST.
        n_frames: Only the first so many frames of each sequence.
        voxel_size_um: ``(z, y, x)``, instead of what the files say; of flat frames y and x count.

    Raises:
        MissingError: No masks, no images, or a frame that lacks one of the two.
        FormatError: Images that are no counts of a camera, or do not fit their masks.
        InputError: Nothing tells the voxel size, or it differs between sequences, or slices of
            flat frames are asked for.
    """
    masks = read_ctc(root, kind)
    named = set(sequence_names(root)) - {sequence.name for sequence in masks}
    for name in sorted(named):
        if FOLDERS["images"].of(root, name).is_dir():
            raise MissingError(
                f"{root / name} holds images without masks; expected {name}_GT/TRA beside it"
            )
    images = tuple(_images(sequence, n_frames) for sequence in masks)
    dtype: np.dtype[Any] | None = None
    for sequence, files in zip(masks, images, strict=True):
        for path in files.values():
            found = _judged(path, sequence, masks[0], dtype)
            dtype = dtype or found
    assert dtype is not None  # every sequence has an image
    flat = len(masks[0].shape) == 2
    if flat and mode == "3d":
        raise InputError(f"{root}: images are flat, of shape {masks[0].shape}; --mode 3d needs z")
    size = voxel_size_um or _one_size(root, masks, images)
    projected = not flat and mode != "3d"
    simulated = _simulated(root)
    z_step_um = simulated.get("profile", {}).get("optics", {}).get("z_step_um")
    return PairSource(
        root=root,
        mode=mode or "mip",
        masks=tuple(masks),
        images=images,
        voxel_size_um=tuple(size[1:] if flat else size),
        dtype=dtype,
        every=planes_apart(z_step_um, size[0]) if projected and z_step_um else 1,
        simulated=simulated,
    )


def _simulated(root: Path) -> dict[str, Any]:
    texture: dict[str, Any] = (find_manifest(root) or {}).get("texture") or {}
    return texture if texture.get("engine") == "optics" else {}


def _one_size(
    root: Path, masks: Sequence[CTCSequence], images: Sequence[dict[int, Path]]
) -> tuple[float, float, float]:
    """The voxel size that the sequences share, as their first images tell, else their masks."""
    firsts = [next(iter(files.values())) for files in images]
    told = [
        (path, size)
        for path, sequence in zip(firsts, masks, strict=True)
        if (size := read_voxel_size_um(path) or sequence.voxel_size_um)
    ]
    if not told:
        raise InputError(f"{root}: no file tells the size of a voxel; give --voxel-size z,y,x")
    first, one = told[0]
    for path, size in told[1:]:
        if not np.allclose(size, one, rtol=SAME_SIZE, atol=0):
            raise InputError(
                f"{path} has voxels of {_shown(size)} µm, {first} of {_shown(one)}; expected one "
                "size, give --voxel-size z,y,x if that is wrong"
            )
    return one


def _shown(size: tuple[float, float, float]) -> str:
    return " × ".join(f"{side:.4g}" for side in size)


def _images(sequence: CTCSequence, n_frames: int | None) -> dict[int, Path]:
    """Image files by frame; each has a mask, and each mask has one."""
    folder = FOLDERS["images"].of(sequence.root, sequence.name)
    masks = FOLDERS[sequence.kind].of(sequence.root, sequence.name)
    if not folder.is_dir():
        raise MissingError(
            f"{masks} holds masks without images; expected {folder} with files as t000.tif"
        )
    named = ((FOLDERS["images"].frame(path.name), path) for path in list_folder(folder))
    found = dict(sorted((number[0], path) for number, path in named if number))
    limit = max(sequence.frame_paths) + 1 if n_frames is None else n_frames
    for t, path in sequence.frame_paths.items():
        if t < limit and t not in found:
            raise MissingError(f"{path} has no image; expected {folder / f't{t:03d}.tif'}")
    if sequence.kind == "TRA":
        for t, path in found.items():
            if (n_frames is None or t < limit) and t not in sequence.frame_paths:
                raise MissingError(f"{path} has no mask; expected one in {masks}")
    kept = {t: path for t, path in found.items() if t in sequence.frame_paths and t < limit}
    if not kept:
        raise MissingError(f"{folder} holds no image of a frame that has a mask in {masks}")
    return kept


def _judged(
    path: Path, sequence: CTCSequence, first: CTCSequence, dtype: np.dtype[Any] | None
) -> np.dtype[Any]:
    """Type of an image that may be used."""
    header = read_header(path)
    if header.colour:
        raise FormatError(f"{path} is a colour image; expected one count a pixel")
    if header.dtype not in (np.uint8, np.uint16):
        bad = ""
        if header.dtype.kind == "f":
            import tifffile

            values = tifffile.imread(path, maxworkers=1)
            count = int(np.count_nonzero(~np.isfinite(values)))
            bad = f", {count} of them NaN or infinite" if count else ""
        raise FormatError(
            f"{path} holds {header.dtype}{bad}; expected a camera's counts, uint8 or uint16"
        )
    if dtype is not None and header.dtype != dtype:
        raise FormatError(
            f"{path} holds {header.dtype}, the first image {dtype}; expected one type"
        )
    if header.shape != sequence.shape:
        raise FormatError(
            f"{path} has shape {header.shape}, its mask {sequence.shape}; expected the same"
        )
    if len(sequence.shape) != len(first.shape):
        raise FormatError(
            f"{path} has shape {header.shape}, sequence {first.name} {first.shape}; "
            "expected all flat or all 3D"
        )
    return header.dtype


@dataclass(frozen=True)
class _Pair:
    """One flat image with its conditions, in the store."""

    sequence: str
    frame: int
    z: int
    shape: tuple[int, int]
    cells: list[tuple[int, int]]


@dataclass(frozen=True)
class Crop:
    """Part of a pair: ``image`` counts ``(y, x)``, ``conditions`` float32 ``(c, y, x)``."""

    image: NDArray[Any]
    conditions: NDArray[np.float32]


class PairStore:
    """Pairs on disk; crops of them are read one by one.

    Attributes:
        pairs: What each of them is.
        described: How their cells and background look.
    """

    def __init__(self, folder: Path) -> None:
        """Open the store that :func:`build_store` wrote."""
        self.folder = folder
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        self.pairs = [
            _Pair(p["sequence"], p["frame"], p["z"], tuple(p["shape"]), p["cells"])
            for p in found["pairs"]
        ]
        light, haze = found["brightness"], found["background"]
        self.described = Described(
            light and BrightnessSpec.model_validate(light),
            haze and BackgroundSpec.model_validate(haze),
        )
        self._with_cells = [i for i, pair in enumerate(self.pairs) if pair.cells]

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions of a slice, channel by channel."""
        return (*CONDITIONS, *self.described.names)

    @property
    def smallest_side(self) -> int:
        """The shortest side of any pair, in pixels."""
        return min(min(pair.shape) for pair in self.pairs)

    def histogram(self) -> Histogram:
        """Counts of all images.

        Raises:
            InputError: An image that is constant, named.
        """
        found: Histogram | None = None
        for i, pair in enumerate(self.pairs):
            image = np.load(self._path(i, "image"), mmap_mode="r")
            found = found or Histogram(image.dtype)
            conditions = np.load(self._path(i, "conditions"), mmap_mode="r")
            # Of a slice between its neighbours, its own mask.
            own = len(conditions) // len(self.conditions) // 2 * len(self.conditions)
            found.add(np.asarray(image), conditions[own] > 0)
            if pair.z < 0 and image.min() == image.max():
                raise InputError(
                    f"{pair.sequence}/t{pair.frame:03d}.tif is constant at {image.min()}; "
                    "expected an image of cells"
                )
        assert found is not None  # a store holds a pair
        return found

    def draw(self, rng: np.random.Generator, side: int, cell_share: float) -> Crop:
        """A square crop, around a cell or anywhere, turned and mirrored by chance."""
        around = bool(self._with_cells) and rng.uniform() < cell_share
        which = int(rng.choice(self._with_cells) if around else rng.integers(len(self.pairs)))
        pair = self.pairs[which]
        rows, columns = pair.shape
        if around:
            y, x = pair.cells[int(rng.integers(len(pair.cells)))]
            # The cell lies anywhere in the middle half of the crop.
            shift = rng.integers(-(side // 4), side // 4 + 1, size=2)
            top, left = int(y + shift[0] - side // 2), int(x + shift[1] - side // 2)
        else:
            top, left = int(rng.integers(rows - side + 1)), int(rng.integers(columns - side + 1))
        top, left = min(max(top, 0), rows - side), min(max(left, 0), columns - side)
        turns, mirrored = int(rng.integers(4)), bool(rng.integers(2))

        def cut(kind: str) -> NDArray[Any]:
            whole = np.load(self._path(which, kind), mmap_mode="r")
            part = np.rot90(whole[..., top : top + side, left : left + side], turns, axes=(-2, -1))
            return np.ascontiguousarray(part[..., ::-1] if mirrored else part)

        return Crop(cut("image"), cut("conditions").astype(np.float32))

    def _path(self, i: int, kind: str) -> Path:
        return _pair_path(self.folder, i, kind)


def build_store(
    folder: Path,
    source: PairSource,
    settings: ConditionSettings,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> PairStore:
    """Make the conditions of all pairs and keep them in ``folder``, unless they are there.

    Memory is one frame. Where all pairs would take more than 2 GiB, they are chosen evenly.

    Raises:
        InputError: The store was built of other data or settings.
        FormatError: A damaged file.
        StorageError: The disk refused.
    """
    given: dict[str, Any] = {
        "root": str(source.root.resolve()),
        "mode": source.mode,
        "voxel_size_um": list(source.voxel_size_um),
        "images": [[p.name, list(i)] for p, i in zip(source.masks, source.images, strict=True)],
        "kinds": [masks.kind for masks in source.masks],
        "planes apart": source.every,
        **asdict(settings),
        "measured": list(settings.measured),
    }
    manifest = folder / MANIFEST
    if manifest.is_file():
        found = json.loads(manifest.read_text(encoding="utf-8"))["given"]
        if found != given:
            key = next(key for key in given if found.get(key) != given[key])
            raise InputError(
                f"{folder}: the interrupted training had another {key}; give the same again, or "
                "--overwrite"
            )
        return PairStore(folder)
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    pairs: list[_Pair] = []
    done = 0
    passes = 2 if settings.measured else 1

    def advance() -> None:
        nonlocal done
        done += 1
        if on_progress is not None:
            on_progress(done, passes * source.n_frames)

    described = _described(source, settings, advance)
    step = _every(source, len(CONDITIONS) + len(described.names))
    size = _seen_size_um(source)
    turn = 0
    for masks, images in zip(source.masks, source.images, strict=True):
        conditioner = Conditioner(
            source.voxel_size_um,
            reach_um=settings.reach_um,
            grain_um=settings.grain_um,
            grain_octaves=settings.grain_octaves,
            seed=settings.seed,
            sequence=int(masks.name),
        )
        for t, path in images.items():
            labels = masks.labels(t)
            seen = _pictured(source, masks, t, path, labels)
            appearance = described.measured(seen, size, settings.reach_um)
            frame = conditioner.frame(t, labels, appearance)
            for pair, counts, conditions in _flat_pairs(source, frame, seen, turn % step, step):
                with storing(folder):
                    np.save(_pair_path(folder, len(pairs), "image"), counts)
                    np.save(_pair_path(folder, len(pairs), "conditions"), conditions)
                pairs.append(pair)
            turn += 1
            advance()
    with whole_file(manifest) as part:
        light, haze = described.brightness, described.background
        text = json.dumps(
            {
                "given": given,
                "brightness": light and light.model_dump(mode="json"),
                "background": haze and haze.model_dump(mode="json"),
                "pairs": [asdict(pair) for pair in pairs],
            }
        )
        part.write_text(text, encoding="utf-8")
    return PairStore(folder)


def _described(
    source: PairSource, settings: ConditionSettings, advance: Callable[[], None]
) -> Described:
    """What is measured in the images, in a pass of its own: a condition needs the whole set's."""
    if not settings.measured:
        return Described()

    def frames() -> Iterator[Pictured]:
        for masks, images in zip(source.masks, source.images, strict=True):
            for t, path in images.items():
                yield _pictured(source, masks, t, path, masks.labels(t))
                advance()

    try:
        return describe(
            frames(),
            source.n_frames,
            _seen_size_um(source),
            settings.reach_um,
            wanted=settings.measured,
            required=settings.required,
        )
    except InputError as error:
        raise InputError(f"{source.root}: {error}") from None


def _pictured(
    source: PairSource, masks: CTCSequence, t: int, path: Path, labels: NDArray[Any]
) -> Pictured:
    """A frame as the generator sees it."""
    image = read_labels(path)
    if source.mode == "mip" and labels.ndim == 3:
        labels, image = project_labels(labels), source.projection(image)
    return Pictured(masks.name, t, masks.lineage, labels, image)


def _seen_size_um(source: PairSource) -> tuple[float, ...]:
    """Of the voxels that the generator sees."""
    return source.voxel_size_um if source.mode == "3d" else source.voxel_size_um[-2:]


def _every(source: PairSource, conditions: int) -> int:
    """Of how many flat images one is kept."""
    channels = conditions * (3 if source.mode == "3d" else 1)
    total = 0
    for masks, images in zip(source.masks, source.images, strict=True):
        depth = masks.shape[0] if source.mode == "3d" else 1
        pixels = int(np.prod(masks.shape[-2:]))
        total += len(images) * depth * pixels * (2 * channels + source.dtype.itemsize)
    return max(1, -(-total // STORE_BYTES))


def _flat_pairs(
    source: PairSource, frame: FrameConditions, seen: Pictured, first: int, step: int
) -> Iterator[tuple[_Pair, NDArray[Any], NDArray[np.float16]]]:
    """From the ``first`` flat image of a frame on every ``step``-th, with its conditions."""
    name, t, image = seen.sequence, seen.frame, seen.image
    if source.mode == "mip":
        if first:
            return
        flat = seen.labels
        shape = (flat.shape[0], flat.shape[1])
        yield (
            _Pair(name, t, -1, shape, _centres(flat)),
            image,
            frame.flat(flat).astype(np.float16),
        )
        return
    # Frames begin with another slice in turn, so that over them each depth is seen.
    for z in range(first, len(image), step):
        low, high = max(0, z - 1), min(len(image), z + 2)
        slab = frame.slab(low, high)
        stacked = stack_slices(slab, 3)[z - low]
        labels = frame.labels[z]
        shape = (labels.shape[0], labels.shape[1])
        yield _Pair(name, t, z, shape, _centres(labels)), image[z], stacked.astype(np.float16)


def _centres(labels: NDArray[Any]) -> list[tuple[int, int]]:
    """The middle of each cell's box, in whole pixels."""
    return [
        ((box[0].start + box[0].stop) // 2, (box[1].start + box[1].stop) // 2)
        for _, box in label_boxes(labels)
    ]


def _pair_path(folder: Path, i: int, kind: str) -> Path:
    return folder / f"{i:06d}-{kind}.npy"
