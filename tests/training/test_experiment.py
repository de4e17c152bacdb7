"""Experiment folders of the authors' code: read, refused, made into presets."""

from __future__ import annotations

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from authors_code import (
    CODE,
    FRAMES,
    NETWORK,
    SEQUENCES,
    SPECS,
    forward,
    rotation,
    write_experiment,
)
from scipy.io import savemat

from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.field.decoder import Decoder
from cellsynth.field.folded import FoldedDecoder
from cellsynth.field.model import CellModel
from cellsynth.geometry import Grid, euler_to_matrix, random_rotation
from cellsynth.presets.bundle import read_bundle
from cellsynth.rendering.occupancy import occupancy, occupancy_dense
from cellsynth.rendering.tracking import count_cells
from cellsynth.training import imported
from cellsynth.training.experiment import read_experiment
from cellsynth.training.imported import ImportOptions, import_experiment


def options(**changes) -> ImportOptions:
    return ImportOptions(**{"name": "little", "half_extent_um": 4.0} | changes)


@pytest.mark.parametrize(
    ("network", "specs"),
    [
        ({}, {}),
        ({"use_tanh": True}, {"OptimizeRot": False}),
        ({"use_sine": False, "latent_in": []}, {}),
        ({"dims": [16, 19, 16, 19, 16], "latent_in": [2, 4]}, {}),  # every layer of 12 units
        ({"dropout": None, "norm_layers": None}, {}),
    ],
)
def test_the_field_of_a_preset_is_their_network(tmp_path, network, specs):
    held = write_experiment(tmp_path / "theirs", network=network, **specs)
    found = read_experiment(tmp_path / "theirs")
    np.testing.assert_array_equal(found.latents, held["latents"])
    decoder = Decoder(found.field_spec)
    decoder.load_state_dict(
        {name.removeprefix("field."): torch.from_numpy(w) for name, w in found.weights.items()}
    )
    learned = specs.get("OptimizeRot", True)
    assert found.field_spec.equivariant == learned
    turns = euler_to_matrix(torch.from_numpy(found.angles).double()).numpy()
    points = np.random.default_rng(1).uniform(-1, 1, (200, 3))
    for i, angles in enumerate(held["angles"].astype(float)):
        turn = rotation(*angles) if learned else np.eye(3)
        np.testing.assert_allclose(turns[i], turn, atol=1e-7)
        code = torch.from_numpy(found.latents[i])
        for time in (-1.0, 0.25):
            field = FoldedDecoder(decoder, code, time, turns[i])
            expected = forward(
                held["network"], held["state"], held["latents"][i], points @ turn, time
            )
            np.testing.assert_allclose(field.sdf(points, exact=True), expected, atol=1e-6)
            np.testing.assert_allclose(field.sdf(points), expected, atol=1e-4)


def test_a_preset_says_what_the_files_say_and_what_was_given(tmp_path):
    held = write_experiment(tmp_path / "theirs", network={"use_tanh": True}, ClampSDFminmax=True)
    seen: dict[str, tuple[int, int]] = {}
    bundle = import_experiment(
        tmp_path / "theirs",
        tmp_path / "little",
        options(frame_interval_s=20.0, licence="MIT", data_licence="CC-BY-4.0", source="here"),
        on_progress=lambda what, done, total: seen.update({what: (done, total)}),
    )
    assert read_bundle(tmp_path / "little").sha256 == bundle.sha256
    preset = bundle.preset
    assert (preset.name, preset.licence) == ("little", "MIT")
    assert (preset.scale.half_extent_um, preset.scale.frame_interval_s) == (4.0, 20.0)
    assert (preset.scale.n_frames, preset.training.frames) == (FRAMES, FRAMES * SEQUENCES)
    field = preset.field
    assert (field.domain, field.coords_layers, field.output) == ("cube", "all+output", "tanh")
    assert (field.width, field.widths_include_inputs) == (16, True)
    assert (field.hidden_layers, field.latent_layers, field.latent_dim) == (4, (1, 3), CODE)
    assert field.truncation == 0.1  # where they clamp
    tensors = bundle.tensors()
    np.testing.assert_array_equal(tensors["latents"], held["latents"])
    np.testing.assert_array_equal(tensors["rotations"], held["angles"])
    spread = np.sqrt(np.mean(held["latents"] ** 2))
    assert preset.sampling.gaussian.sigma == pytest.approx(spread, rel=1e-3)
    assert preset.sampling.neighbourhood.sigma == pytest.approx(spread / 2, rel=1e-3)
    training = preset.training
    assert (training.steps, training.seed, training.sequences) == (1000, 0, SEQUENCES)
    recipe = training.recipe
    assert (recipe.learning_rate, recipe.latent_rate) == (2e-4, pytest.approx(3e-3))
    assert (recipe.rotation_rate, recipe.frames_per_step) == (4e-4, 5)
    assert recipe.latent_init_sigma == pytest.approx(0.04 / math.sqrt(3))
    assert (recipe.optimiser, recipe.schedule) == ("adam", "step")
    assert preset.origin.data.endswith("In their words: two little cells")
    assert (preset.origin.licence, preset.origin.source) == ("CC-BY-4.0", "here")
    assert "epochs" in preset.origin.limits
    assert "| training | 1000 steps |" in bundle.card()
    assert "| versions | unknown |" in bundle.card()
    assert bundle.evaluation()["imported"] == {"epoch": 1000}
    assert bundle.preview() is not None
    assert seen["cells"] == (SEQUENCES, SEQUENCES)
    # Twelve frames in all are few, so each code is looked at 16 times, and as many new ones.
    assert seen["slopes"] == (64, 64)
    with pytest.raises(InUseError, match="little holds a preset already; pass --overwrite"):
        import_experiment(tmp_path / "theirs", tmp_path / "little", options())


def test_rendering_is_dense_evaluation_and_topology_is_what_is_seen_or_said(tmp_path, monkeypatch):
    write_experiment(tmp_path / "theirs")
    small = Grid.over_omega((16, 16, 16))
    monkeypatch.setattr(imported, "judging_grid", lambda _: small)
    bundle = import_experiment(tmp_path / "theirs", tmp_path / "little", options())
    model = CellModel.from_bundle(bundle)
    grid = Grid.over_omega((25, 30, 28))
    rng = np.random.default_rng(0)
    inside = 0
    for i in range(8):
        field = model.at(model.latents[i % SEQUENCES], rng.uniform(-1, 1), random_rotation(rng))
        dense = occupancy_dense(field, grid)
        found = occupancy(field, grid, bound=bundle.preset.bound)
        np.testing.assert_array_equal(found.to_dense(), dense)
        inside += int(dense.sum())
    assert inside
    # The cube's corners are part of Ω.
    assert dense[0, 0, 0] == (field.sdf(grid.voxel_to_coords(np.zeros((1, 3))))[0] < 0)
    pieces = []
    for code in model.latents:
        ends = [model.at(code, time, np.eye(3)) for time in (-1.0, 1.0)]
        frames = [occupancy(field, small, bound=bundle.preset.bound) for field in ends]
        pieces.append([count_cells(frame.inside, 0.01) for frame in frames])
    topology = bundle.preset.topology
    assert [topology.begin_cells, topology.end_cells] in pieces
    assert topology.divisions == topology.end_cells - topology.begin_cells
    monkeypatch.setattr(imported, "LEAST_FRAMES", 1)
    monkeypatch.setattr(imported, "PREVIEW", 8)
    told = import_experiment(
        tmp_path / "theirs", tmp_path / "told", options(divisions=2)
    ).preset.topology
    assert (told.divisions, told.end_cells) == (2, told.begin_cells + 2)
    with pytest.raises(InputError, match=r"options: end_cells must be begin_cells \+ divisions"):
        import_experiment(tmp_path / "theirs", tmp_path / "b", options(divisions=0, end_cells=9))


def test_the_epoch_is_the_last_or_the_one_asked_for(tmp_path):
    write_experiment(tmp_path, epochs=(20, 10000, 1000))
    assert read_experiment(tmp_path).epoch == 10000
    assert read_experiment(tmp_path, 20).epoch == 20
    with pytest.raises(InputError, match="no epoch 21, expected one of 20, 1000, 10000"):
        read_experiment(tmp_path, 21)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"norm_layers": [0, 1]}, r"NetworkSpecs.norm_layers is \[0, 1\], expected none"),
        ({"weight_norm": True}, "NetworkSpecs.weight_norm is true, expected false"),
        ({"dropout": [0, 2]}, r"NetworkSpecs.dropout is \[0, 2\], expected none"),
        ({"latent_dropout": True}, "NetworkSpecs.latent_dropout is true"),
        ({"positional_encoding": True}, "NetworkSpecs.positional_encoding is true"),
        ({"xyz_in_all": False}, "NetworkSpecs.xyz_in_all is false, expected true"),
        ({"xyz_in_all": None}, "NetworkSpecs.xyz_in_all is null, expected true"),
        ({"latent_in": [4]}, r"NetworkSpecs.latent_in is \[4\], expected layers 1 to 3"),
        ({"latent_in": [0, 2]}, r"NetworkSpecs.latent_in is \[0, 2\]"),
        ({"dims": [16, 32, 16, 16]}, r"dims \[16, 32, 16, 16\] gives layers of \[12, 25\]"),
        ({"dims": []}, "NetworkSpecs.dims"),
        ({"dims": [16, "16"]}, r"NetworkSpecs.dims.1 must be a whole number, got '16'"),
        ({"dims": [7, 7, 7, 7]}, "width must be above 7, the inputs"),
        ({"frequency": 3}, "NetworkSpecs.frequency is unknown"),
    ],
)
def test_networks_that_are_not_ours_are_refused(tmp_path, network, message):
    folder = tmp_path / "theirs"
    folder.mkdir()
    specs = SPECS | {"NetworkSpecs": NETWORK | network}
    (folder / "specs.json").write_text(json.dumps(specs))
    with pytest.raises(FormatError, match=message) as error:
        read_experiment(folder)
    assert "specs.json" in str(error.value)
    assert "\n" not in str(error.value)


class Evil:
    """What a pickle does when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


STATE = "model_parameters/e1000_model.pth"
CODES = "latent_codes/e1000_lat_vecs.mat"
ANGLES = "latent_codes/e1000_rot_angs.mat"


def gone(name):
    return lambda folder: (folder / name).unlink()


def written(name, data: bytes):
    return lambda folder: (folder / name).write_bytes(data)


def specs_with(**changes):
    def change(folder):
        specs = json.loads((folder / "specs.json").read_text()) | changes
        kept = {key: value for key, value in specs.items() if value is not None}
        (folder / "specs.json").write_text(json.dumps(kept))

    return change


def no_weights(folder):
    for path in folder.glob("model_parameters/*"):
        path.unlink()


def cut(folder):
    (folder / STATE).write_bytes((folder / STATE).read_bytes()[:500])


def evil(folder):
    torch.save({"model_state_dict": Evil(folder / "ran")}, folder / STATE)


def evil_and_plain(folder):
    (folder / STATE).write_bytes(pickle.dumps({"model_state_dict": Evil(folder / "ran")}))


def state_with(key="model_state_dict", **tensors):
    """Tensors replaced, added, or left out where None."""

    def change(folder):
        state = torch.load(folder / STATE, weights_only=True)["model_state_dict"]
        state |= {f"module.{name.replace('__', '.')}": value for name, value in tensors.items()}
        torch.save({key: {k: v for k, v in state.items() if v is not None}}, folder / STATE)

    return change


def matrix(name, key, value):
    return lambda folder: savemat(folder / name, {key: value})


ROWS = np.zeros((SEQUENCES, CODE), np.float32)
BROKEN = [
    (gone("specs.json"), MissingError, r"specs\.json is missing"),
    (written("specs.json", b"{"), FormatError, r"specs\.json: not readable as JSON"),
    (written("specs.json", b"[]"), FormatError, r"specs\.json: not a JSON object"),
    (specs_with(CodeLength=None), FormatError, r"specs\.json: CodeLength is missing"),
    (specs_with(CodeLength=4), FormatError, r"lin0.weight has shape \(12, 7\), expected \(12, 8\)"),
    (no_weights, MissingError, "model_parameters: no weights in it"),
    (written(STATE, b"not at all"), FormatError, r"1000_model\.pth: not readable as plain weights"),
    (cut, FormatError, r"e1000_model\.pth: not readable as plain weights"),
    (evil, FormatError, "not opened since it can run any program"),
    (evil_and_plain, FormatError, "not opened since it can run any program"),
    (state_with("weights"), FormatError, "holds no model_state_dict of tensors"),
    (state_with(lin3__bias=None), FormatError, r"lin3.bias is missing, expected \(12,\)"),
    (
        state_with(lin1__weight=torch.zeros(12, 17)),
        FormatError,
        r"lin1.weight has shape \(12, 17\), expected \(9, 16\)",
    ),
    (state_with(bn0__weight=torch.zeros(12)), FormatError, "bn0.weight is not part of the network"),
    (
        state_with(lin1__weight=torch.full((9, 16), math.nan)),
        FormatError,
        "lin1 holds NaN or infinity",
    ),
    (gone(CODES), MissingError, r"e1000_lat_vecs\.mat is missing; expected lat_vecs \(2, 3\)"),
    (written(CODES, b"no MATLAB"), FormatError, r"lat_vecs\.mat: not readable as a MATLAB file"),
    (
        matrix(CODES, "lat_vecs", ROWS[:1]),
        FormatError,
        r"lat_vecs is float32 \(1, 3\), expected floats \(2, 3\)",
    ),
    (matrix(CODES, "codes", ROWS), FormatError, "lat_vecs is nothing, expected floats"),
    (matrix(CODES, "lat_vecs", "text"), FormatError, "lat_vecs is <U4"),
    (matrix(CODES, "lat_vecs", ROWS * math.nan), FormatError, "lat_vecs holds NaN or infinity"),
    (gone(ANGLES), MissingError, r"e1000_rot_angs\.mat is missing"),
    (matrix(ANGLES, "rot_ang", ROWS[:, :2]), FormatError, r"rot_ang is float32 \(2, 2\), expected"),
]


@pytest.mark.parametrize(("damage", "error", "message"), BROKEN)
def test_broken_folders(tmp_path, damage, error, message):
    write_experiment(tmp_path / "theirs")
    damage(tmp_path / "theirs")
    with pytest.raises(error, match=message) as found:
        import_experiment(tmp_path / "theirs", tmp_path / "out", options())
    assert "\n" not in str(found.value)
    assert {path.name for path in tmp_path.iterdir()} == {"theirs"}
    assert not (tmp_path / "theirs" / "ran").exists()


def test_no_folder_no_frames_no_cells_and_bad_options(tmp_path):
    def attempt(**changes):
        import_experiment(tmp_path / "theirs", tmp_path / "out", options(**changes))

    with pytest.raises(MissingError, match="no such folder; expected an experiment"):
        attempt()
    held = write_experiment(tmp_path / "theirs", ReconstructionFramesPerSequence=None)
    with pytest.raises(InputError, match=r"does not say ReconstructionFrames.*give --frames"):
        attempt()
    with pytest.raises(InputError, match="half_extent_um must be above 0, got 0"):
        attempt(half_extent_um=0.0, n_frames=2)
    with pytest.raises(InputError, match="name must match"):
        attempt(name="Not A Slug")
    held["state"]["module.lin4.bias"] = torch.tensor([9.0])
    torch.save(
        {"model_state_dict": held["state"]},
        tmp_path / "theirs" / "model_parameters" / "e1000_model.pth",
    )
    with pytest.raises(InputError, match="none of the 2 learned codes shows a cell"):
        attempt(n_frames=2)
    assert {path.name for path in tmp_path.iterdir()} == {"theirs"}
