"""``cellsynth train-texture``: what reaches the library, what is told at the end."""

from __future__ import annotations

from pathlib import Path

import pytest
from textured import texture_spec

from cellsynth.presets.texture import GENERATORS, TextureRecipe
from cellsynth.texture import train
from cellsynth.texture.gan_loop import GanReport
from cellsynth.training.stepping import Length


@pytest.fixture
def asked(monkeypatch, sphere_bundle, tmp_path):
    """What ``train_texture`` of the library was called with; nothing is trained."""
    monkeypatch.chdir(tmp_path)
    calls = []

    def record(data, bundle, out, options, *, on_event, **others):
        calls.append((data, bundle, out, options, others))
        on_event(train.TrainTextureEvent("pairs", 3, 3))
        report = GanReport(12, 3.5, 1.0, {"judges": 0.5, "l1": 0.25})
        on_event(train.TrainTextureEvent("train", 1.0, 1.0, report))
        preset = sphere_bundle.preset.model_copy(update={"texture": texture_spec("3d")})
        made = type(sphere_bundle)(preset, out, b"", {})
        return train.TrainTextureSummary(made, 7)

    monkeypatch.setattr(train, "train_texture", record)
    return calls


def test_defaults(run, asked, sphere_bundle):
    result = run("train-texture", "pairs", "--preset", sphere_bundle.folder, "--device", "cpu")
    assert result.code == 0, result
    [(data, bundle, out, options, others)] = asked
    assert (data, out) == (Path("pairs"), Path("sphere-texture"))
    assert bundle.sha256 == sphere_bundle.sha256
    assert options == train.TextureTrainOptions(
        length=Length(budget_s=1800),
        commands=(f"cellsynth train-texture pairs --preset {sphere_bundle.folder} --device cpu",),
    )
    assert others == {"device": "cpu", "resume": False, "overwrite": False, "keep": False}
    assert result.last == (
        "wrote preset sphere with its texture to sphere-texture; "
        "next: cellsynth texture SET --preset sphere-texture"
    )
    assert "uint16, 100 to 900" in result.out
    assert "mask, boundary, distance, grain" in result.out


def test_every_flag_reaches_the_library(run, asked, sphere_bundle, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("l1_weight = 2.5\ncrop = 64\n")
    flags = "--name n --out o --mode 3d --steps 7 --crop 96 --batch 2 --frames 5 --kind ST"
    more = "--voxel-size 2,1,0.5 --grain 1.5 --reach 3 --plain --from-preset --generator published"
    words = "--licence MIT --about-data A --data-licence CC0-1.0 --source S --limits L --seed 9"
    rest = f"--prepared-with made --recipe {recipe} --perceptual v --resume --keep --device cpu"
    given = f"{flags} {more} {words} {rest}".split()
    assert run("train-texture", "d", "--preset", sphere_bundle.folder, *given).code == 0
    [(_, _, out, options, others)] = asked
    assert out == Path("o")
    assert options == train.TextureTrainOptions(
        length=Length(steps=7),
        name="n",
        mode="3d",
        kind="ST",
        n_frames=5,
        voxel_size_um=(2.0, 1.0, 0.5),
        grain_um=1.5,
        reach_um=3.0,
        plain=True,
        generator=GENERATORS["published"],
        recipe=TextureRecipe(l1_weight=2.5, crop=96, batch=2),
        from_preset=True,
        perceptual=Path("v"),
        licence="MIT",
        data="A",
        data_licence="CC0-1.0",
        source="S",
        limits="L",
        commands=("made", options.commands[-1]),
        seed=9,
    )
    assert "--resume" not in options.commands[-1]
    assert others == {"device": "cpu", "resume": True, "overwrite": False, "keep": True}


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ("--crop 8", "--crop must be at least 32, got 8"),
        ("--mode flat", "--mode must be 'mip' or '3d', got 'flat'"),
        ("--steps 3 --budget 3m", "--budget and --steps exclude each other"),
        ("--resume --overwrite", "--resume and --overwrite exclude each other"),
        ("--recipe none", "recipe none is not there; give default, or a TOML file"),
        ("--generator none", "generator none is not there; give default, published, or"),
        ("--budget soon", "--budget must be a time such as"),
        ("--grain 0", "--grain must be above 0"),
    ],
)
def test_faults(run, asked, sphere_bundle, flags, fault):
    words = flags.split()
    assert fault in run("train-texture", "d", "--preset", sphere_bundle.folder, *words).fault
    assert not asked


def test_a_preset_that_is_not_there(run, no_presets, listing):
    assert "no preset 'nobody'" in run("train-texture", "d", "--preset", "nobody").fault
    assert listing() == set()


def test_no_data(run, sphere_bundle, tmp_path, monkeypatch, listing):
    monkeypatch.chdir(tmp_path)
    fault = run("train-texture", "none", "--preset", sphere_bundle.folder).fault
    assert "none is not a folder" in fault
    assert listing() == set()
