"""TOML: what is written is read back without loss, whatever the text and numbers."""

from __future__ import annotations

import string
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from cellsynth.errors import BundleError
from cellsynth.presets.judge import override
from cellsynth.presets.models import Preset, Recipe, Texts
from cellsynth.presets.named import find_named
from cellsynth.presets.recipes import find_recipe
from cellsynth.presets.toml import from_toml, to_toml


class Inner(BaseModel):
    """A section."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: float = 1.0
    limit: float | None = 5.0  # None has to survive although it is not the default


class Everything(BaseModel):
    """All kinds of values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(description="Any text")
    whole: int = 0
    yes: bool = True
    texts: Texts = ()
    words: dict[str, str] = {}
    inner: Inner = Inner()


# Texts that make a multi-line string hard, and texts at random.
hard = st.text(alphabet=' \t\n\r"\\aé#=\x00\x7f', max_size=120)
long = st.lists(st.text(alphabet=string.printable, max_size=40), max_size=12).map(" ".join)
plain = st.text(st.characters(codec="utf-8"), max_size=200)
texts = hard | long | plain
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(
    text=texts,
    whole=st.integers(-(2**63), 2**63 - 1),
    yes=st.booleans(),
    items=st.lists(texts, max_size=4),
    words=st.dictionaries(plain, texts, max_size=3),
    number=numbers,
    limit=st.none() | numbers,
)
def test_round_trip_of_anything(
    *,
    text: str,
    whole: int,
    yes: bool,
    items: list[str],
    words: dict[str, str],
    number: float,
    limit: float | None,
) -> None:
    model = Everything(
        text=text,
        whole=whole,
        yes=yes,
        texts=tuple(items),
        words=words,
        inner=Inner(number=number, limit=limit),
    )
    # Through bytes, as on disk.
    written = to_toml(model).encode().decode()
    back = from_toml(written, Everything, "it")
    assert back == model
    assert to_toml(back) == written


def test_round_trip_of_a_preset(preset: Preset) -> None:
    preset = override(preset, {"files": {"CARD.md": "0" * 64}, "scale.frame_interval_s": 20.0})
    assert from_toml(to_toml(preset, "one\ntwo"), Preset, "preset tiny") == preset
    assert to_toml(preset, "one\ntwo").startswith("# one\n# two\nformat = 1")


def test_none_is_left_out_and_what_is_left_out_is_none(preset: Preset) -> None:
    text = to_toml(preset)
    assert "frame_interval_s" not in text
    assert from_toml(text, Preset, "preset tiny").scale.frame_interval_s is None
    unclipped = Recipe(clip=None)
    assert from_toml(to_toml(unclipped), Recipe, "recipe") == unclipped


def test_a_file_of_ones_own_says_none(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('focus = "none"\nclip = "none"\n')
    assert find_recipe(str(file)) == Recipe(focus=None, clip=None)
    file.write_text('average = "none"')
    with pytest.raises(BundleError, match="average must be a number, got 'none'"):
        find_recipe(str(file))
    file.write_text('words = {a = "none"}\ntext = "none"\n[inner]\nlimit = "none"\n')
    found = find_named("thing", str(file), {}, Everything)
    assert (found.text, found.words, found.inner.limit) == ("none", {"a": "none"}, None)


def test_it_reads_as_prose(preset: Preset) -> None:
    words = "Nuclei of an embryo, each dividing once. " * 6 + "\nA second paragraph."
    text = to_toml(override(preset, {"description": words}))
    assert max(map(len, text.splitlines())) <= 100
    assert "# The one physical scale of a preset.\n[scale]\n" in text
    assert "half_extent_um = 5.0  # Half the side of Ω in µm\n" in text
    assert "\\n" not in text.split("licence")[0]  # a line break stands as a line break
    assert tomllib.loads(text)["description"] == words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("text = \nwhole = 1", r"^it: no valid TOML: Invalid value \(at line 1, column 8\)"),
        ("text = 'a'\ntext = 'b'\n", r"^it: no valid TOML: Cannot overwrite .*line 2"),
        ("a=" + "[" * 5000, r"^it: no valid TOML"),
        ("txet = 'a'", r"^it: txet is unknown; did you mean text\?$"),
    ],
)
def test_bad_toml_is_refused(text: str, message: str) -> None:
    with pytest.raises(BundleError, match=message) as raised:
        from_toml(text, Everything, "it")
    assert "\n" not in str(raised.value)


def test_lists_stay_lists_of_their_type() -> None:
    data: dict[str, Any] = tomllib.loads(to_toml(Everything(text="", texts=("a", 'b"' * 60))))
    assert data["texts"] == ["a", 'b"' * 60]
