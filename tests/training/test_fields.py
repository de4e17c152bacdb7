"""Named fields: the paper's baselines train through the same engine, by settings alone."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from cellsynth.errors import BundleError, MissingError
from cellsynth.field.model import CellModel
from cellsynth.presets.bundle import read_bundle
from cellsynth.presets.fields import FIELDS, find_field
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.sampling import calibration
from cellsynth.training.preset import TrainOptions, train_preset
from cellsynth.training.stepping import Length


def test_named_fields():
    assert find_field("siren") == FieldSpec()
    assert find_field("non-equivariant") == FieldSpec(equivariant=False)
    # Park et al. 2019: 259 inputs there, one more here for time; 512 - 260 before they come again.
    shapes = find_field("deepsdf").layer_shapes()
    assert shapes[0] == (512, 260)
    assert shapes[3:5] == ((252, 512), (512, 512))
    assert shapes[5:] == ((512, 512),) * 3 + ((1, 512),)


def test_a_file_says_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("latent_dim = 32\nomega_0 = 20.0\n")
    assert find_field(str(path)) == FieldSpec(latent_dim=32, omega_0=20.0)
    path.write_text("latent_dims = 32\n")
    with pytest.raises(
        BundleError, match=r"field .*latent_dims is unknown; did you mean latent_dim"
    ):
        find_field(str(path))
    with pytest.raises(MissingError, match=r"field resnet is not there; give siren, .*deepsdf"):
        find_field("resnet")


@pytest.mark.parametrize("name", list(FIELDS))
def test_every_field_trains_to_a_preset(name, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "DRAWS", 1)
    # As it is but for its size, so that it learns a ball in a second.
    spec = FieldSpec(**FIELDS[name].model_dump() | {"width": 32, "latent_dim": 6})
    zyx = np.indices((14, 14, 14)).transpose(1, 2, 3, 0) - 6.5
    ball = (np.linalg.norm(zyx, axis=-1) < 5).astype(np.uint8)
    tifffile.imwrite(tmp_path / "ball.tif", np.stack([ball, ball]), metadata={"axes": "TZYX"})
    options = TrainOptions(
        "baseline",
        Length(steps=150),
        recipe=Recipe(
            pool_points=2048,
            frames_per_step=8,
            points_per_frame=64,
            learning_rate=2e-3,
            coords_gain=1.0,
        ),
        spec=spec,
    )
    summary = train_preset(tmp_path / "ball.tif", tmp_path / "baseline", options)
    bundle = read_bundle(tmp_path / "baseline")
    assert bundle.preset.field == spec
    assert summary.evaluation["dsc"]["mean"] > 0.6
    model = CellModel.from_bundle(bundle)
    centre = model.at(model.latents[0], 0.0, model.rotations[0]).sdf(np.zeros((1, 3)))
    assert centre[0] < 0
    turned = not np.array_equal(model.rotations[0], np.eye(3))
    assert turned == spec.equivariant
