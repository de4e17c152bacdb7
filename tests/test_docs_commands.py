"""Every command of README and docs runs, made small, or is marked as long and at least parses.

A document marks a command as long by a comment: ``# long: two hours``.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from authors_code import write_experiment
from bundles import changed
from docs_commands import ROOT, Command, commands_of, every_command
from textured import with_texture

from cellsynth.cli.app import app, main
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.geometry import Grid
from cellsynth.presets.bundle import Bundle
from cellsynth.rendering.dataset import GenerateOptions, generate
from cellsynth.training import imported

# What a flag's value is run with instead.
SMALL = {"--count": "2", "--res": "24", "--frames": "3", "--steps": "3"}
# Of one verb alone; they replace the above, or are added.
SMALL_IN = {
    "generate": {"--voxel-size": "1.0,0.5,0.5"},
    "fit": {"--starts": "1", "--steps": "1"},
    "latent": {"--draws": "4", "--steps": "3", "--frames": "2"},
    "phantom": {"--frames": "3", "--count": "1", "--voxel-size": "0.4"},
}
ADDED = {"fit", "latent", "phantom"}
# Who may work on several cores works on one.
ONE_PROCESS = {"generate", "texture", "evaluate", "report", "export"}
# Names in the documents, by what lies there when a command is run.
OURS = ("celegans-384", "celegans-96", "mynuclei-64", "mycells-128")
THEIRS = ("DATA", "my-masks", "my-set", "embryo", "celegans-384-mip")
PRESETS = ("./mycells", "./mynuclei", "./my-celegans", "mycells", "mynuclei", "my-celegans")
ALIKE = {name: names[0] for names in (OURS, THEIRS, PRESETS[:3]) for name in names}
# Documents that train without saying that it takes long.
UNMARKED = {"docs/texture.md": "train-texture"}
# Programs of others, which are not run.
OTHERS = {"cd", "geff", "git", "make", "napari", "pip", "python3", "."}

VOXEL_UM = (1.0, 0.5, 0.5)
CODES = 33

COMMANDS = every_command()
ARGUMENTS = sorted({c.arguments for c in COMMANDS if c.arguments is not None})


def takes_long(command: Command) -> bool:
    verb = (command.arguments or ("",))[0]
    return command.long or UNMARKED.get(command.document) == verb


def small(arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The same command with less to do; commands that then do the same become one."""
    verb = arguments[0] if arguments else ""
    values = SMALL | SMALL_IN.get(verb, {})
    words = [ALIKE.get(word, word) for word in arguments]
    for i, word in enumerate(words[1:]):
        if word in values:
            words[i + 2] = values[word]
    if verb in ADDED:
        unfit = "--draws" if "--walk" in words else "--steps" if verb == "latent" else ""
        for flag, value in SMALL_IN[verb].items():
            if flag not in words and flag != unfit:
                words += [flag, value]
    if (verb in ONE_PROCESS or "--walk" in words) and "--workers" not in words:
        words += ["--workers", "1"]
    return tuple(words)


RUN = sorted(
    {small(c.arguments) for c in COMMANDS if c.arguments is not None and not takes_long(c)}
)


@pytest.fixture(scope="session")
def parse() -> Callable[[tuple[str, ...]], None]:
    """Read a command line as ``cellsynth`` does; nothing is done."""
    group = typer.main.get_command(app)

    def hollow(command) -> None:
        for child in getattr(command, "commands", {}).values():
            hollow(child)
            child.callback = lambda **_: None

    hollow(group)

    def read(arguments: tuple[str, ...]) -> None:
        given = list(arguments)
        group.main(given, prog_name="cellsynth", standalone_mode=False, obj=given)

    return read


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=" ".join)
def test_verbs_and_options_are_there(parse, arguments):
    parse(arguments)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("cellsynth generate --preset celegans --counts 3", "No such option: --counts"),
        ("cellsynth evalute celegans-96", "No such command 'evalute'"),
        ("cellsynth presets shov celegans", "No such command 'shov'"),
        ("cellsynth fit DATA", "Missing parameter: preset"),
        ("torchrun -m cellsynth train-preset --resum   # long: days", "No such option: --resum"),
    ],
)
def test_what_is_not_there_is_found(parse, line, fault):
    [command] = commands_of(f"Text\n  ```sh\n  {line}\n  ```\n", "a.md")
    assert command.line == 3
    with pytest.raises(typer.TyperException, match=fault):
        parse(command.arguments)


def test_programs_of_others_are_known():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    for command in COMMANDS:
        if command.arguments is not None:
            continue
        where = f"{command.document} line {command.line}"
        assert command.words[0] in OTHERS, where
        if command.words[0] == "make":
            assert set(command.words[1:]) <= set(targets), where
        for extra in re.findall(r"cellsynth\[([a-z0-9]+)\]", " ".join(command.words)):
            assert extra in project["optional-dependencies"], where


def test_marks_are_of_commands_that_are_there():
    for document, verb in UNMARKED.items():
        assert any(c.document == document and (c.arguments or " ")[0] == verb for c in COMMANDS)


@pytest.fixture(scope="module")
def presets(
    dividing_bundle: Bundle, sphere_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Presets under the names that the documents use, in closed form."""
    folder = tmp_path_factory.mktemp("presets-of-docs")
    rng = np.random.default_rng(0)
    for name, like in {"celegans": dividing_bundle, "platynereis": sphere_bundle}.items():
        codes = 0.03 * rng.standard_normal((CODES, 2))
        topology = like.preset.topology.model_copy(update={"judged_at": 16})
        plain = changed(like, folder / "plain" / name, latents=codes, topology=topology)
        named = replace(plain, preset=plain.preset.model_copy(update={"name": name}))
        with_texture(named, folder / name)
    shutil.copytree(folder / "celegans", folder / "filo")
    return folder


@pytest.fixture(scope="module")
def stock(presets: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What commands are given, by the name that the documents call it."""
    from cellsynth.presets.bundle import read_bundle

    folder = tmp_path_factory.mktemp("stock")
    bundle = read_bundle(presets / "celegans")
    options = GenerateOptions(Grid.over_omega((24, 24, 24)), n_frames=3)
    generate(bundle, folder / "ours", options, count=2)
    _write_others(folder / "others")
    write_experiment(folder / "experiment")
    return {
        **dict.fromkeys(OURS, folder / "ours"),
        **dict.fromkeys(THEIRS, folder / "others"),
        **dict.fromkeys(PRESETS, presets / "celegans"),
        "theirs/experiments/filo": folder / "experiment",
        "my-scope.toml": ROOT / "cellsynth" / "texture" / "profiles" / "lsm510-63x1.4.toml",
    }


def _write_others(folder: Path) -> None:
    """A set of others: two balls, a sequence each, with images."""
    z, y, x = np.indices((9, 18, 20))
    for i in (1, 2):
        name, frames = f"{i:02d}", []
        for t in range(3):
            distance = ((z - 4) * 2) ** 2 + (y - 9) ** 2 + (x - 9 - t) ** 2
            frames.append((distance < (5.2 + 0.2 * i) ** 2).astype(np.uint16))
        lineage = Lineage((Tracklet(1, 0, 2),))
        write_ctc(folder, name, frames, lineage, voxel_size_um=VOXEL_UM, frame_interval_s=60.0)
        (folder / name).mkdir()
        for t, frame in enumerate(frames):
            image = (100 + 900 * frame + t).astype(np.uint16)
            write_image(folder / name / f"t{t:03d}.tif", image, voxel_size_um=VOXEL_UM)


@pytest.fixture
def desk(
    stock: dict[str, Path], presets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[tuple[str, ...]], Path]:
    """A folder of one's own, with what a command is given in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CELLSYNTH_PRESETS", str(presets))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(imported, "LEAST_FRAMES", 1)
    monkeypatch.setattr(imported, "PREVIEW", 8)
    monkeypatch.setattr(imported, "judging_grid", lambda _: Grid.over_omega((16, 16, 16)))

    def laid(arguments: tuple[str, ...]) -> Path:
        for flag, word in zip(("", *arguments), arguments, strict=False):
            source = stock.get(word)
            if source is None or flag in ("--out", "--name"):
                continue
            target = tmp_path / word
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
        return tmp_path

    return laid


@pytest.mark.parametrize("arguments", RUN, ids=" ".join)
def test_commands_run(desk, capsys, arguments):
    folder = desk(arguments)
    before = set(folder.rglob("*"))
    code = main(arguments)
    told = capsys.readouterr()
    assert code == 0, told.err
    assert told.out
    if arguments and arguments[0] in {"generate", "texture", "report", "export", "latent", "fit"}:
        assert set(folder.rglob("*")) > before
