"""Studies at a scale of seconds: they run, resume, and say what they found."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_studies import tiny

from cellsynth.errors import FormatError, InputError, InUseError, MissingError
from cellsynth.formats.making import at_most, cores
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.studies.catalogue import STUDIES, find_study
from cellsynth.studies.experiments_page import NOT_RUN, update_page
from cellsynth.studies.results import StudyResult, read_study
from cellsynth.studies.runner import FIGURE, PARAGRAPH, run_study, work_folder
from cellsynth.studies.study import Study, StudyEvent
from cellsynth.studies.wording import mean_sd, plain, settings_told

CLOCKS = {"minutes", "core_minutes", "stages"}


def tiny_study(name: str) -> Study[Any]:
    return replace(find_study(name), settings={"small": tiny(name)})


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    """Where the results of all studies are gathered."""
    return tmp_path_factory.mktemp("results")


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_runs_from_its_settings_to_a_result(name, results, sphere_bundle):
    told: list[StudyEvent] = []
    out = results / f"study-{name}"
    study = tiny_study(name)
    if name == "exploration":
        balls = tiny(name).model_copy(update={"preset": str(sphere_bundle.folder)})
        study = replace(study, settings={"small": balls})
    result = run_study(study, out, threads=1, seed=1, on_event=told.append)
    assert read_study(out / "result.json") == result
    assert (result.study, result.scale, result.seed) == (name, "small", 1)
    assert {path.name for path in out.iterdir()} == {"result.json", FIGURE, PARAGRAPH}
    assert (out / FIGURE).read_bytes().startswith(b"\x89PNG")
    assert not work_folder(out).exists()
    assert result.orderings
    assert result.holds == all(ordering.holds for ordering in result.orderings)
    assert [stage.name for stage in result.stages] == [
        stage.name for stage in find_study(name).stages(tiny(name))
    ]
    assert all(len(row) == len(table.head) for table in result.tables for row in table.rows)
    words = (out / PARAGRAPH).read_text()
    assert result.text in words
    assert f"Scale `small`, seed 1, {result.minutes:.1f} minutes on 1 thread" in words
    for ordering in result.orderings:
        mark = "- Holds: " if ordering.holds else "- **Does not hold**: "
        assert mark + ordering.claim in words
    assert {event.number for event in told} <= set(range(1, len(result.stages) + 1))
    assert all(0 <= event.done <= event.total for event in told)


def without_clocks(result: StudyResult) -> dict[str, Any]:
    return result.model_dump(exclude=CLOCKS)


@pytest.mark.parametrize(
    ("name", "stage", "at"), [("deepsdf", "deepsdf", 20), ("omega", "omega-30", 10)]
)
def test_an_interrupted_study_goes_on_to_the_same_result(name, stage, at, results, tmp_path):
    out = tmp_path / "study"

    def interrupt(event: StudyEvent) -> None:
        if (event.stage, event.what, event.done) == (stage, "training", at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(tiny_study(name), out, threads=1, seed=1, on_event=interrupt)
    assert not out.exists()
    assert (work_folder(out) / "cells.json").is_file()
    assert json.loads((work_folder(out) / f"{stage}.spent").read_text())[0] > 0
    with pytest.raises(InUseError, match="holds an interrupted study; pass --resume"):
        run_study(tiny_study(name), out, threads=1, seed=1)
    with pytest.raises(InputError, match="had seed 1, now 2; give the same again"):
        run_study(tiny_study(name), out, threads=1, seed=2, resume=True)
    steps: list[float] = []

    def note(event: StudyEvent) -> None:
        if (event.stage, event.what) == (stage, "training"):
            steps.append(event.done)

    again = run_study(tiny_study(name), out, threads=1, seed=1, resume=True, on_event=note)
    assert steps[0] == at + 1  # a step that is taken is kept, if not all was told of it
    whole = results / f"study-{name}"
    assert without_clocks(again) == without_clocks(read_study(whole / "result.json"))
    assert (out / FIGURE).read_bytes() == (whole / FIGURE).read_bytes()


def test_other_settings_are_not_resumed(tmp_path):
    study = tiny_study("omega")
    out = tmp_path / "study"

    def interrupt(event: StudyEvent) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(study, out, threads=1, on_event=interrupt)
    other = study.settings["small"].model_copy(update={"omegas": (5.0,)})
    with pytest.raises(InputError, match="the interrupted study had settings other ones"):
        run_study(replace(study, settings={"small": other}), out, threads=1, resume=True)


def test_one_that_was_to_replace_a_result_goes_on(results, tmp_path):
    study, out = tiny_study("omega"), tmp_path / "study"
    shutil.copytree(results / "study-omega", out)

    def interrupt(event: StudyEvent) -> None:
        if event.stage == "omega-30":
            raise KeyboardInterrupt

    def resume(**given: Any) -> StudyResult:
        return run_study(study, out, threads=1, resume=True, **given)

    with pytest.raises(KeyboardInterrupt):
        run_study(study, out, threads=1, overwrite=True, on_event=interrupt)
    with pytest.raises(KeyboardInterrupt):
        resume(on_event=interrupt)
    assert read_study(out / "result.json").seed == 1
    again = resume(keep=True)
    assert again.seed == 0
    assert read_study(out / "result.json") == again
    # It has done so once.
    with pytest.raises(InUseError, match="holds a study already"):
        resume()


def test_folders_in_use_are_refused(results, tmp_path):
    study = tiny_study("omega")
    with pytest.raises(InUseError, match="holds a study already; pass --overwrite"):
        run_study(study, results / "study-omega")
    (tmp_path / "thesis.txt").write_text("ten years of work")
    for overwrite in (False, True):
        with pytest.raises(InUseError, match="is in use and is no study"):
            run_study(study, tmp_path, overwrite=overwrite)
    with pytest.raises(InUseError, match="is a file"):
        run_study(study, tmp_path / "thesis.txt")


def test_a_result_with_an_unknown_key_is_refused(results, tmp_path):
    data = json.loads((results / "study-omega" / "result.json").read_text())
    path = tmp_path / "result.json"
    path.write_text(json.dumps(data | {"hold": True}))
    with pytest.raises(FormatError, match="hold is unknown; did you mean holds"):
        read_study(path)


def test_the_page_has_what_was_measured_and_says_what_was_not(results, tmp_path):
    page = tmp_path / "experiments.md"
    marks = [
        f"<!-- measured: {n} -->\nstale\n<!-- end of {n} -->\n" for n in ("overview", *STUDIES)
    ]
    page.write_text("# By hand\n" + "\n".join(marks))
    missing = update_page(page, [results / "study-omega"], tmp_path / "images")
    assert missing == [name for name in STUDIES if name != "omega"]
    text = page.read_text()
    assert text.startswith("# By hand\n")
    assert (results / "study-omega" / PARAGRAPH).read_text().rstrip() in text
    assert "![Spectral bias](images/study-omega.png)" in text
    assert text.count(NOT_RUN) == len(missing)
    assert text.count("not run |") == len(missing)
    assert "stale" not in text
    assert (tmp_path / "images" / "study-omega.png").is_file()
    update_page(page, [results / "study-omega"], tmp_path / "images")
    assert page.read_text() == text
    page.write_text("no marks")
    with pytest.raises(FormatError, match="the page has 0 places for reconstruction"):
        update_page(page, [results / "study-omega"], tmp_path / "others")
    assert not (tmp_path / "others").exists()
    with pytest.raises(MissingError, match=r"nothing\.md is not there"):
        update_page(tmp_path / "nothing.md", [], tmp_path / "images")


def test_every_study_has_two_scales_that_json_can_hold():
    for name in STUDIES:
        study = find_study(name)
        assert study.name == name
        assert set(study.settings) == {"small", "paper"}
        for settings in study.settings.values():
            dumped = settings.model_dump(mode="json")
            assert json.loads(json.dumps(dumped)) == dumped
            assert study.stages(settings)


def test_numbers_as_they_are_written():
    assert mean_sd([0.9, 1.0]) == "0.950 ± 0.071"
    assert mean_sd(np.array([2.0]), 1) == "2.0 ± 0.0"
    assert [plain(p) for p in (0.0, 0.00099, 0.001, 0.25)] == [
        "< 0.001",
        "< 0.001",
        "0.001",
        "0.250",
    ]


def test_settings_are_told_but_for_what_is_usual():
    recipe = Recipe(points_per_frame=7, clip=None).model_dump(mode="json")
    field = FieldSpec().model_dump(mode="json")
    settings = {
        "cells": {"kind": "a549", "frames": [0, 29], "half": None},
        "kinds": [{"count": 2}, {"count": 3}],
        "learning": {"steps": 5, "recipe": recipe, "field": field},
        "spread": 0.7,
        "omegas": [1.0, 30.0],
    }
    assert list(settings_told(settings)) == [
        "cells kind a549",
        "cells frames 0, 29",
        "kinds 1 count 2",
        "kinds 2 count 3",
        "learning steps 5",
        "learning recipe points_per_frame 7",
        "learning recipe clip none",
        "learning field as by default",
        "spread 0.7",
        "omegas 1, 30",
    ]


def test_cores_can_be_limited():
    there = cores()
    with at_most(1):
        assert cores() == 1
        with at_most(there + 1):
            assert cores() == 1
    assert cores() == there
