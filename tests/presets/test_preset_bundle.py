"""The bundle on disk: round trip, and every way in which one must be refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from cellsynth.errors import BundleError, InputError, InUseError, MissingError, StorageError
from cellsynth.presets import container
from cellsynth.presets.bundle import expected_tensors, read_bundle, read_preset, write_bundle
from cellsynth.presets.judge import override
from cellsynth.presets.models import Preset
from cellsynth.presets.tensors import decode_tensors, encode_tensors, refuse_pickle

Tensors = dict[str, np.ndarray]


def rehash(folder: Path, name: str) -> None:
    """Make ``preset.toml`` agree with a file that a test has altered."""
    toml = folder / "preset.toml"
    lines = toml.read_text().splitlines()
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    keep = [line for line in lines if not line.startswith(f'"{name}" =')]
    toml.write_text("\n".join([*keep, f'"{name}" = "{digest}"']) + "\n")


def edit(folder: Path, old: str, new: str) -> None:
    toml = folder / "preset.toml"
    text = toml.read_text()
    assert old in text
    toml.write_text(text.replace(old, new))


def test_round_trip(
    folder: Path, preset: Preset, tensors: Tensors, evaluation: dict[str, object]
) -> None:
    bundle = read_bundle(folder)
    assert bundle.folder == folder
    assert bundle.card() == "# Tiny\n"
    assert bundle.evaluation() == evaluation
    assert bundle.preview() == b"\x89PNG"
    assert bundle.preset == override(preset, {"files": bundle.preset.files})
    assert read_preset(folder) == bundle.preset
    assert sorted(bundle.preset.files) == sorted(
        path.name for path in folder.iterdir() if path.name != "preset.toml"
    )
    for name, digest in bundle.preset.files.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert bundle.sha256 == hashlib.sha256((folder / "preset.toml").read_bytes()).hexdigest()
    found = bundle.tensors()
    assert list(found) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(found[name], tensor)
        assert found[name].flags.writeable
        assert found[name].dtype == np.float32


def test_what_a_caller_does_to_the_tensors_stays_with_the_caller(folder: Path) -> None:
    bundle = read_bundle(folder)
    bundle.tensors()["latents"][:] = 0
    assert bundle.tensors()["latents"].any()


def test_nothing_but_the_bundle_is_left(folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "CARD.md",
        "evaluation.json",
        "preset.toml",
        "preview.png",
        "shape.safetensors",
    ]


def test_equal_presets_give_equal_bytes(
    tmp_path: Path, preset: Preset, tensors: Tensors, folder: Path, evaluation: dict[str, object]
) -> None:
    again = tmp_path / "again"
    backwards = dict(reversed(tensors.items()))
    write_bundle(
        again, preset, backwards, card="# Tiny\n", evaluation=evaluation, preview=b"\x89PNG"
    )
    for path in folder.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()


def test_float64_and_strided_tensors_are_stored_as_float32(
    tmp_path: Path, preset: Preset, tensors: Tensors
) -> None:
    strided = {k: np.asfortranarray(v.astype(np.float64)) for k, v in tensors.items()}
    bundle = write_bundle(tmp_path / "b", preset, strided, card="", evaluation={})
    assert bundle.preview() is None
    np.testing.assert_array_equal(
        bundle.tensors()["field.layers.0.weight"], tensors["field.layers.0.weight"]
    )


def damage(tensors: Tensors, how: str) -> Tensors:
    name = "field.layers.1.weight"
    bad = {k: v.copy() for k, v in tensors.items()}
    if how == "nan":
        bad[name][2, 5] = np.nan
    elif how == "inf":
        bad["latents"][1, 0] = -np.inf
    elif how == "shape":
        bad[name] = bad[name].T
    elif how == "missing":
        del bad["rotations"]
    elif how == "misspelt":
        bad["field.layers.1.wieght"] = bad.pop(name)
    elif how == "sequences":
        bad["latents"] = bad["latents"][:2]
    return bad


DAMAGE = [
    ("nan", r"field\.layers\.1\.weight\[2, 5\] is nan, expected a number"),
    ("inf", r"latents\[1, 0\] is -inf, expected a number"),
    ("shape", r"field\.layers\.1\.weight has shape \(12, 8\), expected \(8, 12\)"),
    ("missing", r"tensor rotations is missing, expected shape \(3, 3\)"),
    (
        "misspelt",
        r"tensor field\.layers\.1\.wieght is unknown; did you mean field\.layers\.1\.weig",
    ),
    ("sequences", r"latents has shape \(2, 4\), expected \(3, 4\)"),
]


@pytest.mark.parametrize(("how", "message"), DAMAGE)
def test_tensors_that_do_not_fit_are_neither_written_nor_read(
    tmp_path: Path, folder: Path, preset: Preset, tensors: Tensors, *, how: str, message: str
) -> None:
    bad = damage(tensors, how)
    with pytest.raises(BundleError, match=f"^preset tiny: .*{message}"):
        write_bundle(tmp_path / "new" / "b", preset, bad, card="", evaluation={})
    assert not (tmp_path / "new").exists()
    contiguous = {k: np.ascontiguousarray(v) for k, v in bad.items()}
    (folder / "shape.safetensors").write_bytes(safetensors.numpy.save(contiguous))
    rehash(folder, "shape.safetensors")
    with pytest.raises(BundleError, match=f"^preset tiny: shape.safetensors: .*{message}"):
        read_bundle(folder)


def test_only_floating_point_is_written_and_only_single_and_half_are_read() -> None:
    expected = {"latents": (3, 4)}
    with pytest.raises(BundleError, match=r"^w: latents must be floating point, got int64"):
        encode_tensors({"latents": np.zeros((3, 4), np.int64)}, expected, "w")
    data = safetensors.numpy.save({"latents": np.zeros((3, 4))})
    with pytest.raises(BundleError, match=r"^r: latents is float64, expected float32 or float16"):
        decode_tensors(data, expected, "r")


def test_numbers_of_16_bits_take_16_bits_and_come_back_the_same() -> None:
    rng = np.random.default_rng(0)
    fine = rng.standard_normal((64, 64)).astype(np.float32)
    short = fine.astype(np.float16).astype(np.float32)
    expected = {"a": fine.shape}
    sizes = []
    for tensor in (fine, short, np.full_like(fine, 1e5)):
        data = encode_tensors({"a": tensor}, expected, "w")
        sizes.append(len(data) // tensor.size)
        found = decode_tensors(data, expected, "r")["a"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, tensor)
    assert sizes == [4, 2, 4]


@pytest.mark.parametrize("name", ["shape.safetensors", "CARD.md", "evaluation.json", "preview.png"])
def test_a_flipped_bit_is_refused_with_both_hashes(folder: Path, name: str) -> None:
    path = folder / name
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    wrong = hashlib.sha256(data).hexdigest()
    with pytest.raises(BundleError) as raised:
        read_bundle(folder)
    assert f"preset tiny: {name} has SHA-256 {wrong}, expected {right}" in str(raised.value)


class Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("hashed", [True, False])
def test_a_pickle_named_safetensors_is_refused_and_not_run(
    folder: Path, tmp_path: Path, protocol: int, hashed: bool
) -> None:
    trap = tmp_path / "trap"
    (folder / "shape.safetensors").write_bytes(pickle.dumps(Runs(trap), protocol))
    if hashed:
        rehash(folder, "shape.safetensors")
    with pytest.raises(
        BundleError, match=r"shape.safetensors is a pickle; cellsynth neither reads nor writes pick"
    ):
        read_bundle(folder)
    assert not trap.exists()


def test_a_torch_zip_named_safetensors_is_refused(folder: Path) -> None:
    (folder / "shape.safetensors").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(BundleError, match=r"shape.safetensors is a pickle"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["shape.pt", "e2000_model.pth", "codes.pkl", "x.PICKLE"])
def test_a_pickle_beside_the_weights_is_refused(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"")
    with pytest.raises(BundleError, match=f"{name} is a pickle"):
        read_bundle(folder)
    with pytest.raises(BundleError, match=f"{name} is a pickle"):
        read_bundle(folder / name)


def test_a_pickle_offered_as_preset_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(BundleError, match=r"weights.bin is a pickle"):
        read_bundle(path)


@given(st.integers(2, 2000))
def test_a_safetensors_file_is_never_taken_for_a_pickle(padding: int) -> None:
    # A header of 1152 bytes begins with 0x80 0x04, as a pickle of protocol 4 does.
    header = b"{}" + b" " * padding
    refuse_pickle(struct.pack("<Q", len(header)) + header, "shape.safetensors")


@pytest.mark.parametrize("data", [b"", b"1234567", b"\xff" * 40, struct.pack("<Q", 2) + b"{}"])
def test_what_is_no_safetensors_file_is_refused(folder: Path, data: bytes) -> None:
    (folder / "shape.safetensors").write_bytes(data)
    rehash(folder, "shape.safetensors")
    with pytest.raises(BundleError, match=r"^preset tiny: shape.safetensors: "):
        read_bundle(folder)


@pytest.mark.parametrize("length", [0, 1, 8, 100, -1])
def test_truncated_tensors_are_refused(tensors: Tensors, length: int) -> None:
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    data = encode_tensors(tensors, shapes, "x")
    with pytest.raises(BundleError, match=r"^x: no valid safetensors file"):
        decode_tensors(data[:length], shapes, "x")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sigma = 0.01 ", "sigma = -0.001 ", "sampling.gaussian.sigma must be above 0, got -0.001"),
        ("sigma = 0.01 ", "sgima = 0.01 ", "sampling.gaussian.sgima is unknown; .* mean sigma\\?"),
        ("slopes = [1.2, 1.3, 1.4, 1.5]", "", "bound.slopes is missing"),
        ("format = 1", "format = 2", "format must be 1, got 2"),
        ("n_frames = 4", "n_frames = '4'", "scale.n_frames must be a whole number, got '4'"),
        ("[bound]", "[bound]\nextra = 1", "bound.extra is unknown"),
        ("[bound]", "[bound", "no valid TOML"),
        ('"shape.safetensors" = ', '"spahe.safetensors" = ', "files.shape.safetensors is missing"),
        ('"preview.png" = ', '"other.png" = ', "other.png is missing in .*get the bundle again"),
        ('"preview.png" = ', '"../preview.png" = ', "files.../preview.png must match"),
    ],
)
def test_a_preset_toml_that_was_edited(folder: Path, old: str, new: str, message: str) -> None:
    edit(folder, old, new)
    with pytest.raises(BundleError, match=f"^preset tiny: .*{message}") as raised:
        read_bundle(folder)
    assert "\n" not in str(raised.value)


def test_without_a_readable_name_the_folder_is_named(folder: Path) -> None:
    edit(folder, 'name = "tiny"', "name = 3")
    with pytest.raises(BundleError, match=r"^preset tiny: name must be text, got 3"):
        read_preset(folder)
    (folder / "preset.toml").write_bytes(b"\xff")
    with pytest.raises(BundleError, match=r"^preset tiny: preset.toml is not UTF-8"):
        read_preset(folder)
    (folder / "preset.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(BundleError, match=r"preset.toml has 1048577 bytes, at most 1048576"):
        read_preset(folder)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nowhere is not there; expected a preset's folder"):
        read_bundle(tmp_path / "nowhere")
    with pytest.raises(MissingError, match=r"preset.toml is missing"):
        read_bundle(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(BundleError, match=r"a.png is neither a folder nor a zip"):
        read_bundle(tmp_path / "a.png")


def test_a_file_that_is_too_large_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_FILE", 5000)
    (folder / "preview.png").write_bytes(bytes(5001))
    with pytest.raises(BundleError, match=r"preview.png is too large"):
        read_bundle(folder)


def test_a_card_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / "CARD.md").write_bytes(b"caf\xe9")
    rehash(folder, "CARD.md")
    with pytest.raises(BundleError, match=r"preset tiny: CARD.md is not UTF-8 text"):
        read_bundle(folder)


def test_an_evaluation_that_is_no_object_is_refused(folder: Path) -> None:
    for text, message in (("[]", "is no JSON object"), ("{", "evaluation.json: ")):
        (folder / "evaluation.json").write_text(text)
        rehash(folder, "evaluation.json")
        with pytest.raises(BundleError, match=message):
            read_bundle(folder).evaluation()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, np.float32(1)])
def test_an_evaluation_that_is_no_json_is_not_written(
    tmp_path: Path, preset: Preset, tensors: Tensors, value: object
) -> None:
    with pytest.raises(InputError, match=r"^preset tiny: evaluation cannot be written as JSON"):
        write_bundle(tmp_path / "b", preset, tensors, card="", evaluation={"dsc": value})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(
    tmp_path: Path, folder: Path, preset: Preset, tensors: Tensors
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(InUseError, match="tiny holds a preset already; pass --overwrite"):
        write_bundle(folder, preset, tensors, card="new", evaluation={})
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("years")
    with pytest.raises(InUseError, match="other is in use and is no preset"):
        write_bundle(other, preset, tensors, card="", evaluation={}, overwrite=True)
    assert (other / "thesis.txt").read_text() == "years"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["library", "other"]


def test_overwrite_replaces_a_preset_and_an_empty_folder_is_taken(
    tmp_path: Path, folder: Path, preset: Preset, tensors: Tensors
) -> None:
    write_bundle(folder, preset, tensors, card="new", evaluation={}, overwrite=True)
    assert read_bundle(folder).card() == "new"
    assert not (folder / "preview.png").exists()
    (tmp_path / "empty").mkdir()
    write_bundle(tmp_path / "empty", preset, tensors, card="", evaluation={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "library"]
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_full_disk_leaves_nothing_and_keeps_the_old(
    folder: Path, preset: Preset, tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="tiny cannot be written: No space left on device"):
        write_bundle(folder, preset, tensors, card="new", evaluation={}, overwrite=True)
    assert read_bundle(folder).card() == "# Tiny\n"
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_a_rename_that_fails_keeps_the_old(
    folder: Path, preset: Preset, tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise OSError(30, "Read-only file system")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(StorageError, match="Read-only file system"):
        write_bundle(folder, preset, tensors, card="new", evaluation={}, overwrite=True)
    assert read_bundle(folder).card() == "# Tiny\n"
    assert [path.name for path in folder.parent.iterdir()] == ["tiny"]


def test_evaluation_keeps_its_order_and_its_letters(
    tmp_path: Path, preset: Preset, tensors: Tensors
) -> None:
    write_bundle(tmp_path / "b", preset, tensors, card="µ", evaluation={"z": "µm", "a": 1})
    text = (tmp_path / "b" / "evaluation.json").read_text(encoding="utf-8")
    assert list(json.loads(text)) == ["z", "a"]
    assert "µm" in text
    assert expected_tensors(preset.field, 1)["latents"] == (1, 4)
