"""The lineage table reader: what it reads, and one broken table per rule."""

from pathlib import Path

import numpy as np
import pytest

from cellsynth.errors import FormatError, MissingError
from cellsynth.shapes.phantoms.starrynite import UNIT_UM, read_lineage_table

HEADER = "track,parent_track,t_min,nucleus_id,x_vox,y_vox,z_vox,diameter_vox,name\n"

# minute   3 4 5 6 7
#          M M ┬ a a
#              └ p p
FAMILY = (
    "7,0,3,1,10,20,30,16,M\n"
    "7,0,4,1,11,21,31,16,M\n"
    "8,7,5,1,5,20,30,12.5,Ma\n"
    "8,7,6,1,5,20,30,12.5,Ma\n"
    "9,7,5,2,25,20,30,12.5,Mp\n"
    "9,7,6,2,25,20,30,12.5,Mp\n"
)


def _table(folder: Path, text: str) -> Path:
    path = folder / "nuclei.csv"
    path.write_text(text)
    return path


def test_a_family_is_read_in_micrometres_and_zyx(tmp_path: Path) -> None:
    table = read_lineage_table(_table(tmp_path, HEADER + FAMILY))
    (division,) = table.divisions()
    assert (division.mother.name, division.mother.begin, len(division.mother)) == ("M", 3, 2)
    assert [d.name for d in division.daughters] == ["Ma", "Mp"]
    np.testing.assert_allclose(division.mother.centres_um[1], np.array([31, 21, 11]) * UNIT_UM)
    np.testing.assert_allclose(division.daughters[0].diameters_um, 12.5 * 0.16)
    assert table.name == "nuclei.csv"
    assert len(table.sha256) == 64


def test_rows_and_columns_may_come_in_any_order(tmp_path: Path) -> None:
    rows = FAMILY.splitlines(keepends=True)
    table = read_lineage_table(_table(tmp_path, HEADER + "".join(reversed(rows))))
    np.testing.assert_allclose(table.tracks[7].centres_um[:, 0], np.array([30, 31]) * UNIT_UM)


def test_only_two_daughters_born_at_once_are_a_division(tmp_path: Path) -> None:
    late = FAMILY.replace("9,7,5,2,25,20,30,12.5,Mp\n", "")
    assert read_lineage_table(_table(tmp_path, HEADER + late)).divisions() == ()
    alone = "".join(FAMILY.splitlines(keepends=True)[:4])
    assert read_lineage_table(_table(tmp_path, HEADER + alone)).divisions() == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER.replace("diameter_vox", "size") + FAMILY, r"line 1: no column diameter_vox"),
        (HEADER, r"no row below the header"),
        (HEADER + FAMILY.replace("7,0,4", "7,0,6"), r"track 7 has no row for minute 4"),
        (HEADER + FAMILY.replace("7,0,4", "7,0,3"), r"line 3: track 7 has minute 3 already"),
        (HEADER + FAMILY.replace("7,0,4", "7,2,4"), r"line 3: track 7 has parent 2"),
        (HEADER + FAMILY.replace("7,0,", "7,7,"), r"line 2: track 7 has parent 7"),
        (HEADER + FAMILY.replace("11,21", "x,21"), r"line 3: x_vox must be a number, got 'x'"),
        (HEADER + FAMILY.replace("11,21", "nan,21"), r"line 3: x_vox .*got 'nan'"),
        (HEADER + FAMILY.replace("7,0,4,1", "7,0,4.5,1"), r"t_min must be a whole number.*'4.5'"),
        (HEADER + FAMILY.replace("31,16", "31,-2"), r"diameter_vox must be above 0, got -2"),
        (HEADER + "7,0,3,1,10\n", r"line 2: fewer cells"),
        (HEADER + FAMILY + "9" * 140_000, r"nuclei.csv line 8: field larger than field limit"),
        ("9" * 140_000, r"nuclei.csv line 1: field larger than field limit"),
    ],
)
def test_a_broken_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_lineage_table(_table(tmp_path, text))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"nowhere\.csv"):
        read_lineage_table(tmp_path / "nowhere.csv")
    path = tmp_path / "nuclei.csv"
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(FormatError, match="not a text file"):
        read_lineage_table(path)
