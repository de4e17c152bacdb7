"""Learn living cells from a few dozen segmented ones, and make new ones for benchmarks.

    import cellsynth as cs

    bundle = cs.find_preset("celegans")
    options = cs.GenerateOptions(cs.Grid.over_omega((128, 128, 128)), n_frames=30)
    cs.generate(bundle, Path("celegans-128"), options, count=33)
    cs.validate_ctc("celegans-128")

Names are loaded when they are first used, so that ``import cellsynth`` brings no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellsynth.evaluation.dataset import EvaluateOptions, evaluate_dataset
    from cellsynth.formats.ctc import read_ctc, write_ctc
    from cellsynth.formats.ctc_validate import validate_ctc
    from cellsynth.geometry import Grid
    from cellsynth.presets.catalogue import find_preset
    from cellsynth.rendering.dataset import GenerateOptions, generate
    from cellsynth.report.dataset import report_dataset
    from cellsynth.report.options import ReportOptions
    from cellsynth.texture.dataset import TextureOptions, texture_dataset
    from cellsynth.training.preset import TrainOptions, train_preset

    __version__: str

__all__ = [
    "EvaluateOptions",
    "GenerateOptions",
    "Grid",
    "ReportOptions",
    "TextureOptions",
    "TrainOptions",
    "__version__",
    "evaluate_dataset",
    "find_preset",
    "generate",
    "read_ctc",
    "report_dataset",
    "texture_dataset",
    "train_preset",
    "validate_ctc",
    "write_ctc",
]

_ROOMS = {
    "EvaluateOptions": "cellsynth.evaluation.dataset",
    "GenerateOptions": "cellsynth.rendering.dataset",
    "Grid": "cellsynth.geometry",
    "ReportOptions": "cellsynth.report.options",
    "TextureOptions": "cellsynth.texture.dataset",
    "TrainOptions": "cellsynth.training.preset",
    "evaluate_dataset": "cellsynth.evaluation.dataset",
    "find_preset": "cellsynth.presets.catalogue",
    "generate": "cellsynth.rendering.dataset",
    "read_ctc": "cellsynth.formats.ctc",
    "report_dataset": "cellsynth.report.dataset",
    "texture_dataset": "cellsynth.texture.dataset",
    "train_preset": "cellsynth.training.preset",
    "validate_ctc": "cellsynth.formats.ctc_validate",
    "write_ctc": "cellsynth.formats.ctc",
}


def __getattr__(name: str) -> object:
    from importlib import import_module
    from importlib.metadata import version

    if name == "__version__":
        return version("cellsynth")
    if name not in _ROOMS:
        raise AttributeError(f"module 'cellsynth' has no attribute {name!r}")
    return getattr(import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
