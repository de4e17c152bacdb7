"""Running a study: stage after stage, each kept once it is whole, then the result in one folder.

Everything on the way lies in a working folder beside the result (``.NAME.study``): what each stage
has found, signed distances, points, checkpoints. It stays when the study is interrupted, so that
it can be resumed, and goes when the result is written.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cellsynth.errors import InputError, InUseError
from cellsynth.evaluation.files import write_result
from cellsynth.formats.making import at_most, cores
from cellsynth.formats.storage import REPLACES, remove, storing, whole_file, whole_or_nothing
from cellsynth.presets.versions import versions
from cellsynth.studies.results import RESULT, Scale, StageRecord, StudyResult
from cellsynth.studies.study import Bench, Found, Stage, Study, StudyEvent
from cellsynth.studies.wording import paragraph

__all__ = ["FIGURE", "PARAGRAPH", "check_study_folder", "run_study", "study_folder", "work_folder"]

FIGURE = "figure.png"
PARAGRAPH = "paragraph.md"
RECORD = "study.json"
DPI = 80
NOTE_S = 10.0


def study_folder(name: str) -> Path:
    """Where a study's result goes unless told otherwise."""
    return Path(f"study-{name}")


def work_folder(out: Path) -> Path:
    """Where the study whose result goes to ``out`` keeps its stages."""
    return out.parent / f".{out.name}.study"


def check_study_folder(out: Path, *, overwrite: bool) -> None:
    """Raise InUseError if ``out`` holds something; with ``overwrite``, other than a result."""
    if out.exists() and not out.is_dir():
        raise InUseError(f"{out} is a file; give another --out")
    if not out.exists() or not any(out.iterdir()):
        return
    if not (out / RESULT).is_file():
        raise InUseError(f"{out} is in use and is no study; give another --out")
    if not overwrite:
        raise InUseError(f"{out} holds a study already; pass --overwrite or another --out")


def run_study(
    study: Study[Any],
    out: Path,
    *,
    scale: Scale = "small",
    seed: int = 0,
    threads: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    keep: bool = False,
    on_event: Callable[[StudyEvent], None] | None = None,
) -> StudyResult:
    """Run a study and write its result: ``result.json``, a figure and a paragraph.

    Args:
        study: The study.
        out: Folder of the result.
        scale: ``small`` takes minutes, ``paper`` is the paper's.
        seed: Of everything random.
        threads: Cores used at most; by default all there are. Changes rounding at most.
        device: Torch device of trainings.
        resume: Go on with a run that was interrupted, given the same scale and seed. It replaces
            the result at ``out`` if it was begun to.
        overwrite: Replace the result at ``out``, and the interrupted run.
        keep: Leave the working folder in place.
        on_event: Told of progress.

    Raises:
        InUseError: ``out`` holds something, or an interrupted run is there.
        InputError: The interrupted run had other settings.
        StorageError: The disk refused.
    """
    import torch

    work = work_folder(out)
    replaces = overwrite or (resume and (work / REPLACES).is_file())
    check_study_folder(out, overwrite=replaces)
    if work.exists() and overwrite:
        remove(work)
    settings = study.settings[scale]
    asked: Found = {
        "study": study.name,
        "scale": scale,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }
    if work.exists() and not resume:
        raise InUseError(f"{work} holds an interrupted study; pass --resume or --overwrite")
    _begin(work, asked, replaces=replaces and out.exists())
    threads = min(threads or cores(), cores())
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with at_most(threads):
            bench, records = _work(study, Bench(settings, seed, work, device=device), on_event)
            findings = study.conclude(bench)
            result = StudyResult(
                format="cellsynth-study",
                version=1,
                study=study.name,
                title=study.title,
                scale=scale,
                seed=seed,
                threads=threads,
                device=device,
                settings=asked["settings"],
                versions=versions("scikit-image", "scikit-learn"),
                minutes=round(sum(record.seconds for record in records) / 60, 2),
                core_minutes=round(sum(record.core_seconds for record in records) / 60, 2),
                stages=tuple(records),
                text=findings.text,
                tables=findings.tables,
                orderings=findings.orderings,
                holds=all(ordering.holds for ordering in findings.orderings),
                numbers=findings.numbers,
            )
            with whole_or_nothing(out) as folder:
                figure = study.draw(bench)
                figure.savefig(folder / FIGURE, dpi=DPI, metadata={"Software": None})
                (folder / PARAGRAPH).write_text(paragraph(result), encoding="utf-8")
                write_result(folder / RESULT, result)
    finally:
        torch.set_num_threads(before)
    remove(work / REPLACES if keep else work)
    return result


def _begin(work: Path, asked: Found, *, replaces: bool) -> None:
    """Make the working folder, or see that it is of the same run."""
    record = work / RECORD
    if record.is_file():
        found = json.loads(record.read_text(encoding="utf-8"))
        for key, value in asked.items():
            if found.get(key) != json.loads(json.dumps(value)):
                shown = f" {found.get(key)}, now {value}" if key != "settings" else " other ones"
                raise InputError(
                    f"{work}: the interrupted study had {key}{shown}; give the same again, or "
                    "--overwrite"
                )
        return
    with storing(work):
        work.mkdir(parents=True, exist_ok=True)
        if replaces:
            (work / REPLACES).touch()
    _write(record, asked)


def _work(
    study: Study[Any], bench: Bench[Any], on_event: Callable[[StudyEvent], None] | None
) -> tuple[Bench[Any], list[StageRecord]]:
    """Run what has not been run yet; what all stages have found, and what they took."""
    stages = study.stages(bench.settings)
    records = []
    for number, stage in enumerate(stages, 1):

        def tell(
            what: str, done: float, total: float, note: str, n: int = number, name: str = stage.name
        ) -> None:
            if on_event is not None:
                on_event(StudyEvent(name, n, len(stages), what, done, total, note))

        kept = bench.folder / f"{stage.name}.json"
        if not kept.is_file():
            _run_stage(stage, replace(bench, tell=tell), kept)
        found = json.loads(kept.read_text(encoding="utf-8"))
        bench = replace(bench, found={**bench.found, stage.name: found["found"]})
        seconds, core_seconds = _spent(bench.folder, stage.name)
        records.append(
            StageRecord(
                name=stage.name, seconds=round(seconds, 2), core_seconds=round(core_seconds, 2)
            )
        )
    return bench, records


def _run_stage(stage: Stage[Any], bench: Bench[Any], kept: Path) -> None:
    with _Clock(bench.folder, stage.name) as clock:

        def tell(what: str, done: float, total: float, note: str) -> None:
            clock.tick()
            bench.tell(what, done, total, note)

        found = stage.work(replace(bench, tell=tell))
    _write(kept, {"stage": stage.name, "found": found})


class _Clock:
    """Adds what a stage takes to what it has taken before, now and then and at the end."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.spent"
        self._before = _spent(folder, name)

    def __enter__(self) -> _Clock:
        self._wall, self._core = time.perf_counter(), time.process_time()
        self._noted = self._wall
        return self

    def __exit__(self, *_: object) -> None:
        self._note()

    def tick(self) -> None:
        """Note the time, if the last note is old: a study that is killed loses no more."""
        if time.perf_counter() - self._noted > NOTE_S:
            self._note()

    def _note(self) -> None:
        self._noted = time.perf_counter()
        seconds, core_seconds = self._before
        seconds += self._noted - self._wall
        core_seconds += time.process_time() - self._core
        _write(self._path, [seconds, core_seconds])


def _spent(folder: Path, name: str) -> tuple[float, float]:
    """Wall and processor seconds that a stage has taken so far."""
    path = folder / f"{name}.spent"
    if not path.is_file():
        return 0.0, 0.0
    seconds, core_seconds = json.loads(path.read_text(encoding="utf-8"))
    return float(seconds), float(core_seconds)


def _write(path: Path, value: Any) -> None:
    """JSON, whole or not at all."""
    with whole_file(path) as part:
        part.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")
