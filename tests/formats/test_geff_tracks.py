"""Lineages as GEFF: judged by geff's own validators, read back by its own reader.

The set is that of ``conftest``: a division, a cell that stays, a gap.
"""

from __future__ import annotations

import geff
import numpy as np
import pytest
from geff.core_io import read_to_memory
from geff.validate.data import ValidationConfig
from graphs import lineage_of

from cellsynth.formats.cell_table import CellTable
from cellsynth.formats.geff_tracks import write_geff
from cellsynth.formats.lineage import Lineage, Tracklet

SIZE = (1.0, 0.09, 0.2)


def table(frames) -> CellTable:
    cells = CellTable()
    for t, frame in enumerate(frames):
        cells.add(t, frame)
    return cells


@pytest.fixture
def written(tmp_path, lineage, frames):
    path = tmp_path / "01.geff"
    write_geff(
        path,
        lineage,
        table(frames).spots(),
        voxel_size_um=SIZE,
        frame_interval_s=60,
        labels="../labels/cells",
        image="..",
    )
    return path


def test_the_validators_take_it(written):
    geff.validate_structure(str(written))
    checks = ValidationConfig(graph=True, lineage=True, tracklet=True)
    read_to_memory(str(written), data_validation=checks)


def test_the_lineage_comes_back(written, lineage):
    graph, _ = geff.read(str(written))
    assert graph.is_directed()
    assert lineage_of(graph) == lineage
    # Six tracklets, 2+3+3+5+2+2 nodes; an edge fewer in each, and one from each parent.
    assert graph.number_of_nodes() == 17
    assert graph.number_of_edges() == (17 - 6) + 3


def test_a_division_is_two_edges(written):
    graph, _ = geff.read(str(written))
    [mother] = [n for n in graph if graph.out_degree(n) == 2]
    assert (graph.nodes[mother]["label"], graph.nodes[mother]["t"]) == (1, 1)
    assert {graph.nodes[n]["label"] for n in graph.successors(mother)} == {2, 3}


def test_positions_and_volumes_are_physical(written):
    graph, metadata = geff.read(str(written))
    [node] = [d for _, d in graph.nodes(data=True) if (d["t"], d["label"]) == (3, 5)]
    # Label 5 in frame 3: z 1 and 2, y 5, x 5 to 7.
    assert (node["z"], node["y"], node["x"]) == pytest.approx((1.5, 0.45, 1.2))
    assert node["volume"] == pytest.approx(6 * 1.0 * 0.09 * 0.2)
    assert [(a.name, a.type, a.unit) for a in metadata.axes] == [
        ("t", "time", "frame"),
        ("z", "space", "micrometer"),
        ("y", "space", "micrometer"),
        ("x", "space", "micrometer"),
    ]
    assert (metadata.axes[0].scale, metadata.axes[0].scaled_unit) == (60, "second")
    assert [(o.type, o.path, o.node_prop) for o in metadata.related_objects] == [
        ("labels", "../labels/cells", "label"),
        ("image", "..", None),
    ]


def test_a_gap_is_one_tracklet_and_one_lineage(written):
    graph, _ = geff.read(str(written))
    said = {d["label"]: (d["tracklet"], d["lineage"]) for _, d in graph.nodes(data=True)}
    assert said == {1: (1, 1), 2: (2, 1), 3: (3, 1), 5: (5, 5), 7: (7, 7), 8: (7, 7)}


def test_no_cell_is_a_graph_too(tmp_path):
    write_geff(tmp_path / "g", Lineage(()), [], voxel_size_um=SIZE)
    geff.validate_structure(str(tmp_path / "g"))
    graph, metadata = geff.read(str(tmp_path / "g"))
    assert len(graph) == 0
    assert metadata.axes[0].scale is None


def test_one_cell_in_one_frame(tmp_path):
    cells = table([np.ones((1, 1, 1), np.uint16)])
    lineage = Lineage((Tracklet(1, 0, 0),))
    write_geff(tmp_path / "g", lineage, cells.spots(), voxel_size_um=SIZE)
    geff.validate_structure(str(tmp_path / "g"))
    graph, _ = geff.read(str(tmp_path / "g"))
    assert lineage_of(graph) == lineage


def test_parts_of_a_frame_add_up_to_the_whole():
    labels = np.random.default_rng(0).integers(0, 4, (7, 6, 5), np.uint16)
    whole, parts = CellTable(), CellTable()
    whole.add(0, labels)
    for z, y in ((0, 0), (0, 2), (3, 0), (3, 2)):
        box = labels[z : z + 3 if z == 0 else None, y : y + 2 if y == 0 else None]
        parts.add(0, box, (z, y, 0))
    assert whole.spots() == parts.spots()  # to the last bit
    for spot in whole.spots():
        assert (spot.z, spot.y, spot.x) == pytest.approx(
            tuple(np.argwhere(labels == spot.label).mean(axis=0))
        )
        assert spot.voxels == (labels == spot.label).sum()
