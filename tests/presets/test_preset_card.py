"""The card says what the preset says."""

from __future__ import annotations

from typing import Any

import pytest

from cellsynth.presets.card import write_card
from cellsynth.presets.judge import override
from cellsynth.presets.models import Preset


def test_everything_a_reader_needs_is_on_the_card(
    preset: Preset, evaluation: dict[str, Any]
) -> None:
    card = write_card(preset, evaluation)
    assert card.startswith("# Tiny cells\n\nCells of the tests.\n")
    headings = [line[3:] for line in card.splitlines() if line.startswith("## ")]
    assert headings == [
        "Trained on what",
        "How good",
        "Limits",
        "Licence",
        "How to make it again",
    ]
    for line in (
        "| DSC, mean of all frames | 0.9812 |",
        "| DSC, worst frame | 0.9431 (sequence 2, frame 17) |",
        "| DSC, mean of a sequence | 0.9700 to 0.9850 |",
        "| grid, voxels | 256 × 256 × 256 |",
        "| standard deviation of the codes | 0.0123 |",
        "| sequences | 3 |",
        "| frame interval | unknown |",
        "| side of the space a cell lives in | 10 µm |",
        "| training | 100 steps in 12 s |",
        "| versions | numpy 2.0 |",
        "Assumed, since neither the data nor the user said: voxel size.",
        "None of it is a cell.",
        "Weights: CC0-1.0. Data: CC-BY-4.0",
        "cellsynth generate --preset tiny",
    ):
        assert line in card.splitlines()
    assert (
        "```\ncellsynth phantom celegans --out p\ncellsynth train-preset p --name tiny\n```" in card
    )


def test_what_was_not_measured_is_not_claimed(preset: Preset) -> None:
    card = write_card(preset, {})
    assert "| not measured |  |" in card
    assert "DSC" not in card
    partly = write_card(preset, {"dsc": {"mean": 0.5}, "grid": [32, 64, 64]})
    assert "| DSC, mean of all frames | 0.5000 |" in partly
    assert "| grid, voxels | 32 × 64 × 64 |" in partly
    assert "worst" not in partly


@pytest.mark.parametrize(
    ("seconds", "words"), [(119.0, "119 s"), (1200.0, "20 minutes"), (9000.0, "2.5 hours")]
)
def test_durations_in_words(preset: Preset, seconds: float, words: str) -> None:
    changed = override(preset, {"training.seconds": seconds, "scale.frame_interval_s": 60.0})
    card = write_card(changed, {})
    assert f"| training | 100 steps in {words} |" in card
    assert "| frame interval | 60 s |" in card


def test_a_bar_does_not_break_the_table(preset: Preset) -> None:
    card = write_card(override(preset, {"training.versions": {"a|b": "1"}}), {})
    assert r"| versions | a\|b 1 |" in card


def test_new_cells_and_benchmarks_have_their_tables(preset: Preset) -> None:
    found = {
        "width": 0.7,
        "kept_topology": 0.95,
        "draws": 20,
        "p": {"surface": 0.31, "volume": 0.5},
    }
    hopeless = {"width": 1.0, "kept_topology": 0.0, "draws": 3, "p": {}}
    evaluation = {
        "sampling": {"gaussian": found, "mixture": hopeless, "learned": {"kept_topology": 1.0}},
        "measured": [{"what": "topology", "value": "330 of 330", "command": "python b.py --a | c"}],
    }
    lines = write_card(preset, evaluation).splitlines()
    used = preset.sampling.strategy
    assert used == "gaussian"
    assert "| **gaussian** | 0.7 | 95% of 20 | surface 0.31, volume 0.5 |" in lines
    assert "| mixture | 1 | 0% of 3 | too few |" in lines
    assert r"| topology | 330 of 330 | `python b.py --a \| c` |" in lines
