"""A texture in a preset: round trip through TOML and bundle, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from textured import texture_spec

from cellsynth.errors import BundleError, InputError
from cellsynth.presets import base, texture
from cellsynth.presets.bundle import read_bundle, write_bundle
from cellsynth.presets.judge import override
from cellsynth.presets.models import Preset
from cellsynth.presets.tensors import expected_texture
from cellsynth.presets.texture import (
    BackgroundSpec,
    BrightnessSpec,
    GeneratorSpec,
    TextureSpec,
)
from cellsynth.presets.toml import from_toml, to_toml

Tensors = dict[str, np.ndarray]


def weights(spec: TextureSpec) -> Tensors:
    rng = np.random.default_rng(1)
    shapes = expected_texture(spec)
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.fixture
def textured(preset: Preset) -> Preset:
    return preset.model_copy(update={"texture": texture_spec("3d")})


def test_every_model_is_strict_and_says_what_its_values_mean() -> None:
    found = [m for m in vars(texture).values() if isinstance(m, type)]
    models = [m for m in found if issubclass(m, base.StrictModel)]
    assert len(models) >= 6
    for model in models:
        assert model.__doc__
        for name, info in model.model_fields.items():
            section = isinstance(info.annotation, type) and issubclass(
                info.annotation, base.StrictModel
            )
            assert section or info.description or name == "versions", name


@pytest.mark.parametrize("mode", ["mip", "3d"])
def test_toml_round_trip(preset: Preset, mode: str) -> None:
    whole = preset.model_copy(update={"texture": texture_spec(mode)})
    text = to_toml(whole)
    assert from_toml(text, Preset, "p") == whole
    for section in ("texture.generator", "texture.intensities", "texture.training.recipe"):
        assert f"[{section}]" in text
    assert "[texture" not in to_toml(preset)


def test_bundle_round_trip(
    textured: Preset, tensors: Tensors, evaluation: dict[str, object], tmp_path: Path
) -> None:
    assert textured.texture is not None
    given = weights(textured.texture)
    common = {"card": "# T\n", "evaluation": evaluation}
    bundle = write_bundle(tmp_path / "t", textured, tensors, texture=given, **common)
    assert sorted(bundle.preset.files) == [
        "CARD.md",
        "evaluation.json",
        "shape.safetensors",
        "texture.safetensors",
    ]
    assert bundle.preset.texture == textured.texture
    for name, tensor in bundle.texture_tensors().items():
        np.testing.assert_array_equal(tensor, given[name])
    again = write_bundle(tmp_path / "u", textured, tensors, texture=given, **common)
    assert again.sha256 == bundle.sha256
    with pytest.raises(BundleError, match=r"body\.0\.1\.weight is missing"):
        write_bundle(tmp_path / "v", textured, tensors, **common)
    plain = textured.model_copy(update={"texture": None})
    with pytest.raises(BundleError, match="texture is missing, though there are tensors"):
        write_bundle(tmp_path / "v", plain, tensors, texture=given, **common)
    given["head.image.bias"][0] = np.nan
    with pytest.raises(BundleError, match=r"head\.image\.bias\[0\] is nan"):
        write_bundle(tmp_path / "v", textured, tensors, texture=given, **common)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t", "u"]


def test_weights_without_their_section_are_refused(
    textured: Preset, tensors: Tensors, evaluation: dict[str, object], tmp_path: Path
) -> None:
    assert textured.texture is not None
    given = weights(textured.texture)
    folder = tmp_path / "t"
    write_bundle(folder, textured, tensors, card="", evaluation=evaluation, texture=given)
    toml = folder / "preset.toml"
    text = toml.read_text()
    begin, end = text.index("# From masks to images"), text.index("# SHA-256 of each file")
    toml.write_text(text[:begin] + text[end:])
    with pytest.raises(BundleError, match=r"texture is missing, though there is files\.texture"):
        read_bundle(folder)


REFUSED = [
    ("mode", "4d", "texture.mode must be 'mip' or '3d', got '4d'"),
    ("pixel_size_um", 0.0, "texture.pixel_size_um must be above 0, got 0.0"),
    ("depth_um", None, "depth_um is missing; a texture in 3d needs"),
    ("conditions", ("mask", "mask"), "conditions must name each once"),
    ("conditions", ("mask", "colour"), "got 'colour'"),
    ("generator.downsamplings", 0, "generator.downsamplings must be at least 1, got 0"),
    ("intensities.dtype", "float32", "must be 'uint8' or 'uint16', got 'float32'"),
    ("intensities.high", 50.0, "high must be above low = 100, got 50"),
    ("intensities.largest", 0, "largest must be at least 1"),
    ("training.recipe.frozen_share", 1.0, "frozen_share must be below 1, got 1.0"),
    (
        "training.recipe.coarse_share",
        0.6,
        "coarse_share must be below 1 - frozen_share = 0.6, got 0.6",
    ),
    ("generator.chanels", 3, "did you mean channels"),
]


@pytest.mark.parametrize(("key", "value", "match"), REFUSED)
def test_what_is_refused(textured: Preset, key: str, value: object, match: str) -> None:
    with pytest.raises(InputError, match=match) as info:
        override(textured, {f"texture.{key}": value})
    assert "\n" not in str(info.value)


def test_an_enhancer_halves_its_channels() -> None:
    with pytest.raises(ValidationError, match="channels must be even with an enhancer, got 5"):
        GeneratorSpec(channels=5, enhancer=True)


def test_inputs_are_conditions_of_all_slices_and_noise() -> None:
    assert texture_spec("mip").inputs == 5
    assert texture_spec("3d").inputs == 13
    silent = GeneratorSpec(noise=False)
    assert texture_spec("3d", generator=silent, conditions=("mask", "distance")).inputs == 6


def test_what_is_measured_is_described_and_survives_toml(preset: Preset) -> None:
    light = BrightnessSpec(
        mean=4.0, deviation=0.3, lowest=-2.0, highest=2.0, level=3.9, size=1.0, before=(0.1, 0.4)
    )
    haze = BackgroundSpec(mean=20.0, deviation=2.0, lowest=-3.0, highest=3.0, feature_um=6.0)
    names = ("mask", "boundary", "distance", "grain", "brightness", "background")
    spec = texture_spec("3d", conditions=names, brightness=light, background=haze)
    assert spec.inputs == 19
    whole = preset.model_copy(update={"texture": spec})
    text = to_toml(whole)
    assert "[texture.brightness]\n" in text
    assert "before = [0.1, 0.4]  # Change in a mother's last frames" in text
    assert from_toml(text, Preset, "p") == whole
    for changes, match in (
        ({"brightness": None}, "brightness is missing, though it is among the conditions"),
        ({"conditions": names[:5]}, "background is described, but not among the conditions"),
        ({"brightness.memory": 1.0}, "brightness.memory must be below 1, got 1"),
        ({"brightness.deviation": 0.0}, "brightness.deviation must be above 0, got 0"),
        ({"brightness.before": (0.1, 11.0)}, r"brightness\.before\.1 must be at most 10, got 11"),
        ({"background.feature_um": -1.0}, "background.feature_um must be above 0, got -1"),
        ({"background.trand": 1.0}, "did you mean trend"),
    ):
        with pytest.raises(InputError, match=match):
            override(whole, {f"texture.{key}": value for key, value in changes.items()})
