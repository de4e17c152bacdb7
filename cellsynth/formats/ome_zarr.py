"""OME-Zarr 0.5 (Zarr v3): one sequence as an image with labels, written frame by frame.

``NN.ome.zarr`` is an image ``(t, z, y, x)`` in several scale levels, with the label image
``labels/cells`` and the lineage ``tracks`` (GEFF) in it::

    01.ome.zarr/0, 1 …                  image; each level coarser than the one before
    01.ome.zarr/labels/cells/0, 1 …     labels
    01.ome.zarr/tracks                  lineage

Where no microscope took images, the image is the mask itself, 255 in cells: a label image must
lie within an image, viewers that know no labels still show the cells, and nothing is invented.

Written with zarr alone: a frame goes straight to its files, which ome-zarr-py 0.18, made for whole
arrays in dask, does not do; what is left is the metadata below.

Source: OME-Zarr 0.5 (ngff.openmicroscopy.org/0.5).
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from cellsynth.errors import InputError, ShapeError
from cellsynth.formats.cell_table import CellTable
from cellsynth.formats.geff_tracks import write_geff
from cellsynth.formats.lineage import Lineage
from cellsynth.formats.pyramid import (
    CHUNK,
    SHARD,
    level_factors,
    level_shape,
    reduce_by_mean,
    reduce_by_stride,
    slabs_of_crop,
    write_levels,
)
from cellsynth.formats.sequence_writer import SequenceWriter, StrPath
from cellsynth.formats.storage import storing
from cellsynth.geometry import Index, Triple

__all__ = ["ENDING", "LABELS", "TRACKS", "OmeZarrWriter"]

VERSION = "0.5"
ENDING = ".ome.zarr"
LABELS = "cells"
TRACKS = "tracks"
# zstd's own default. One thread, so equal voxels give equal bytes; blosc's threads do not.
_LEVEL = 3
_AXES = "tzyx"
# Hues a golden section of the circle apart are never close for long.
_GOLDEN = 0.618034

Slabs = Callable[[], Iterable[NDArray[Any]]]


class OmeZarrWriter(SequenceWriter):
    """Writes one sequence: ``NN.ome.zarr``.

    Args:
        root: Folder of the data set; it is made where it is missing.
        name: Number of the sequence, as ``"01"``.
        shape: ``(t, z, y, x)``.
        voxel_size_um: ``(z, y, x)`` in µm.
        frame_interval_s: Seconds between frames; where it is not known, time counts frames.
        image_dtype: Of the images that will be given; None where there are none.

    Raises:
        InUseError: The sequence is there already.
        StorageError: The disk refused.
    """

    def __init__(
        self,
        root: StrPath,
        name: str,
        *,
        shape: tuple[int, int, int, int],
        voxel_size_um: Triple,
        frame_interval_s: float | None = None,
        image_dtype: np.dtype[Any] | None = None,
    ) -> None:
        super().__init__(root, name, ENDING, shape[0])
        self._shape: Index = shape[1:]
        self._voxel_size_um = voxel_size_um
        self._frame_interval_s = frame_interval_s
        self._imaged = image_dtype is not None
        self._factors = level_factors(self._shape, voxel_size_um)
        self._cells = CellTable()
        with self._making(self.folder):
            self._image = self._levels(self.folder, image_dtype or np.dtype(np.uint8))
            self._labels = self._levels(self._label_folder, np.dtype(np.uint16))

    def write_frame(
        self,
        t: int,
        crop: NDArray[np.uint16],
        *,
        offset: Index = (0, 0, 0),
        shape: Index | None = None,
    ) -> None:
        """Write the labels of frame ``t``; arguments and errors as of `CTCWriter.write_frame`."""
        whole: Index = shape or crop.shape
        if whole != self._shape:
            raise ShapeError(f"{self.folder.name}: frame {t} has shape {whole}, not {self._shape}")
        self._begin_frame(t, imaged=False)
        self._cells.add(t, crop, offset)
        slabs: Slabs = lambda: slabs_of_crop(crop, offset, whole)  # noqa: E731
        self._write(t, slabs, slabs)

    def write_slabs(self, t: int, labels: Slabs, image: Slabs | None = None) -> None:
        """Write frame ``t``, given slab by slab, see :mod:`cellsynth.formats.pyramid`.

        Args:
            t: Frame number, from 0.
            labels: Gives the labels, uint16 ``(z, y, x)``; asked for once or twice.
            image: Gives the image, where the sequence has images.

        Raises:
            InputError: No such frame, or one written before.
            StorageError: The disk refused.
        """
        self._begin_frame(t, imaged=image is not None)
        self._write(t, lambda: self._counted(t, labels()), image or labels)

    def finish(self, lineage: Lineage) -> Path:
        """Write metadata and lineage, and return the sequence's folder.

        Raises:
            InputError: A frame is missing, or the lineage breaks a rule or contradicts the masks.
            StorageError: The disk refused.
        """
        self._check_whole(lineage, self._cells.labels())
        with storing(self.folder):
            _group(self.folder, self._multiscales("image", mean=True))
            _group(self.folder / "labels", {"labels": [LABELS]})
            _group(
                self._label_folder,
                self._multiscales(LABELS, mean=False) | {"image-label": _image_label(lineage)},
            )
        write_geff(
            self.folder / TRACKS,
            lineage,
            self._cells.spots(),
            voxel_size_um=self._voxel_size_um,
            frame_interval_s=self._frame_interval_s,
            labels=f"../labels/{LABELS}",
            image="..",
        )
        self._finished = True
        return self.folder

    def _begin_frame(self, t: int, *, imaged: bool) -> None:
        self._check_new(t, self._cells)
        if imaged != self._imaged:
            raise InputError(f"{self.folder.name}: frame {t}: every frame has an image, or none")

    def _write(self, t: int, labels: Slabs, shown: Slabs) -> None:
        pictures = shown() if self._imaged else map(_mask, shown())
        with storing(self.folder):
            write_levels(self._labels, self._factors, t, labels(), reduce_by_stride)
            write_levels(self._image, self._factors, t, pictures, reduce_by_mean)

    @property
    def _label_folder(self) -> Path:
        return self.folder / "labels" / LABELS

    def _counted(self, t: int, slabs: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
        z = 0
        for slab in slabs:
            self._cells.add(t, slab, (z, 0, 0))
            z += len(slab)
            yield slab

    def _levels(self, folder: Path, dtype: np.dtype[Any]) -> list[zarr.Array[Any]]:
        arrays = []
        for i, factor in enumerate(self._factors):
            shape = level_shape(self._shape, factor)
            chunk = [min(c, n) for c, n in zip(CHUNK, shape, strict=True)]
            shard = [c * -(-min(s, n) // c) for c, s, n in zip(chunk, SHARD, shape, strict=True)]
            arrays.append(
                zarr.create_array(
                    str(folder / str(i)),
                    shape=(self.n_frames, *shape),
                    dtype=dtype,
                    chunks=(1, *chunk),
                    shards=(1, *shard),
                    compressors=[ZstdCodec(level=_LEVEL)],
                    fill_value=0,
                    dimension_names=list(_AXES),
                    zarr_format=3,
                )
            )
        return arrays

    def _multiscales(self, name: str, *, mean: bool) -> dict[str, Any]:
        units = {"t": "second", "z": "micrometer", "y": "micrometer", "x": "micrometer"}
        if self._frame_interval_s is None:
            del units["t"]
        step_s = self._frame_interval_s or 1.0
        datasets = []
        for i, factor in enumerate(self._factors):
            size = [f * s for f, s in zip(factor, self._voxel_size_um, strict=True)]
            transforms: list[dict[str, Any]] = [{"type": "scale", "scale": [step_s, *size]}]
            if mean and i:
                # The mean of two voxels lies between them; of a stride the first remains.
                shift = [(f - 1) / 2 * s for f, s in zip(factor, self._voxel_size_um, strict=True)]
                transforms.append({"type": "translation", "translation": [0.0, *shift]})
            datasets.append({"path": str(i), "coordinateTransformations": transforms})
        shown = "image" if self._imaged else "mask, 255 in cells"
        multiscale = {
            "name": name if name == LABELS or self._imaged else "mask",
            "axes": [
                {"name": axis, "type": "time" if axis == "t" else "space"}
                | ({"unit": units[axis]} if axis in units else {})
                for axis in _AXES
            ],
            "datasets": datasets,
            "type": "mean" if mean else "stride",
            "metadata": {"description": shown if mean else "labels"},
        }
        return {"multiscales": [multiscale]}


def _mask(labels: NDArray[Any]) -> NDArray[np.uint8]:
    return (labels > 0) * np.uint8(255)


def _group(folder: Path, ome: dict[str, Any]) -> None:
    zarr.create_group(str(folder), zarr_format=3, attributes={"ome": {"version": VERSION, **ome}})


def _image_label(lineage: Lineage) -> dict[str, Any]:
    return {
        "colors": [
            {"label-value": t.label, "rgba": [*_colour(t.label), 255]} for t in lineage.tracklets
        ],
        "properties": [
            {
                "label-value": t.label,
                "track_id": t.label,
                "parent": t.parent,
                "begin": t.begin,
                "end": t.end,
            }
            for t in lineage.tracklets
        ],
        "source": {"image": "../../"},
    }


def _colour(label: int) -> list[int]:
    return [round(255 * c) for c in colorsys.hsv_to_rgb(label * _GOLDEN % 1, 0.75, 1.0)]
