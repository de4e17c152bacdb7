"""Recipes by name and by file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from cellsynth.errors import BundleError, FormatError, MissingError, StorageError
from cellsynth.presets.bundle import read_preset
from cellsynth.presets.fields import find_field
from cellsynth.presets.recipe import Recipe
from cellsynth.presets.recipes import RECIPES, find_recipe

PRESETS = Path(__file__).parents[2] / "presets"


def test_named_recipes():
    assert find_recipe("default") == Recipe()
    paper = find_recipe("paper")
    assert paper is RECIPES["paper"]
    # Wiesner et al. 2024, section 5, and supplement.
    assert (paper.points_near, paper.near_um, paper.focus) == (0.7, 0.6, None)
    assert (paper.frames_per_step, paper.learning_rate) == (5, 1e-4)
    assert paper.rotation_rate == 10 * paper.learning_rate
    assert (paper.schedule, paper.clip) == ("step", None)


def test_a_file_says_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('near_um = 0.3\nschedule = "step"\n')
    assert find_recipe(str(path)) == Recipe(near_um=0.3, schedule="step")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("near_umm = 0.3", BundleError, "near_umm is unknown; did you mean near_um"),
        ("near_um = 0", BundleError, "near_um must be above 0.*got 0"),
        ("near_um = '0.3'", BundleError, "near_um .*'0.3'"),
        ("frames_per_step = 1.5", BundleError, "frames_per_step .*1.5"),
        ("points_near = 1.2", BundleError, "points_near .*1.2"),
        (
            "pool_points = 64\npoints_per_frame = 65",
            BundleError,
            "points_per_frame must be at most pool_points = 64, got 65",
        ),
        ("optimiser = 'sgd'", BundleError, "optimiser must be 'soap' or 'adam', got 'sgd'"),
        ("near_um = ", BundleError, "recipe .*mine.toml"),
    ],
)
def test_a_file_that_is_wrong(tmp_path, text, error, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        find_recipe(str(path))


def test_the_recipe_and_the_field_of_a_preset():
    preset = read_preset(PRESETS / "platynereis")
    assert find_recipe(str(PRESETS / "platynereis")) == preset.training.recipe != Recipe()
    assert find_field(str(PRESETS / "platynereis")) == preset.field


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingError, match=r"recipe fast is not there; give .*paper"):
        find_recipe("fast")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FormatError, match="is not UTF-8 text"):
        find_recipe(str(tmp_path / "bytes.toml"))
    with pytest.raises(StorageError, match="cannot be read"):
        find_recipe(str(tmp_path))
    with pytest.raises(StorageError, match=r"cannot be read: .*too long"):
        find_recipe("a" * 300)


def test_a_recipe_does_not_change():
    with pytest.raises(ValidationError):
        Recipe().near_um = 1.0  # type: ignore[misc]
