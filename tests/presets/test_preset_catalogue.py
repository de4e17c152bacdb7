"""Finding presets by name, folder and zip; unsafe zips; the list."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cellsynth.errors import BundleError, MissingError, StorageError
from cellsynth.presets import catalogue, container
from cellsynth.presets.bundle import read_bundle, read_preset
from cellsynth.presets.catalogue import find_preset, list_presets, preset_folders


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the presets of this machine's user nor those of the package."""
    monkeypatch.delenv(catalogue.VARIABLE, raising=False)
    monkeypatch.setattr(catalogue, "user_folder", lambda: tmp_path / "user")
    monkeypatch.setattr(catalogue, "_shipped", lambda: tmp_path / "shipped")
    monkeypatch.chdir(tmp_path)


def pack(folder: Path, path: Path, prefix: str = "", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def rename(folder: Path, name: str) -> Path:
    """The bundle ``folder`` under another folder name."""
    target = folder.parent.parent / "renamed" / name
    return Path(shutil.copytree(folder, target))


def test_by_folder_as_path_and_text(folder: Path) -> None:
    assert find_preset(folder).preset.name == "tiny"
    assert find_preset(str(folder)).folder == folder


@pytest.mark.parametrize("prefix", ["", "tiny/", "another/"])
def test_by_zip_with_or_without_its_folder(folder: Path, tmp_path: Path, prefix: str) -> None:
    path = pack(folder, tmp_path / "some.zip", prefix)
    bundle = find_preset(path)
    assert bundle.folder == path
    assert bundle.preset == read_bundle(folder).preset == read_preset(path)
    for name, tensor in read_bundle(folder).tensors().items():
        np.testing.assert_array_equal(bundle.tensors()[name], tensor)
    # Nothing is unpacked beside it.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["library", "some.zip"]


def test_a_zip_made_on_a_mac(folder: Path, tmp_path: Path) -> None:
    path = pack(folder, tmp_path / "mac.zip", "tiny/")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("tiny/.DS_Store", "x")
        archive.writestr("__MACOSX/tiny/._preset.toml", "x")
        archive.mkdir("tiny/empty")
    assert find_preset(path).preset.name == "tiny"


def test_by_name_in_the_order_of_the_search(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv(catalogue.VARIABLE, f"{first}:{tmp_path / 'absent'}::{second}")
    folders = [first, tmp_path / "absent", second, tmp_path / "user", tmp_path / "shipped"]
    assert preset_folders() == folders
    for place in (tmp_path / "shipped", tmp_path / "user", second, first):
        shutil.copytree(folder, place / "tiny")
        assert find_preset("tiny").folder == place / "tiny"
    shutil.rmtree(first / "tiny")
    pack(folder, first / "tiny.zip")
    assert find_preset("tiny").folder == first / "tiny.zip"


def test_the_shipped_folder_lies_in_the_package_or_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    package = tmp_path / "site" / "cellsynth" / "presets"
    package.mkdir(parents=True)
    monkeypatch.setattr(catalogue, "__file__", str(package / "catalogue.py"))
    assert preset_folders()[-1] == tmp_path / "site" / "presets"
    (package / "bundles").mkdir()
    assert preset_folders()[-1] == package / "bundles"
    assert preset_folders()[-2].name == "presets"


def test_a_data_set_that_carries_the_name_does_not_hide_the_preset(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "user" / "tiny")
    (tmp_path / "tiny").mkdir()
    assert find_preset("tiny").folder == tmp_path / "user" / "tiny"


def test_an_unknown_name_lists_the_known_and_the_nearest(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"^no preset 'tiny'; expected .* one of: none yet$"):
        find_preset("tiny")
    shutil.copytree(folder, tmp_path / "user" / "tiny")
    shutil.copytree(folder, tmp_path / "user" / "worms")
    with pytest.raises(MissingError) as raised:
        find_preset("tinny")
    assert str(raised.value) == (
        "no preset 'tinny'; expected a folder, a zip or one of: tiny, worms; did you mean tiny?"
    )
    with pytest.raises(MissingError, match=r"tiny, worms$"):
        find_preset("zebrafish")


@pytest.mark.parametrize("path", ["no/tiny", "tiny.zip", Path("tiny"), "./..x/"])
def test_a_path_that_is_not_there(path: str | Path) -> None:
    with pytest.raises(MissingError, match="is not there; expected a preset's folder or zip"):
        find_preset(path)


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_no_name_at_all(name: str) -> None:
    with pytest.raises(MissingError, match=r"preset.toml is missing; expected a preset's folder"):
        find_preset(name)


def test_what_cannot_be_looked_at_is_not_there() -> None:
    long = "a" * 300  # no file system takes it, and asking is an error
    with pytest.raises(MissingError, match=f"^no preset '{long}'"):
        find_preset(long)
    with pytest.raises(MissingError, match=f"^{long}/b is not there"):
        find_preset(f"{long}/b")


def test_what_cannot_be_read_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = pack(folder, folder.parent / "some.zip")
    monkeypatch.setattr(Path, "open", refuse)
    for place, what in ((folder, "tiny/preset.toml"), (path, "some.zip")):
        with pytest.raises(StorageError, match=f"{what} cannot be read: Permission denied$"):
            find_preset(place)
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(StorageError, match=r"tiny cannot be read: Permission denied$"):
        find_preset(folder)


def test_a_folder_without_a_preset(tmp_path: Path) -> None:
    (tmp_path / "sub" / "set").mkdir(parents=True)
    with pytest.raises(MissingError, match=r"sub/set: preset.toml is missing"):
        find_preset("sub/set")


def test_a_broken_preset_is_listed_and_hides_no_other(folder: Path, tmp_path: Path) -> None:
    assert list_presets() == []
    shutil.copytree(folder, tmp_path / "user" / "tiny")
    shutil.copytree(folder, tmp_path / "user" / "broken")
    shutil.copytree(folder, tmp_path / "user" / ".tiny.abc")  # one that is being written
    (tmp_path / "user" / "notes.txt").write_text("x")
    (tmp_path / "user" / "bad.zip").write_bytes(b"PK\x03\x04no")
    pack(folder, tmp_path / "user" / "packed.zip")
    toml = tmp_path / "user" / "broken" / "preset.toml"
    toml.write_text(toml.read_text().replace("margin = 1.25", "margin = 0.5"))
    listed = {entry.name: entry for entry in list_presets()}
    assert list(listed) == ["bad", "broken", "packed", "tiny"]
    assert listed["tiny"].preset == read_preset(folder)
    assert listed["tiny"].fault == ""
    assert listed["packed"].preset == read_preset(folder)
    assert listed["broken"].preset is None
    assert "bound.margin must be at least 1, got 0.5" in listed["broken"].fault
    assert "bad.zip" in listed["bad"].fault


def member(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("plain")
    info.filename = name  # the constructor would tidy it
    info.external_attr = mode << 16
    return info


UNSAFE = [
    (member("../evil.txt"), r"'\.\./evil\.txt' leaves the folder"),
    (member("a/../../evil.txt"), "leaves the folder"),
    (member("/etc/passwd"), "'/etc/passwd' leaves the folder"),
    (member("C:/evil.txt"), "leaves the folder"),
    (member("a\\..\\evil.txt"), "leaves the folder"),
    (member("./evil.txt"), "leaves the folder"),
    (member("a//evil.txt"), "leaves the folder"),
    (member("link", stat.S_IFLNK | 0o777), "'link' is a link or a device"),
    (member("pipe", stat.S_IFIFO | 0o777), "'pipe' is a link or a device"),
    (member("weights.pth"), "weights.pth is a pickle"),
    (member("archive/data.pkl"), "data.pkl is a pickle"),
    (member("a/b/c.txt"), "'a/b/c.txt' lies too deep"),
    (member("preset.toml"), "'preset.toml' is there twice"),
    (member("elsewhere/x.txt"), r"holds folders \['', 'elsewhere'\]; expected one preset"),
]


@pytest.mark.parametrize(("info", "message"), UNSAFE, ids=[i.filename for i, _ in UNSAFE])
def test_an_unsafe_zip_is_refused_whole(
    folder: Path, tmp_path: Path, info: zipfile.ZipInfo, message: str
) -> None:
    path = pack(folder, tmp_path / "bad.zip")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the doubled name
        archive.writestr(info, "evil")
    with pytest.raises(BundleError, match=message) as raised:
        find_preset(path)
    assert "bad.zip" in str(raised.value)
    assert "\n" not in str(raised.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "library"]


def test_a_zip_that_is_too_large_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pack(folder, tmp_path / "bad.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(3 * 2**20))
    assert path.stat().st_size < 20_000
    monkeypatch.setattr(container, "MAX_TOTAL", 2 * 2**20)
    with pytest.raises(BundleError, match="would unpack to 4 MiB; a preset has at most 2 MiB"):
        find_preset(path)
    monkeypatch.undo()
    monkeypatch.setattr(container, "MAX_FILE", 2**20)
    with pytest.raises(BundleError, match=r"'bomb.png' would unpack to 3 MiB; at most 1 MiB"):
        find_preset(path)


def test_a_zip_of_too_many_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for i in range(65):
            archive.writestr(f"{i}.txt", "")
    with pytest.raises(BundleError, match="holds 65 files; a preset has at most 64"):
        find_preset(tmp_path / "many.zip")


def test_a_member_that_holds_more_than_it_says_is_not_read_further(
    folder: Path, tmp_path: Path
) -> None:
    path = pack(folder, tmp_path / "liar.zip", method=zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    size = (folder / "CARD.md").stat().st_size.to_bytes(4, "little")
    place = data.rindex(size * 2)  # both sizes in the zip's directory, CARD.md has the first entry
    for at in range(len(data) - 8):
        if data[at : at + 8] == size * 2:
            place = at
            data[place : place + 8] = (2).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"liar.zip: CARD.md is damaged"):
        find_preset(path)


def test_a_damaged_zip_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = pack(folder, tmp_path / "whole.zip").read_bytes()
    path = tmp_path / "bad.zip"
    for at in range(0, len(whole), 97):
        data = bytearray(whole)
        data[at] ^= 0xFF
        path.write_bytes(data)
        try:
            bundle = find_preset(path)
        except (BundleError, MissingError):
            continue
        assert bundle.preset == read_preset(folder)  # a byte that carries nothing, as a date
    for length in range(0, len(whole), 997):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleError, match=r"bad\.zip is "):
            find_preset(path)


def test_other_packings_and_encryption_are_refused(folder: Path, tmp_path: Path) -> None:
    path = pack(folder, tmp_path / "bz.zip", method=zipfile.ZIP_BZIP2)
    with pytest.raises(BundleError, match=r"'CARD.md' is not packed with deflate; pack it again"):
        find_preset(path)
    data = bytearray(pack(folder, tmp_path / "enc.zip").read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=r"'CARD.md' is encrypted; expected a plain zip"):
        find_preset(path)


def test_a_zip_without_a_preset(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(MissingError, match=r"x.zip: preset.toml is missing"):
        find_preset(tmp_path / "x.zip")


def test_the_room_does_not_import_torch() -> None:
    rooms = "catalogue, card, bundle, models"
    code = f"import sys; from cellsynth.presets import {rooms}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
