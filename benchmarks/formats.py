"""How long writing, reading and validating masks takes: ``python benchmarks/formats.py``.

One sequence of 30 frames of 384³ voxels, a ball of 180 voxels across in each, on one core.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from cellsynth.formats.ctc import CTCWriter, read_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet


@contextmanager
def timed(what: str, times: int) -> Iterator[None]:
    """Print the seconds the block takes, and those per frame."""
    start = time.perf_counter()
    yield
    seconds = time.perf_counter() - start
    print(f"{what:10} {seconds:6.2f} s, {seconds / times:.3f} s a frame")


def main() -> None:
    n_frames, size, crop_size = 30, 384, 200
    squares = (np.arange(crop_size) - (crop_size - 1) / 2) ** 2
    ball = squares[:, None, None] + squares[:, None] + squares < 90**2
    crop = ball.astype(np.uint16)
    with tempfile.TemporaryDirectory() as folder:
        with (
            timed("write", n_frames),
            CTCWriter(folder, "01", n_frames=n_frames, voxel_size_um=(1, 1, 1)) as writer,
        ):
            for t in range(n_frames):
                writer.write_frame(t, crop, offset=(90, 90 + t, 90), shape=(size, size, size))
            writer.finish(Lineage((Tracklet(1, 0, n_frames - 1),)))
        (sequence,) = read_ctc(folder)
        with timed("read", n_frames):
            for t in sequence.frame_paths:
                sequence.frame(t)
        with timed("validate", n_frames):
            assert validate_ctc(folder) == []
        n_bytes = sum(path.stat().st_size for path in Path(folder).rglob("man_track*.tif"))
        print(f"size       {n_bytes / n_frames / 1e6:.2f} MB a frame")


if __name__ == "__main__":
    main()
