"""``cellsynth train-preset``: what reaches the library, what is told at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellsynth.cli import console
from cellsynth.cli import train_preset as train_verb
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES, find_recipe
from cellsynth.shapes import LeftOut
from cellsynth.training import preset
from cellsynth.training.loop import Report
from cellsynth.training.stepping import Length

EVALUATION = {
    "dsc": {
        "mean": 0.98123,
        "worst": 0.9431,
        "worst_where": "cells/02 track 3, frame 7 of the sequence",
        "per_sequence": [0.985, 0.975],
    }
}


@pytest.fixture
def asked(monkeypatch, sphere_bundle, tmp_path):
    """What ``train_preset`` of the library was called with; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def record(data, out, options, *, on_event, **others):
        calls.append((data, out, options, others))
        on_event(preset.TrainEvent("read", 3, 3))
        on_event(preset.TrainEvent("train", 1.0, 1.0, Report(120, 9.5, 1.0, 0.0123), 0.912))
        left_out = tuple(LeftOut(f"track {i}", "too short") for i in range(23))
        return preset.TrainSummary(sphere_bundle, left_out, EVALUATION)

    monkeypatch.setattr(preset, "train_preset", record)
    return calls


def test_defaults(run, asked):
    assert run("train-preset", "in/Mouse Embryo (2)", "--device", "cpu").code == 0
    [(data, out, options, others)] = asked
    assert (data, out) == ([Path("in/Mouse Embryo (2)")], Path("mouse-embryo-2"))
    assert options == preset.TrainOptions(
        name="mouse-embryo-2",
        length=Length(budget_s=1200),
        commands=("cellsynth train-preset 'in/Mouse Embryo (2)' --device cpu",),
    )
    assert others == {"device": "cpu", "resume": False, "overwrite": False, "keep": False}


def test_what_is_assumed_is_told_while_data_are_prepared():
    told = []

    class Told:
        def update(self, what, done, total, note=""):
            told.append(note)

    shown = train_verb._Shown(Told())
    shown.event(preset.TrainEvent("read", 0, 1, assumed=("voxel size 1 × 1 × 1 µm",)))
    shown.event(preset.TrainEvent("distances", 1, 3))
    shown.event(preset.TrainEvent("train", 1.0, 1.0, Report(120, 9.5, 1.0, 0.0123), 0.912))
    assert told[:2] == ["assumed: voxel size 1 × 1 × 1 µm"] * 2
    assert told[2] == "step 120, loss 0.0123, DSC 0.912"


def test_every_flag_reaches_the_library(run, asked):
    flags = "--name n --out o --steps 7 --frames 5 --voxel-size 2,1,0.5 --frame-interval 30"
    more = "--kind ST --orientation frame --half-extent 12.5 --recipe paper --seed 9 --device cpu"
    new = "--one-size --evaluate-every 3"
    words = ["--title", "T", "--description", "D", "--licence", "MIT", "--data-licence", "CC0-1.0"]
    rest = ["--source", "S", "--about-data", "A", "--limits", "L", "--prepared-with", "make data"]
    verbatim = [*flags.split(), *more.split(), *new.split(), *words, *rest, "--resume", "--keep"]
    run("train-preset", "data", *verbatim)
    [(_, out, options, others)] = asked
    assert out == Path("o")
    assert options == preset.TrainOptions(
        name="n",
        length=Length(steps=7),
        title="T",
        description="D",
        licence="MIT",
        data="A",
        data_licence="CC0-1.0",
        source="S",
        limits="L",
        commands=("make data", options.commands[-1]),
        kind="ST",
        n_frames=5,
        voxel_size_um=(2.0, 1.0, 0.5),
        frame_interval_s=30.0,
        orientation="frame",
        half_extent_um=12.5,
        one_size=True,
        evaluate_every=3,
        recipe=RECIPES["paper"],
        seed=9,
    )
    assert options.commands[-1].startswith("cellsynth train-preset data --name n --out o")
    assert "--resume" not in options.commands[-1]
    assert "--keep" not in options.commands[-1]
    assert others == {"device": "cpu", "resume": True, "overwrite": False, "keep": True}


@pytest.mark.parametrize(
    ("data", "name"),
    [("a/B_c.ome.tif", "b_c"), ("x.zarr/", "x"), ("v1.2", "v1-2"), ("--name=given", "given")],
)
def test_the_name_comes_from_the_data(run, asked, data, name):
    run("train-preset", *(["any", data] if data.startswith("-") else [data]))
    assert asked[0][2].name == name


def test_several_data_sets_need_a_name(run, asked):
    assert "2 data sets have no one name; give --name" in run("train-preset", "a", "b").fault
    assert run("train-preset", "a", "b", "--name", "c").code == 0
    assert asked[0][:2] == ([Path("a"), Path("b")], Path("c"))


def test_a_preset_does_not_want_the_folder_of_its_own_data(run, asked, tmp_path):
    (tmp_path / "cells").mkdir()
    run("train-preset", "cells")
    assert (asked[0][1], asked[0][2].name) == (Path("cells-preset"), "cells")


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("20m", 1200), ("1.5h", 5400)])
def test_budgets(run, asked, text, seconds):
    run("train-preset", "data", "--budget", text)
    assert asked[0][2].length == Length(budget_s=seconds)


def test_the_end_tells_what_was_left_out_assumed_and_reached(
    run, asked, sphere_bundle, monkeypatch
):
    monkeypatch.setattr(console, "PAUSE_S", -1)
    result = run("train-preset", "data")
    left_out = [line for line in result.out.splitlines() if line.startswith("left out: ")]
    assert left_out[0] == "left out: track 0: too short"
    assert left_out[20:] == ["left out: 3 more"]
    assert "DSC, mean of all frames  0.9812" in result.out
    assert "DSC, worst frame         0.9431 (cells/02 track 3" in result.out
    where = sphere_bundle.folder
    assert result.last == (
        f"wrote preset sphere to {where}; next: cellsynth generate --preset {where}"
    )
    assert "training: 100%, step 120, loss 0.0123, DSC 0.912" in result.err
    assert run("train-preset", "data", "--quiet").out == f"{result.last}\n"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--budget 20", "--budget must be a time such as 90s, 20m or 1.5h, got '20'"),
        ("--budget 0m", "--budget must be a time such as 90s, 20m or 1.5h, got '0m'"),
        ("--budget 1m --steps 3", "--budget and --steps exclude each other"),
        ("--steps 0", "--steps must be at least 1, got 0"),
        ("--frames 0", "--frames must be at least 1, got 0"),
        ("--frame-interval 0", "--frame-interval must be above 0, got 0.0"),
        ("--half-extent nan", "--half-extent must be a finite number, got nan"),
        ("--orientation up", "--orientation must be 'none', 'sequence' or 'frame', got 'up'"),
        ("--kind GT", "--kind must be 'TRA', 'SEG' or 'ST', got 'GT'"),
        (
            "--recipe none",
            "recipe none is not there; give default, paper, a preset, or a TOML file",
        ),
        ("--recipe odd.toml", "recipe odd.toml: learning_rat is unknown; did you mean learning"),
        ("--resume --overwrite", "--resume and --overwrite exclude each other"),
        ("--start celegans --field siren", "--start and --field exclude each other"),
        ("--start celegans --half-extent 9", "--start and --half-extent exclude each other"),
        ("--device abacus", "device 'abacus' cannot be used here"),
    ],
)
def test_a_fault_in_a_flag_is_told_with_its_value(run, asked, tmp_path, flags, expected):
    Path("odd.toml").write_text("learning_rat = 1e-3\n")
    assert expected in run("train-preset", "data", *flags.split()).fault
    assert asked == []


def test_no_name_can_be_made_of_it(run, asked):
    assert "no name can be made of" in run("train-preset", "日本").fault


@pytest.mark.parametrize("flags", [(), ("--overwrite",)])
@pytest.mark.parametrize("kept", [True, False])
def test_ctrl_c_tells_whether_to_resume(run, asked, monkeypatch, kept, flags):
    def interrupted(data, out, options, **_):
        if kept:
            preset.work_folder(out).mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(preset, "train_preset", interrupted)
    result = run("train-preset", "data", "--out", "out", *flags)
    instead = " instead of --overwrite" if flags else ""
    expected = (
        "the training so far is kept in .out.training; "
        f"the same command with --resume{instead} goes on"
        if kept
        else "nothing is left behind; run it again"
    )
    assert (result.code, result.err) == (130, f"interrupted: {expected}\n")


def test_a_recipe_of_ones_own_differs_where_it_says_so(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("points_per_frame = 64\n")
    assert find_recipe(str(path)) == Recipe(points_per_frame=64)
