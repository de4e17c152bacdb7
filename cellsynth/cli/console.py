"""What the command line prints, and how: results on stdout, progress and errors on stderr.

Colours and bars are for terminals only. Names of files may hold anything, so control characters
are shown, never sent.
"""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar

    from cellsynth.formats.exporting import ExportEvent
    from cellsynth.rendering.options import Event
    from cellsynth.texture.options import TextureEvent

__all__ = [
    "FrameProgress",
    "Printer",
    "Progress",
    "StoppedError",
    "interruptible",
    "print_error",
    "quoted",
    "resuming",
]

TENTHS = 10
# Where there is no bar, lines are no closer than this, so what is quick says nothing.
PAUSE_S = 5.0


class StoppedError(Exception):
    """Ctrl-C; the message says what is whole and how to go on."""


@contextmanager
def interruptible(state: Callable[[], str]) -> Iterator[None]:
    """Turn Ctrl-C into :class:`StoppedError`, with what ``state`` says once everything stopped."""
    try:
        yield
    except KeyboardInterrupt:
        raise StoppedError(state()) from None


def print_error(message: str, *, word: str = "error") -> None:
    """``error: message`` as one red line on stderr."""
    _print(_console(stderr=True), f"{word}: {message}", "red")


def quoted(path: Path) -> str:
    """A path as one would type it."""
    return shlex.quote(str(path))


def resuming(overwrite: bool) -> str:
    """How to go on with what was interrupted; ``--overwrite`` would begin anew."""
    instead = " instead of --overwrite" if overwrite else ""
    return f"the same command with --resume{instead} goes on"


class Printer:
    """A verb's results on stdout; of all lines ``quiet`` leaves the last."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = _console(stderr=False)

    def line(self, text: str = "", style: str | None = None) -> None:
        """One line."""
        if not self._quiet:
            _print(self._console, text, style)

    def note(self, text: str) -> None:
        """One line that the user should not overlook, in yellow."""
        self.line(text, "yellow")

    def text(self, text: str) -> None:
        """A text of many lines as it stands."""
        for line in text.splitlines():
            self.line(line)

    def table(self, rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
        """Rows of text in columns, below a ``head``."""
        shown = [[_shown(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
        widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
        for i, row in enumerate(shown):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.line("  ".join(cells).rstrip(), "bold" if head and i == 0 else None)

    def last(self, text: str, style: str | None = None) -> None:
        """The last line, printed in any case."""
        _print(self._console, text, style)


class Progress:
    """Progress with an estimate of the time left: a bar, or elsewhere a line now and then.

    A context manager; silent if ``quiet``.
    """

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._console = _console(stderr=True)
        self._bar: Bar | None = None
        self._task: Any = None
        self._what = ""
        self._tenth = 0
        self._began = 0.0
        self._printed = 0.0
        self._base = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, what: str, done: float, total: float, note: str = "") -> None:
        """``done`` of ``total`` of ``what``; another ``what`` begins anew."""
        if self._quiet:
            return
        begins = what != self._what
        if begins:
            self._what, self._tenth = what, 0
            # Speed is measured from here: what a resumed run found done cost it no time.
            self._began, self._base = time.monotonic(), done
            self._printed = self._began
        if self._console.is_terminal:
            if self._bar is None:
                self._bar = _bar(self._console)
                self._bar.start()
            if begins:
                self._task = self._bar.add_task(
                    what,
                    total=total,
                    completed=done,  # type: ignore[arg-type]  # a share is welcome as well
                    note=note,
                )
            self._bar.update(self._task, completed=done, total=total, note=note)
            return
        share = done / total if total else 1.0
        paused = time.monotonic() - self._printed > PAUSE_S
        if int(TENTHS * share) > self._tenth and paused:
            self._tenth, self._printed = int(TENTHS * share), time.monotonic()
            parts = (f"{what}: {share:.0%}", self._left(done, total), note)
            _print(self._console, ", ".join(part for part in parts if part))

    def _left(self, done: float, total: float) -> str:
        if not self._base < done < total:
            return ""
        seconds = (time.monotonic() - self._began) * (total - done) / (done - self._base)
        left = f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
        return f"about {left} left"


class FrameProgress:
    """Events as progress in frames; sequences begun anew are counted in a note."""

    def __init__(
        self, progress: Progress, what: str, total: int, again: str = "", *, finished: int = 0
    ) -> None:
        """``again`` is what it means that a sequence is begun anew; ``finished`` frames are."""
        self._progress = progress
        self._what = what
        self._total = total
        self._again = again
        self._finished = finished
        self._frames: Counter[int] = Counter()
        self._redrawn = 0

    def event(self, event: Event | TextureEvent | ExportEvent) -> None:
        """Told by the library."""
        if event.kind == "frame":
            self._frames[event.sequence] += 1
        elif event.kind == "redrawn":
            # Its frames are rendered once more.
            self._frames[event.sequence] = 0
            self._redrawn += 1
        done = min(self._finished + self._frames.total(), self._total)
        note = f"{self._redrawn} {self._again}" if self._redrawn else ""
        self._progress.update(self._what, done, self._total, note)


def _bar(console: Console) -> Bar:
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=console,
    )


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)


def _print(console: Console, text: str, style: str | None = None) -> None:
    console.print(_shown(text), style=style, soft_wrap=True)


def _shown(text: str) -> str:
    """``text`` with everything that a terminal would obey, or could not encode, made visible."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
