"""What a study is: a question, settings for two scales, stages, and what is concluded of them.

A stage does a part of the work and gives plain numbers, which are kept once it is whole. Whatever
else it needs to keep, it keeps in the bench's folder, whole or not at all: so a study that is
killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from cellsynth.presets.base import StrictModel
from cellsynth.studies.results import Ordering, Scale, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Bench", "Findings", "Found", "Stage", "Study", "StudyEvent"]

Found = dict[str, Any]
"""What a stage has found, as JSON has it."""

S = TypeVar("S", bound=StrictModel)


@dataclass(frozen=True)
class StudyEvent:
    """Progress of a stage: ``done`` of ``total`` of what it does.

    Attributes:
        stage: Its name.
        number, stages: Its number from 1, and how many there are.
        what: What it is doing.
        done, total: How far it has come with that.
        note: What else there is to say.
    """

    stage: str
    number: int
    stages: int
    what: str
    done: float
    total: float
    note: str = ""


@dataclass(frozen=True)
class Bench(Generic[S]):
    """Where a study works.

    Attributes:
        settings: What to do.
        seed: Of everything random.
        folder: For what is kept on the way.
        found: What the stages before this one have found.
        tell: Told of progress: what, done, total, note.
        device: Torch device of trainings; what is rendered is rendered on the CPU.
    """

    settings: S
    seed: int
    folder: Path
    found: Mapping[str, Found] = field(default_factory=dict)
    tell: Callable[[str, float, float, str], None] = lambda *_: None
    device: str = "cpu"

    def progress(self, what: str, note: str = "") -> Callable[[int, int], None]:
        """For functions of the library that tell of ``done`` and ``total``."""
        return lambda done, total: self.tell(what, done, total, note)


@dataclass(frozen=True)
class Stage(Generic[S]):
    """A part of a study, and what does it."""

    name: str
    work: Callable[[Bench[S]], Found]


@dataclass(frozen=True)
class Findings:
    """What is concluded of all stages.

    Attributes:
        text: A few sentences.
        tables: The paper's numbers beside ours.
        orderings: What the paper claims, and whether it is so here.
        numbers: Every figure, by name.
    """

    text: str
    tables: tuple[Table, ...]
    orderings: tuple[Ordering, ...]
    numbers: Found


@dataclass(frozen=True)
class Study(Generic[S]):
    """One experiment of the paper.

    Attributes:
        name: What ``cellsynth study`` takes.
        title: For people.
        section: Of the paper, with its figures.
        settings: What to do, by scale.
        stages: The parts, in their order.
        conclude: What they come to.
        draw: A figure of it.
    """

    name: str
    title: str
    section: str
    settings: Mapping[Scale, S]
    stages: Callable[[S], tuple[Stage[S], ...]]
    conclude: Callable[[Bench[S]], Findings]
    draw: Callable[[Bench[S]], Figure]
