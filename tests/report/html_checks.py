"""What any page of ours must be: well-formed, whole, and silent towards the network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}
# Whatever a browser could fetch something by.
ADDRESS = re.compile(
    r"""(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|@import|\burl\(|\bfetch\(|XMLHttp""", re.I
)


class Page(HTMLParser):
    """The tags of a page, and whether each is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        self.faults += [f"{tag} is never closed" for tag in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.faults.append(f"{tag} has an attribute twice: {names}")
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"{tag} is closed out of turn")

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in {"script", "style"}:
            self.texts.append(data)

    @property
    def text(self) -> str:
        """All that is read on the page."""
        return " ".join(self.texts)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every such tag."""
        return [attrs for name, attrs in self.tags if name == tag]


def check_page(text: str) -> Page:
    """The page, once it is known to be well-formed and to ask for nothing."""
    assert text.startswith("<!DOCTYPE html>\n")
    page = Page(text)
    assert page.faults == []
    assert len(page.ids) == len(set(page.ids))
    labels = [a.get("aria-labelledby") for _, a in page.tags if a.get("aria-labelledby")]
    assert set(labels) <= set(page.ids)
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(name)
            if value is not None:
                assert value.startswith(("data:", "#")), (tag, name, value[:80])
        if tag == "img" and attrs.get("id") != "cells-paper":
            assert attrs["alt"]
    payload = re.sub(r"data:image/\w+;base64,[A-Za-z0-9+/=]*", "", text)
    payload = re.sub(r'(?s)<script id="cells-data".*?</script>', "", payload)
    assert ADDRESS.findall(payload) == []
    policy = next(a for a in page.of("meta") if a.get("http-equiv"))["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    return page
