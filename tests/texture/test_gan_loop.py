"""The loop: it learns, it resumes to the very same steps, it freezes what it must."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pairs_data import write_pairs
from safetensors.torch import save_file

from cellsynth.errors import InputError
from cellsynth.presets.texture import GeneratorSpec, TextureRecipe
from cellsynth.texture.gan_loop import GanReport, GanTrainer, rate_factor
from cellsynth.texture.losses import Perceptual, fine
from cellsynth.texture.networks import FrozenNorm
from cellsynth.texture.pairs import ConditionSettings, PairStore, build_store, open_pairs
from cellsynth.texture.sheet import sheet_png, write_sheet
from cellsynth.training import stepping
from cellsynth.training.stepping import Length

SPEC = GeneratorSpec(channels=4, downsamplings=1, blocks=1)
RECIPE = TextureRecipe(crop=32, discriminator_channels=4, scales=2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PairStore:
    folder = tmp_path_factory.mktemp("pairs")
    source = open_pairs(write_pairs(folder / "data"), voxel_size_um=(1, 1, 1))
    settings = ConditionSettings(reach_um=6, grain_um=4, grain_octaves=2, seed=0)
    return build_store(folder / "store", source, settings)


def trainer(store: PairStore, steps: int = 8, **changes: object) -> GanTrainer:
    given = {
        "spec": SPEC,
        "recipe": RECIPE,
        "length": Length(steps=steps),
        "inputs": 5,
        "seed": 3,
        "data": "discs",
        **changes,
    }
    intensities = store.histogram().intensities()
    return GanTrainer(store=store, intensities=intensities, **given)  # type: ignore[arg-type]


def state(of: GanTrainer) -> dict[str, torch.Tensor]:
    return dict(of._named())


def stopped_and_resumed(store: PairStore, path: Path, at: int, **changes: object) -> GanTrainer:
    class StoppedError(Exception):
        pass

    def stop(report: GanReport) -> None:
        if report.step == at:
            raise StoppedError

    with pytest.raises(StoppedError):
        trainer(store, **changes).run(path, stop)
    resumed = trainer(store, **changes)
    resumed.load(path)
    assert resumed.step == at
    resumed.run()
    return resumed


ENHANCED = SPEC.model_copy(update={"enhancer": True, "enhancer_blocks": 1})


@pytest.mark.parametrize("at", [2, 6])
@pytest.mark.parametrize("spec", [SPEC, ENHANCED])
def test_a_resumed_training_takes_the_very_same_steps(
    store: PairStore, tmp_path: Path, at: int, spec: GeneratorSpec
) -> None:
    whole = trainer(store, spec=spec)
    whole.run()
    resumed = stopped_and_resumed(store, tmp_path / "c.safetensors", at, spec=spec)
    assert whole.step == resumed.step == 8
    for name, tensor in state(whole).items():
        assert torch.equal(tensor, state(resumed)[name]), name


@pytest.mark.parametrize("at", [2, 6])
def test_ctrl_c_within_a_step_leaves_no_half_of_it(
    store: PairStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """The generator's pass is done, and has changed what normalisation goes by."""
    monkeypatch.setattr(stepping, "CHECKPOINT_S", -1.0)
    whole, broken, resumed = (trainer(store) for _ in range(3))
    whole.run()

    def interrupt(*_: object) -> None:
        if broken.step == at:
            raise KeyboardInterrupt

    broken.judges.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        broken.run(tmp_path / "c.safetensors")
    resumed.load(tmp_path / "c.safetensors")
    assert resumed.step == at
    resumed.run()
    for name, tensor in state(whole).items():
        assert torch.equal(tensor, state(resumed)[name]), name


def test_a_checkpoint_of_another_training_is_refused(store: PairStore, tmp_path: Path) -> None:
    trainer(store).save(tmp_path / "c.safetensors")
    for changes in (
        {"seed": 4},
        {"data": "others"},
        {"steps": 9},
        {"recipe": RECIPE.model_copy(update={"l1_weight": 1.0})},
    ):
        with pytest.raises(InputError, match="belongs to a training with other data or settings"):
            trainer(store, **changes).load(tmp_path / "c.safetensors")  # type: ignore[arg-type]


def test_a_checkpoint_with_another_perceptual_term_is_refused(
    store: PairStore, tmp_path: Path
) -> None:
    def term(seed: int) -> Perceptual:
        weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
        state = {"features.0.weight": weight, "features.0.bias": torch.zeros(4)}
        save_file(state, tmp_path / "vgg.safetensors")
        return Perceptual(tmp_path / "vgg.safetensors")

    path = tmp_path / "c.safetensors"
    trainer(store, perceptual=term(0)).save(path)
    trainer(store, perceptual=term(0)).load(path)
    for other in (term(1), None):
        with pytest.raises(InputError, match="belongs to a training with other data or settings"):
            trainer(store, perceptual=other).load(path)


def test_statistics_are_frozen_for_the_last_part(store: PairStore) -> None:
    learner = trainer(store, steps=10)
    seen = []

    def look(report: GanReport) -> None:
        norm = next(m for m in learner.generator.modules() if isinstance(m, FrozenNorm))
        seen.append((norm.frozen, norm.mean.clone()))

    learner.run(on_step=look)
    assert [frozen for frozen, _ in seen] == [False] * 6 + [True] * 4
    assert not torch.equal(seen[4][1], seen[5][1])
    assert torch.equal(seen[5][1], seen[9][1])
    norms = [m for m in learner.averaged().modules() if isinstance(m, FrozenNorm)]
    assert all(norm.frozen for norm in norms)
    kernels = [p for p in learner.averaged().parameters() if p.ndim > 1]
    assert all(torch.equal(kernel, kernel.half().float()) for kernel in kernels)
    assert torch.equal(norms[0].mean, seen[9][1])


def test_it_learns_that_cells_are_bright(store: PairStore) -> None:
    learner = trainer(store, steps=120)
    told: list[GanReport] = []
    learner.run(on_step=told.append)
    assert set(told[0].losses) == {"judges", "fooled", "features", "l1", "noise"}
    assert told[-1].share == 1
    conditions, real = learner.example(0)
    with torch.no_grad():
        made = learner.averaged()(conditions)
    inside = conditions[:, :1] > 0
    assert made[inside].mean() > made[~inside].mean() + 0.5
    assert (made[inside].mean() - real[inside].mean()).abs() < 0.3


def noise_share(learner: GanTrainer) -> float:
    """How strong the generator's noise is, of the images'."""
    conditions, real = learner.example(0)
    with torch.no_grad():
        made, still = learner.averaged().noisy(conditions)
    assert still is not None
    return float(fine(made - still).std() / fine(real).std())


def test_noise_begins_as_strong_as_the_images_and_comes_back_to_that(store: PairStore) -> None:
    first = trainer(store)
    assert abs(noise_share(first) - 1) < 0.3
    start = first.averaged().state_dict()
    start["head.strength.bias"] -= 2
    shares = []
    for weight in (0.0, 100.0):
        changes = {"noise_weight": weight, "learning_rate": 0.01, "average": 0.9}
        learner = trainer(store, steps=120, start=start, recipe=RECIPE.model_copy(update=changes))
        assert noise_share(learner) < 0.4
        learner.run()
        shares.append(noise_share(learner))
    assert abs(shares[1] - 1) < 0.3, shares
    assert abs(shares[0] - 1) > 0.4, shares


def test_a_generator_without_noise_has_no_such_term(store: PairStore) -> None:
    learner = trainer(store, spec=SPEC.model_copy(update={"noise": False}), inputs=4, steps=1)
    told: list[GanReport] = []
    learner.run(on_step=told.append)
    assert set(told[0].losses) == {"judges", "fooled", "features", "l1"}


def test_a_crop_of_background_does_no_harm(store: PairStore) -> None:
    # Constant conditions have no variance to divide by.
    learner = trainer(store, steps=30, recipe=RECIPE.model_copy(update={"cell_share": 0.0}))
    learner.run()
    assert all(p.isfinite().all() for p in learner.generator.parameters())
    blank = torch.zeros(1, 5, 32, 32)
    assert learner.averaged()(blank).isfinite().all()


def test_training_on_starts_frozen_from_given_weights(store: PairStore) -> None:
    first = trainer(store)
    first.run()
    start = first.averaged().state_dict()
    second = trainer(store, start=start)
    assert all(m.frozen for m in second.generator.modules() if isinstance(m, FrozenNorm))
    assert all(torch.equal(t, start[n]) for n, t in second.averaged().state_dict().items())
    second.run()
    assert all(torch.equal(t, start[n]) for n, t in second.averaged().named_buffers())
    assert not torch.equal(second.averaged().head.image.weight, start["head.image.weight"])


def test_discriminators_see_the_grain_only_where_told(store: PairStore) -> None:
    assert trainer(store)._judged == [0, 1, 2]
    seeing = RECIPE.model_copy(update={"judged_grain": True})
    assert trainer(store, recipe=seeing)._judged == [0, 1, 2, 3]
    assert trainer(store, inputs=13)._judged == [0, 1, 2, 4, 5, 6, 8, 9, 10]


def test_rates_fall_at_the_end() -> None:
    assert [rate_factor(share, 0.5) for share in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]
    assert rate_factor(1.0, 0.0) == 1


def test_a_sheet_is_a_picture(store: PairStore, tmp_path: Path) -> None:
    learner = trainer(store)
    seen, real = (x[0].numpy() for x in learner.example(0))
    write_sheet(tmp_path / "sheet.png", [(seen, real[0], real[0])] * 2)
    from matplotlib.image import imread

    picture = imread(tmp_path / "sheet.png")
    assert picture.shape[:2] == (2 * 32 + 4, 3 * 32 + 8)
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    assert sheet_png([(seen, real[0], real[0])]) == sheet_png([(seen, real[0], real[0])])
