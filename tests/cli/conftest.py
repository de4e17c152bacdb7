"""The command line, called in this process or as one of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from cellsynth.cli.app import main


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        return self.out.splitlines()[-1]

    @property
    def fault(self) -> str:
        """The one line that a failed run says."""
        assert self.code == 1, self
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        return lines[0]


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """``cellsynth`` with these arguments, in this process."""

    def call(*arguments: object) -> Result:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Result(code, *capsys.readouterr())

    return call


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """``cellsynth`` as a process of its own, in the test's folder."""

    def call(*arguments: object, **options: object) -> Result:
        command = [sys.executable, "-m", "cellsynth", *map(str, arguments)]
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
            timeout=120,
            **options,  # type: ignore[call-overload]
        )
        return Result(ended.returncode, ended.stdout, ended.stderr)

    return call


@pytest.fixture
def listing(tmp_path: Path) -> Callable[[], set[str]]:
    """Everything that lies in the test's folder."""
    return lambda: {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
