from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellsynth.errors import (
    FormatError,
    InputError,
    InUseError,
    MissingError,
    ShapeError,
    StorageError,
)
from cellsynth.formats.ctc import (
    CTCWriter,
    Piece,
    read_ctc,
    sequence_names,
    stage_results,
    write_ctc,
)
from cellsynth.formats.ctc_names import sequence_name
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet

DATA = Path(__file__).parents[2].parent / "shared" / "data"
SCALE = {"voxel_size_um": (1.0, 0.09, 0.2), "frame_interval_s": 60.0}
Frames = list[NDArray[np.uint16]]


def tree(root: Path) -> dict[str, bytes]:
    files = (p for p in sorted(root.rglob("*")) if p.is_file())
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def test_what_is_written_is_read(valid_set: Path, frames: Frames, lineage: Lineage) -> None:
    sequences = read_ctc(valid_set)
    assert [s.name for s in sequences] == sequence_names(valid_set) == ["01", "02"]
    for s in sequences:
        assert (s.kind, s.n_frames, s.shape) == ("TRA", 5, (5, 9, 10))
        assert s.lineage == lineage
        assert (s.voxel_size_um, s.frame_interval_s) == ((1.0, 0.09, 0.2), 60.0)
        for t, frame in enumerate(frames):
            np.testing.assert_array_equal(s.frame(t), frame)
    files = [f"01_GT/SEG/man_seg{t:03d}.tif" for t in range(5)]
    files += [f"01_GT/TRA/man_track{t:03d}.tif" for t in range(5)] + ["01_GT/TRA/man_track.txt"]
    assert [p for p in tree(valid_set) if p.startswith("01")] == sorted(files)
    table = (valid_set / "01_GT/TRA/man_track.txt").read_bytes()
    assert table == b"1 0 1 0\n2 2 4 1\n3 2 4 1\n5 0 4 0\n7 0 1 0\n8 3 4 7\n"


def test_seg_is_hard_links(valid_set: Path) -> None:
    tra = valid_set / "01_GT/TRA/man_track003.tif"
    assert tra.samefile(valid_set / "01_GT/SEG/man_seg003.tif")


def test_seg_is_copies_where_links_are_refused(tmp_path: Path, frames, lineage, monkeypatch):
    def refuse(*_args: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write_ctc(tmp_path, "01", frames, lineage, **SCALE)
    tra, seg = (tmp_path / f"01_GT/{name}002.tif" for name in ("TRA/man_track", "SEG/man_seg"))
    assert not tra.samefile(seg)
    assert tra.read_bytes() == seg.read_bytes()
    assert validate_ctc(tmp_path) == []


def test_pieces_and_whole_frames_give_the_same_bytes(tmp_path, frames, lineage) -> None:
    pieces = (Piece(f[1:3, :, 1:9], (1, 0, 1), f.shape) for f in frames)
    write_ctc(tmp_path / "a", "01", frames, lineage, **SCALE)
    write_ctc(tmp_path / "b", "01", pieces, lineage, n_frames=5, **SCALE)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_frames_come_in_any_order_from_any_thread(tmp_path, valid_set, frames, lineage) -> None:
    with CTCWriter(tmp_path / "b", "01", n_frames=5, **SCALE) as writer:
        threads = [
            threading.Thread(target=writer.write_frame, args=(t, frames[t]))
            for t in (3, 0, 4, 2, 1)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.finish(lineage) == tmp_path / "b/01_GT"
    first = {path: data for path, data in tree(valid_set).items() if path.startswith("01")}
    assert tree(tmp_path / "b") == first


def test_a_thousand_frames_take_four_digits(tmp_path: Path) -> None:
    frame = np.zeros((1, 2, 2), np.uint16)
    folder = write_ctc(
        tmp_path, "01", [frame] * 1000, Lineage(()), voxel_size_um=(1, 1, 1), seg=False
    )
    names = sorted(p.name for p in (folder / "TRA").iterdir())
    assert (names[1], names[-1]) == ("man_track0000.tif", "man_track0999.tif")
    assert not (folder / "SEG").exists()
    assert validate_ctc(tmp_path) == []


def test_sequences_are_ordered_by_number(tmp_path: Path) -> None:
    assert [sequence_name(n) for n in (1, 99, 100)] == ["01", "99", "100"]
    for name in ("100_GT", "02_RES", "99", "01_ST", "7_GT", "00_GT", "001", "notes", "03_XX"):
        (tmp_path / name).mkdir()
    (tmp_path / "05_GT").touch()
    assert sequence_names(tmp_path) == ["01", "02", "99", "100"]


def test_seg_and_silver_truth_are_read_where_there_are_no_tracks(valid_set: Path, frames) -> None:
    for path in (valid_set / "01_GT/TRA").iterdir():
        path.unlink()
    (valid_set / "02_GT").rename(valid_set / "02_ST")
    (valid_set / "01_GT/SEG/man_seg001.tif").unlink()
    seg, silver = read_ctc(valid_set)
    assert (seg.kind, seg.lineage, silver.kind, silver.lineage) == ("SEG", None, "ST", None)
    assert sorted(seg.frame_paths) == [0, 2, 3, 4]
    np.testing.assert_array_equal(silver.frame(4), frames[4])
    with pytest.raises(MissingError, match=r"01_GT.SEG holds no mask of frame 1$"):
        seg.frame(1)
    assert [s.name for s in read_ctc(valid_set, "ST")] == ["02"]
    with pytest.raises(MissingError, match="01_GT/TRA with files as man_track000"):
        read_ctc(valid_set, "TRA")
    with pytest.raises(InputError, match="TRA, SEG or ST, got 'RES'"):
        read_ctc(valid_set, "RES")


def test_a_missing_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nothing is not a folder"):
        read_ctc(tmp_path / "nothing")
    with pytest.raises(MissingError, match=r"holds no masks; expected 01_GT/TRA or 01_GT/SEG or"):
        read_ctc(tmp_path)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((5, 9, 10), np.float32), "holds float32"),
        (np.zeros((9, 10, 3), np.uint8), "is a colour image"),
        (np.zeros((5, 9, 11), np.uint16),
         r"has shape \(5, 9, 11\), the first frame \(5, 9, 10\)"),
        (np.zeros((9, 10), np.uint16), r"has shape \(9, 10\)"),
        (None, "is not a readable TIFF file"),
    ],
)  # fmt: skip
def test_bad_masks_are_refused_before_work_begins(valid_set: Path, array, message) -> None:
    path = valid_set / "02_GT/TRA/man_track003.tif"
    path.unlink()
    if array is None:
        path.write_bytes(b"II*\0 no image at all")
    else:
        colour = "rgb" if array.dtype == np.uint8 else "minisblack"
        tifffile.imwrite(path, array, photometric=colour)
    with pytest.raises(FormatError, match=rf"man_track003\.tif {message}"):
        read_ctc(valid_set)


def test_a_bad_table_is_refused_and_a_missing_one_too(valid_set: Path) -> None:
    table = valid_set / "01_GT/TRA/man_track.txt"
    table.write_text("1 0 1 0\n2 2 x 1\n")
    with pytest.raises(FormatError, match=r"man_track\.txt line 2 reads '2 2 x 1'; expected four"):
        read_ctc(valid_set)
    table.write_bytes(b"1 0 1 0\xff")
    with pytest.raises(FormatError, match="0xff; expected plain digits"):
        read_ctc(valid_set)
    table.unlink()
    with pytest.raises(MissingError, match=r"man_track\.txt is not there"):
        read_ctc(valid_set)


def test_untidy_tables_are_read_all_the_same(valid_set: Path, lineage: Lineage) -> None:
    table = valid_set / "01_GT/TRA/man_track.txt"
    table.write_text(table.read_text().replace(" ", "\t") + "\n")
    assert read_ctc(valid_set)[0].lineage == lineage


def test_a_sequence_that_is_there_is_not_touched(valid_set: Path, frames, lineage) -> None:
    before = tree(valid_set)
    with pytest.raises(InUseError, match="01_GT is there already"):
        write_ctc(valid_set, "01", frames, lineage, **SCALE)
    assert tree(valid_set) == before


@pytest.mark.parametrize(
    ("tracklets", "message"),
    [
        ([(1, 0, 1, 0), (2, 1, 1, 1)], "lineage frame 1: track 2 begins in frame 1 but its parent"),
        ([(1, 0, 2, 0)], "track 1 names frame 2; the sequence has frames 0 … 1"),
        (
            [(2, 0, 1, 0)],
            r"01_GT frame 0: label 1 is not listed as a track \(the first of 4 faults",
        ),
        ([(1, 0, 0, 0)], "01_GT frame 1: label 1 is present, but its track lasts from frame 0"),
        ([(1, 0, 1, 0), (4, 1, 1, 0)], "01_GT frame 1: label 4 is absent"),
    ],
)
def test_a_lineage_the_validator_would_refuse_is_not_written(tmp_path, tracklets, message) -> None:
    frame = np.ones((2, 3, 3), np.uint16)
    lineage = Lineage(tuple(Tracklet(*t) for t in tracklets))
    with pytest.raises(InputError, match=message):
        write_ctc(tmp_path / "set", "01", [frame, frame], lineage, voxel_size_um=(1, 1, 1))
    assert not (tmp_path / "set").exists()


def test_what_the_writer_cannot_use_is_refused(tmp_path: Path, frames, lineage) -> None:
    root = tmp_path / "set"
    with pytest.raises(InputError, match="01, 02 … 99, 100 …, got '1'"):
        CTCWriter(root, "1", n_frames=5, **SCALE)
    with pytest.raises(InputError, match="1 … 10000, got 0"):
        CTCWriter(root, "01", n_frames=0, **SCALE)
    with pytest.raises(InputError, match="needs n_frames"):
        write_ctc(root, "01", iter(frames), lineage, **SCALE)
    with pytest.raises(InputError, match=r"frame 3 was not written \(2 of 5 missing\)"):
        write_ctc(root, "01", iter(frames[:3]), lineage, n_frames=5, **SCALE)
    with pytest.raises(InputError, match="frame 4 is not in 0 … 3"):
        write_ctc(root, "01", iter(frames), lineage, n_frames=4, **SCALE)
    with pytest.raises(ShapeError, match=r"frame 1 has shape \(4, 9, 10\), others \(5, 9, 10\)"):
        write_ctc(root, "01", [frames[0], frames[1][:4]], lineage, **SCALE)
    with CTCWriter(root, "01", n_frames=5, **SCALE) as writer:
        writer.write_frame(0, frames[0])
        with pytest.raises(InputError, match="frame 0 was written before"):
            writer.write_frame(0, frames[0])
    assert not root.exists()


def test_a_failing_block_removes_only_its_own_sequence(valid_set: Path, frames, lineage) -> None:
    def interrupted():
        yield frames[0]
        raise KeyboardInterrupt

    before = tree(valid_set)
    with pytest.raises(KeyboardInterrupt):
        write_ctc(valid_set, "03", interrupted(), lineage, n_frames=5, **SCALE)
    assert tree(valid_set) == before
    assert not (valid_set / "03_GT").exists()


def test_a_full_disk_ends_in_one_line_and_no_files(tmp_path: Path, frames, lineage) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")

    def filling():
        yield frames[0]
        (tmp_path / "set/01_GT/TRA/man_track001.tif").symlink_to("/dev/full")
        yield frames[1]

    with pytest.raises(
        StorageError, match=r"man_track001\.tif could not be written: no space left on device; free"
    ):
        write_ctc(tmp_path / "set", "01", filling(), lineage, n_frames=5, **SCALE)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="could not be written: not a directory"):
        CTCWriter(tmp_path / "file", "01", n_frames=5, **SCALE)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_results_are_staged_beside_the_reference(valid_set: Path, tmp_path: Path) -> None:
    out = tmp_path / "staged"
    assert stage_results(valid_set, out) == [out / "01_RES", out / "02_RES"]
    staged = tree(out)
    for t in range(5):
        mask = staged[f"01_RES/mask{t:03d}.tif"]
        assert mask == staged[f"01_GT/TRA/man_track{t:03d}.tif"]
    assert staged["02_RES/res_track.txt"] == staged["02_GT/TRA/man_track.txt"]
    assert validate_ctc(out) == []
    with pytest.raises(InUseError, match="01_RES is there already"):
        stage_results(valid_set, out)


def test_results_are_staged_in_place(valid_set: Path) -> None:
    before = tree(valid_set)
    stage_results(valid_set, valid_set, kind="RES")
    after = tree(valid_set)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2 * 6
    # A tool that edits its copy of the table must not reach the reference.
    (valid_set / "01_RES/res_track.txt").write_text("")
    assert tree(valid_set)["01_GT/TRA/man_track.txt"] == before["01_GT/TRA/man_track.txt"]


def test_nothing_to_stage_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="holds no 01_GT/TRA to stage"):
        stage_results(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "shape", "n_frames", "n_tracks", "n_divisions"),
    [
        ("mouse_embryo_nuclei_ctc", (38, 455, 427), 15, 8, 0),
        ("hela_2d", (700, 1100), 20, 255, 30),
    ],
)
def test_real_data_are_read_and_valid(name, shape, n_frames, n_tracks, n_divisions) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"no {name} beside the project")
    (sequence,) = read_ctc(DATA / name)
    assert (sequence.shape, sequence.n_frames) == (shape, n_frames)
    assert sequence.lineage is not None
    assert len(sequence.lineage) == n_tracks
    assert len(sequence.lineage.divisions()) == n_divisions
    assert set(np.unique(sequence.frame(3))) - {0} == set(sequence.lineage.at(3))
    assert validate_ctc(DATA / name) == []
