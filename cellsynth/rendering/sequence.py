"""One cell through time: occupied voxels, labels and lineage of a whole sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from cellsynth.errors import TopologyError
from cellsynth.field.model import CellModel
from cellsynth.formats.lineage import Lineage
from cellsynth.geometry import Grid, frame_times
from cellsynth.rendering.occupancy import Occupancy, occupancy, occupancy_dense
from cellsynth.rendering.tracking import OneBody, Tracker
from cellsynth.sampling.strategies import (
    Strategy,
    draw_latent,
    draw_rotation,
    draw_stream,
    learned_turn,
)

__all__ = [
    "Draw",
    "LabelledSequence",
    "draw_cell",
    "draw_onto",
    "judging_grid",
    "judging_sequence",
    "propose_cell",
    "render_frame",
]

T = TypeVar("T")

# Draws of one sequence before giving up on it.
MAX_ATTEMPTS = 50
# Of these, the first few are drawn around the learned code whose turn it is.
OWN_TURN = 10


@dataclass(frozen=True)
class Draw:
    """A new cell.

    Attributes:
        latent: Its code.
        rotation: Its rotation ``(3, 3)``.
        attempt: How many draws of this sequence broke the topology before.
    """

    latent: NDArray[np.float32]
    rotation: NDArray[np.float64]
    attempt: int


def render_frame(
    model: CellModel, draw: Draw, time: float, grid: Grid, *, dense: bool = False
) -> Occupancy:
    """The voxels inside the cell at one time; ``dense`` asks the field at every voxel."""
    field = model.at(draw.latent, time, draw.rotation)
    if dense:
        return Occupancy(occupancy_dense(field, grid), (0, 0, 0), grid.shape, grid.size)
    return occupancy(field, grid, bound=model.preset.bound)


class LabelledSequence:
    """Labels of a cell's frames, from the last to the first, and its lineage after that."""

    def __init__(
        self,
        model: CellModel,
        draw: Draw,
        grid: Grid,
        n_frames: int,
        *,
        dense: bool = False,
        one_body: bool = False,
        threads: int = 1,
    ) -> None:
        """Prepare a sequence of ``n_frames`` on ``grid``; nothing is rendered yet.

        ``threads`` frames are rendered at once. The field's products are too small to be shared
        by several cores, whole frames are not. ``one_body`` labels all pieces alike, and lets the
        cell do what the preset's topology does not allow.
        """
        self._model = model
        self._draw = draw
        self._grid = grid
        self._times = frame_times(n_frames)
        self._dense = dense
        self._threads = threads
        self._tracker = (OneBody if one_body else Tracker)(model.preset.topology, n_frames)

    def frames(self) -> Iterator[tuple[int, NDArray[np.uint16], tuple[int, int, int]]]:
        """Frame number, labels ``(z, y, x)`` of a box, and the box's offset in the grid.

        Raises:
            TopologyError: The cells do not do what the preset's topology says.
        """
        for t, frame in self._rendered():
            yield t, self._tracker.add(frame), frame.offset

    def _rendered(self) -> Iterator[tuple[int, Occupancy]]:
        """Frames from the last to the first, a few of them rendered ahead."""
        pool = ThreadPoolExecutor(self._threads)
        todo = iter(reversed(range(len(self._times))))
        try:
            ahead = deque((t, pool.submit(self._render, t)) for t in islice(todo, self._threads))
            while ahead:
                t, frame = ahead.popleft()
                ahead.extend((t, pool.submit(self._render, t)) for t in islice(todo, 1))
                yield t, frame.result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _render(self, t: int) -> Occupancy:
        return render_frame(
            self._model, self._draw, float(self._times[t]), self._grid, dense=self._dense
        )

    def lineage(self) -> Lineage:
        """The lineage, once all frames are rendered; raises as :meth:`frames`."""
        return self._tracker.lineage()


def propose_cell(
    model: CellModel,
    *,
    seed: int,
    sequence: int,
    strategy: Strategy | None = None,
    rotation: Literal["random", "none"] | NDArray[np.float64] = "random",
    attempt: int = 0,
) -> Draw:
    """One attempt at a sequence, not judged yet.

    Raises:
        InputError: The preset was not calibrated for that strategy.
    """
    rng = draw_stream(seed, sequence, attempt)
    n = len(model.latents)
    # Around some learned codes no draw may hold; other codes get a turn then.
    turn = learned_turn(seed, sequence, n) if attempt < OWN_TURN else int(rng.integers(n))
    latent = draw_latent(rng, model.preset.sampling, model.latents, turn, strategy)
    return Draw(latent, draw_rotation(rng, rotation), attempt)


def draw_cell(
    model: CellModel,
    *,
    seed: int,
    sequence: int,
    strategy: Strategy | None = None,
    rotation: Literal["random", "none"] | NDArray[np.float64] = "random",
    attempt: int = 0,
    threads: int = 1,
    refused: str = "",
) -> Draw:
    """The first draw of a sequence, from ``attempt`` on, that keeps the preset's topology.

    Judged on one small grid over the preset's own frames, so that the resolution, the frame rate
    and the rotation asked for do not decide which cell it is. ``refused`` is what was wrong, on
    another grid, with the draw before ``attempt``.

    Raises:
        TopologyError: No such draw within 50.
    """
    last = refused
    while attempt < MAX_ATTEMPTS:
        draw = propose_cell(
            model,
            seed=seed,
            sequence=sequence,
            strategy=strategy,
            rotation=rotation,
            attempt=attempt,
        )
        try:
            check_topology(model, draw.latent, threads=threads)
        except TopologyError as error:
            last = str(error)
            attempt += 1
        else:
            return draw
    finer = "a finer grid, or " if refused else ""
    raise TopologyError(
        f"preset {model.preset.name}: sequence {sequence + 1} broke the topology in "
        f"{MAX_ATTEMPTS} draws (last: {last}); try {finer}--strategy neighbourhood"
    )


def draw_onto(
    grid: Grid,
    render: Callable[[Draw], T],
    model: CellModel,
    *,
    seed: int,
    sequence: int,
    strategy: Strategy | None = None,
    rotation: Literal["random", "none"] | NDArray[np.float64] = "random",
    threads: int = 1,
    on_refused: Callable[[], None] = lambda: None,
) -> tuple[Draw, T]:
    """The first draw of a sequence that keeps the topology on ``grid`` too, and its rendering.

    A draw that is whole where it is judged and not on this grid is as if it had not been drawn.

    Args:
        grid: Where ``render`` renders.
        render: Makes of a draw what is wanted; its TopologyError asks for the next draw.
        on_refused: Called before each next draw.
        model, seed, sequence, strategy, rotation, threads: See :func:`draw_cell`.

    Raises:
        TopologyError: No such draw within 50.
    """
    attempt, refused = 0, ""
    while True:
        draw = draw_cell(
            model,
            seed=seed,
            sequence=sequence,
            strategy=strategy,
            rotation=rotation,
            attempt=attempt,
            threads=threads,
            refused=refused,
        )
        try:
            return draw, render(draw)
        except TopologyError as error:
            refused = f"{error}, on the grid of {grid}"
            attempt = draw.attempt + 1
            on_refused()


def judging_grid(model: CellModel) -> Grid:
    """Where a draw is judged, whatever grid is asked for: the same cell at any resolution."""
    n = model.preset.topology.judged_at
    return Grid.over_omega((n, n, n))


def judging_sequence(
    model: CellModel,
    latent: NDArray[np.float32],
    *,
    n_frames: int | None = None,
    threads: int = 1,
) -> LabelledSequence:
    """The cell of a code as it is judged: upright, in the preset's own frames or as many."""
    upright = Draw(latent, np.eye(3), 0)
    n_frames = n_frames or model.preset.scale.n_frames
    return LabelledSequence(model, upright, judging_grid(model), n_frames, threads=threads)


def check_topology(model: CellModel, latent: NDArray[np.float32], *, threads: int = 1) -> Lineage:
    """The lineage of a code's cell on the grid it is judged on.

    Raises:
        TopologyError: It breaks the preset's topology.
    """
    sequence = judging_sequence(model, latent, threads=threads)
    for _ in sequence.frames():
        pass
    return sequence.lineage()
