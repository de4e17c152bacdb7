"""One cell through time, and which draw it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellsynth.errors import TopologyError
from cellsynth.geometry import Grid, frame_times, rotation_angle
from cellsynth.presets.models import Gaussian, Neighbourhood, Sampling
from cellsynth.rendering.sequence import (
    Draw,
    LabelledSequence,
    check_topology,
    draw_cell,
    propose_cell,
    render_frame,
)

GRID = Grid.over_omega((20, 24, 28))


def with_sigma(model, sigma: float):
    sampling = Sampling(
        strategy="gaussian",
        gaussian=Gaussian(sigma=sigma),
        neighbourhood=Neighbourhood(sigma=0.01),
    )
    return replace(model, preset=model.preset.model_copy(update={"sampling": sampling}))


def test_frames_come_from_the_last_to_the_first_with_their_lineage(dividing):
    draw = draw_cell(dividing, seed=1, sequence=0)
    sequence = LabelledSequence(dividing, draw, GRID, 4)
    seen = {}
    for t, labels, offset in sequence.frames():
        seen[t] = set(np.unique(labels).tolist()) - {0}
        assert all(o + n <= size for o, n, size in zip(offset, labels.shape, GRID.shape))  # noqa: B905
    assert list(seen) == [3, 2, 1, 0]
    lineage = sequence.lineage()
    [mother] = lineage.divisions()
    assert seen == {t: set(lineage.at(t)) for t in range(4)}
    assert [(child.parent, child.end) for child in lineage.children(mother.label)] == [
        (mother.label, 3)
    ] * 2


def test_dense_and_hierarchical_frames_are_the_same(dividing):
    draw = draw_cell(dividing, seed=1, sequence=0)
    for time in frame_times(4):
        masks = [
            render_frame(dividing, draw, float(time), GRID, dense=dense).to_dense()
            for dense in (False, True)
        ]
        np.testing.assert_array_equal(*masks)
        assert masks[0].any()


def test_more_frames_show_the_same_times_between(dividing):
    """7 frames span the time of 4: every second one is the same."""
    draw = draw_cell(dividing, seed=1, sequence=0)
    few, many = (
        {t: (labels, offset) for t, labels, offset in LabelledSequence(
            dividing, draw, GRID, n
        ).frames()}
        for n in (4, 7)
    )  # fmt: skip
    for t in range(4):
        np.testing.assert_array_equal(few[t][0] > 0, many[2 * t][0] > 0)
        assert few[t][1] == many[2 * t][1]


def test_a_draw_comes_from_the_seed_and_the_number_alone(dividing):
    draws = [draw_cell(dividing, seed=3, sequence=i) for i in range(4)]
    for i in (2, 0):
        again = draw_cell(dividing, seed=3, sequence=i)
        np.testing.assert_array_equal(again.latent, draws[i].latent)
        np.testing.assert_array_equal(again.rotation, draws[i].rotation)
    assert len({draw.latent.tobytes() for draw in draws}) == 4
    other = draw_cell(dividing, seed=4, sequence=0)
    assert not np.array_equal(other.latent, draws[0].latent)


def test_rotation_random_none_and_given(dividing):
    random = draw_cell(dividing, seed=3, sequence=0).rotation
    none = draw_cell(dividing, seed=3, sequence=0, rotation="none")
    given = draw_cell(dividing, seed=3, sequence=0, rotation=random.T)
    assert rotation_angle(random, np.eye(3)) > 1
    np.testing.assert_array_equal(none.rotation, np.eye(3))
    np.testing.assert_array_equal(given.rotation, random.T)
    # It is the same cell all the same.
    np.testing.assert_array_equal(none.latent, given.latent)


def test_draws_that_break_the_topology_are_counted_and_passed_over(sphere):
    wide = with_sigma(sphere, 0.5)
    attempts = []
    for i in range(12):
        draw = draw_cell(wide, seed=0, sequence=i)
        attempts.append(draw.attempt)
        for attempt in range(draw.attempt + 1):
            latent = propose_cell(wide, seed=0, sequence=i, attempt=attempt).latent
            if attempt < draw.attempt:
                with pytest.raises(TopologyError):
                    check_topology(wide, latent)
        np.testing.assert_array_equal(draw.latent, latent)
        later = draw_cell(wide, seed=0, sequence=i, attempt=draw.attempt + 1)
        assert later.attempt > draw.attempt
    assert max(attempts) > 0
    assert min(attempts) == 0


def test_the_strategy_given_is_used(sphere):
    near = draw_cell(with_sigma(sphere, 1e-6), seed=0, sequence=0)
    assert np.abs(near.latent).max() < 1e-4
    learned = draw_cell(with_sigma(sphere, 1e-6), seed=0, sequence=0, strategy="neighbourhood")
    assert np.abs(learned.latent).max() > 1e-4


def test_fifty_draws_are_enough(dividing):
    never = dividing.preset.topology.model_copy(update={"begin_cells": 2, "end_cells": 3})
    model = replace(dividing, preset=dividing.preset.model_copy(update={"topology": never}))
    with pytest.raises(TopologyError) as error:
        draw_cell(model, seed=0, sequence=6)
    assert str(error.value) == (
        "preset dividing: sequence 7 broke the topology in 50 draws (last: cells in the last "
        "frame: got 2, expected 3); try --strategy neighbourhood"
    )


def test_one_frame_shows_what_there_is(dividing):
    draw = Draw(np.zeros(2, np.float32), np.eye(3), 0)
    sequence = LabelledSequence(dividing, draw, GRID, 1)
    [(t, labels, _)] = sequence.frames()
    assert t == 0
    assert set(np.unique(labels)) - {0} == set(sequence.lineage().at(0))
