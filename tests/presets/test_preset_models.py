"""The models: layer shapes by hand, every range, messages with full path and found value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from cellsynth.errors import BundleError, InputError
from cellsynth.presets import models
from cellsynth.presets.judge import judge, override
from cellsynth.presets.models import FieldSpec, Preset, Recipe, Topology
from cellsynth.presets.tensors import expected_tensors

ALL = [m for m in ([getattr(models, name) for name in models.__all__]) if isinstance(m, type)]


def parameters(spec: FieldSpec) -> int:
    return sum(out * inputs + out for out, inputs in spec.layer_shapes())


def test_the_papers_network_has_the_known_number_of_parameters() -> None:
    # 128 units with the inputs on top; counted from the authors' settings.
    assert parameters(FieldSpec()) == 161_537


def test_layer_shapes_by_hand() -> None:
    spec = FieldSpec(hidden_layers=3, width=10, latent_dim=2, latent_layers=(1, 3))
    assert spec.layer_shapes() == ((10, 6), (10, 14), (10, 16), (1, 10))
    first = FieldSpec(
        hidden_layers=3, width=10, latent_dim=2, latent_layers=(1, 3), coords_layers="first"
    )
    assert first.layer_shapes() == ((10, 6), (10, 10), (10, 12), (1, 10))
    within = FieldSpec(
        hidden_layers=3, width=10, latent_dim=2, latent_layers=(1, 3), widths_include_inputs=True
    )
    assert within.layer_shapes() == ((6, 6), (4, 10), (10, 10), (1, 10))
    output_too = FieldSpec(
        hidden_layers=3, width=10, latent_dim=2, latent_layers=(1, 3), widths_include_inputs=True,
        coords_layers="all+output",
    )  # fmt: skip
    assert output_too.layer_shapes() == ((6, 6), (4, 10), (6, 10), (1, 10))
    late = FieldSpec(hidden_layers=2, width=5, latent_dim=2, latent_layers=(2,))
    assert late.layer_shapes() == ((5, 4), (5, 11), (1, 5))
    assert FieldSpec(hidden_layers=1, latent_layers=(1,)).layer_shapes() == ((128, 68), (1, 128))


def test_widths_that_include_inputs_make_every_layer_that_wide() -> None:
    spec = FieldSpec(widths_include_inputs=True)
    shapes = spec.layer_shapes()
    assert all(inputs == 128 for _, inputs in shapes[1:])
    assert [out for out, _ in shapes] == [124, 124, 124, 60, 124, 124, 60, 124, 128, 1]


def test_expected_tensors() -> None:
    shapes = expected_tensors(FieldSpec(hidden_layers=1, width=3, latent_layers=(1,)), 5)
    assert shapes == {
        "field.layers.0.weight": (3, 68),
        "field.layers.0.bias": (3,),
        "field.layers.1.weight": (1, 3),
        "field.layers.1.bias": (1,),
        "latents": (5, 64),
        "rotations": (5, 3),
    }


def test_a_bundle_with_experts_has_what_its_decoder_has() -> None:
    from cellsynth.field.decoder import Decoder

    spec = FieldSpec(
        hidden_layers=3, width=16, latent_dim=4, latent_layers=(1, 3), experts=2,
        widths_include_inputs=True,
    )  # fmt: skip
    decoder = {f"field.{k}": tuple(t.shape) for k, t in Decoder(spec).state_dict().items()}
    expected = expected_tensors(spec, 5)
    assert {name: expected[name] for name in decoder} == decoder
    assert set(expected) - set(decoder) == {"latents", "rotations"}


@pytest.mark.parametrize("model", ALL)
def test_every_model_is_frozen_strict_and_forbids(model: type[BaseModel]) -> None:
    for setting, value in {"frozen": True, "strict": True, "extra": "forbid"}.items():
        assert model.model_config.get(setting) == value
    assert model.model_config.get("allow_inf_nan") is False
    assert model.__doc__


@pytest.mark.parametrize("model", [*ALL])
def test_every_value_of_the_file_is_described(model: type[BaseModel]) -> None:
    undescribed = {
        name
        for name, info in model.model_fields.items()
        if not info.description
        and not (isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel))
    }
    assert undescribed <= {"title", "description"}


def test_a_model_cannot_be_changed(preset: Preset) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        preset.scale.n_frames = 3  # type: ignore[misc]


REFUSED = [
    ("sampling.gaussian.sigma", -0.001, "sampling.gaussian.sigma must be above 0, got -0.001"),
    ("sampling.neighbourhood.sigma", 0.0, "sigma must be above 0, got 0.0"),
    ("sampling.strategy", "guess", "must be 'gaussian', .* or 'kernel', got 'guess'"),
    ("format", 2, "format must be 1, got 2"),
    ("name", "../up", "name must match .*, got '../up'"),
    ("name", "My Cells", "got 'My Cells'"),
    ("licence", "", "licence must match .*, got ''"),
    ("title", "", "title must not be empty, got ''"),
    ("title", 3, "title must be text, got 3"),
    ("scale.half_extent_um", float("nan"), "scale.half_extent_um must be a finite number, got nan"),
    ("scale.half_extent_um", float("inf"), "must be a finite number, got inf"),
    ("scale.half_extent_um", "5", "scale.half_extent_um must be a number, got '5'"),
    ("scale.frame_interval_s", 0.0, "frame_interval_s must be above 0, got 0.0"),
    ("scale.n_frames", 0, "scale.n_frames must be at least 1, got 0"),
    ("scale.n_frames", 2.5, "scale.n_frames must be a whole number, got 2.5"),
    ("scale.n_frames", True, "scale.n_frames must be a whole number, got True"),
    ("scale.assumed", "voxel size", "scale.assumed must be a list, got 'voxel size'"),
    ("scale", 3, "scale must be a section, got 3"),
    ("bound.slopes", (2.0, 1.0, 1.0, 1.0), "bound.slopes must be above 0 and not fall"),
    ("bound.margin", 0.99, "bound.margin must be at least 1, got 0.99"),
    ("field.kind", "tanh", "field.kind must be 'siren' or 'relu', got 'tanh'"),
    ("field.equivariant", 1, "field.equivariant must be true or false, got 1"),
    ("field.omega_0", 0.0, "field.omega_0 must be above 0, got 0.0"),
    ("field.truncation", 2.5, "field.truncation must be at most 2, got 2.5"),
    ("field.latent_layers", (), r"field.latent_layers must be ascending, got \[\]"),
    ("field.latent_layers", (3, 1), r"latent_layers must be ascending, got \[3, 1\]"),
    ("field.latent_layers", (0, 1), r"latent_layers must lie in 1 to 3, got \[0, 1\]"),
    ("field.latent_layers", (1, 4), r"latent_layers must lie in 1 to 3, got \[1, 4\]"),
    ("field.latent_layers", ("1",), "latent_layers.0 must be a whole number, got '1'"),
    ("field.widths_include_inputs", True, "field.width must be above 8, .* got 8"),
    ("topology.smallest_share", 1.0, "topology.smallest_share must be below 1, got 1.0"),
    ("topology.end_cells", 3, r"end_cells must be begin_cells \+ divisions = 2, got 3"),
    ("topology.end_cells", 1, r"end_cells must be begin_cells \+ divisions = 2, got 1"),
    ("training.sequences", 0, "training.sequences must be at least 1, got 0"),
    ("training.seed", -1, "training.seed must be at least 0, got -1"),
    ("training.recipe.points_near", 1.1, "recipe.points_near must be at most 1, got 1.1"),
    ("training.versions", {"numpy": 2}, "training.versions.numpy must be text, got 2"),
    ("files", {"../x": "0" * 64}, "files.../x must match .* got '../x'"),
    ("files", {"x.png": "0" * 63}, "files.x.png must match .*, got '000"),
]


@pytest.mark.parametrize(("path", "value", "message"), REFUSED)
def test_a_value_out_of_range_is_named(preset: Preset, path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^options: .*{message}") as raised:
        override(preset, {path: value})
    assert "\n" not in str(raised.value)


MISSPELT = [
    ("sampling.gaussian.sgima", "sampling.gaussian.sgima is unknown; did you mean sigma?"),
    ("field.widht", "field.widht is unknown; did you mean width?"),
    ("sampling.sigma", "sampling.sigma is unknown; did you mean sampling.gaussian.sigma?"),
    ("training.recipe.learning_rat", "learning_rat is unknown; did you mean learning_rate?"),
    ("descripton", "descripton is unknown; did you mean description?"),
    ("qqqq", "qqqq is unknown"),
    ("smapling.gaussian.sigma", "smapling.gaussian.sigma is unknown; did you mean sampling.gauss"),
    ("scale.half_extent_um.x", "scale.half_extent_um.x is unknown; did you mean scale.half"),
]


@pytest.mark.parametrize(("path", "message"), MISSPELT)
def test_a_misspelt_key_is_named_with_the_right_one(
    preset: Preset, path: str, message: str
) -> None:
    with pytest.raises(InputError) as raised:
        override(preset, {path: 1.0})
    assert str(raised.value).startswith("options: ")
    assert message in str(raised.value)


def test_a_misspelt_key_that_must_be_there_is_one_fault(preset: Preset) -> None:
    data = preset.model_dump()
    data["sampling"]["gaussian"] = {"sigm": 0.1}
    with pytest.raises(BundleError) as raised:
        judge(Preset, data, "preset tiny")
    assert str(raised.value) == (
        "preset tiny: sampling.gaussian.sigm is unknown; did you mean sigma?"
    )


def test_a_missing_key_is_named(preset: Preset) -> None:
    data = preset.model_dump()
    del data["bound"]["slopes"]
    with pytest.raises(BundleError, match=r"^preset tiny: bound\.slopes is missing$"):
        judge(Preset, data, "preset tiny")


def test_many_faults_are_counted() -> None:
    with pytest.raises(BundleError, match=r"format is missing; name .*; and 9 more$"):
        judge(Preset, {"files": {}}, "preset x")


def test_override_changes_what_it_names_and_nothing_else(preset: Preset) -> None:
    changed = override(preset, {"sampling.gaussian.sigma": 0.5, "topology.smallest_share": 0.0})
    assert changed.sampling.gaussian.sigma == 0.5
    assert changed.topology == Topology(divisions=1, end_cells=2, smallest_share=0.0)
    assert override(
        changed, {"sampling.gaussian.sigma": 0.01, "topology.smallest_share": 0.01}
    ) == (preset)
    assert override(Recipe(), {"frames_per_step": 3}).frames_per_step == 3
