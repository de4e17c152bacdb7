"""The page: sections in a row, with style and scripts inside, so that one file is all there is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import dominate.tags as html
from dominate.dom_tag import dom_tag
from dominate.util import raw

from cellsynth.errors import CellsynthError

__all__ = ["GENERATOR", "Section", "data_island", "page", "scrolling_table"]

GENERATOR = "cellsynth report"
# Not even a mistake of ours, or a name in a data set, can make the page ask the network.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
MOST_BYTES = 15_000_000


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: Its address within the page.
        name: In the list of contents.
        title: Above it.
        about: A sentence below that.
        content: What is in it.
        note: What the reader should not overlook.
    """

    key: str
    name: str
    title: str
    about: str
    content: Sequence[dom_tag]
    note: str = ""

    def tag(self) -> dom_tag:
        """The section as HTML."""
        heading = f"{self.key}-title"
        made = html.section(id=self.key, aria_labelledby=heading)
        made.add(html.h2(self.title, id=heading))
        if self.about:
            made.add(html.p(self.about, cls="about"))
        if self.note:
            made.add(html.p(self.note, cls="note"))
        for part in self.content:
            made.add(part)
        return made


def page(
    *,
    title: str,
    eyebrow: str,
    lead: str,
    figures: Sequence[tuple[str, str]],
    sections: Sequence[Section],
    footer: str,
    of: str,
) -> bytes:
    """The whole page.

    Args:
        title: Of the page.
        eyebrow: Above the title.
        lead: Below it.
        figures: Numbers and what they count.
        sections: Its parts.
        footer: The last line.
        of: What it was made of: a hash, by which a report that is out of date is known.

    Raises:
        CellsynthError: It came out too large, which the bounds on its parts make impossible.
    """
    head = html.head(
        html.meta(charset="utf-8"),
        html.meta(http_equiv="Content-Security-Policy", content=POLICY),
        html.meta(name="viewport", content="width=device-width, initial-scale=1"),
        html.meta(name="generator", content=GENERATOR),
        html.meta(name="cellsynth-of", content=of),
        html.meta(name="color-scheme", content="light dark"),
        html.title(f"{title} · cellsynth"),
        html.link(rel="icon", href="data:,"),
        html.style(raw(_asset("style.css"))),
        html.script(raw('document.documentElement.classList.add("js");')),
    )
    links = (html.li(html.a(section.name, href=f"#{section.key}")) for section in sections)
    body = html.body(
        html.a("Skip to the content", href="#content", cls="skip"),
        html.nav(html.ul(*links, cls="wrap"), aria_label="Contents"),
        html.header(
            html.p(eyebrow, cls="eyebrow"),
            html.h1(title),
            html.p(lead, cls="lead"),
            html.ul(*(html.li(html.b(value), name) for value, name in figures), cls="figures"),
            cls="wrap",
        ),
        html.main(*(section.tag() for section in sections), id="content", cls="wrap"),
        html.footer(footer, cls="wrap"),
        html.script(raw(_asset("gallery.js"))),
        html.script(raw(_asset("viewer.js"))),
    )
    whole = html.html(head, body, lang="en").render(pretty=False)
    content = f"<!DOCTYPE html>\n{whole}\n".encode()
    if len(content) >= MOST_BYTES:
        raise CellsynthError(
            f"the report came out at {len(content)} bytes, expected below {MOST_BYTES}; "
            "which is a bug"
        )
    return content


def data_island(data: Mapping[str, Any], key: str) -> dom_tag:
    """Data for a script, as JSON that no text within can end."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return html.script(raw(text.replace("<", "\\u003c")), id=key, type="application/json")


def scrolling_table(name: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> dom_tag:
    """A table that scrolls by itself where it is wider than the page; the first column is names."""
    top = [html.th(text, scope="col", cls="num" if i else "") for i, text in enumerate(head)]
    body = [
        html.tr(html.th(row[0], scope="row"), *(html.td(text, cls="num") for text in row[1:]))
        for row in rows
    ]
    table = html.table(html.thead(html.tr(*top)), html.tbody(*body))
    return html.div(table, cls="scroll", role="region", aria_label=name, tabindex="0")


def _asset(name: str) -> str:
    return (files("cellsynth.report") / "assets" / name).read_text(encoding="utf-8")
