"""Several processes train what one trains; on a GPU as well, where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from cellsynth.errors import InputError
from cellsynth.formats.ctc import write_ctc
from cellsynth.formats.lineage import Lineage, Tracklet
from cellsynth.presets.bundle import read_bundle
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.training import loop
from cellsynth.training.checkpoint import load_checkpoint
from cellsynth.training.loop import Trainer
from cellsynth.training.stepping import Length
from cellsynth.training.team import Team, joined

STEPS = 12
HALF = 6
RATE = 2e-3
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two GPUs here")

# All that two processes must show, in one start of them; what they find goes to files.
SCRIPT = """
import sys
from pathlib import Path
import torch
from cellsynth.errors import TeamError
from cellsynth.presets.models import FieldSpec
from cellsynth.presets.recipe import Recipe
from cellsynth.training import loop, stepping
from cellsynth.training.points import PointPool
from cellsynth.training.team import joined

torch.set_num_threads(1)
points, folder, spec, recipe, truncation, device, steps, half = sys.argv[1:]
folder, steps, half = Path(folder), int(steps), int(half)
spec, adam = FieldSpec.model_validate_json(spec), Recipe.model_validate_json(recipe)


class Stopped(Exception):
    pass


def trainer(team, recipe=adam, length=stepping.Length(steps=steps)):
    pool = PointPool(Path(points), recipe, 4, float(truncation))
    return loop.Trainer(spec, recipe, pool, length, seed=0, data="spheres", team=team)


def stop_at(step):
    def on_step(report):
        if report.step == step:
            raise Stopped
    return on_step


def fail():
    raise Stopped


with joined(device) as team:
    def write(name, trained):
        state = {name: tensor.detach().cpu() for name, tensor in trained._named()}
        state["errors"] = trained._losses
        torch.save(state, folder / f"{name}-{team.rank}.pt")

    whole = trainer(team)
    whole.run(folder / "whole")
    write("whole", whole)

    soap = trainer(team, adam.model_copy(update={"optimiser": "soap", "average": 0.9}))
    soap.run()
    write("soap", soap)

    few = trainer(team, adam.model_copy(update={"frames_per_step": 1}))
    few.run()
    write("few", few)

    stopped = trainer(team)
    try:
        stopped.run(folder / "of-two", stop_at(half))
    except Stopped:
        pass

    resumed = trainer(team)
    resumed.load(folder / "of-one")
    resumed.run()
    write("resumed", resumed)

    by_clock = trainer(team, length=stepping.Length(budget_s=0.3))
    by_clock.run()
    write("by_clock", by_clock)
    (folder / f"clock-{team.rank}").write_text(f"{by_clock.step} {by_clock.seconds!r}")

    assert team.first_does(lambda: (folder / "done").touch())
    assert (folder / "done").exists()
    try:
        went_well = team.first_does(fail)
    except Stopped:
        went_well = None
    assert went_well is (None if team.leads else False), went_well

    # One fails, the other does not wait for it, and what it has written is whole.
    stepping.CHECKPOINT_S = 0.0
    left = trainer(team, length=stepping.Length(steps=100000))
    try:
        left.run(folder / "left", None if team.leads else stop_at(half))
    except TeamError as error:
        (folder / "lost").write_text(f"{left.step} {error}")
        raise
"""


def torchrun(*arguments: object, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Two processes of one thread each."""
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone"]
    running = subprocess.Popen(
        [*command, "--nproc-per-node", "2", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        told, errors = running.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        # Killed at once it would leave its two behind.
        running.terminate()
        told, errors = running.communicate()
    return subprocess.CompletedProcess(command, running.returncode, told, errors)


@pytest.fixture(scope="module")
def adam(recipe) -> Recipe:
    """SOAP turns rounding into steps where a gradient is nothing; Adam does so hardly."""
    return recipe.model_copy(update={"optimiser": "adam", "learning_rate": RATE})


def alone(spec: FieldSpec, recipe: Recipe, pool, device: str = "cpu") -> Trainer:
    team = Team(device=device)
    return Trainer(spec, recipe, pool, Length(steps=STEPS), seed=0, data="spheres", team=team)


class StoppedError(Exception):
    pass


def stop_halfway(report: loop.Report) -> None:
    if report.step == HALF:
        raise StoppedError


def state(trainer: Trainer) -> dict[str, torch.Tensor]:
    found = {name: tensor.detach().cpu().clone() for name, tensor in trainer._named()}
    return found | {"errors": trainer._losses.clone()}


def assert_near(
    a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], share: float = 0.02
) -> None:
    """Apart by no more than a share of a step of one parameter."""
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        apart = float((tensor - b[name]).abs().max())
        assert apart < share * RATE, f"{name} differs by {apart}"


def run_script(tmp_path: Path, spec, adam, pool, pool_path, store, device: str):
    """What both processes left in ``tmp_path``, where a checkpoint of one process lay."""
    first = alone(spec, adam, pool)
    with pytest.raises(StoppedError):
        first.run(tmp_path / "of-one", stop_halfway)
    (tmp_path / "script.py").write_text(SCRIPT)
    ended = torchrun(
        tmp_path / "script.py", pool_path, tmp_path, spec.model_dump_json(),
        adam.model_dump_json(), repr(store.truncation), device, STEPS, HALF,
    )  # fmt: skip
    assert (tmp_path / "clock-1").exists(), ended.stderr
    return ended


@pytest.fixture(scope="module")
def two(spec, adam, pool, pool_path, sphere_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return folder, run_script(folder, spec, adam, pool, pool_path, sphere_store, "cpu")


def read(folder: Path, name: str) -> list[dict[str, torch.Tensor]]:
    return [torch.load(folder / f"{name}-{rank}.pt") for rank in (0, 1)]


@pytest.mark.parametrize("name", ["whole", "soap", "few", "resumed", "by_clock"])
def test_all_processes_hold_the_same_parameters(two, name):
    first, second = read(two[0], name)
    for key, tensor in first.items():
        assert torch.equal(tensor, second[key]), key


def test_two_processes_train_what_one_trains(two, spec, adam, pool):
    one = alone(spec, adam, pool)
    before = state(one)
    one.run()
    whole, _ = read(two[0], "whole")
    assert_near(whole, state(one))
    # Little, against how far every parameter went.
    for name in before.keys() - {"errors"}:
        assert float((before[name] - whole[name]).abs().max()) > RATE, name


def test_a_step_of_fewer_frames_than_processes(two, spec, adam, pool):
    one = alone(spec, adam.model_copy(update={"frames_per_step": 1}), pool)
    one.run()
    assert_near(read(two[0], "few")[0], state(one))


def test_a_training_goes_on_with_another_number_of_processes(two, spec, adam, pool):
    whole = alone(spec, adam, pool)
    whole.run()
    # One began, two went on.
    assert_near(read(two[0], "resumed")[0], state(whole))
    # Two began, one goes on.
    resumed = alone(spec, adam, pool)
    resumed.load(two[0] / "of-two")
    assert resumed.step == HALF
    resumed.run()
    assert_near(state(resumed), state(whole))


def test_the_clock_is_the_first_one_s(two):
    first, second = ((two[0] / f"clock-{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert float(first.split()[1]) >= 0.3


def test_one_that_fails_ends_all_and_the_checkpoint_is_whole(two):
    folder, ended = two
    assert ended.returncode != 0
    assert "Stopped" in ended.stderr
    tensors, progress = load_checkpoint(folder / "left")
    assert HALF - 1 <= progress.step <= HALF
    assert all(torch.isfinite(tensor).all() for tensor in tensors.values())
    # torchrun may be quicker to end the first than the first to notice.
    if (folder / "lost").exists():
        assert (
            f"{HALF} torchrun: another process of this training is gone"
            in (folder / "lost").read_text()
        )


def test_train_preset_on_two_processes_writes_one_preset(tmp_path):
    zyx = np.indices((24, 24, 24)) - 11.5
    for i in (1, 2):
        frames = [(np.linalg.norm(zyx, axis=0) < 5 + i + t).astype(np.uint16) for t in range(2)]
        write_ctc(
            tmp_path / "cells", f"0{i}", frames, Lineage((Tracklet(1, 0, 1),)),
            voxel_size_um=(1.0, 1.0, 1.0), frame_interval_s=60.0,
        )  # fmt: skip
    (tmp_path / "recipe.toml").write_text(
        "pool_points = 2048\nframes_per_step = 8\npoints_per_frame = 32\n"
    )
    (tmp_path / "field.toml").write_text(
        "hidden_layers = 2\nwidth = 16\nlatent_dim = 2\nlatent_layers = [1]\n"
    )
    ended = torchrun(
        "-m", "cellsynth", "train-preset", tmp_path / "cells", "--name", "balls", "--steps", 20,
        "--recipe", tmp_path / "recipe.toml", "--field", tmp_path / "field.toml",
        "--out", tmp_path / "balls", "--device", "cpu",
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("wrote preset balls") == 1, ended.stdout
    assert ended.stdout.count("DSC, mean") == 1
    assert read_bundle(tmp_path / "balls").preset.training.steps == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "balls", "cells", "field.toml", "recipe.toml",
    ]  # fmt: skip


def test_alone_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as team:
        assert team == Team(rank=0, size=1, device="cpu")
        assert team.leads
        tensor = torch.tensor([1.0, 2.0])
        team.sum_([tensor])
        assert tensor.tolist() == [1, 2]
        assert team.agree(0.1) == 0.1
        team.wait()
        done = []
        assert team.first_does(lambda: done.append(1))
        assert done == [1]
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is '0'"),
        ({"WORLD_SIZE": "2"}, "RANK is None; start them with torchrun, or unset WORLD_SIZE"),
        ({"WORLD_SIZE": "2", "RANK": "1"}, "LOCAL_RANK is None"),
        ({"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'"),
    ],
)
def test_an_environment_that_is_not_torchrun_s(monkeypatch, environment, message):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=message), joined("cpu"):
        pass


def test_more_processes_than_gpus(monkeypatch):
    for name, value in (("WORLD_SIZE", "3"), ("RANK", "2"), ("LOCAL_RANK", "2")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    message = "process 2 of this machine has no GPU for itself, there are 2; start no more"
    with pytest.raises(InputError, match=message), joined("cuda"):
        pass


def test_a_gpu_multiplies_in_tf32_and_nothing_else_does():
    before = torch.get_float32_matmul_precision()
    with loop._fast_products(torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == before
    with loop._fast_products(torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"
        assert not torch.is_autocast_enabled("cuda")
    assert torch.get_float32_matmul_precision() == before


@gpu
def test_a_gpu_trains_what_the_cpu_trains(spec, adam, pool):
    cpu, cuda = alone(spec, adam, pool), alone(spec, adam, pool, "cuda")
    cpu.run()
    cuda.run()
    assert all(tensor.is_cuda for _, tensor in cuda._named())
    # Factors of products have 11 bits there.
    assert_near(state(cuda), state(cpu), share=2.0)


@gpu
@pytest.mark.parametrize("optimiser", ["soap", "adam"])
def test_a_training_moves_to_a_gpu_and_back(spec, adam, pool, tmp_path, optimiser):
    recipe = adam.model_copy(update={"optimiser": optimiser, "average": 0.9})
    begun = alone(spec, recipe, pool)
    with pytest.raises(StoppedError):
        begun.run(tmp_path / "c", stop_halfway)
    moved = alone(spec, recipe, pool, "cuda")
    moved.load(tmp_path / "c")
    moved.run(tmp_path / "c")
    for states in moved._optimiser.state.values():
        for name, tensor in states.items():
            assert tensor.is_cuda == (name != "step"), name
    assert next(moved.averaged().parameters()).is_cuda
    back = alone(spec, recipe, pool)
    back.load(tmp_path / "c")
    assert back.step == STEPS
    for name, tensor in state(back).items():
        assert torch.equal(tensor, state(moved)[name]), name


@gpus
def test_two_gpus(spec, adam, pool, pool_path, sphere_store, tmp_path):
    run_script(tmp_path, spec, adam, pool, pool_path, sphere_store, "cuda")
    one = alone(spec, adam, pool, "cuda")
    one.run()
    first, second = read(tmp_path, "whole")
    assert_near(first, second, share=1e-9)
    assert_near(first, state(one), share=2.0)
