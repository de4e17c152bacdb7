"""Public tools as independent witnesses that what we write is what they expect."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

from cellsynth.formats.ctc import stage_results, write_ctc
from cellsynth.formats.ctc_validate import validate_ctc
from cellsynth.formats.lineage import Lineage, Tracklet


def ctc_validate(results: Path) -> str:
    """What the command prints; its exit status says nothing about the data."""
    command = "from ctc_metrics.scripts.validate import main; main()"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command, "--res", str(results), "-n", "1"],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    return done.stdout


def test_ctc_validate_calls_a_staged_set_valid(valid_set: Path, tmp_path: Path) -> None:
    for results in stage_results(valid_set, tmp_path / "staged"):
        assert "Valid: 1.0" in ctc_validate(results)


def test_ctc_validate_and_we_agree_on_a_broken_one(valid_set: Path, tmp_path: Path) -> None:
    (results, _) = stage_results(valid_set, tmp_path / "staged")
    table = results / "res_track.txt"
    table.write_text(table.read_text().replace("8 3 4 7", "8 2 4 7"))
    assert "Valid: 1.0" not in ctc_validate(results)
    (fault,) = validate_ctc(tmp_path / "staged")
    assert (fault.rule, fault.frame, fault.label) == ("label-absent", 2, 8)


@pytest.mark.filterwarnings("ignore")
def test_traccuracy_finds_the_family_we_wrote(valid_set: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from traccuracy.loaders import load_ctc_data

        graph = load_ctc_data(str(valid_set / "01_GT/TRA")).graph
    nodes = {(d["t"], d["segmentation_id"]): n for n, d in graph.nodes(data=True)}
    assert len(nodes) == 3 + 3 + 3 + 4 + 4
    mother = nodes[1, 1]
    assert sorted(graph.successors(mother)) == sorted([nodes[2, 2], nodes[2, 3]])
    assert list(graph.successors(nodes[1, 7])) == [nodes[3, 8]]  # the gap
    divisions = [n for n in graph if graph.out_degree(n) > 1]
    assert divisions == [mother]


@pytest.mark.filterwarnings("ignore")
def test_one_frame_and_one_cell_satisfy_all(tmp_path: Path) -> None:
    frame = np.zeros((3, 4, 5), np.uint16)
    frame[1, 2, 2:4] = 9
    write_ctc(tmp_path / "a", "01", [frame], Lineage((Tracklet(9, 0, 0),)), voxel_size_um=(1, 1, 1))
    assert validate_ctc(tmp_path / "a") == []
    (results,) = stage_results(tmp_path / "a", tmp_path / "b")
    assert "Valid: 1.0" in ctc_validate(results)
    from traccuracy.loaders import load_ctc_data

    assert len(load_ctc_data(str(tmp_path / "a/01_GT/TRA")).graph) == 1
