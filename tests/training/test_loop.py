"""The training loop: what it minimises, when it ends, that it learns, that it goes on."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import time
from itertools import pairwise
from random import Random

import numpy as np
import pytest
import torch

from cellsynth.errors import FormatError, InputError
from cellsynth.evaluation.overlap import Fit, training_dice
from cellsynth.geometry import euler_to_matrix
from cellsynth.presets.models import Bound
from cellsynth.presets.recipe import Recipe
from cellsynth.training import loop, stepping
from cellsynth.training.checkpoint import load_checkpoint
from cellsynth.training.loop import Report, Trainer, clamped_l1, schedule
from cellsynth.training.stepping import Length


def make(spec, recipe, pool, steps: int = 40, **others) -> Trainer:
    length = Length(steps=steps)
    return Trainer(spec, recipe, pool, length, **{"seed": 0, "data": "spheres", **others})


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer._named()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name


class StoppedError(Exception):
    pass


def stop_at(step: int):
    def on_step(report: Report) -> None:
        if report.step == step:
            raise StoppedError

    return on_step


def test_noise_on_codes_is_as_wide_as_said(spec, recipe, pool):
    trainer = make(spec, recipe.model_copy(update={"latent_noise": 0.5}), pool)
    spread = trainer.latents.detach().std(dim=0, correction=0)
    rng = np.random.default_rng(0)
    noise = torch.cat([trainer._latent_noise(rng) for _ in range(5000)])
    assert noise.std(dim=0) / spread == pytest.approx(torch.full_like(spread, 0.5), rel=0.05)
    assert noise.mean(dim=0) / spread == pytest.approx(torch.zeros_like(spread), abs=0.03)


def test_noise_on_codes_changes_the_training_and_is_the_same_again(spec, recipe, pool):
    def trained(noise: float) -> dict[str, torch.Tensor]:
        trainer = make(spec, recipe.model_copy(update={"latent_noise": noise}), pool, steps=3)
        trainer.run()
        return state(trainer)

    assert_equal(trained(0.3), trained(0.3))
    assert not torch.equal(trained(0.3)["latents"], trained(0.0)["latents"])


def test_experts_learn_and_go_on_where_they_were(spec, recipe, pool, tmp_path):
    spec = spec.model_copy(update={"experts": 3})
    whole, part, rest = (make(spec, recipe, pool, steps=12) for _ in range(3))
    whole.run()
    with pytest.raises(StoppedError):
        part.run(tmp_path / "checkpoint", stop_at(7))
    part.save(tmp_path / "checkpoint")
    rest.load(tmp_path / "checkpoint")
    rest.run()
    assert_equal(state(whole), state(rest))
    assert all(bool((e != 0).any()) for e in whole.decoder.experts.parameters())
    # To use they are rounded as a preset keeps them.
    for used, learned in zip(whole.averaged().experts, whole.decoder.experts, strict=True):
        assert torch.equal(used, learned.detach().half().float())


@pytest.mark.parametrize("kind", ["cosine", "step"])
def test_the_rates_rise_then_fall(kind):
    recipe = Recipe(schedule=kind, warmup_share=0.1)
    factors = [schedule(share, recipe) for share in np.linspace(0, 1, 1001)]
    assert factors[0] == pytest.approx(0.01)
    assert factors[50] == pytest.approx(0.5)
    assert max(factors) == factors[100] == 1
    assert all(b <= a for a, b in pairwise(factors[100:]))


def test_every_sequence_may_begin_with_an_expert_of_its_own(spec, recipe, pool):
    recipe = recipe.model_copy(update={"experts_start": "one each", "latent_init_sigma": 0.0})
    trainer = make(spec.model_copy(update={"experts": 2}), recipe, pool)
    assert trainer.decoder.mixing is not None
    weights = (trainer.latents @ trainer.decoder.mixing.T).detach()
    # The third of three shares the first's.
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))


def test_without_experts_none_can_be_given_to_each(spec, recipe, pool):
    recipe = recipe.model_copy(update={"experts_start": "one each"})
    with pytest.raises(InputError, match='experts_start is "one each", but the field has no'):
        make(spec, recipe, pool)


def test_the_cosine_ends_at_nothing():
    recipe = Recipe(schedule="cosine", warmup_share=0.1)
    assert schedule(1.0, recipe) == pytest.approx(0, abs=1e-12)
    assert schedule(0.55, recipe) == pytest.approx(0.5)
    assert schedule(0.775, recipe) == pytest.approx(0.5 * (1 + math.cos(0.75 * math.pi)))


def test_the_paper_s_steps_halve_every_350_of_2000_epochs():
    recipe = Recipe(schedule="step", warmup_share=0)
    for epoch, expected in [(0, 1), (349, 1), (351, 0.5), (701, 0.25), (1999, 1 / 32)]:
        assert schedule(epoch / 2000, recipe) == expected


def test_loss_in_closed_form():
    def loss(predicted: float, sdf: float) -> float:
        return float(clamped_l1(torch.tensor([predicted]), torch.tensor([sdf]), 0.2))

    assert loss(0.1, 0.05) == pytest.approx(0.05)
    assert loss(-0.1, 0.05) == pytest.approx(0.15)
    # Beyond the truncation on the same side: as good as can be.
    for predicted in (0.2, 0.3, 7.0):
        assert loss(predicted, 0.2) == 0
        assert loss(-predicted, -0.2) == 0
    assert loss(5.0, 0.1) == pytest.approx(0.1, abs=1e-3)
    assert loss(-5.0, 0.2) == pytest.approx(0.4, abs=1e-3)


def test_the_penalty_is_of_the_codes_squared_norm_as_the_recipe_says(spec, recipe, pool):
    """Its gradient by the codes, against that of a training without it."""
    gradients = []
    for weight in (0.0, 5.0):
        given = recipe.model_copy(update={"latent_penalty": weight, "clip": None})
        trainer = make(spec, given, pool, steps=1)
        before = trainer.latents.detach().clone().requires_grad_(True)
        drawn = trainer._draw_frames(np.random.default_rng([0, 0])) // pool.n_frames
        trainer.run()
        gradients.append(trainer.latents.grad)
    (5.0 * before[torch.from_numpy(drawn)].square().sum(dim=1).mean()).backward()
    torch.testing.assert_close(gradients[1] - gradients[0], before.grad, rtol=1e-3, atol=1e-6)
    assert "squared norm" in str(Recipe.model_fields["latent_penalty"].description)


def test_loss_is_a_mean_and_pulls_only_what_is_not_beyond():
    predicted = torch.tensor([0.5, 0.1, -0.5], requires_grad=True)
    value = clamped_l1(predicted, torch.tensor([0.2, 0.0, 0.1]), 0.2)
    value.backward()
    assert value.item() == pytest.approx((0.1 + 0.3) / 3, abs=1e-3)
    assert predicted.grad.tolist() == pytest.approx([0, 1 / 3, 0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either steps or a budget"),
        ({"steps": 1, "budget_s": 1.0}, "give either steps or a budget"),
        ({"steps": 0}, "length must be above 0, got 0"),
        ({"steps": -3}, "length must be above 0, got -3"),
        ({"budget_s": 0.0}, "length must be above 0, got 0"),
    ],
)
def test_lengths_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        Length(**given)


def test_lengths():
    assert [Length(steps=4).share(step, 99.0) for step in (0, 1, 4, 5)] == [0, 0.25, 1, 1]
    assert [Length(budget_s=4.0).share(99, s) for s in (0.0, 1.0, 4.0, 5.0)] == [0, 0.25, 1, 1]


def test_it_learns_spheres(spec, recipe, pool, sphere_store):
    trainer = make(spec, recipe, pool, steps=300)
    reports: list[Report] = []
    trainer.run(on_step=reports.append)
    assert [r.step for r in reports] == list(range(1, 301))
    assert reports[-1].share == 1
    losses = [r.loss for r in reports]
    assert np.mean(losses[-20:]) < 0.2 * np.mean(losses[:20])
    fit = Fit(
        trainer.averaged(),
        trainer.latents.detach().numpy(),
        euler_to_matrix(trainer.angles.detach().double()).numpy(),
        Bound(slopes=(2.0, 2.0, 2.0, 2.0)),
    )
    dsc = training_dice(fit, sphere_store)
    assert dsc.shape == (3, 4)
    assert dsc.mean() > 0.93
    assert dsc.min() > 0.88


@pytest.mark.parametrize("equivariant", [True, False])
@pytest.mark.parametrize("optimiser", ["soap", "adam"])
def test_every_parameter_learns(spec, recipe, pool, optimiser, equivariant):
    trainer = make(
        spec.model_copy(update={"equivariant": equivariant}),
        recipe.model_copy(update={"optimiser": optimiser}),
        pool,
        steps=12,
    )
    before = state(trainer)
    trainer.run()
    for name, after in state(trainer).items():
        moved = not torch.equal(before[name], after)
        assert moved == (equivariant or name != "angles"), name
    if not equivariant:
        assert not trainer.angles.any()


def test_gradients_do_not_depend_on_how_a_step_is_cut(spec, recipe, pool, monkeypatch):
    gradients = []
    for points in (4096, 640, 64):
        monkeypatch.setattr(loop, "CPU_POINTS", points)
        trainer = make(spec, recipe.model_copy(update={"clip": None}), pool, steps=1)
        trainer.run()
        gradients.append({name: p.grad for name, p in trainer._named()})
    for name, gradient in gradients[0].items():
        for other in gradients[1:]:
            error = (other[name] - gradient).norm() / gradient.norm()
            assert error < 1e-5, name


@pytest.mark.parametrize("average", [0.0, 0.98])
@pytest.mark.parametrize("optimiser", ["soap", "adam"])
def test_stopped_and_resumed_is_uninterrupted(spec, recipe, pool, tmp_path, optimiser, average):
    recipe = recipe.model_copy(update={"optimiser": optimiser, "average": average})
    whole = make(spec, recipe, pool)
    whole.run(tmp_path / "whole")
    first = make(spec, recipe, pool)
    with pytest.raises(StoppedError):
        first.run(tmp_path / "c", stop_at(17))
    second = make(spec, recipe, pool)
    second.load(tmp_path / "c")
    assert second.step == 17
    assert_equal(state(second), state(first))
    second.run(tmp_path / "c")
    assert_equal(state(second), state(whole))
    assert_equal(second.averaged().state_dict(), whole.averaged().state_dict())
    # The last checkpoint is the end: loaded, there is nothing left to do.
    third = make(spec, recipe, pool)
    third.load(tmp_path / "c")
    third.run(on_step=stop_at(41))
    assert_equal(state(third), state(whole))
    assert third.seconds == pytest.approx(second.seconds)


@pytest.mark.parametrize("optimiser", ["soap", "adam"])
def test_stopped_twice_and_resumed_is_uninterrupted(spec, recipe, pool, tmp_path, optimiser):
    """With more than ten parameters, whose numbers have two digits."""
    spec = spec.model_copy(update={"hidden_layers": 5})
    recipe = recipe.model_copy(update={"optimiser": optimiser})
    whole = make(spec, recipe, pool, steps=9)
    whole.run()
    for step in (3, 6):
        part = make(spec, recipe, pool, steps=9)
        if step > 3:
            part.load(tmp_path / "c")
        with pytest.raises(StoppedError):
            part.run(tmp_path / "c", stop_at(step))
    last = make(spec, recipe, pool, steps=9)
    last.load(tmp_path / "c")
    assert last.step == 6
    last.run()
    assert_equal(state(last), state(whole))


def test_interrupted_within_a_step_it_keeps_the_checkpoint_before(
    spec, recipe, pool, tmp_path, monkeypatch
):
    """Parameters that were changed and a step that was not counted do not belong together."""
    whole = make(spec, recipe, pool)
    whole.run()
    first = make(spec, recipe, pool)
    with pytest.raises(StoppedError):
        first.run(tmp_path / "c", stop_at(9))
    update = first._update_average

    def interrupted() -> None:
        update()
        if first.step == 11:
            raise KeyboardInterrupt

    monkeypatch.setattr(first, "_update_average", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.run(tmp_path / "c")
    second = make(spec, recipe, pool)
    second.load(tmp_path / "c")
    assert second.step == 9
    second.run()
    assert_equal(state(second), state(whole))


SCRIPT = """
import sys
import torch
from pathlib import Path
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.training import loop, stepping
from cellsynth.training.points import PointPool

torch.set_num_threads(1)
stepping.CHECKPOINT_S = 0.0
path, checkpoint, spec, recipe, truncation = sys.argv[1:]
recipe = Recipe.model_validate_json(recipe)
pool = PointPool(Path(path), recipe, 4, float(truncation))
length = stepping.Length(steps=40)
trainer = loop.Trainer(
    FieldSpec.model_validate_json(spec), recipe, pool, length, seed=0, data="spheres"
)
if Path(checkpoint).exists():
    trainer.load(Path(checkpoint))
trainer.run(Path(checkpoint), lambda report: print(report.step, flush=True))
"""


def test_killed_and_resumed_is_uninterrupted(spec, recipe, pool, pool_path, sphere_store, tmp_path):
    """SIGKILL at any moment leaves a checkpoint that is whole, and the same end."""
    whole = make(spec, recipe, pool)
    whole.run()
    checkpoint = tmp_path / "c.safetensors"
    command = [
        sys.executable, "-c", SCRIPT, pool_path, checkpoint,
        spec.model_dump_json(), recipe.model_dump_json(), repr(sphere_store.truncation),
    ]  # fmt: skip
    moments = Random(3)
    for _ in range(3):
        running = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert running.stdout is not None
        for _ in range(moments.randint(2, 9)):
            running.stdout.readline()
        time.sleep(moments.uniform(0, 0.03))
        running.kill()
        assert running.wait() == -signal.SIGKILL
        running.stdout.close()
        _, progress = load_checkpoint(checkpoint)
        assert 0 < progress.step < 40
    resumed = make(spec, recipe, pool)
    resumed.load(checkpoint)
    resumed.run()
    assert_equal(state(resumed), state(whole))


def test_seconds_add_up_over_runs(spec, recipe, pool, tmp_path):
    first = make(spec, recipe, pool)
    with pytest.raises(StoppedError):
        first.run(tmp_path / "c", stop_at(5))
    second = make(spec, recipe, pool)
    second.load(tmp_path / "c")
    assert second.seconds == first.seconds > 0


def test_a_budget_ends_the_training(spec, recipe, pool):
    trainer = Trainer(spec, recipe, pool, Length(budget_s=0.2), seed=0, data="spheres")
    reports: list[Report] = []
    trainer.run(on_step=reports.append)
    assert reports[-1].share == 1
    assert reports[-1].seconds >= 0.2
    assert reports[-2].seconds < 0.2


def test_checkpoints_come_by_time(spec, recipe, pool, tmp_path, monkeypatch):
    saved: list[int] = []
    monkeypatch.setattr(stepping, "CHECKPOINT_S", 30.0)
    clock = iter(range(0, 10_000, 7))
    monkeypatch.setattr(stepping.time, "monotonic", lambda: next(clock))
    trainer = make(spec, recipe, pool, steps=12)
    monkeypatch.setattr(trainer, "save", lambda _: saved.append(trainer.step))
    trainer.run(tmp_path / "c")
    # Every step looks at a clock that is 7 s on, and saving looks once more.
    assert saved == [5, 10, 12]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data": "cubes"},
        {"length": Length(steps=41)},
        {"recipe": {"learning_rate": 1e-3}},
        {"spec": {"omega_0": 20.0}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_checkpoint_of_another_training_is_refused(spec, recipe, pool, tmp_path, change):
    make(spec, recipe, pool).save(tmp_path / "c")
    other = Trainer(
        spec.model_copy(update=change.get("spec", {})),
        recipe.model_copy(update=change.get("recipe", {})),
        pool,
        change.get("length", Length(steps=40)),
        seed=change.get("seed", 0),
        data=change.get("data", "spheres"),
    )
    before = state(other)
    with pytest.raises(InputError, match=r"c: belongs to a training with other data or settings"):
        other.load(tmp_path / "c")
    assert_equal(state(other), before)


def test_a_damaged_checkpoint_is_refused(spec, recipe, pool, tmp_path):
    trainer = make(spec, recipe, pool)
    trainer.save(tmp_path / "c")
    data = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match="not a training checkpoint"):
        trainer.load(tmp_path / "c")


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_frames_are_drawn_by_their_loss(spec, recipe, pool, share):
    recipe = recipe.model_copy(update={"frames_by_loss": share, "frames_per_step": 6000})
    trainer = Trainer(spec, recipe, pool, Length(steps=1), seed=0, data="")
    losses = torch.arange(12.0) / 66
    losses[3] = -1  # never drawn: counts as the others' mean
    trainer._losses.copy_(losses)
    counts = np.bincount(trainer._draw_frames(np.random.default_rng(0)), minlength=12)
    filled = losses.numpy().astype(float)
    filled[3] = filled[[i for i in range(12) if i != 3]].mean()
    expected = 6000 * ((1 - share) / 12 + share * filled / filled.sum())
    assert np.abs(counts - expected).max() < 4 * np.sqrt(expected.max())
    if share == 1:
        assert counts[0] == 0


def test_losses_of_frames_are_kept_and_smoothed(spec, recipe, pool):
    trainer = Trainer(spec, recipe, pool, Length(steps=1), seed=0, data="")
    trainer._note_losses(np.array([2, 7]), torch.tensor([1.0, 2.0]))
    trainer._note_losses(np.array([7, 2, 7]), torch.tensor([4.0, 1.0, 9.0]))
    assert trainer._losses[2] == 1
    assert trainer._losses[7] == pytest.approx(2 + 0.3 * (4 - 2))
    assert (trainer._losses < 0).sum() == 10


def test_the_same_seed_gives_the_same_training(spec, recipe, pool):
    trained = []
    for seed in (0, 0, 1):
        trainer = make(spec, recipe, pool, steps=3, seed=seed)
        trainer.run()
        trained.append(state(trainer))
    assert_equal(trained[0], trained[1])
    assert not torch.equal(trained[0]["latents"], trained[2]["latents"])


def test_the_gradient_is_clipped(spec, recipe, pool):
    """With rates for plain descent replaced by huge gradients, nothing runs away."""
    wild = recipe.model_copy(update={"clip": 1e-9, "optimiser": "adam"})
    trainer = make(spec, wild, pool, steps=2)
    trainer.run()
    norms = [p.grad.norm() for _, p in trainer._named()]
    assert float(torch.stack(norms).norm()) == pytest.approx(1e-9, rel=1e-2)


@pytest.mark.parametrize("optimiser", ["soap", "adam"])
def test_a_training_that_diverges_ends_and_keeps_its_last_checkpoint(
    spec, recipe, pool, tmp_path, optimiser
):
    recipe = recipe.model_copy(update={"optimiser": optimiser, "learning_rate": 0.5})
    trainer = make(spec, recipe, pool)
    with pytest.raises(StoppedError):
        trainer.run(tmp_path / "c", stop_at(3))
    before = (tmp_path / "c").read_bytes()
    with torch.no_grad():
        trainer.decoder.output.weight[0, 0] = math.nan
    with pytest.raises(InputError, match=r"step 4: the loss is nan .* learning_rate 0\.5"):
        trainer.run(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before


def test_a_gradient_without_end_is_not_followed(spec, recipe, pool):
    """Where the loss is a number all the same."""
    trainer = make(spec, recipe.model_copy(update={"clip": None}), pool)
    trainer.angles.register_hook(lambda gradient: gradient / 0)
    before = state(trainer)
    with pytest.raises(InputError, match=r"step 1: the loss is 0.* the norm of its gradient"):
        trainer.run()
    assert_equal(state(trainer), before)


def test_averaged_weights_lag_behind(spec, recipe, pool):
    trainer = make(spec, recipe.model_copy(update={"average": 0.9}), pool, steps=20)
    start = trainer.decoder.output.weight.detach().clone()
    trainer.run()
    average = trainer.averaged().output.weight
    moved = (trainer.decoder.output.weight - start).norm()
    assert 0 < (trainer.decoder.output.weight - average).norm() < moved
    assert not any(p.requires_grad for p in trainer.averaged().parameters())


def preset_tensors(trainer: Trainer) -> dict[str, np.ndarray]:
    """As a bundle holds them."""
    tensors = {name: tensor.numpy() for name, tensor in state(trainer).items()}
    return tensors | {"rotations": tensors.pop("angles")}


def test_starting_from_a_preset_takes_its_numbers(spec, recipe, pool):
    before = make(spec, recipe, pool)
    before.run()
    tensors = preset_tensors(before)
    assert_equal(state(make(spec, recipe, pool, seed=7, start=tensors)), state(before))
    # Other cells: codes begin around the mean of those learned, each a little elsewhere.
    nine = np.full((9, spec.latent_dim), 0.5, np.float32)
    other = make(spec, recipe, pool, seed=7, start=tensors | {"latents": nine})
    assert (other.latents - 0.5).abs().max() < 0.1
    assert len(other.latents.unique()) == other.latents.numel()
    assert not torch.equal(other.angles, before.angles)
    assert torch.equal(other.decoder.output.weight, before.decoder.output.weight)


def test_a_checkpoint_of_another_start_is_refused(spec, recipe, pool, tmp_path):
    plain = make(spec, recipe, pool)
    plain.save(tmp_path / "c")
    started = make(spec, recipe, pool, start=preset_tensors(plain))
    with pytest.raises(InputError, match="other data or settings"):
        started.load(tmp_path / "c")
