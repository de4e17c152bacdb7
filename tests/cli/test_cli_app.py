"""How the command begins and ends, whatever the verb."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from cellsynth import __version__
from cellsynth.cli import app as cli_app
from cellsynth.cli.app import main
from cellsynth.errors import InputError

VERBS = (
    "generate",
    "train-preset",
    "presets",
    "phantom",
    "validate",
    "evaluate",
    "latent",
    "report",
    "study",
)
HEAVY = ("torch", "scipy", "zarr", "skimage", "matplotlib", "rich", "pydantic", "dominate")


def test_help_lists_the_verbs_and_loads_nothing_heavy(tmp_path):
    code = (
        "import sys; from cellsynth.cli.app import main; code = main(); "
        f"print([m for m in {HEAVY} if m in sys.modules], code)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert shown.stdout.endswith("[] 0\n")
    for verb in VERBS:
        assert f"  {verb} " in shown.stdout


def test_no_verb_prints_the_help(run):
    result = run()
    assert result.code == 0
    assert "Commands:" in result.out


@pytest.mark.parametrize("verb", [*VERBS, "presets show"])
def test_every_verb_has_help(run, verb):
    result = run(*verb.split(), "--help")
    assert result.code == 0
    assert f"Usage: cellsynth {verb}" in result.out
    assert result.err == ""


def test_version(run):
    assert run("--version").out == f"cellsynth {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["generat"], "'generat'"),
        (["generate"], "'--preset' (see cellsynth generate --help)"),
        (["generate", "--preset", "p", "--colour", "red"], "No such option: --colour"),
        (
            ["generate", "--preset", "p", "--count", "many"],
            "'--count': must be a whole number, got 'many'",
        ),
        (["train-preset"], "cellsynth train-preset --help"),
        (
            ["train-preset", "d", "--frame-interval", "long"],
            "'--frame-interval': must be a number, got 'long'",
        ),
        (["presets", "show"], "(see cellsynth presets show --help)"),
    ],
)
def test_what_the_parser_refuses_is_one_line(run, arguments, expected):
    assert expected in run(*arguments).fault


class Stub:
    """A verb that ends in its own way, in place of a real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, ending: BaseException) -> None:
        stub = typer.Typer()

        @stub.command()
        def verb() -> None:
            raise ending

        monkeypatch.setattr(cli_app, "app", stub)


def test_a_message_is_one_line_whatever_is_in_it(monkeypatch, capsys):
    Stub(monkeypatch, InputError("a\nb\x1b[31m \udcff µ " + "long " * 100))
    assert main([]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: a\\nb\\x1b[31m \\udcff µ long")
    assert err.count("\n") == 1


def test_a_bug_keeps_its_traceback(monkeypatch):
    Stub(monkeypatch, RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        main([])


def test_ctrl_c_is_one_line_and_130(monkeypatch, capsys):
    Stub(monkeypatch, KeyboardInterrupt())
    assert main([]) == 130
    assert capsys.readouterr().err == "interrupted: nothing was begun\n"


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "cellsynth", "presets"],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            cwd=tmp_path,
        )
    finally:
        os.close(writing)
    assert ended.stderr == b""
    assert ended.returncode == 1


def test_colour_is_for_terminals(run, tmp_path, monkeypatch):
    missing = tmp_path / "none"
    assert "\x1b" not in run("validate", missing).err
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert run("validate", missing).err.startswith("\x1b[31merror: ")


def test_the_public_names_are_there_and_bring_no_torch():
    code = (
        "import sys, cellsynth; listed = dir(cellsynth); cellsynth.Grid; cellsynth.read_ctc; "
        "assert set(cellsynth.__all__) <= set(listed); print('torch' in sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.home()
    )
    assert shown.stdout == "False\n"


def test_every_public_name_is_loaded_from_its_room():
    import cellsynth

    for name in cellsynth.__all__:
        assert getattr(cellsynth, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'generat'"):
        cellsynth.generat  # noqa: B018
