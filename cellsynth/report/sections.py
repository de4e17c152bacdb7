"""The sections of a report: cells in 3D, gallery, latent map, lineages, origin."""

from __future__ import annotations

import json
from collections.abc import Sequence

import dominate.tags as html
from dominate import svg
from dominate.dom_tag import dom_tag

from cellsynth.report.colours import COLOURS
from cellsynth.report.latent_map import LatentMap, draw_map
from cellsynth.report.page import Section, data_island
from cellsynth.report.pictures import Pictures, SequencePictures
from cellsynth.report.source import SetSource
from cellsynth.report.tiles import Sheet
from cellsynth.report.trees import MOST_CELLS, lineage_tree, trees_of

__all__ = ["cells_section", "gallery_section", "latent_section", "lineage_section", "made_section"]

MOST_TREES = 12


def cells_section(source: SetSource, pictures: Pictures) -> Section | None:
    """Cells that turn; None for flat sets."""
    meshed = [sequence for sequence in pictures.sequences if sequence.meshes]
    if not meshed or not any(cells for s in meshed for cells in (s.meshes or {})["frames"]):
        return None
    unit = "µm" if pictures.pixel_um is not None else "voxels"
    data = {
        "unit": unit,
        "colours": [list(colour) for colour in COLOURS],
        "sequences": [
            {"name": s.name, "told": _told(source, s), **(s.meshes or {})} for s in meshed
        ],
    }
    picked: list[dom_tag] = []
    if len(meshed) > 1:
        options = [html.option(f"sequence {s.name}", value=str(i)) for i, s in enumerate(meshed)]
        picked = [html.select(*options, id="cells-sequence", aria_label="Sequence")]
    canvas = html.canvas(
        id="cells",
        tabindex="0",
        role="application",
        aria_roledescription="3D view",
        aria_label="Cells in 3D. Arrow keys turn, plus and minus zoom, space plays, comma and full "
        "stop step through time, Home turns back.",
    )
    bar = html.div(html.span(), html.i(), id="cells-bar", cls="bar", aria_hidden="true")
    content = [
        html.div(canvas, bar, cls="stage cells-with needs-js"),
        html.p(
            "This browser has no WebGL, so cells are shown flat, below.",
            id="cells-without",
            cls="note",
            hidden=True,
        ),
        html.img(id="cells-paper", cls="paper", alt=""),
        html.p("Cells in 3D need a screen and scripts; their projections are below.", cls="static"),
        _controls("cells", len(meshed[0].frames), picked),
        _hint(),
        data_island(data, "cells-data"),
    ]
    fewer = [s for s in meshed if s.n_families[0] < s.n_families[1]]
    about = "Surfaces of the masks, thinned out to a few thousand triangles a frame."
    if len(source.sequences) > len(meshed):
        about += f" The first {len(meshed)} of {len(source.sequences)} sequences."
    if fewer:
        shown, every = fewer[0].n_families
        about += f" Of sequence {fewer[0].name} the {shown} families that last longest, of {every}."
    return Section("cells-3d", "3D", "Cells in 3D", about, content)


def gallery_section(source: SetSource, pictures: Pictures) -> Section:
    """Projections that move."""
    longest = max(pictures.sequences, key=lambda s: len(s.frames))
    imaged = any(s.images for s in pictures.sequences)
    tiles: list[dom_tag] = []
    for s in pictures.sequences:
        tiles.append(_tile(s, s.masks, "masks"))
        if s.images is not None:
            tiles.append(_tile(s, s.images, "images"))
    choices: list[dom_tag] = []
    if imaged:
        for key, text in (("both", "Both"), ("images", "Images"), ("masks", "Masks")):
            pressed = "true" if key == "both" else "false"
            choices.append(html.button(text, type="button", data_show=key, aria_pressed=pressed))
    about = "Seen along z, all on one scale; a cell has the same colour everywhere on this page."
    if pictures.pixel_um is not None:
        side = pictures.sequences[0].masks.size[1] * pictures.pixel_um
        about += f" Each picture is {side:.3g} µm wide."
    if len(source.sequences) > len(pictures.sequences):
        about += f" The first {len(pictures.sequences)} of {len(source.sequences)} sequences."
    content = [
        html.div(*tiles, cls="gallery", style=f"--columns:{min(6, max(3, len(tiles)))}"),
        _controls("gallery", len(longest.frames), choices, _told(source, longest)),
    ]
    return Section("gallery", "Gallery", "Gallery", about, content)


def latent_section(found: LatentMap | None, names: list[str], why_not: str) -> Section | None:
    """Drawn codes among learned ones; None where nothing is known of a preset."""
    if found is None and not why_not:
        return None
    if found is None:
        return Section("latent", "Latent map", "Latent map", "", [], why_not)
    legend = html.ul(
        html.li(_mark("learned"), f"learned from {len(found.learned)} training sequences"),
        *([html.li(_mark("drawn"), f"drawn, {len(found.drawn)}")] if len(found.drawn) else []),
        cls="legend",
    )
    about = (
        "Each cell's shape and course is a code. Axes are the first two principal components of "
        f"the learned codes, {found.explained[0] + found.explained[1]:.0%} of their variance."
    )
    drawing = html.figure(draw_map(found, names), style="margin:0")
    return Section("latent", "Latent map", "Latent map", about, [legend, drawing])


def lineage_section(source: SetSource) -> Section | None:
    """Lineage trees; None where no sequence has a lineage."""
    trees = []
    unknown = 0
    for sequence in source.sequences:
        if sequence.lineage is None:
            unknown += 1
            continue
        trees += trees_of(f"sequence {sequence.name}", sequence.lineage, sequence.n_frames)
    if not trees:
        return None
    small = [tree for tree in trees if len(tree.lineage) <= MOST_CELLS]
    if len(source.sequences) == 1 and len(small) > MOST_TREES:
        chosen = small[:MOST_TREES]
    else:
        # Sets of one family a sequence read best in their own order.
        chosen = sorted(small, key=lambda tree: len(tree.lineage) < 2)[:MOST_TREES]
    drawn = [
        html.figure(html.h3(f"{tree.name}" + _founder(tree.founder.label)), lineage_tree(tree))
        for tree in chosen
    ]
    divisions = sum(len(s.lineage.divisions()) for s in source.sequences if s.lineage)
    about = f"{_count(len(trees), 'family', 'families')}, {_count(divisions, 'division')} in all."
    about += " Time runs to the right, in frames; numbers at the ends are labels."
    if len(trees) > len(chosen):
        about += f" {len(chosen)} of {len(trees)} families."
    if len(trees) > len(small):
        about += f" {len(trees) - len(small)} of more than {MOST_CELLS} cells: too large to draw."
    return Section("lineage", "Lineage", "Lineage", about, [html.div(*drawn, cls="trees")])


def made_section(rows: Sequence[tuple[str, str]], commands: Sequence[str]) -> Section:
    """What was made and how."""
    body = [html.tr(html.th(name, scope="row"), html.td(value)) for name, value in rows]
    content: list[dom_tag] = [html.table(html.tbody(*body), cls="facts")]
    if commands:
        content += [
            html.h3("To make it again", style="margin-top:1.2rem"),
            html.pre(html.code("\n".join(commands)), tabindex="0", aria_label="Commands"),
        ]
    return Section("made", "How it was made", "What this is, and how it was made", "", content)


def _told(source: SetSource, pictures: SequencePictures) -> list[str]:
    """Each shown frame in words: its number from 0, and the time if it is known."""
    sequence = next(s for s in source.sequences if s.name == pictures.name)
    found = []
    for t in pictures.frames:
        text = f"frame {t} / {sequence.n_frames - 1}"
        if sequence.frame_interval_s is not None:
            text += f" · {_duration(t * sequence.frame_interval_s)}"
        found.append(text)
    return found


def _duration(seconds: float) -> str:
    if seconds < 180:
        return f"{seconds:.0f} s"
    if seconds < 3 * 3600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _controls(
    key: str, n_frames: int, others: Sequence[dom_tag], told: Sequence[str] = ()
) -> dom_tag:
    what = {"cells": "cells", "gallery": "projections"}[key]
    slider = html.input_(
        id=f"{key}-time",
        type="range",
        min="0",
        max=str(n_frames - 1),
        value="0",
        step="1",
        aria_label=f"Time of the {what}",
        data_told=json.dumps(list(told), ensure_ascii=False),
    )
    play = html.button("Play", type="button", id=f"{key}-play", cls="main")
    clock = html.output(id=f"{key}-told", html_for=f"{key}-time")
    return html.div(play, slider, clock, *others, cls="controls needs-js cells-with"
                    if key == "cells" else "controls needs-js")  # fmt: skip


def _hint() -> dom_tag:
    return html.p(
        "Drag to turn, pinch to zoom. With the keyboard: ",
        html.kbd("←"), " ", html.kbd("→"), " ", html.kbd("↑"), " ", html.kbd("↓"), " turn, ",
        html.kbd("+"), " ", html.kbd("−"), " zoom, ", html.kbd("space"), " plays, ",
        html.kbd(","), " ", html.kbd("."), " step.",
        cls="hint cells-with needs-js",
    )  # fmt: skip


def _tile(pictures: SequencePictures, sheet: Sheet, kind: str) -> dom_tag:
    what = {"masks": "masks", "images": "images"}[kind]
    picture = html.img(
        src=sheet.uri,
        alt=f"Projections of the {what} of sequence {pictures.name}, {len(pictures.frames)} frames",
    )
    frame = html.div(
        picture,
        cls="frame image" if kind == "images" else "frame",
        style=f"--wide:{100 * sheet.columns}%;--shape:{sheet.size[1]}/{sheet.size[0]}",
        data_frames=str(len(pictures.frames)),
        data_columns=str(sheet.columns),
        data_rows=str(sheet.rows),
    )
    caption = html.figcaption(html.span(f"sequence {pictures.name}"), html.span(what))
    return html.figure(frame, caption, cls="tile", data_kind=kind)


def _mark(kind: str) -> dom_tag:
    drawn = (
        svg.circle(cx=17, cy=10, r=6, cls="learned")
        if kind == "learned"
        else svg.path(d="M17,3 l7,7 l-7,7 l-7,-7 z", cls="drawn")
    )
    return svg.svg(drawn, viewBox="0 0 34 20", aria_hidden="true")


def _founder(label: int) -> str:
    return "" if label == 1 else f", cell {label}"


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"
