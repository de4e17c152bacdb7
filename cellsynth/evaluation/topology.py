"""How often a preset's first draw of a cell is a valid one, and what is wrong with the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from cellsynth.errors import InputError, TopologyError
from cellsynth.field.model import CellModel
from cellsynth.field.threads import cores, one_thread_each
from cellsynth.geometry import Grid
from cellsynth.rendering.sequence import LabelledSequence, propose_cell
from cellsynth.sampling.strategies import Strategy

__all__ = ["Validity", "first_draws"]


@dataclass(frozen=True)
class Validity:
    """How many drawn cells keep the preset's topology in every frame.

    Attributes:
        draws: Cells drawn.
        faults: The number of each cell that does not, and the first fault found in it.
    """

    draws: int
    faults: dict[int, str]

    @property
    def share(self) -> float:
        """Share of valid cells."""
        return 1 - len(self.faults) / self.draws

    def reasons(self) -> dict[str, int]:
        """How often each fault was found, whatever frame it was in, the most frequent first."""
        kinds = (re.sub(r"^frame \d+: ", "", fault) for fault in self.faults.values())
        return dict(Counter(kinds).most_common())


def first_draws(
    model: CellModel,
    count: int,
    grid: Grid,
    *,
    seed: int,
    strategy: Strategy | None = None,
    threads: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Validity:
    """Judge the first draw of each sequence, turned at random, before any is drawn again.

    These are the cells that ``cellsynth generate`` tries first for that seed. It refuses some on
    a grid of 64³; here each is rendered on ``grid`` alone.

    Args:
        model: The preset.
        count: Number of sequences.
        grid: Where they are rendered.
        seed: Of the draws.
        strategy: How codes are drawn; ``None`` is the preset's.
        threads: Frames rendered at once; ``None`` is all cores.
        on_progress: Called with cells judged and cells valid.

    Raises:
        InputError: ``count`` below 1.
    """
    if count < 1:
        raise InputError(f"number of sequences must be at least 1, got {count}")
    faults: dict[int, str] = {}
    with one_thread_each():
        for i in range(count):
            draw = propose_cell(model, seed=seed, sequence=i, strategy=strategy)
            sequence = LabelledSequence(
                model, draw, grid, model.preset.scale.n_frames, threads=threads or cores()
            )
            try:
                for _ in sequence.frames():
                    pass
                sequence.lineage()
            except TopologyError as error:
                faults[i] = str(error)
            if on_progress is not None:
                on_progress(i + 1, i + 1 - len(faults))
    return Validity(count, faults)
