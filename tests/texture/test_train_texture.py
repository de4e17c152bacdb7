"""From pairs to a preset with a texture: what is written, resumed, refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from pairs_data import SIDE, counts_of, discs, write_bright_pairs, write_pairs

from cellsynth.errors import (
    BundleError,
    CellsynthError,
    FormatError,
    InputError,
    InUseError,
    MissingError,
)
from cellsynth.formats.manifest import FORMAT
from cellsynth.presets.bundle import Bundle, read_bundle
from cellsynth.presets.texture import GeneratorSpec, TextureRecipe
from cellsynth.texture import train
from cellsynth.texture.conditions import CONDITIONS
from cellsynth.texture.networks import load_generator
from cellsynth.texture.train import (
    TextureTrainOptions,
    TrainTextureEvent,
    train_texture,
    work_folder,
)
from cellsynth.training.stepping import Length

OPTIONS = TextureTrainOptions(
    length=Length(steps=3),
    voxel_size_um=(2.0, 1.0, 1.0),
    generator=GeneratorSpec(channels=4, downsamplings=1, blocks=1),
    recipe=TextureRecipe(crop=32, discriminator_channels=4, scales=1),
    data="Discs.",
    commands=("cellsynth train-texture discs --preset sphere",),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "data")


def changed(**changes: object) -> TextureTrainOptions:
    return TextureTrainOptions(**{**vars(OPTIONS), **changes})  # type: ignore[arg-type]


def test_the_preset_gains_a_texture_and_nothing_else(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    told: list[TrainTextureEvent] = []
    out = tmp_path / "out"
    summary = train_texture(data, sphere_bundle, out, OPTIONS, on_event=told.append)
    assert [event.stage for event in told] == ["pairs"] * 6 + ["train"] * 3
    assert summary.pairs == 3
    found = read_bundle(out)
    spec = found.preset.texture
    assert spec is not None
    assert found.preset.model_copy(update={"texture": None, "files": {}}) == (
        sphere_bundle.preset.model_copy(update={"files": {}})
    )
    for name, tensor in sphere_bundle.tensors().items():
        np.testing.assert_array_equal(found.tensors()[name], tensor)
    assert found.evaluation() == sphere_bundle.evaluation()
    assert found.contents["shape.safetensors"] == sphere_bundle.contents["shape.safetensors"]
    assert (spec.mode, spec.pixel_size_um, spec.depth_um, spec.inputs) == ("mip", 1.0, None, 5)
    assert (spec.training.steps, spec.training.pairs) == (3, 3)
    assert spec.intensities.dtype == "uint16"
    assert 15 < spec.intensities.low < 30
    assert 150 < spec.intensities.high < 180
    assert abs(spec.reach_um - 7.3) < 1
    assert spec.origin.data == "Discs."
    image = load_generator(spec, found.texture_tensors())(torch.randn(1, 5, 20, 30))
    assert image.shape == (1, 1, 20, 30)
    assert "## Texture" in found.card()
    assert OPTIONS.commands[0] in found.card()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_slices(sphere_bundle: Bundle, tmp_path: Path) -> None:
    data = write_pairs(tmp_path / "data", frames=1, depth=4, dtype="uint8")
    train_texture(data, sphere_bundle, tmp_path / "out", changed(mode="3d", name="other"))
    preset = read_bundle(tmp_path / "out").preset
    assert preset.texture is not None
    assert (preset.name, preset.texture.depth_um, preset.texture.inputs) == ("other", 2.0, 13)
    assert preset.texture.intensities.dtype == "uint8"


def test_interrupted_and_resumed_is_the_same_texture(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    def stop(event: TrainTextureEvent) -> None:
        if event.report and event.report.step == 2:
            raise KeyboardInterrupt

    train_texture(data, sphere_bundle, tmp_path / "whole", OPTIONS)
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train_texture(data, sphere_bundle, out, OPTIONS, on_event=stop)
    assert not out.exists()
    assert (work_folder(out) / "checkpoint.safetensors").is_file()
    with pytest.raises(InUseError, match="interrupted training; pass --resume or --overwrite"):
        train_texture(data, sphere_bundle, out, OPTIONS)
    with pytest.raises(InputError, match="had another"):
        train_texture(data, sphere_bundle, out, changed(grain_um=9.0), resume=True)
    with pytest.raises(InputError, match="other data or settings"):
        train_texture(data, sphere_bundle, out, changed(length=Length(steps=4)), resume=True)
    assert (work_folder(out) / "checkpoint.safetensors").is_file()
    train_texture(data, sphere_bundle, out, OPTIONS, resume=True)
    assert not work_folder(out).exists()
    whole, found = read_bundle(tmp_path / "whole"), read_bundle(out)
    assert found.contents["texture.safetensors"] == whole.contents["texture.safetensors"]


def stopped_at_the_first_step(event: TrainTextureEvent) -> None:
    if event.report:
        raise KeyboardInterrupt


def kept(out: Path) -> dict[str, bytes]:
    """What an interrupted training left."""
    work = work_folder(out)
    return {str(p): p.read_bytes() for p in sorted(work.rglob("*")) if p.is_file()}


def test_one_that_replaces_a_preset_need_be_told_so_once(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train_texture(data, sphere_bundle, out, changed(name="older"))
    with pytest.raises(KeyboardInterrupt):
        train_texture(
            data, sphere_bundle, out, OPTIONS, overwrite=True, on_event=stopped_at_the_first_step
        )
    assert read_bundle(out).preset.name == "older"
    train_texture(data, sphere_bundle, out, OPTIONS, resume=True)
    assert read_bundle(out).preset.name == sphere_bundle.preset.name
    assert not work_folder(out).exists()
    with pytest.raises(InUseError, match="out"):
        train_texture(data, sphere_bundle, out, OPTIONS, resume=True)


def test_bad_input_takes_nothing_from_an_interrupted_training(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        train_texture(data, sphere_bundle, out, OPTIONS, on_event=stopped_at_the_first_step)
    (work_folder(out) / "checkpoint.safetensors").unlink()
    before = kept(out)
    assert before
    with pytest.raises(MissingError, match="dta is not a folder"):
        train_texture(tmp_path / "dta", sphere_bundle, out, OPTIONS, overwrite=True)
    assert kept(out) == before
    with pytest.raises(InputError, match="had another grain_um; give the same again"):
        train_texture(data, sphere_bundle, out, changed(grain_um=9.0), resume=True)
    assert kept(out) == before
    _constant(data)
    with pytest.raises(InputError, match="constant"):
        train_texture(data, sphere_bundle, out, OPTIONS, overwrite=True)
    assert not work_folder(out).exists()


@pytest.mark.parametrize("stage", ["pairs", "train"])
def test_a_training_that_runs_is_left_alone(
    data: Path, sphere_bundle: Bundle, tmp_path: Path, stage: str
) -> None:
    out = tmp_path / "out"
    refused = []

    def another(event: TrainTextureEvent) -> None:
        if event.stage == stage and not refused:
            for how in ({"resume": True}, {"overwrite": True}):
                before = kept(out)
                with pytest.raises(InUseError, match="being written by another run") as info:
                    train_texture(data, sphere_bundle, out, OPTIONS, **how)
                assert kept(out) == before
                refused.append(info)

    train_texture(data, sphere_bundle, out, OPTIONS, on_event=another)
    assert len(refused) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "out"]


def test_a_sheet_is_drawn_and_kept_where_wanted(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    train_texture(data, sphere_bundle, tmp_path / "out", OPTIONS, keep=True)
    work = work_folder(tmp_path / "out")
    assert (work / "sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert not list(work.glob("*.part"))


def test_the_sheet_shows_the_mask_of_the_slice_itself(
    sphere_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(train, "write_sheet", lambda _, rows: seen.extend(rows))
    data = write_pairs(tmp_path / "data", frames=1, depth=4, dtype="uint8")
    train_texture(data, sphere_bundle, tmp_path / "out", changed(mode="3d", length=Length(steps=1)))
    assert len(seen) == train.EXAMPLES
    for conditions, real, _ in seen:
        np.testing.assert_array_equal(conditions[0] > 0, real > 0)


def test_a_texture_is_trained_on(data: Path, sphere_bundle: Bundle, tmp_path: Path) -> None:
    train_texture(data, sphere_bundle, tmp_path / "first", OPTIONS)
    first = read_bundle(tmp_path / "first")
    second = train_texture(
        data, first, tmp_path / "second", changed(from_preset=True, generator=None)
    ).bundle
    assert second.preset.texture is not None
    assert first.preset.texture is not None
    assert second.preset.texture.generator == OPTIONS.generator
    assert second.preset.texture.reach_um == first.preset.texture.reach_um
    old, new = first.texture_tensors(), second.texture_tensors()
    np.testing.assert_array_equal(old["body.0.2.mean"], new["body.0.2.mean"])
    assert np.abs(old["head.image.weight"] - new["head.image.weight"]).max() < 0.01
    for options, error, match in (
        (changed(from_preset=True), None, ""),
        (changed(from_preset=True, mode="3d"), InputError, "has a texture of mode mip, got --mode"),
        (changed(from_preset=True, generator=GeneratorSpec()), InputError, "give no other"),
    ):
        if error:
            with pytest.raises(error, match=match):
                train_texture(data, first, tmp_path / "third", options)
    with pytest.raises(MissingError, match="no texture to start from"):
        train_texture(data, sphere_bundle, tmp_path / "third", changed(from_preset=True))
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("depth", "given", "judged"),
    [
        (4, {}, True),
        (4, {"grain_um": 1.25, "grain_octaves": 2}, True),
        (4, {"grain_um": 9.0}, False),
        (4, {"grain_octaves": 3}, False),
        (None, {}, False),  # what turns in space cannot be followed in flat masks
    ],
)
def test_images_of_the_simulated_microscope_bring_their_grain(
    sphere_bundle: Bundle,
    tmp_path: Path,
    depth: int | None,
    given: dict[str, float],
    judged: bool,
) -> None:
    data = write_pairs(tmp_path / "data", frames=1, depth=depth)
    fluorophore = {"grain_um": 1.25, "grain_octaves": 2}
    manifest = {
        "format": FORMAT,
        "sequences": {},
        "texture": {"engine": "optics", "seed": 11, "profile": {"fluorophore": fluorophore}},
    }
    (data / "dataset.json").write_text(json.dumps(manifest))
    options = changed(length=Length(steps=1), plain=True, **given)
    train_texture(data, sphere_bundle, tmp_path / "out", options, keep=True)
    spec = read_bundle(tmp_path / "out").preset.texture
    assert spec is not None
    assert {"grain_um": spec.grain_um, "grain_octaves": spec.grain_octaves} == fluorophore | given
    assert spec.training.recipe.judged_grain is judged
    pairs = json.loads((work_folder(tmp_path / "out") / "pairs" / "pairs.json").read_text())
    assert pairs["given"]["seed"] == (11 if judged else 0)


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_how_bright_cells_and_background_are_is_told(
    sphere_bundle: Bundle, tmp_path: Path, mode: str
) -> None:
    data = write_bright_pairs(tmp_path / "data", depth=5)
    first = train_texture(data, sphere_bundle, tmp_path / "first", changed(mode=mode)).bundle
    spec = first.preset.texture
    assert spec is not None
    assert spec.conditions == (*CONDITIONS, "brightness", "background")
    assert spec.inputs == 6 * spec.slices + 1
    assert spec.brightness is not None
    # 100, 200 and 300 counts for one cell, half for the other; no sequence is like another.
    assert spec.brightness.mean == pytest.approx(np.log(100 * 6 ** (1 / 3) / 2**0.5), abs=0.1)
    assert spec.brightness.between_sequences > 0.3
    assert spec.background is not None
    assert spec.background.mean == pytest.approx(1120, abs=15)
    assert spec.background.unevenness > 30
    again = read_bundle(tmp_path / "first")
    assert again.preset == first.preset
    # Trained on, it sees what it saw, and what is the new images' own.
    second = train_texture(
        data, again, tmp_path / "second", changed(from_preset=True, generator=None, n_frames=2)
    ).bundle
    assert second.preset.texture is not None
    assert second.preset.texture.conditions == spec.conditions
    assert second.preset.texture.brightness != spec.brightness
    plain = train_texture(
        data, sphere_bundle, tmp_path / "p", changed(mode=mode, plain=True)
    ).bundle
    assert plain.preset.texture is not None
    assert plain.preset.texture.conditions == CONDITIONS
    third = train_texture(
        data, plain, tmp_path / "third", changed(from_preset=True, generator=None)
    ).bundle
    assert third.preset.texture is not None
    assert third.preset.texture.conditions == CONDITIONS
    with pytest.raises(InputError, match="sees brightness and background; train without --plain"):
        train_texture(
            data, first, tmp_path / "x", changed(from_preset=True, generator=None, plain=True)
        )


def test_what_cannot_be_measured_is_no_condition_unless_it_must_be(
    sphere_bundle: Bundle, tmp_path: Path
) -> None:
    bright = write_bright_pairs(tmp_path / "bright")
    dark = write_bright_pairs(tmp_path / "dark", dark=True)
    found = train_texture(dark, sphere_bundle, tmp_path / "a", OPTIONS).bundle.preset.texture
    assert found is not None
    assert found.conditions == (*CONDITIONS, "background")
    assert found.brightness is None
    able = train_texture(bright, sphere_bundle, tmp_path / "b", OPTIONS).bundle
    with pytest.raises(InputError, match=r"dark: brightness: 18 of 18 cells are not brighter"):
        train_texture(dark, able, tmp_path / "c", changed(from_preset=True, generator=None))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "bright", "dark"]


def test_a_single_image_can_be_trained_on(sphere_bundle: Bundle, tmp_path: Path) -> None:
    data = write_bright_pairs(tmp_path / "data", sequences=1, frames=1)
    spec = train_texture(data, sphere_bundle, tmp_path / "a", OPTIONS).bundle.preset.texture
    assert spec is not None
    assert spec.brightness is not None
    assert spec.brightness.between_sequences == spec.brightness.changing == 0
    assert spec.brightness.between_cells == pytest.approx(spec.brightness.deviation)


def _no_images(data: Path) -> None:
    shutil.rmtree(data / "01")


def _no_masks(data: Path) -> None:
    shutil.rmtree(data / "01_GT")


def _other_size(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t002.tif", np.zeros((SIDE, 9), np.uint16))


def _constant(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t002.tif", np.full((SIDE, SIDE), 3, np.uint16))


def _nan(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t002.tif", np.full((SIDE, SIDE), np.nan, np.float32))


def _bits(data: Path) -> None:
    tifffile.imwrite(data / "01" / "t002.tif", counts_of(discs(2), 2).astype(np.int32))


def _damaged(data: Path) -> None:
    whole = (data / "01" / "t002.tif").read_bytes()
    (data / "01" / "t002.tif").write_bytes(whole[: len(whole) // 2])


def _no_cell(data: Path) -> None:
    for path in (data / "01_GT" / "TRA").glob("*.tif"):
        tifffile.imwrite(path, np.zeros((SIDE, SIDE), np.uint16))


@pytest.mark.parametrize(
    ("break_it", "error", "match"),
    [
        (_no_images, MissingError, "holds masks without images"),
        (_no_masks, MissingError, "holds no masks"),
        (_other_size, FormatError, r"t002\.tif has shape \(48, 9\)"),
        (_constant, InputError, r"t002\.tif is constant at 3"),
        (_nan, FormatError, "holds float32, 2304 of them NaN"),
        (_bits, FormatError, "holds int32"),
        (_damaged, FormatError, r"t002\.tif"),
        (_no_cell, InputError, "no mask shows a cell"),
    ],
)
def test_bad_input_is_told_in_one_line_and_leaves_nothing(
    data: Path,
    sphere_bundle: Bundle,
    tmp_path: Path,
    break_it: Callable[[Path], None],
    error: type[CellsynthError],
    match: str,
) -> None:
    break_it(data)
    with pytest.raises(error, match=match) as info:
        train_texture(data, sphere_bundle, tmp_path / "out", OPTIONS)
    assert "\n" not in str(info.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize(
    ("scales", "enhancer", "least"), [(1, False, 2), (2, False, 3), (4, False, 9), (2, True, 5)]
)
def test_images_may_be_small_but_not_too_small(
    sphere_bundle: Bundle, tmp_path: Path, scales: int, enhancer: bool, least: int
) -> None:
    assert OPTIONS.generator is not None
    options = changed(
        length=Length(steps=1),
        recipe=OPTIONS.recipe.model_copy(update={"scales": scales}),
        generator=OPTIONS.generator.model_copy(update={"enhancer": enhancer}),
        plain=True,
    )
    for side in (least - 1, least):
        data = write_pairs(tmp_path / f"{side}", frames=1)
        for path in data.rglob("*.tif"):
            image = tifffile.imread(path)[:, 16 : 16 + side]
            tifffile.imwrite(path, image, photometric="minisblack")
        if side == least:
            train_texture(data, sphere_bundle, tmp_path / "out", options)
            continue
        match = rf"t000\.tif has shape \(48, {side}\); .* need {least} pixels on a side"
        with pytest.raises(InputError, match=match):
            train_texture(data, sphere_bundle, tmp_path / "out", options)
        assert [path.name for path in tmp_path.iterdir()] == [f"{side}"]


def test_what_lies_there_is_not_mixed_into(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train_texture(data, sphere_bundle, out, OPTIONS)
    with pytest.raises(InUseError, match="pass --overwrite or another --out"):
        train_texture(data, sphere_bundle, out, OPTIONS)
    train_texture(data, sphere_bundle, out, changed(seed=1), overwrite=True)
    texture = read_bundle(out).preset.texture
    assert texture is not None
    assert texture.training.seed == 1
    with pytest.raises(CellsynthError, match="name must match"):
        train_texture(data, sphere_bundle, tmp_path / "b", changed(name="No Name"))


def test_a_preset_without_texture_says_so(sphere_bundle: Bundle) -> None:
    with pytest.raises(MissingError, match="preset sphere has no texture; learn one"):
        sphere_bundle.texture_tensors()


def test_weights_and_section_belong_together(
    data: Path, sphere_bundle: Bundle, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train_texture(data, sphere_bundle, out, OPTIONS)
    toml = out / "preset.toml"
    text = toml.read_text()
    toml.write_text("\n".join(x for x in text.splitlines() if "texture.safetensors" not in x))
    with pytest.raises(BundleError, match=r"files\.texture\.safetensors is missing"):
        read_bundle(out)
    toml.write_text(text.replace("channels = 4 ", "channels = 6 "))
    with pytest.raises(BundleError, match=r"texture\.safetensors: .* has shape"):
        read_bundle(out)
    weights = out / "texture.safetensors"
    toml.write_text(text)
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(BundleError, match=r"texture\.safetensors has SHA-256"):
        read_bundle(out)
