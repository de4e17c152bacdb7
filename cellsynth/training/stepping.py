"""Something that is trained step by step: how long, by which clock, kept when.

A step draws from a random stream of its own, so that a training that was killed and resumed from
its last checkpoint takes the very steps that an uninterrupted one takes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from cellsynth.errors import InputError

__all__ = ["CHECKPOINT_S", "Length", "Stepping"]

CHECKPOINT_S = 30.0

Loss = TypeVar("Loss")
Report = TypeVar("Report")


@dataclass(frozen=True)
class Length:
    """How long to train: a number of steps, or seconds; exactly one of them."""

    steps: int | None = None
    budget_s: float | None = None

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.budget_s is None):
            raise InputError("training length: give either steps or a budget, not both")
        length = self.budget_s if self.steps is None else self.steps
        if length is None or length <= 0:
            raise InputError(f"training length must be above 0, got {length}")

    def share(self, step: int, seconds: float) -> float:
        """Share of the training that is done, 0 to 1."""
        if self.steps is not None:
            return min(1.0, step / self.steps)
        assert self.budget_s is not None
        return min(1.0, seconds / self.budget_s)


class Stepping(ABC, Generic[Loss, Report]):
    """One training, step after step: each has its loss, and is reported.

    Attributes:
        length: When it ends.
        step, seconds: How far it has come.
    """

    def __init__(self, length: Length) -> None:
        self.length = length
        self.step = 0
        self.seconds = 0.0
        # Whether parameters and count of steps belong together.
        self._whole = True

    @property
    def share(self) -> float:
        """Share of the training that is done, 0 to 1."""
        return self.length.share(self.step, self.seconds)

    def run(
        self, checkpoint: Path | None = None, on_step: Callable[[Report], None] | None = None
    ) -> None:
        """Train to the end; checkpoints by time, at the end, and when interrupted."""
        saved = time.monotonic()
        try:
            while self.share < 1:
                began = time.perf_counter()
                loss = self._step()
                self.step += 1
                self._whole = True
                self.seconds = self._agreed(self.seconds + time.perf_counter() - began)
                if on_step:
                    on_step(self._report(loss))
                if checkpoint and time.monotonic() - saved > CHECKPOINT_S:
                    self.save(checkpoint)
                    saved = time.monotonic()
        finally:
            if checkpoint and self._whole:
                self.save(checkpoint)

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the whole state of the training to ``path``."""

    @abstractmethod
    def _step(self) -> Loss:
        """Take a step.

        ``self._whole`` is set to False before the first parameter changes: should Ctrl-C come
        then, no checkpoint holds a step half taken.
        """

    @abstractmethod
    def _report(self, loss: Loss) -> Report:
        """What is told of the step that was just counted."""

    def _agreed(self, seconds: float) -> float:
        """The clock to go by."""
        return seconds
