"""Phantom sets on disk."""

import json
from pathlib import Path

import numpy as np
import pytest

from cellsynth.errors import InputError, InUseError, MissingError, TopologyError
from cellsynth.formats.ctc import read_ctc
from cellsynth.shapes.phantoms import phantom_families, render_family, write_phantom

COARSE = (0.3, 0.2, 0.2)
TABLE = Path(__file__).parents[3].parent / "shared/data/celegans_lineage/nuclei_AB.csv"


def _bytes(root: Path, sequence: str) -> dict[str, bytes]:
    folder = root / f"{sequence}_GT"
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_a_set_is_read_back_as_rendered(tmp_path: Path) -> None:
    out = tmp_path / "phantoms"
    seen: list[tuple[int, int]] = []
    written = write_phantom(
        "celegans", out, count=2, frames=6, seed=3, voxel_size_um=COARSE,
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert written == out
    assert seen == [(i, 12) for i in range(1, 13)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["phantoms"]
    assert sorted(p.name for p in out.iterdir()) == ["01_GT", "02_GT", "phantom.json"]
    families = phantom_families("celegans", 2, frames=6, seed=3)
    for sequence, family in zip(read_ctc(out), families, strict=True):
        assert sequence.n_frames == 6
        assert sequence.voxel_size_um == pytest.approx(COARSE)
        assert sequence.frame_interval_s == 60
        for frame in range(6):
            np.testing.assert_array_equal(
                sequence.frame(frame), render_family(family, frame, COARSE)
            )
        assert sequence.lineage is not None
        (mother,) = sequence.lineage.divisions()
        born = family.division_frame
        assert (mother.label, mother.begin, mother.end) == (1, 0, born - 1)
        daughters = sequence.lineage.children(1)
        assert [(d.label, d.begin, d.end) for d in daughters] == [(2, born, 5), (3, born, 5)]


def test_the_record_says_where_the_set_comes_from(tmp_path: Path) -> None:
    out = write_phantom("celegans", tmp_path / "set", count=1, frames=4, voxel_size_um=COARSE)
    record = json.loads((out / "phantom.json").read_text())
    assert record["kind"] == "celegans"
    assert (record["seed"], record["count"], record["frames"]) == (0, 1, 4)
    assert record["voxel_size_um"] == list(COARSE)
    assert record["lineage"] is None
    (sequence,) = record["sequences"]
    (family,) = phantom_families("celegans", 1, frames=4)
    assert sequence["name"] == "01"
    assert sequence["division_frame"] == family.division_frame
    assert sequence["farthest_um"] == pytest.approx(family.farthest_um(), abs=1e-3)


def test_a_sequence_does_not_depend_on_the_others(tmp_path: Path) -> None:
    options = {"frames": 4, "seed": 9, "voxel_size_um": COARSE}
    few = write_phantom("celegans", tmp_path / "few", count=1, **options)  # type: ignore[arg-type]
    more = write_phantom("celegans", tmp_path / "more", count=3, **options)  # type: ignore[arg-type]
    assert _bytes(few, "01") == _bytes(more, "01")
    assert _bytes(more, "01") != _bytes(more, "02")


@pytest.mark.skipif(not TABLE.is_file(), reason=f"no lineage table at {TABLE}")
def test_a_set_from_a_real_table_names_its_cells(tmp_path: Path) -> None:
    out = write_phantom(
        "celegans", tmp_path / "set", count=2, frames=10, voxel_size_um=COARSE, lineage=TABLE
    )
    record = json.loads((out / "phantom.json").read_text())
    assert record["lineage"]["file"] == "nuclei_AB.csv"
    assert len(record["lineage"]["sha256"]) == 64
    families = phantom_families("celegans", 2, frames=10, lineage=TABLE)
    for sequence, family in zip(record["sequences"], families, strict=True):
        assert (sequence["mother"], *sequence["daughters"]) == family.cells
        assert sequence["mother"].startswith("AB")


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    for overwrite, message in ((False, "holds something already"), (True, "is no phantom set")):
        with pytest.raises(InUseError, match=message):
            write_phantom("celegans", out, count=1, frames=2, overwrite=overwrite)
    assert [p.name for p in tmp_path.rglob("*")] == ["set", "notes.txt"]


def test_of_two_runs_at_once_the_first_to_end_stays(tmp_path: Path) -> None:
    out = tmp_path / "set"
    options = {"frames": 2, "voxel_size_um": COARSE}

    def run_another(done: int, total: int) -> None:
        if done == total - 1:
            write_phantom("celegans", out, count=1, seed=1, **options)  # type: ignore[arg-type]

    with pytest.raises(InUseError, match="set holds something already"):
        write_phantom("celegans", out, count=2, on_progress=run_another, **options)  # type: ignore[arg-type]
    assert json.loads((out / "phantom.json").read_text())["seed"] == 1
    assert sorted(p.name for p in out.iterdir()) == ["01_GT", "phantom.json"]
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


def test_a_link_to_an_empty_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_phantom("celegans", tmp_path / "link", count=1, frames=2, voxel_size_um=COARSE)
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == ["01_GT", "phantom.json"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "real"]


@pytest.mark.parametrize("out", [".", "..", "../here"])
def test_the_current_folder_is_refused_at_once(tmp_path: Path, monkeypatch, out: str) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(InUseError, match=rf"{out} is in use as the current folder"):
        write_phantom("celegans", out, voxel_size_um=COARSE)
    assert [p.name for p in tmp_path.rglob("*")] == ["here"]


def test_overwrite_replaces_an_earlier_set(tmp_path: Path) -> None:
    out = tmp_path / "set"
    out.mkdir()  # an empty folder is free
    options = {"frames": 2, "voxel_size_um": COARSE}
    write_phantom("celegans", out, count=2, **options)  # type: ignore[arg-type]
    write_phantom("celegans", out, count=1, overwrite=True, **options)  # type: ignore[arg-type]
    assert sorted(p.name for p in out.iterdir()) == ["01_GT", "phantom.json"]


def test_a_set_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no\.csv"):
        write_phantom("celegans", tmp_path / "a", lineage=tmp_path / "no.csv")
    with pytest.raises(InputError, match=r"voxel size must be above 0.*0\.0"):
        write_phantom("celegans", tmp_path / "b", count=1, frames=4, voxel_size_um=(0.0, 1.0, 1.0))
    with pytest.raises(TopologyError, match="use a smaller voxel size"):
        write_phantom("celegans", tmp_path / "c", count=1, frames=4, voxel_size_um=(9.0, 9.0, 9.0))
    with pytest.raises(InputError, match=r"a grid of \d+ × .* voxels does not fit in memory"):
        write_phantom("celegans", tmp_path / "d", count=1, frames=2, voxel_size_um=(1e-5,) * 3)
    assert list(tmp_path.iterdir()) == []
