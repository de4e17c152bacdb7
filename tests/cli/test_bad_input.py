"""Bad input: one clear line, exit 1, and nothing left behind.

Each case makes its input in an empty folder and names the arguments; a fault must be one line,
and afterwards the folder must hold what it held before, byte for byte.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.presets.bundle import Bundle

Make = Callable[[Path, Bundle], None]

TRAIN = ("train-preset", "data", "--steps", "1", "--device", "cpu")
GENERATE = ("generate", "--preset", "mine", "--res", "8", "--device", "cpu")


def ball(at: int = 6) -> np.ndarray:
    z, y, x = np.indices((12, 12, 12)) - np.array([6, 6, at])[:, None, None, None]
    return (z**2 + y**2 + x**2 < 9).astype(np.uint16)


def nothing(folder: Path, bundle: Bundle) -> None:
    """The folder stays empty."""


def empty_folder(folder: Path, bundle: Bundle) -> None:
    (folder / "data").mkdir()


def files_without_masks(folder: Path, bundle: Bundle) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "notes.txt").write_text("soon")


def stack(frames: np.ndarray, **options: object) -> Make:
    def make(folder: Path, bundle: Bundle) -> None:
        (folder / "data").mkdir()
        for t, frame in enumerate(frames):
            tifffile.imwrite(folder / "data" / f"mask{t:03d}.tif", frame, **options)

    return make


def other_shape(folder: Path, bundle: Bundle) -> None:
    stack([ball(), ball(), ball()[:, :, :10]])(folder, bundle)


def corrupt_tiff(folder: Path, bundle: Bundle) -> None:
    stack([ball()] * 3, compression="zlib")(folder, bundle)
    path = folder / "data" / "mask001.tif"
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = b"?" * (2 * len(data) // 3 - len(data) // 3)
    path.write_bytes(data)


def truncated_tiff(folder: Path, bundle: Bundle) -> None:
    stack([ball()] * 3)(folder, bundle)
    path = folder / "data" / "mask002.tif"
    path.write_bytes(path.read_bytes()[:700])


def leaves_the_field(folder: Path, bundle: Bundle) -> None:
    frames = [ball(at) for at in (10, 11, 12)]
    lineage = Lineage((Tracklet(1, 0, 2),))
    write_ctc(folder / "data", "01", frames, lineage, voxel_size_um=(1, 1, 1))


def misspelt_recipe(folder: Path, bundle: Bundle) -> None:
    stack([ball()] * 3)(folder, bundle)
    (folder / "fast.toml").write_text("learnin_rate = 1e-3\n")


def misspelt_key(folder: Path, bundle: Bundle) -> None:
    shutil.copytree(bundle.folder, folder / "mine")
    path = folder / "mine" / "preset.toml"
    path.write_text(path.read_text().replace("half_extent_um", "half_extend_um"))


def flipped_byte(folder: Path, bundle: Bundle) -> None:
    shutil.copytree(bundle.folder, folder / "mine")
    path = folder / "mine" / "shape.safetensors"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)


def pickled_weights(folder: Path, bundle: Bundle) -> None:
    shutil.copytree(bundle.folder, folder / "mine")
    (folder / "mine" / "shape.safetensors").write_bytes(pickle.dumps({"latents": [1.0]}))


def pickle_as_preset(folder: Path, bundle: Bundle) -> None:
    (folder / "mine").write_bytes(pickle.dumps({"latents": [1.0]}))


def escaping_zip(folder: Path, bundle: Bundle) -> None:
    with zipfile.ZipFile(folder / "mine", "w") as archive:
        for file in bundle.folder.iterdir():
            archive.write(file, f"../{file.name}")


def foreign_folder(folder: Path, bundle: Bundle) -> None:
    shutil.copytree(bundle.folder, folder / "mine")
    (folder / "sphere-8").mkdir()
    (folder / "sphere-8" / "thesis.txt").write_text("ten years of work")


def foreign_file(folder: Path, bundle: Bundle) -> None:
    shutil.copytree(bundle.folder, folder / "mine")
    (folder / "sphere-8").write_text("ten years of work")


def foreign_preset(folder: Path, bundle: Bundle) -> None:
    stack([ball()] * 3)(folder, bundle)
    (folder / "out").mkdir()
    (folder / "out" / "thesis.txt").write_text("ten years of work")


COLOUR = np.stack([ball()] * 3, axis=-1).astype(np.uint8)

CASES: dict[str, tuple[Make, tuple[str, ...], str]] = {
    "missing folder": (nothing, TRAIN, "data: no such file or folder"),
    "empty folder": (empty_folder, TRAIN, "data: an empty folder; expected TIFF"),
    "no masks in the folder": (files_without_masks, TRAIN, "data: no masks in it; expected TIFF"),
    "float masks": (stack([ball().astype(np.float32)] * 3), TRAIN, "float32"),
    "RGB masks": (stack([COLOUR] * 3, photometric="rgb"), TRAIN, "colour"),
    "2D masks": (stack([ball()[6]] * 3), TRAIN, "2D masks of shape (12, 12)"),
    "no cell at all": (stack([0 * ball()] * 3), TRAIN, "data"),
    "frames of different shape": (other_shape, TRAIN, "(12, 12, 10)"),
    "a corrupt TIFF": (corrupt_tiff, TRAIN, "mask001.tif"),
    "a truncated TIFF": (truncated_tiff, TRAIN, "mask002.tif"),
    "no usable track": (leaves_the_field, TRAIN, "no usable track"),
    "more frames than there are": (
        stack([ball()] * 3),
        (*TRAIN, "--frames", "9"),
        "no usable track of 9 frames",
    ),
    "a name that cannot be": (
        stack([ball()] * 3),
        (*TRAIN, "--name", "My Cells"),
        "name must match",
    ),
    "a misspelt recipe": (
        misspelt_recipe,
        (*TRAIN, "--recipe", "fast.toml"),
        "learnin_rate is unknown; did you mean learning_rate?",
    ),
    "a foreign folder for the preset": (
        foreign_preset,
        (*TRAIN, "--out", "out", "--overwrite"),
        "out is in use and is no preset; give another --out",
    ),
    "unknown preset": (nothing, GENERATE, "no preset 'mine'"),
    "a misspelt key": (
        misspelt_key,
        GENERATE,
        "scale.half_extend_um is unknown; did you mean half_extent_um?",
    ),
    "a flipped byte": (flipped_byte, GENERATE, "shape.safetensors has SHA-256"),
    "a pickle as weights": (pickled_weights, GENERATE, "shape.safetensors is a pickle"),
    "a pickle as preset": (pickle_as_preset, GENERATE, "mine is a pickle"),
    "a zip that escapes": (escaping_zip, GENERATE, "leaves the folder; refused"),
    "a folder in use": (foreign_folder, GENERATE, "sphere-8 is in use and is no data set of ours"),
    "a folder in use, overwritten": (
        foreign_folder,
        (*GENERATE, "--overwrite"),
        "sphere-8 is in use and is no data set of ours",
    ),
    "a file in the way": (foreign_file, GENERATE, "sphere-8 is a file"),
    "validate: missing folder": (nothing, ("validate", "data"), "data is not a folder"),
    "show: unknown preset": (nothing, ("presets", "show", "mine"), "no preset 'mine'"),
    "phantom: a folder in use": (
        foreign_folder,
        ("phantom", "celegans", "--out", "sphere-8", "--overwrite"),
        "sphere-8 is no phantom set, so it is not replaced",
    ),
}


def contents(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize("case", CASES)
def test_bad_input(case, run, tmp_path, monkeypatch, sphere_bundle, no_presets):
    make, arguments, expected = CASES[case]
    make(tmp_path, sphere_bundle)
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    assert expected in run(*arguments).fault
    assert contents(tmp_path) == before


@pytest.mark.parametrize("case", ["a corrupt TIFF", "a flipped byte", "RGB masks"])
def test_bad_input_to_a_process_is_one_line_too(case, process, tmp_path, sphere_bundle):
    """What libraries log or warn of does not join it."""
    make, arguments, expected = CASES[case]
    make(tmp_path, sphere_bundle)
    before = contents(tmp_path)
    assert expected in process(*arguments).fault
    assert contents(tmp_path) == before


# A process that may not write files beyond some size meets a full disk wherever it is.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from cellsynth.cli.app import main
del sys.argv[:1]
sys.argv[0] = "cellsynth"
sys.exit(main())
"""


def limited(n_bytes: int, *arguments: str, cwd: Path) -> str:
    """The one line said by ``cellsynth`` when files may have ``n_bytes`` at most."""
    pytest.importorskip("resource", reason="limits need POSIX")
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, str(n_bytes), *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    [fault] = ended.stderr.splitlines()
    assert fault.startswith("error: ")
    return fault


@pytest.mark.parametrize("n_bytes", [100, 1000])
def test_no_space_for_a_data_set(n_bytes, tmp_path, sphere_bundle):
    shutil.copytree(sphere_bundle.folder, tmp_path / "mine")
    before = contents(tmp_path)
    arguments = ("generate", "--preset", "mine", "--res", "32", "--workers", "1")
    assert "could not be written: file too large" in limited(n_bytes, *arguments, cwd=tmp_path)
    assert contents(tmp_path) == before


def test_no_space_for_phantoms(tmp_path):
    arguments = ("phantom", "celegans", "--out", "o", "--count", "1", "--voxel-size", "0.2")
    assert "could not be written: file too large" in limited(1000, *arguments, cwd=tmp_path)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("n_bytes", [1000, 10_000, 100_000])
def test_no_space_for_a_training(n_bytes, tmp_path, sphere_bundle):
    stack([ball()] * 3)(tmp_path, sphere_bundle)
    before = contents(tmp_path)
    arguments = ("train-preset", "data", "--steps", "1", "--device", "cpu", "--out", "out")
    fault = limited(n_bytes, *arguments, cwd=tmp_path)
    assert re.search("could not be written|cannot write", fault), fault
    assert contents(tmp_path) == before


@pytest.fixture
def full_disk(tmp_path):
    """A disk of 64 kB; only for those who may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if (
        os.name != "posix"
        or mount is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("a small disk cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk(run, full_disk, sphere_bundle):
    out = full_disk / "set"
    arguments = ["--preset", sphere_bundle.folder, "--res", "64", "--count", "9", "--workers", "1"]
    result = run("generate", *arguments, "--quiet", "--out", out)
    assert "no space left on device; free some space or choose another folder" in result.fault
    # Sequences that were whole stay, and nothing else does.
    left = {path.name for path in out.iterdir()} if out.exists() else set()
    assert all(name == "dataset.json" or name.endswith("_GT") for name in left)
    if left:
        assert run("validate", out).code == 0
