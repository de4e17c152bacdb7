"""One broken data set per rule, each told with its file, frame and label."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from cellsynth.errors import MissingError
from cellsynth.formats import ctc_scan
from cellsynth.formats.ctc import CTCWriter, stage_results, write_ctc
from cellsynth.formats.ctc_rules import RULES
from cellsynth.formats.ctc_validate import Fault, validate_ctc
from cellsynth.formats.image_tiff import write_image
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.formats.tiff_reading import read_labels

TRA, SEG, RES = "01_GT/TRA", "01_GT/SEG", "01_RES"
TABLE = f"{TRA}/man_track.txt"
MASK = f"{TRA}/man_track003.tif"


def put(path: Path, array: NDArray, photometric: str = "minisblack") -> None:
    """Replace a file, without reaching its other hard links."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True, parents=True)
    tifffile.imwrite(path, array, photometric=photometric)


def cast(name: str, dtype: str) -> Callable[[Path], object]:
    return lambda root: put(root / name, read_labels(root / name).astype(dtype))


def paint(name: str, label: int, dtype: str = "uint16") -> Callable[[Path], object]:
    def broken(root: Path) -> None:
        labels = read_labels(root / name).astype(dtype)
        labels[..., 0, 0] = label
        put(root / name, labels)

    return broken


def erase(name: str, label: int) -> Callable[[Path], object]:
    def broken(root: Path) -> None:
        labels = read_labels(root / name)
        labels[labels == label] = 0
        put(root / name, labels)

    return broken


def replace(name: str, shape: tuple[int, ...], dtype: str = "uint16") -> Callable[[Path], object]:
    return lambda root: put(
        root / name, np.zeros(shape, dtype), "rgb" if shape[-1] == 3 else "minisblack"
    )


def rename(old: str, new: str) -> Callable[[Path], object]:
    return lambda root: (root / old).rename(root / new)


def line(old: str, new: str, name: str = TABLE) -> Callable[[Path], object]:
    def broken(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).write_text(text.replace(old, new))

    return broken


def cut(name: str) -> Callable[[Path], object]:
    def broken(root: Path) -> None:
        data = (root / name).read_bytes()
        (root / name).unlink()
        (root / name).write_bytes(data[:-40])

    return broken


def spoil_pixels(name: str) -> Callable[[Path], object]:
    """Damage what is compressed; the header stays as it is."""

    def broken(root: Path) -> None:
        image = np.random.default_rng(0).integers(0, 4000, (5, 9, 10)).astype(np.uint16)
        (root / name).unlink()
        write_image(root / name, image, voxel_size_um=(1, 1, 1))
        data = bytearray((root / name).read_bytes())
        data[-200:-150] = bytes(50)
        (root / name).write_bytes(data)

    return broken


def delete(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).unlink()


def both(*steps: Callable[[Path], object]) -> Callable[[Path], object]:
    def broken(root: Path) -> None:
        for step in steps:
            step(root)

    return broken


def folder(name: str) -> Callable[[Path], object]:
    return lambda root: (root / name).mkdir(parents=True)


def images(root: Path) -> None:
    for t in range(5):
        put(root / f"01/t{t:03d}.tif", np.full((5, 9, 10), 100, np.uint16))


def slices(root: Path) -> None:
    """Sparse gold segmentation: one whole frame and two slices, with labels of their own."""
    shutil.rmtree(root / SEG)
    put(root / SEG / "man_seg002.tif", np.full((5, 9, 10), 77, np.uint16))
    put(root / SEG / "man_seg_003_004.tif", np.full((9, 10), 78, np.uint16))
    put(root / SEG / "man_seg_000_000.tif", np.zeros((9, 10), np.uint16))


def staged(root: Path) -> None:
    stage_results(root, root)


@dataclass
class Case:
    """A way to break the valid set, the fault it makes, and a part of what is told."""

    name: str
    break_it: Callable[[Path], object]
    rule: str
    path: str
    frame: int | None
    label: int | None
    told: str
    also: tuple[str, ...] = ()  # rules that cannot but break with it


CASES = [
    # folders and names
    Case("no sequence", lambda root: shutil.rmtree(root / "01_GT"), "folder", ".", None, None,
         "holds no masks"),
    Case("empty TRA", lambda root: [p.unlink() for p in (root / TRA).glob("*.tif")],
         "folder", TRA, None, None, "holds no frame; expected man_track000.tif"),
    Case("no TRA", lambda root: shutil.rmtree(root / TRA), "folder", "01_GT", None, None,
         "has no 01_GT/TRA"),
    Case("ST without SEG", folder("01_ST"), "folder", "01_ST", None, None, "has no 01_ST/SEG"),
    Case("one digit", folder("2_GT/TRA"), "folder", "2_GT", None, None, "expected 01, 01_GT"),
    Case("three digits", folder("002_GT/TRA"), "folder", "002_GT", None, None, "expected 01"),
    Case("small letters", folder("02_gt/TRA"), "folder", "02_gt", None, None, "expected 01"),
    Case("hyphen", folder("02-RES"), "folder", "02-RES", None, None, "expected 01"),
    Case("sequence 00", folder("00_GT/TRA"), "folder", "00_GT", None, None, "expected 01"),
    Case("misspelt mask", rename(MASK, f"{TRA}/man_trak003.tif"), "file-name",
         f"{TRA}/man_trak003.tif", None, None, "as man_track000.tif", also=("frame-missing",)),
    Case("mask of the wrong folder", rename(f"{SEG}/man_seg003.tif", f"{SEG}/man_track003.tif"),
         "file-name", f"{SEG}/man_track003.tif", None, None, "as man_seg000.tif"),
    Case("slice of TRA", both(replace(f"{TRA}/man_track_003_001.tif", (9, 10))), "file-name",
         f"{TRA}/man_track_003_001.tif", None, None, "as man_track000.tif"),
    Case("tiff", rename(MASK, MASK + "f"), "file-ending", MASK + "f", None, None, "ends in .tiff",
         also=("frame-missing",)),
    Case("TIF", rename(f"{SEG}/man_seg003.tif", f"{SEG}/man_seg003.TIF"), "file-ending",
         f"{SEG}/man_seg003.TIF", None, None, "ends in .TIF"),
    Case("four digits", rename(MASK, f"{TRA}/man_track0003.tif"), "digits",
         f"{TRA}/man_track0003.tif", 3, None, "4 digits; a data set of fewer than 1000 frames has"),
    Case("slice of four digits", both(slices, rename(
         f"{SEG}/man_seg_003_004.tif", f"{SEG}/man_seg_0003_004.tif")), "digits",
         f"{SEG}/man_seg_0003_004.tif", 3, None, "4 digits"),
    # frames
    Case("missing mask", delete(MASK), "frame-missing", MASK, 3, None, "frame 3 is missing"),
    Case("missing last mask", both(images, delete(f"{TRA}/man_track004.tif")), "frame-missing",
         f"{TRA}/man_track004.tif", 4, None, "frame 4 is missing"),
    Case("missing image", both(images, delete("01/t002.tif")), "frame-missing", "01/t002.tif", 2,
         None, "frame 2 is missing"),
    Case("missing result", both(staged, delete(f"{RES}/mask004.tif")), "frame-missing",
         f"{RES}/mask004.tif", 4, None, "frame 4 is missing"),
    Case("mask beyond the images", both(images, delete("01/t004.tif")), "frame-extra",
         f"{TRA}/man_track004.tif", 4, None, "beyond the 4 frames", also=("frame-range",)),
    Case("SEG beyond TRA", replace(f"{SEG}/man_seg005.tif", (5, 9, 10)), "frame-extra",
         f"{SEG}/man_seg005.tif", 5, None, "frame 5 is beyond the 5 frames"),
    Case("slice beyond TRA", both(slices, replace(f"{SEG}/man_seg_007_000.tif", (9, 10))),
         "frame-extra", f"{SEG}/man_seg_007_000.tif", 7, None, "frame 7 is beyond"),
    # what is in a file
    Case("cut mask", cut(MASK), "unreadable", MASK, 3, None, "ends too early"),
    Case("cut image", both(images, cut("01/t003.tif")), "unreadable", "01/t003.tif", 3, None,
         "ends too early"),
    Case("damaged image", both(images, spoil_pixels("01/t003.tif")), "unreadable", "01/t003.tif",
         3, None, "is not a readable TIFF file"),
    Case("a text named mask", both(delete(MASK), lambda root: (root / MASK).write_text("x")),
         "unreadable", MASK, 3, None, "not a readable TIFF"),
    Case("a folder named mask", both(delete(MASK), folder(MASK)), "unreadable", MASK, 3, None,
         "is a directory"),
    Case("colour mask", replace(MASK, (9, 10, 3), "uint8"), "colour", MASK, 3, None, "one value"),
    Case("colour image", both(images, replace("01/t003.tif", (5, 9, 10, 3), "uint8")), "colour",
         "01/t003.tif", 3, None, "one value"),
    Case("float mask", cast(MASK, "float32"), "type", MASK, 3, None, "holds float32; masks are"),
    Case("8-bit mask", cast(MASK, "uint8"), "type", MASK, 3, None, "holds uint8"),
    Case("signed mask", cast(MASK, "int16"), "type", MASK, 3, None, "holds int16"),
    Case("32-bit SEG", cast(f"{SEG}/man_seg003.tif", "uint32"), "type", f"{SEG}/man_seg003.tif",
         3, None, "holds uint32"),
    Case("float image", both(images, cast("01/t003.tif", "float32")), "type", "01/t003.tif", 3,
         None, "holds float32; images are"),
    Case("one 8-bit image", both(images, cast("01/t003.tif", "uint8")), "type", "01/t003.tif", 3,
         None, "holds uint8; most images of the sequence hold uint16"),
    Case("smaller mask", replace(MASK, (5, 9, 9)), "shape", MASK, 3, None,
         "has shape (5, 9, 9); the sequence has (5, 9, 10)", also=("label-absent",)),
    Case("a flat frame", replace(MASK, (9, 10)), "shape", MASK, 3, None, "has shape (9, 10)",
         also=("label-absent",)),
    Case("first mask smaller", replace(f"{TRA}/man_track000.tif", (5, 9, 9)), "shape",
         f"{TRA}/man_track000.tif", 0, None, "has shape (5, 9, 9)", also=("label-absent",)),
    Case("SEG of another shape", replace(f"{SEG}/man_seg001.tif", (4, 9, 10)), "shape",
         f"{SEG}/man_seg001.tif", 1, None, "has shape (4, 9, 10)"),
    Case("image of another shape", both(images, replace("01/t003.tif", (5, 9, 12))), "shape",
         "01/t003.tif", 3, None, "has shape (5, 9, 12)"),
    Case("slice of another shape", both(slices, replace(f"{SEG}/man_seg_003_001.tif", (9, 11))),
         "shape", f"{SEG}/man_seg_003_001.tif", 3, None, "has shape (9, 11)"),
    Case("slice beyond the frame", both(slices, replace(f"{SEG}/man_seg_003_005.tif", (9, 10))),
         "slice-range", f"{SEG}/man_seg_003_005.tif", 3, None, "slice 5 is beyond the 5 slices"),
    Case("label over 65535", paint(MASK, 70000, "uint32"), "label-range", MASK, 3, 70000,
         "label 70000 is outside 1 … 65535", also=("type", "label-unlisted")),
    Case("negative label in SEG", paint(f"{SEG}/man_seg003.tif", -4, "int16"), "label-range",
         f"{SEG}/man_seg003.tif", 3, -4, "label -4", also=("type",)),
    # the table
    Case("no table", delete(TABLE), "table-missing", TABLE, None, None, "is missing"),
    Case("no result table", both(staged, delete(f"{RES}/res_track.txt")), "table-missing",
         f"{RES}/res_track.txt", None, None, "is missing"),
    Case("header", line("1 0 1 0\n", "L B E P\n1 0 1 0\n"), "table-line", TABLE, None, None,
         "line 1: reads 'L B E P'; expected four whole numbers"),
    Case("tab", line("5 0 4 0", "5\t0\t4\t0"), "table-line", TABLE, None, None, "line 4: reads"),
    Case("two spaces", line("5 0 4 0", "5  0 4 0"), "table-line", TABLE, None, None, "single"),
    Case("space at the end", line("5 0 4 0", "5 0 4 0 "), "table-line", TABLE, None, None, "4 0 '"),
    Case("fraction", line("5 0 4 0", "5 0 4.0 0"), "table-line", TABLE, None, None, "'5 0 4.0 0'"),
    Case("three columns", line("5 0 4 0", "5 0 4"), "table-line", TABLE, None, None, "'5 0 4'"),
    Case("blank line", line("5 0 4 0\n", "5 0 4 0\n\n"), "table-line", TABLE, None, None,
         "line 5: is blank"),
    Case("blank line at the end", line("8 3 4 7\n", "8 3 4 7\n\n"), "table-line", TABLE, None,
         None, "line 7: is blank"),
    Case("not text", lambda root: (root / TABLE).write_bytes(b"\xff\xfe1\x00"),
         "table-line", TABLE, None, None, "0xff"),
    Case("label 0", line("8 3", "0 3 4 0\n8 3"), "label-range", TABLE, None, 0, "label 0 is"),
    Case("label 65536", line("8 3", "65536 3 4 0\n8 3"), "label-range", TABLE, None, 65536,
         "line 6: label 65536 is outside"),
    Case("a label twice", line("8 3", "7 3 4 0\n8 3"), "label-twice", TABLE, None, 7,
         "line 6: track 7 is listed twice"),
    Case("end before begin", line("5 0 4 0", "5 4 0 0"), "begin-after-end", TABLE, 4, 5,
         "line 4: track 5 begins in frame 4 and ends in frame 0", also=("label-outside-track",)),
    Case("end past the last frame", line("5 0 4 0", "5 0 5 0"), "frame-range", TABLE, 5, 5,
         "track 5 names frame 5; the sequence has frames 0 … 4"),
    Case("negative begin", line("5 0 4 0", "5 -1 4 0"), "frame-range", TABLE, -1, 5,
         "names frame -1", also=("table-line",)),
    Case("absurd end", line("5 0 4 0", "5 0 999999999999 0"), "frame-range", TABLE, 999999999999, 5,
         "frame 999999999999"),
    Case("unlisted parent", line("8 3 4 7", "8 3 4 6"), "parent-unlisted", TABLE, 3, 8,
         "track 8 begins in frame 3 from parent 6, which is not listed"),
    Case("own parent", line("8 3 4 7", "8 3 4 8"), "parent-self", TABLE, 3, 8,
         "track 8 begins in frame 3 as its own parent"),
    Case("parent ends too late", line("8 3 4 7", "8 3 4 5"), "parent-late", TABLE, 3, 8,
         "line 6: track 8 begins in frame 3 but its parent 5 ends in frame 4; a parent ends"),
    Case("parent later than child", line("2 2 4 1", "2 2 4 8"), "parent-late", TABLE, 2, 2,
         "track 2 begins in frame 2 but its parent 8 ends in frame 4"),
    # table and masks
    Case("label absent", erase(f"{TRA}/man_track001.tif", 5), "label-absent",
         f"{TRA}/man_track001.tif", 1, 5, "label 5 is absent, but its track lasts from frame 0 to"),
    Case("label absent at last", erase(f"{TRA}/man_track004.tif", 8), "label-absent",
         f"{TRA}/man_track004.tif", 4, 8, "label 8 is absent"),
    Case("label unlisted", paint(MASK, 44), "label-unlisted", MASK, 3, 44,
         "label 44 is not listed as a track"),
    Case("label unlisted at last", paint(f"{TRA}/man_track004.tif", 45), "label-unlisted",
         f"{TRA}/man_track004.tif", 4, 45, "label 45 is not listed"),
    Case("label before its track", paint(f"{TRA}/man_track000.tif", 3), "label-outside-track",
         f"{TRA}/man_track000.tif", 0, 3, "label 3 is present, but its track lasts from frame 2"),
    Case("label after its track", paint(f"{TRA}/man_track004.tif", 7), "label-outside-track",
         f"{TRA}/man_track004.tif", 4, 7, "label 7 is present"),
    Case("label unlisted in a result", both(staged, paint(f"{RES}/mask003.tif", 46)),
         "label-unlisted", f"{RES}/mask003.tif", 3, 46, "label 46 is not listed"),
]  # fmt: skip


@pytest.fixture
def one(valid_set: Path) -> Path:
    shutil.rmtree(valid_set / "02_GT")
    return valid_set


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_broken_set_is_told_with_file_frame_and_label(one: Path, case: Case) -> None:
    case.break_it(one)
    faults = validate_ctc(one)
    assert {fault.rule for fault in faults} == {case.rule, *case.also}, [*map(str, faults)]
    wanted = (case.path, case.frame, case.label, case.rule)
    found = [f for f in faults if (f.path, f.frame, f.label, f.rule) == wanted]
    assert len(found) == 1, [*map(str, faults)]
    text = str(found[0])
    assert case.told in text
    assert text.startswith(case.path)
    assert "\n" not in text
    assert len(text) < 200
    for number in (case.frame, case.label):
        assert number is None or str(number) in text.removeprefix(case.path)


def test_every_rule_has_a_broken_set() -> None:
    assert {case.rule for case in CASES} == RULES.keys()


@pytest.mark.parametrize("addition", [images, slices, staged], ids=lambda f: f.__name__)
def test_a_valid_set_has_no_fault(one: Path, addition: Callable[[Path], object]) -> None:
    assert validate_ctc(one) == []
    addition(one)
    assert validate_ctc(one) == []


def test_what_is_legal_is_no_fault(one: Path) -> None:
    shuffled = (one / TABLE).read_text().splitlines()[::-1]
    (one / TABLE).write_bytes("\r\n".join(shuffled).encode())  # any order, Windows, no last end
    (one / TRA / "notes.md").write_text("not an image")
    (one / ".DS_Store").touch()
    (one / "dataset.json").touch()
    (one / "2024-notes").mkdir()
    shutil.copytree(one / SEG, one / "01_ST/SEG")
    (one / "01_ST/SEG/man_seg003.tif").unlink()  # silver truth may be sparse
    put(one / "01_ERR_SEG/mask002.tif", np.ones((5, 9, 10), np.uint16))
    put(one / "01/t000.tif", np.zeros((5, 9, 10), np.uint8))
    for t in range(1, 5):
        put(one / f"01/t{t:03d}.tif", np.zeros((5, 9, 10), np.uint8))
    assert validate_ctc(one) == []


def test_no_cell_at_all_is_legal(tmp_path: Path) -> None:
    blank = np.zeros((3, 4, 4), np.uint16)
    write_ctc(tmp_path, "01", [blank, blank], Lineage(()), voxel_size_um=(1, 1, 1))
    assert validate_ctc(tmp_path) == []


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_flat_images_are_validated_alike(tmp_path: Path, dtype: str) -> None:
    frame = np.zeros((1, 6, 7), np.uint16)
    frame[0, 2, 3] = 4
    write_ctc(tmp_path, "01", [frame] * 3, Lineage((Tracklet(4, 0, 2),)), voxel_size_um=(1, 1, 1))
    for t in range(3):
        put(tmp_path / f"01/t{t:03d}.tif", np.full((6, 7), t, dtype))
    assert validate_ctc(tmp_path) == []
    put(tmp_path / "01/t001.tif", np.full((1, 7, 6), 1, dtype))
    put(tmp_path / "01/t002.tif", np.full((2, 6, 7), 1, dtype))
    (tmp_path / "01/t000.tif").rename(tmp_path / "01/t0000.tif")
    found = {(f.frame, f.rule) for f in validate_ctc(tmp_path)}
    assert found == {(1, "shape"), (2, "shape"), (0, "digits")}


def test_flat_sets_are_validated_alike(tmp_path: Path) -> None:
    """2D + time: slices of a flat frame do not exist but slice 0."""
    frame = np.zeros((1, 6, 7), np.uint16)
    frame[0, 2, 3] = 4
    write_ctc(tmp_path, "01", [frame] * 3, Lineage((Tracklet(4, 0, 2),)), voxel_size_um=(1, 1, 1))
    assert validate_ctc(tmp_path) == []
    put(tmp_path / TRA / "man_track001.tif", np.full((6, 7), 9, np.uint16))
    assert [(f.frame, f.label) for f in validate_ctc(tmp_path)] == [(1, 4), (1, 9)]


def test_only_the_sequences_asked_for_are_checked(valid_set: Path) -> None:
    paint("02_GT/TRA/man_track000.tif", 66)(valid_set)
    assert validate_ctc(valid_set, sequences=["01"]) == []
    (fault,) = validate_ctc(valid_set, sequences=["02"])
    assert fault.path == "02_GT/TRA/man_track000.tif"
    (fault,) = validate_ctc(valid_set, sequences=["01", "03"])
    assert str(fault) == "03_GT: is not there [folder]"


def test_a_missing_root_is_an_error_and_an_empty_one_a_fault(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="nothing is not a folder"):
        validate_ctc(tmp_path / "nothing")
    assert [f.rule for f in validate_ctc(tmp_path)] == ["folder"]


def test_digits_are_those_of_the_longest_sequence(tmp_path: Path) -> None:
    blank = np.zeros((1, 2, 2), np.uint16)
    for name, n in (("01", 1000), ("02", 3)):
        write_ctc(tmp_path, name, [blank] * n, Lineage(()), voxel_size_um=(1, 1, 1), seg=False)
    faults = validate_ctc(tmp_path)
    assert {f.rule for f in faults} == {"digits"}
    assert "02_GT/TRA/man_track000.tif frame 0: has 3 digits; a data set of 1000 or more" in str(
        faults[0]
    )


def test_thousands_of_faults_stay_readable(one: Path) -> None:
    (one / TABLE).write_text("".join(f"{n} {n % 7} {n % 5} {n + 9000}\n" for n in range(100, 9000)))
    faults = validate_ctc(one)
    assert len(faults) < 70
    rest = [str(f) for f in faults if "more faults of this kind" in f.message]
    assert f"{TRA}: {8900 - 10} more faults of this kind [parent-unlisted]" in rest
    assert len(rest) == len({f.rule for f in faults})
    unlisted = [f for f in faults if f.rule == "parent-unlisted"]
    assert sum(f.count for f in unlisted) == 8900


def test_hard_links_are_decoded_once(one: Path, monkeypatch) -> None:
    seen = []
    scan = ctc_scan.scan_labels
    monkeypatch.setattr(ctc_scan, "scan_labels", lambda path: seen.append(path) or scan(path))
    assert validate_ctc(one) == []
    assert len(seen) == 5


@pytest.mark.parametrize("seed", range(30))
def test_random_damage_never_ends_in_a_traceback(one: Path, seed: int) -> None:
    images(one)
    staged(one)
    rng = np.random.default_rng(seed)
    files = sorted(p for p in one.rglob("*") if p.is_file())
    for path in rng.choice(np.array(files, object), 4, replace=False):
        data = bytearray(path.read_bytes())
        for position in rng.integers(0, max(1, len(data)), 4 if data else 0):
            data[position] ^= int(rng.integers(1, 256))
        path.write_bytes(data[: int(rng.integers(0, len(data) + 1))])
    faults = validate_ctc(one)
    assert faults
    assert all(isinstance(f, Fault) and "\n" not in str(f) for f in faults)


def test_the_writer_and_the_validator_agree(tmp_path: Path) -> None:
    """A family of 40 tracklets over 30 frames, written and found without a fault."""
    family = [Tracklet(1, 0, 3)]
    family += [Tracklet(n, 4 * n.bit_length() - 4, 4 * n.bit_length() - 1, n // 2)
               for n in range(2, 64)]  # fmt: skip
    lineage = Lineage(tuple(family))
    assert len(lineage.divisions()) == 31
    with CTCWriter(tmp_path, "01", n_frames=24, voxel_size_um=(2, 1, 1)) as writer:
        for t in reversed(range(24)):
            frame = np.zeros((2, 8, 8), np.uint16)
            for label in lineage.at(t):
                frame[1, label // 8, label % 8] = label
            writer.write_frame(t, frame)
        writer.finish(lineage)
    assert validate_ctc(tmp_path) == []
