"""``cellsynth study``: the list, what reaches the library, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_studies import tiny

from cellsynth.studies import catalogue, runner
from cellsynth.studies.catalogue import STUDIES


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny_omega(monkeypatch) -> None:
    """``omega`` in seconds."""
    found = replace(catalogue.find_study("omega"), settings={"small": tiny("omega")})
    monkeypatch.setattr(catalogue, "find_study", lambda _: found)


def test_the_list_names_every_study(run):
    result = run("study", "--list")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()[1:-1]] == list(STUDIES)
    assert result.last == "next: cellsynth study NAME"


def test_a_study_is_run_and_told(run, here, tiny_omega):
    result = run("study", "omega", "--threads", 1)
    assert result.code == 0, result
    assert result.last.startswith("wrote study omega to study-omega (the paper's ordering ")
    assert result.last.endswith("next: look at study-omega/figure.png")
    assert "sphericity 36πV²/S³" in result.out
    assert "olds: below 30, cells come out rounder; here: " in result.out
    assert {path.name for path in here.iterdir()} == {"study-omega"}
    assert "pass --overwrite or another --out" in run("study", "omega").fault
    quiet = run("study", "omega", "--threads", 1, "--overwrite", "--quiet")
    assert (quiet.out, quiet.err) == (f"{result.last}\n", "")


def test_ctrl_c_says_how_to_go_on(run, here, tiny_omega, monkeypatch):
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cellsynth.studies.omega.measured", stop)
    result = run("study", "omega", "--threads", 1)
    assert result.code == 130
    assert (
        "whole stages are kept in .study-omega.study; the same command with --resume" in result.err
    )
    assert not (here / "study-omega").exists()


def test_flags_reach_the_library(run, here, monkeypatch):
    asked = []

    def stop(*arguments, **others):
        asked.append((arguments, others))
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "run_study", stop)
    flags = "--scale paper --seed 7 --out there --threads 2 --device cpu --resume --keep"
    result = run("study", "compactness", *flags.split())
    assert result.err == "interrupted: nothing is left behind; run it again\n"
    [((study, out), others)] = asked
    del others["on_event"]
    assert (study.name, out) == ("compactness", Path("there"))
    assert others == {
        "scale": "paper",
        "seed": 7,
        "threads": 2,
        "device": "cpu",
        "resume": True,
        "overwrite": False,
        "keep": True,
    }


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("", "study: no NAME given; cellsynth study --list tells which there are"),
        ("compact", "study: no study 'compact'; did you mean compactness?"),
        ("xyz", "study: no study 'xyz'; expected reconstruction, compactness,"),
        ("omega --list", "study: NAME and --list exclude each other"),
        ("omega --scale large", "--scale must be 'small' or 'paper', got 'large'"),
        ("omega --seed -1", "--seed must be at least 0, got -1"),
        ("omega --device tpu", "device 'tpu' cannot be used here"),
        ("omega --threads 0", "--threads must be at least 1, got 0"),
        ("omega --resume --overwrite", "--resume and --overwrite exclude each other"),
        ("omega --out taken --overwrite", "taken is in use and is no study"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(run, here, flags, expected):
    (here / "taken").mkdir()
    (here / "taken" / "thesis.txt").write_text("ten years of work")
    assert expected in run("study", *flags.split()).fault
    assert {path.name for path in here.rglob("*")} == {"taken", "thesis.txt"}
