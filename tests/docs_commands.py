"""Commands in the documents: every line of their blocks of ``sh``."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
# Blocks may be indented, as within lists.
_BLOCK = re.compile(r"^( *)```sh\n(.*?)^\1```$", re.S | re.M)
_COMMENT = re.compile(r"(?:^|\s)#\s*(.*)$")
OURS = "cellsynth"


@dataclass(frozen=True)
class Command:
    """One command of a document.

    Attributes:
        document: Path from the root of the checkout.
        line: Its number there, from 1.
        words: The command without its comment.
        comment: What is said behind ``#``.
    """

    document: str
    line: int
    words: tuple[str, ...]
    comment: str

    @property
    def arguments(self) -> tuple[str, ...] | None:
        """What ``cellsynth`` is given; None for other programs."""
        for i, word in enumerate(self.words):
            if word == OURS and (i == 0 or self.words[i - 1] == "-m"):
                return self.words[i + 1 :]
        return None

    @property
    def long(self) -> bool:
        """Whether the document says that it takes long."""
        return self.comment.split(":")[0] == "long"


def commands_of(text: str, document: str) -> list[Command]:
    """Every command in the blocks of ``sh`` of a text."""
    found = []
    for block in _BLOCK.finditer(text):
        first = text[: block.start(2)].count("\n") + 1
        before = ""
        for i, line in enumerate(block[2].splitlines()):
            whole = before + line
            if whole.endswith("\\"):
                before = whole[:-1]
                continue
            before = ""
            words = tuple(shlex.split(whole, comments=True))
            if words:
                comment = _COMMENT.search(whole)
                found.append(Command(document, first + i, words, comment[1] if comment else ""))
    return found


def every_command() -> list[Command]:
    """Every command of README and docs."""
    return [
        command
        for path in DOCUMENTS
        for command in commands_of(path.read_text("utf-8"), path.relative_to(ROOT).as_posix())
    ]
