"""What a lineage graph says, told as ``man_track.txt`` would."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx

from cellsynth.formats.lineage import Lineage, Tracklet


def lineage_of(graph: nx.DiGraph) -> Lineage:
    """The lineage of a graph whose nodes are cells with a label and a frame."""
    tracklets = []
    for label in {data["label"] for _, data in graph.nodes(data=True)}:
        nodes = [n for n, data in graph.nodes(data=True) if data["label"] == label]
        nodes.sort(key=lambda n: graph.nodes[n]["t"])
        before = list(graph.predecessors(nodes[0]))
        assert len(before) <= 1
        tracklets.append(
            Tracklet(
                int(label),
                int(graph.nodes[nodes[0]]["t"]),
                int(graph.nodes[nodes[-1]]["t"]),
                int(graph.nodes[before[0]]["label"]) if before else 0,
            )
        )
        for a, b in pairwise(nodes):
            assert graph.has_edge(a, b)
    return Lineage(tuple(tracklets))
