"""The map of a preset's codes, on spheres whose radius is the first number of the code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bundles import changed, sphere_radius

from cellsynth.errors import FormatError, InputError, InUseError, MissingError, StorageError
from cellsynth.evaluation import latent as latent_module
from cellsynth.evaluation.embedding import principal_components
from cellsynth.evaluation.latent import (
    LatentOptions,
    check_latent_folder,
    explore_latents,
    map_latents,
    read_latent_map,
)
from cellsynth.field.model import CellModel
from cellsynth.presets.models import Topology
from cellsynth.rendering.sequence import propose_cell

HALF_UM = 5.0
# The first number decides the radius, the second nothing.
CODES = [[0.0, 0.01], [0.2, 0.0], [0.45, -0.01], [-0.1, 0.0], [0.1, 0.3]]
OPTIONS = LatentOptions(draws=4, frames=2, seed=5)
FILES = ["drawn.png", "drawn.svg", "latent.json", "latent.png", "latent.svg"]


@pytest.fixture(scope="module")
def bundle(sphere_bundle, tmp_path_factory):
    folder = tmp_path_factory.mktemp("latent") / "balls"
    return changed(sphere_bundle, folder, topology=Topology(judged_at=32), latents=CODES)


@pytest.fixture(scope="module")
def made(bundle, tmp_path_factory):
    out = tmp_path_factory.mktemp("maps") / "map"
    return map_latents(bundle, out, OPTIONS), out


def explore(bundle, options=None):
    return explore_latents(CellModel.from_bundle(bundle), bundle.sha256, options)


def test_cells_are_those_of_the_codes(made):
    found, _ = made
    assert [code.number for code in found.learned] == [1, 2, 3, 4, 5]
    for code, (first, _) in zip(found.learned, CODES, strict=True):
        radius = HALF_UM * sphere_radius(first)
        cell = code.described
        assert code.fault is None
        assert cell.volume_um3 == pytest.approx(4 / 3 * np.pi * radius**3, rel=0.06)
        assert cell.surface_um2 == pytest.approx(4 * np.pi * radius**2, rel=0.06)
        assert cell.sphericity_paper == pytest.approx(1, abs=0.06)
        assert cell.growth == 1
    assert (found.frames, found.grid, found.latent_dim) == (2, (32, 32, 32), 2)
    assert found.voxel_size_um == (10 / 32,) * 3


def test_places_and_neighbours(made, bundle):
    found, _ = made
    codes = np.array(CODES, np.float32)
    components = principal_components(codes)
    np.testing.assert_allclose(
        [code.pca for code in found.learned], components.scores(codes), rtol=1e-5, atol=1e-9
    )
    assert [c.ratio for c in found.components] == pytest.approx(components.ratios, rel=1e-5)
    assert sum(c.ratio for c in found.components) == pytest.approx(1)
    assert [h.share for h in found.held] == [0.9, 0.99, 0.999]
    assert [h.components for h in found.held] == [2, 2, 2]
    assert [code.nearest for code in found.learned] == [4, 1, 2, 1, 1]
    assert found.learned[1].distance == pytest.approx(np.hypot(0.2, 0.01), rel=1e-5)


def test_draws_are_those_that_generate_makes_first(made, bundle):
    found, _ = made
    model = CellModel.from_bundle(bundle)
    assert [code.strategy for code in found.drawn] == ["gaussian"] * 4 + ["neighbourhood"] * 4
    components = principal_components(model.latents)
    for code in found.drawn:
        draw = propose_cell(model, seed=5, sequence=code.sequence - 1, strategy=code.strategy)
        apart = np.linalg.norm(model.latents - draw.latent, axis=1)
        assert code.distance == pytest.approx(apart.min(), rel=1e-4)
        assert code.nearest == apart.argmin() + 1
        np.testing.assert_allclose(code.pca, components.scores(draw.latent[None])[0], rtol=1e-4)
    assert [s.of for s in found.spacing] == ["learned", "gaussian", "neighbourhood"]
    learned = found.spacing[0]
    distances = [code.distance for code in found.learned]
    assert (learned.codes, learned.least, learned.most) == (5, min(distances), max(distances))
    assert learned.median == pytest.approx(np.median(distances))


def test_descriptors_go_with_the_code_that_makes_them(made):
    """Radius is one number, so volume has the rank of the first code, and growth none."""
    found, _ = made
    by_name = {entry.descriptor: entry for entry in found.correlations}
    scores = np.array([code.pca for code in found.learned])
    volumes = [code.described.volume_um3 for code in found.learned]
    from scipy import stats

    expected = [stats.spearmanr(volumes, column).statistic for column in scores.T]
    assert by_name["volume_um3"].spearman == pytest.approx(expected)
    assert by_name["growth"].spearman == (None, None)
    assert by_name["growth"].neighbours is None


def test_the_same_seed_gives_the_same_bytes(made, bundle, tmp_path):
    first, out = made
    map_latents(bundle, tmp_path / "again", OPTIONS)
    assert sorted(path.name for path in out.iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (out / name).read_bytes(), name
    other = explore(bundle, LatentOptions(draws=4, frames=2, seed=6))
    assert other.drawn != first.drawn
    assert [c.tsne for c in other.learned] == [c.tsne for c in first.learned]


def test_no_draws(bundle):
    found = explore(bundle, LatentOptions(draws=0, frames=1))
    assert found.drawn == ()
    assert [s.of for s in found.spacing] == ["learned"]
    assert all(code.tsne == code.tsne_among_drawn for code in found.learned)


def test_as_many_draws_as_codes_by_default(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_module, "describe_code", lambda *_, **__: "not looked at")
    found = map_latents(bundle, tmp_path / "map")
    assert [s.codes for s in found.spacing] == [5, 5, 5]
    # Nothing is known of any cell, and the figures are drawn all the same.
    assert all(entry.spearman == (None, None) for entry in found.correlations)


def test_a_cell_that_breaks_the_topology_is_told(sphere_bundle, tmp_path):
    codes = [[0.0, 0.0], [0.1, 0.0], [-0.9, 0.0], [0.2, 0.1]]  # the third has no cell
    bundle = changed(sphere_bundle, tmp_path / "p", topology=Topology(judged_at=16), latents=codes)
    found = explore(bundle, LatentOptions(draws=1, frames=2))
    third = found.learned[2]
    assert third.described is None
    assert third.fault == "cells in the last frame: got 0, expected 1"
    assert [code.described is None for code in found.learned] == [False, False, True, False]
    assert found.correlations[0].spearman[0] is not None


def test_the_file_is_strict(made, tmp_path):
    found, out = made
    assert read_latent_map(out / "latent.json") == found
    said = json.loads((out / "latent.json").read_text())
    assert said["preset"] == {"name": "sphere", "sha256": found.preset.sha256}
    assert "scikit-learn" in said["versions"]
    path = tmp_path / "latent.json"
    path.write_text(json.dumps(said | {"sede": 1}))
    with pytest.raises(FormatError, match="sede is unknown"):
        read_latent_map(path)
    path.write_text("{}")
    with pytest.raises(FormatError, match="is no map of codes; make one with cellsynth latent"):
        read_latent_map(path)
    with pytest.raises(MissingError, match="is not there"):
        read_latent_map(tmp_path / "none")


def test_too_few_codes(sphere_bundle, tmp_path):
    bundle = changed(sphere_bundle, tmp_path / "p", latents=CODES[:2])
    with pytest.raises(InputError, match="preset sphere has 2 learned codes; t-SNE needs 3"):
        map_latents(bundle, tmp_path / "map", OPTIONS)
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (LatentOptions(draws=-1), "draws must be at least 0, got -1"),
        (LatentOptions(frames=0), "frames must be at least 1, got 0"),
    ],
)
def test_options_out_of_range(bundle, tmp_path, options, expected):
    with pytest.raises(InputError, match=expected):
        map_latents(bundle, tmp_path / "map", options)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_refused(made, bundle, tmp_path):
    _, out = made
    with pytest.raises(InUseError, match="holds a map of codes already; pass --overwrite"):
        map_latents(bundle, out, OPTIONS)
    check_latent_folder(out, overwrite=True)
    (tmp_path / "thesis.txt").write_text("ten years of work")
    for overwrite in (False, True):
        with pytest.raises(InUseError, match="is in use and is no map of codes"):
            map_latents(bundle, tmp_path, OPTIONS, overwrite=overwrite)
    with pytest.raises(InUseError, match=r"thesis.txt is a file"):
        map_latents(bundle, tmp_path / "thesis.txt", OPTIONS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_map_is_replaced_whole(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(latent_module, "describe_code", lambda *_, **__: "not looked at")
    out = tmp_path / "map"
    map_latents(bundle, out, LatentOptions(draws=0))
    before = (out / "latent.json").read_bytes()

    def full(path: Path, found: object) -> None:
        raise StorageError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(latent_module, "write_result", full)
        with pytest.raises(StorageError):
            map_latents(bundle, out, LatentOptions(draws=1), overwrite=True)
    assert (out / "latent.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["map"]
    map_latents(bundle, out, LatentOptions(draws=1), overwrite=True)
    assert (out / "latent.json").read_bytes() != before
