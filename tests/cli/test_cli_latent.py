"""``cellsynth latent``: the map, the walk, and what is refused."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bundles import changed

from cellsynth.cli import latent as latent_module
from cellsynth.evaluation import latent as library
from cellsynth.evaluation import walks
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.geometry import Grid
from cellsynth.presets.models import Topology
from cellsynth.rendering.walk import WalkOptions

CODES = [[0.0, 0.0], [0.2, 0.1], [-0.1, 0.0], [-0.9, 0.3]]  # the fourth has no cell


@pytest.fixture(scope="module")
def preset(sphere_bundle, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("presets") / "balls"
    return changed(sphere_bundle, folder, topology=Topology(judged_at=16), latents=CODES).folder


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_map(run, preset, here):
    result = run("latent", preset, "--frames", 2, "--draws", 3, "--device", "cpu")
    assert result.code == 0, result
    lines = result.out.splitlines()
    assert lines[0] == (
        "variance of 4 codes of 2 numbers: 90 % in 1, 99 % in 2, 99.9 % in 2 of 2 "
        "principal components"
    )
    rows = {re.split(r"\s{2,}", line)[0]: re.split(r"\s{2,}", line) for line in lines}
    assert rows["growth, last frame / first"][1] == "1 … 1"
    assert rows["learned"][1] == "4"
    assert rows["gaussian"][1] == rows["neighbourhood"][1] == "3"
    assert "code 4 breaks the topology: cells in the last frame: got 0, expected 1" in lines
    assert result.last == (
        "wrote the map of 4 codes to sphere-latent; next: look at sphere-latent/latent.png, "
        f"or cellsynth latent {preset} --walk 3 2"
    )
    found = library.read_latent_map(here / "sphere-latent" / "latent.json")
    assert (found.frames, len(found.drawn), found.seed) == (2, 6, 0)
    assert "holds a map of codes already; pass --overwrite" in run("latent", preset).fault
    quiet = run("latent", preset, "--frames", 2, "--draws", 3, "--overwrite", "--quiet")
    assert (quiet.out, quiet.err) == (f"{result.last}\n", "")


def test_a_walk(run, preset, here):
    flags = "--walk 2 3 --steps 3 --frames 2 --res 16 --workers 1 --device cpu"
    result = run("latent", preset, *flags.split())
    assert result.code == 0, result
    assert result.out.splitlines()[0].split()[:2] == ["step", "share"]
    assert re.search(r"^volume of a cell, µm³: .* to .*, monotone over 3 steps$", result.out, re.M)
    assert result.last == (
        "wrote 3 steps from code 2 to code 3 to sphere-walk-2-3; next: look at "
        "sphere-walk-2-3/walk.png, or cellsynth validate sphere-walk-2-3"
    )
    out = here / "sphere-walk-2-3"
    assert validate_ctc(out) == []
    assert {"walk.json", "walk.png", "walk.svg"} <= {path.name for path in out.iterdir()}
    assert run("validate", out).code == 0
    before = (out / "walk.json").read_bytes()
    assert "pass --resume, --overwrite" in run("latent", preset, *flags.split()).fault
    assert run("latent", preset, *flags.split(), "--resume").last == result.last
    assert (out / "walk.json").read_bytes() == before


def test_steps_that_break_are_named(run, preset, here):
    flags = "--walk 1 4 --steps 2 --frames 2 --res 16 --workers 1 --out w"
    result = run("latent", preset, *flags.split())
    assert (
        "step 2 breaks the topology: cells in the last frame: got 0, expected 1; left out, there "
        "is nothing to label"
    ) in result.out.splitlines()
    assert result.last.startswith("wrote 2 steps from code 1 to code 4 (1 of them break the topo")
    assert list(json.loads((here / "w" / "dataset.json").read_text())["sequences"]) == ["01"]


def test_a_variable_that_turns_back_is_told():
    found = walks.trend("growth", [1, 4, 2, 5])
    assert latent_module._told(found) == (
        "growth, last frame / first: 1 to 5, turns back by 50.0% of its range, at step 3"
    )


def test_flags_reach_the_library(run, preset, here, monkeypatch):
    asked = []

    def stop(*arguments, **others):
        asked.append((arguments[1:], others))
        raise KeyboardInterrupt

    monkeypatch.setattr(walks, "walk_latents", stop)
    monkeypatch.setattr(library, "map_latents", stop)
    flags = "--walk 3 1 --voxel-size 1,0.5,0.5 --rotation learned"
    result = run("latent", preset, *flags.split())
    assert result.code == 130
    assert "--resume goes on" in result.err
    [(arguments, others)] = asked
    grid = Grid.from_voxel_size((1, 0.5, 0.5), 5)
    expected = WalkOptions((3, 1), grid, 4, steps=9, rotation="learned")
    assert arguments == (Path("sphere-walk-3-1"), expected)
    assert (others["workers"], others["resume"], others["overwrite"]) == (None, False, False)
    result = run("latent", preset, "--walk", 1, 2)
    assert asked[1][0][1].grid == Grid.over_omega((16, 16, 16))  # that of the preset's judge
    result = run("latent", preset, "--seed", 7, "--out", "m")
    assert result.err == "interrupted: nothing was written\n"
    assert asked[2][0] == (Path("m"), library.LatentOptions(seed=7))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--walk 0 1", "preset sphere has codes 1 to 4, got 0"),
        ("--walk 1 5", "preset sphere has codes 1 to 4, got 5"),
        ("--walk 2 2", "from one code to another, got 2 twice"),
        ("--walk 1 2 --steps 1", "--steps must be at least 2, got 1"),
        ("--walk 1 two", "--walk must be two whole numbers such as 3 17, got '1 two'"),
        ("--walk 1 2 --rotation random", "--rotation must be 'none' or 'learned', got 'random'"),
        ("--walk 1 2 --res 8 --voxel-size 1", "--res and --voxel-size exclude each other"),
        ("--walk 1 2 --resume --overwrite", "--resume and --overwrite exclude each other"),
        ("--walk 1 2 --draws 3", "--draws is of the map"),
        ("--steps 3", "--steps is of walks; give it with --walk A B"),
        ("--resume", "--resume is of walks"),
        ("--draws -1", "--draws must be at least 0, got -1"),
        ("--frames 0", "--frames must be at least 1, got 0"),
        ("--walk 1 2 --out taken", "taken is in use and is no data set of ours"),
        ("--out taken --overwrite", "taken is in use and is no map of codes"),
    ],
)
def test_a_fault_is_one_line_and_leaves_nothing(run, preset, here, flags, expected):
    (here / "taken").mkdir()
    (here / "taken" / "thesis.txt").write_text("ten years of work")
    assert expected in run("latent", preset, *flags.split()).fault
    assert {path.name for path in here.rglob("*")} == {"taken", "thesis.txt"}


def test_an_unknown_preset_and_too_few_codes(run, preset, here, sphere_bundle):
    assert "no preset 'nobody'" in run("latent", "nobody").fault
    changed(sphere_bundle, here / "two", latents=CODES[:2])
    assert "has 2 learned codes; t-SNE needs 3" in run("latent", "./two", "--out", "m").fault
    assert not (here / "m").exists()
