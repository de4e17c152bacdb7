"""The checkpoint file: whole or not there, ours or refused."""

from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import save_file

from cellsynth.errors import FormatError, StorageError
from cellsynth.training import checkpoint as checkpoint_module
from cellsynth.training.checkpoint import Progress, load_checkpoint, save_checkpoint

PROGRESS = Progress(step=12, seconds=3.5, fingerprint="abc")


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "weight": torch.randn(3, 4, generator=generator, requires_grad=True),
        "turned": torch.randn(3, 4, generator=generator).T,
        "step": torch.tensor(7),
        "bias": torch.zeros(()),
    }


def test_round_trip(tmp_path):
    save_checkpoint(tmp_path / "c.safetensors", tensors(), PROGRESS)
    found, progress = load_checkpoint(tmp_path / "c.safetensors")
    assert progress == PROGRESS
    assert set(found) == set(tensors())
    for name, tensor in tensors().items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
        assert not found[name].requires_grad
    assert [path.name for path in tmp_path.iterdir()] == ["c.safetensors"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda _: b"",
        lambda _: b"not a checkpoint at all",
        lambda data: b"\xff" * 8 + data[8:],
        lambda _: pickle.dumps({"weight": 1}),
    ],
    ids=["half of it", "a byte short", "empty", "text", "absurd header", "pickle"],
)
def test_a_damaged_one_is_refused(tmp_path, spoil):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, tensors(), PROGRESS)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(FormatError, match=r"c.safetensors: not a training checkpoint .*--resume"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "metadata",
    [None, {"progress": "{}"}, {"progress": '{"step": 1'}, {"progress": '{"step": 1, "x": 2}'}],
)
def test_tensors_of_somebody_else_are_refused(tmp_path, metadata):
    path = tmp_path / "c.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata=metadata)
    with pytest.raises(FormatError, match="not a training checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"weight": torch.tensor([1.0, value])}, PROGRESS)
    with pytest.raises(FormatError, match="holds numbers that are not finite"):
        load_checkpoint(path)


def test_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, tensors(), PROGRESS)
    before = path.read_bytes()

    def full(_, part, metadata):
        part.write_bytes(b"as much as there was room for")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_module, "save_file", full)
    with pytest.raises(StorageError, match=r"c.safetensors: cannot write .*No space left"):
        save_checkpoint(path, tensors(), Progress(13, 4.0, "abc"))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(StorageError, match="cannot write the checkpoint"):
        save_checkpoint(tmp_path / "gone" / "c.safetensors", tensors(), PROGRESS)
