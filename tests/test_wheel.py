"""What is shipped: the wheel, installed where the checkout is not, with the presets in it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from cellsynth.presets.catalogue import list_presets

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    # Its build requirements are those of the tests too, so nothing is fetched.
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``cellsynth`` in an environment of its own, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    python = scripts / "python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    # The .pth files of a folder that is named in a .pth file are not read: this checkout, which
    # is linked into this environment, is not on the path of the new one.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(site) / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return scripts / "cellsynth"


def call(command: Path, *arguments: str, cwd: Path) -> str:
    # Neither presets of the user nor those of the checkout.
    clean = {"CELLSYNTH_PRESETS": "", "XDG_DATA_HOME": str(cwd), "PYTHONPATH": ""}
    return subprocess.run(
        [command, *arguments],
        check=True,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | clean,
    ).stdout


def test_the_wheel_holds_package_presets_and_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "cellsynth/py.typed" in names
    assert "cellsynth/cli/app.py" in names
    for path in (ROOT / "cellsynth" / "texture" / "profiles").glob("*.toml"):
        assert f"cellsynth/texture/profiles/{path.name}" in names
    for path in (ROOT / "cellsynth" / "report" / "assets").iterdir():
        assert f"cellsynth/report/assets/{path.name}" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "docs/", "presets/"))]
    for path in (ROOT / "presets").glob("*/*"):
        assert f"cellsynth/presets/bundles/{path.parent.name}/{path.name}" in names


def test_the_installed_command_lists_the_shipped_presets(command, tmp_path):
    listed = call(command, "presets", cwd=tmp_path)
    installed = command.parents[1].resolve()
    for path in sorted((ROOT / "presets").glob("*/preset.toml")):
        [row] = [line for line in listed.splitlines() if line.split()[0] == path.parent.name]
        assert "broken" not in row
        assert str(installed) in row
    if not list((ROOT / "presets").glob("*/preset.toml")):
        assert "no presets in" in listed
        assert str(installed) in listed


def test_the_installed_command_is_the_wheels_and_works(command, tmp_path, sphere_bundle):
    where = subprocess.run(
        [command.parent / "python", "-c", "import cellsynth; print(cellsynth.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": ""},
    ).stdout
    assert Path(where).is_relative_to(command.parents[1])
    flags = ["--preset", str(sphere_bundle.folder), "--res", "16", "--workers", "1", "--out", "s"]
    call(command, "generate", *flags, cwd=tmp_path)
    assert call(command, "validate", "s", cwd=tmp_path) == "valid: 1 sequence, 4 frames\n"
    assert (tmp_path / "s" / "report.html").is_file()


def test_every_shipped_preset_can_be_read():
    names = {path.parent.name for path in (ROOT / "presets").glob("*/preset.toml")}
    assert names <= {listed.name for listed in list_presets() if listed.preset is not None}
