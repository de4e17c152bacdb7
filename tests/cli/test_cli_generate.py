"""``cellsynth generate``: what reaches the library, what is written, how it is interrupted."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from cellsynth.cli import console
from cellsynth.formats.ctc import read_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.geometry import Grid
from cellsynth.rendering import dataset


@pytest.fixture
def asked(monkeypatch):
    """What ``generate`` of the library was called with; nothing is generated."""
    calls = []

    def record(bundle, out, options, **others):
        calls.append((bundle, out, options, others))
        return dataset.Summary(out, others["count"], others["count"], 0)

    monkeypatch.setattr(dataset, "generate", record)
    return calls


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_defaults(run, asked, sphere_bundle, here):
    result = run("generate", "--preset", sphere_bundle.folder, "--device", "cpu")
    assert result.code == 0
    [(bundle, out, options, others)] = asked
    assert bundle.sha256 == sphere_bundle.sha256
    assert out == Path("sphere-128")
    assert options == dataset.GenerateOptions(Grid.over_omega((128, 128, 128)), n_frames=4)
    assert others.pop("on_event")
    assert others == {
        "count": 1,
        "workers": None,
        "device": "cpu",
        "resume": False,
        "overwrite": False,
    }


def test_every_flag_reaches_the_library(run, asked, sphere_bundle, here):
    flags = "--count 3 --res 8,16,32 --frames 7 --rotation 0,90,-45.5 --strategy neighbourhood"
    more = "--seed 5 --out a/b --workers 2 --dense --device cpu --resume"
    run("generate", "--preset", sphere_bundle.folder, *flags.split(), *more.split())
    [(_, out, options, others)] = asked
    assert out == Path("a/b")
    assert options == dataset.GenerateOptions(
        Grid.over_omega((8, 16, 32)),
        n_frames=7,
        rotation=(0.0, math.pi / 2, math.radians(-45.5)),
        strategy="neighbourhood",
        seed=5,
        dense=True,
    )
    assert (others["count"], others["workers"], others["resume"]) == (3, 2, True)


@pytest.mark.parametrize(
    ("flags", "name"),
    [
        (["--res", "384"], "sphere-384"),
        (["--res", "384,384,384"], "sphere-384"),
        (["--res", "64,512,512"], "sphere-64x512x512"),
        (["--voxel-size", "1.0,0.09,0.09"], "sphere-1.0x0.09x0.09um"),
        (["--voxel-size", "0.5"], "sphere-0.5um"),
    ],
)
def test_the_folder_is_named_after_preset_and_size(run, asked, sphere_bundle, here, flags, name):
    run("generate", "--preset", sphere_bundle.folder, *flags)
    assert asked[0][1] == Path(name)


def test_voxel_size_gives_the_grid_that_fits(run, asked, sphere_bundle, here):
    run("generate", "--preset", sphere_bundle.folder, "--voxel-size", "1.0,0.5,0.09")
    grid = asked[0][2].grid
    assert grid.shape == (10, 20, 111)
    assert grid.voxel_size_um(5.0) == pytest.approx((1.0, 0.5, 0.09))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("--res 64 --voxel-size 1", "--res and --voxel-size exclude each other"),
        ("--resume --overwrite", "--resume and --overwrite exclude each other"),
        ("--res 64,64", "--res must be one number or three such as 64,512,512, got '64,64'"),
        ("--res big", "--res must be one number or three such as 64,512,512, got 'big'"),
        ("--res 0", "--res must be at least 1, got 0"),
        ("--res 8,8,70000", "--res must be at most 65535, got 70000"),
        ("--voxel-size 1,nan,1", "--voxel-size must be a finite number, got nan"),
        ("--voxel-size -0.1", "--voxel-size must be above 0, got -0.1"),
        ("--voxel-size 11", "voxel size (11.0, 11.0, 11.0) µm does not fit: Ω is 10 µm wide"),
        ("--count 0", "--count must be at least 1, got 0"),
        ("--frames 0", "--frames must be at least 1, got 0"),
        ("--frames 10001", "--frames must be at most 10000, got 10001"),
        ("--seed -1", "--seed must be at least 0, got -1"),
        ("--workers 0", "--workers must be at least 1, got 0"),
        (
            "--strategy random",
            "--strategy must be 'gaussian', 'neighbourhood', 'mixture' or 'kernel', got",
        ),
        ("--rotation up", "--rotation must be random, none or three angles in degrees"),
        ("--rotation 1,2", "--rotation must be random, none or three angles in degrees"),
        ("--rotation 1,2,inf", "must be a finite number, got inf"),
        ("--device abacus", "device 'abacus' cannot be used here"),
        ("--count 0 --seed -1", "--count must be at least 1, got 0; --seed must be at least 0"),
    ],
)
def test_a_fault_in_a_flag_is_told_with_its_value(run, sphere_bundle, here, flags, expected):
    fault = run("generate", "--preset", sphere_bundle.folder, *flags.split()).fault
    assert expected in fault
    assert list(here.iterdir()) == []


def test_dry_run_says_what_would_be_made_and_makes_nothing(run, sphere_bundle, here):
    flags = "--count 33 --voxel-size 1.0,0.5,0.09 --frames 7 --rotation 0,90,0 --dry-run"
    result = run("generate", "--preset", sphere_bundle.folder, *flags.split())
    assert result.code == 0
    for line in (
        "sequences       33",
        "grid            10 × 20 × 111 voxels (z, y, x)",
        "voxel size      1 × 0.5 × 0.09 µm (z, y, x)",
        "frames          7",
        "frame interval  15 s",
        "rotation        0, 90, 0 degrees, Euler XYZ",
        "strategy        gaussian",
        "folder          sphere-1.0x0.5x0.09um (free)",
    ):
        assert line in result.out.splitlines()
    assert result.last == "nothing was written; leave out --dry-run to generate"
    assert list(here.iterdir()) == []
    (here / "sphere-8").mkdir()
    (here / "sphere-8" / "mine.txt").touch()
    result = run("generate", "--preset", sphere_bundle.folder, "--res", "8", "--dry-run")
    assert "folder          sphere-8 (holds something already)" in result.out.splitlines()


def test_a_set_is_written_resumed_and_valid(run, dividing_bundle, here, monkeypatch):
    monkeypatch.setattr(console, "PAUSE_S", -1)
    base = ["generate", "--preset", dividing_bundle.folder, "--res", 24, "--workers", 1]
    result = run(*base, "--count", 2)
    assert result.last == (
        "wrote 2 sequences of 4 frames to dividing-24; next: cellsynth validate dividing-24"
    )
    assert "generating: 100%" in result.err
    before = {path: path.stat().st_mtime_ns for path in Path("dividing-24").rglob("*.tif")}
    result = run(*base, "--count", 3, "--resume", "--quiet")
    assert result.err == ""
    assert result.out == (
        "wrote 3 sequences of 4 frames to dividing-24; next: cellsynth validate dividing-24\n"
    )
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())
    assert run(*base, "--count", 3, "--resume").last.startswith("nothing to do: 3 sequences")
    assert validate_ctc("dividing-24") == []
    for sequence in read_ctc("dividing-24"):
        [mother] = sequence.lineage.divisions()
        assert [child.end for child in sequence.lineage.children(mother.label)] == [3, 3]
    result = run("validate", "dividing-24")
    assert (result.code, result.last) == (0, "valid: 3 sequences, 12 frames")


def test_refused_draws_are_told(run, sphere_bundle, here, monkeypatch):
    monkeypatch.setattr(dataset, "generate", lambda *_, **__: dataset.Summary(Path("s"), 6, 6, 2))
    result = run("generate", "--preset", sphere_bundle.folder)
    assert "(2 of 8 draws refused for their topology, 25%)" in result.last


def test_ctrl_c_tells_what_is_whole(run, sphere_bundle, here, monkeypatch):
    real = dataset.generate

    def interrupted(*arguments, **others):
        def on_event(event):
            if event.kind == "sequence" and event.sequence == 1:
                raise KeyboardInterrupt

        return real(*arguments, **{**others, "on_event": on_event})

    monkeypatch.setattr(dataset, "generate", interrupted)
    base = ["generate", "--preset", sphere_bundle.folder, "--res", 16, "--count", 4]
    result = run(*base, "--workers", 1)
    assert result.code == 130
    assert result.err == (
        "interrupted: 2 of 4 sequences are whole in sphere-16; "
        "the same command with --resume goes on\n"
    )
    assert len(json.loads(Path("sphere-16/dataset.json").read_text())["sequences"]) == 2


# Tests that run in the background inherit a shell's "ignore Ctrl-C"; a terminal's programs do not.
LISTENING = """
import signal, sys
from cellsynth.cli.app import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Ctrl-C as a terminal sends it needs POSIX")
def test_ctrl_c_in_a_terminal_ends_the_workers_too(sphere_bundle, here):
    shutil.copytree(sphere_bundle.folder, "sphere")
    command = [sys.executable, "-c", LISTENING, "generate", "--preset", "sphere", "--res", "16"]
    more = ["--count", "400", "--workers", "2", "--out", "set", "--quiet"]
    running = subprocess.Popen(
        [*command, *more], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        manifest = Path("set/dataset.json")
        while not (manifest.is_file() and json.loads(manifest.read_text())["sequences"]):
            assert running.poll() is None, running.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.startswith("interrupted: ")
    assert err.count("\n") == 1
    assert not list(Path("set").glob(".part-*"))
    assert validate_ctc("set") == []
