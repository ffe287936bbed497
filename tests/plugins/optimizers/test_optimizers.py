"""The optimizers a recipe can name: each trains, keeps to the recipe's rates, and survives a resume."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stoker.checkpoint.manifest import read_manifest
from stoker.errors import ExitCode, MissingRequirementError, RecipeError, UsageError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.recipe.loading import inspect_recipe
from stoker.run.directory import RunDirectory
from stoker.testing import Fit, rewrite_manifest, tiny_fit, tiny_recipe
from stoker.train.precision import REGIMES
from stoker_plugins.optimizers import OptimizersConfig
from stoker_plugins.optimizers.making import make
from stoker_plugins.optimizers.names import OPTIONS

WORK = Path(__file__).parents[2] / "fit_work.py"

ON_CPU = {
    "adamw": {},
    "adamw_8bit": {"min_8bit_size": 512},
    "adafactor": {},
    "sgd": {},
    "lion": {},
    "lion_8bit": {"min_8bit_size": 512},
}
"""What runs without CUDA, with options that let the tiny model's matrices be kept in 8 bits."""
LEARNING_RATES = {"adafactor": 0.1, "sgd": 0.1, "lion": 2e-3, "lion_8bit": 2e-3}
NOT_PORTABLE = {"adamw_8bit", "lion_8bit", "adafactor"}
PAGED = [name for name in OPTIONS if name not in ON_CPU]


def table(name: str, **options: Any) -> dict[str, Any]:
    return {"name": name, **ON_CPU.get(name, {}), **options}


def settings(name: str, *more: str) -> list[str]:
    rate = LEARNING_RATES.get(name, 1e-2)
    return ["train.schedule=constant", f"train.learning_rate={rate}", *more]


def train(folder: Path, name: str, *more: str, directory: Any = None, **plugins: Any) -> Fit:
    plugins = {"optimizers": table(name), **plugins}
    return tiny_fit(folder, plugins, settings(name, *more), directory=directory)


def states(fit: Fit) -> dict[str, dict[str, Any]]:
    """The optimizer's states by parameter and kind."""
    engine = fit.run.engine
    return {name: dict(engine.optimizer.state[p]) for name, p in engine.trainable.items()}


@pytest.mark.parametrize("name", ON_CPU)
def test_each_lowers_the_loss(tmp_path: Path, name: str) -> None:
    fit = train(tmp_path, name, "train.steps=12")
    assert sum(fit.losses[-3:]) / 3 < fit.losses[0] - 0.5
    assert type(fit.run.engine.optimizer).__module__.split(".")[0] in ("torch", "bitsandbytes")


@pytest.mark.parametrize("name", ON_CPU)
def test_learning_rate_and_weight_decay_are_the_recipe_s(name: str) -> None:
    """Without gradients only the decay is left: learning rate x weight decay of each element."""
    for rate, expected in ((0.0, 2.0), (0.1, 2.0 * 0.95)):
        decaying, other = (nn.Parameter(torch.full((64, 64), 2.0)) for _ in range(2))
        groups = [
            {"params": [decaying], "weight_decay": 0.5},
            {"params": [other], "weight_decay": 0.0},
        ]
        optimizer = make(OptimizersConfig(**table(name)), groups, REGIMES["fp32"])
        for group in optimizer.param_groups:
            group["lr"] = rate
        for parameter in (decaying, other):
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        torch.testing.assert_close(decaying.detach(), torch.full((64, 64), expected))
        assert torch.equal(other.detach(), torch.full((64, 64), 2.0))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        (name, option, value)
        for name, options in OPTIONS.items()
        if name in ON_CPU
        for option, value in {
            "betas": (0.5, 0.6),
            "eps": 0.1,
            "momentum": 0.1,
            "nesterov": True,
            "beta2_decay": -0.3,
            "clipping_threshold": 1.5,
            "min_scale": 3.0,
            "min_8bit_size": 10**6,
        }.items()
        if option in options
    ],
)
def test_every_option_reaches_its_optimizer(name: str, option: str, value: Any) -> None:
    assert torch.equal(weights_after(name), weights_after(name))
    assert not torch.equal(weights_after(name), weights_after(name, **{option: value}))


def weights_after(name: str, **options: Any) -> Tensor:
    """After four steps with gradients that are the same in each call."""
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.ones(32, 64))
    groups = [{"params": [weight], "weight_decay": 0.0}]
    optimizer = make(OptimizersConfig(**table(name, **options)), groups, REGIMES["fp32"])
    for number in range(4):
        optimizer.param_groups[0]["lr"] = 0.1
        weight.grad = 10.0**-number * torch.randn(32, 64, generator=generator)
        optimizer.step()
    return weight.detach()


def test_adamw_without_options_is_the_default_to_the_last_bit(tmp_path: Path) -> None:
    for precision in ("fp32", "bf16_fp32_states"):
        more = ["train.steps=4", f"train.precision={precision}"]
        plain = tiny_fit(tmp_path, {}, settings("adamw", *more))
        assert train(tmp_path, "adamw", *more).losses == plain.losses


def test_options_come_from_the_recipe(tmp_path: Path) -> None:
    plugins = {"optimizers": table("adamw", betas=[0.8, 0.95], eps=1e-6)}
    fit = tiny_fit(tmp_path, plugins, ["train.weight_decay=0.1"])
    groups = fit.run.engine.optimizer.param_groups
    assert [(group["betas"], group["eps"]) for group in groups] == 2 * [((0.8, 0.95), 1e-6)]
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]


@pytest.mark.parametrize("name", ON_CPU)
def test_a_run_that_goes_on_is_the_same_run_to_the_last_bit(tmp_path: Path, name: str) -> None:
    whole = train(tmp_path, name, "train.steps=6", "train.precision=bf16_mixed")
    half = train(tmp_path, name, "train.steps=3", "train.precision=bf16_mixed")
    rest = train(tmp_path, name, "train.steps=6", "train.precision=bf16_mixed", directory=half.directory)
    losses = {event["step"]: event["loss"] for event in rest.of_kind("step")}
    assert list(losses.values()) == whole.losses
    restored, expected = states(rest), states(whole)
    assert restored.keys() == expected.keys()
    for parameter, kinds in expected.items():
        for kind, value in kinds.items():
            found = restored[parameter][kind]
            assert type(found) is type(value)
            assert torch.equal(torch.as_tensor(found), torch.as_tensor(value)), (parameter, kind)


@pytest.mark.parametrize("name", ON_CPU)
def test_states_that_belong_to_no_single_elements_are_marked(tmp_path: Path, name: str) -> None:
    fit = train(tmp_path, name, "train.steps=1")
    manifest = read_manifest(fit.outcome.checkpoint)
    assert manifest.portable == (name not in NOT_PORTABLE)
    assert manifest.engine_class == "DefaultEngine"


@pytest.mark.parametrize("name", ["adamw", "adamw_8bit"])
def test_states_move_to_another_engine_only_where_they_are_portable(tmp_path: Path, name: str) -> None:
    first = train(tmp_path, name, "train.steps=2")
    rewrite_manifest(
        first.outcome.checkpoint, lambda values: values.update(engine_class="AnotherEngine")
    )
    if name == "adamw":
        assert len(train(tmp_path, name, "train.steps=3", directory=first.directory).losses) == 3
        return
    with pytest.raises(UsageError, match=r"cannot move from AnotherEngine to DefaultEngine") as caught:
        train(tmp_path, name, "train.steps=3", directory=first.directory)
    assert "--fresh" in caught.value.hint


def test_states_in_8_bits_move_between_numbers_of_ranks_whose_weights_are_whole(
    tmp_path: Path, rank_pool: Callable[[int], Any]
) -> None:
    whole = train(tmp_path, "adamw_8bit", "train.steps=6")
    half = train(tmp_path, "adamw_8bit", "train.steps=3")
    results = rank_pool(2).call(
        f"{WORK.as_posix()}:fit",
        folder=str(tmp_path),
        plugins={"optimizers": table("adamw_8bit")},
        overrides=settings("adamw_8bit", "train.steps=6"),
        directory=str(half.directory.path),
    )
    assert results[0]["losses"] == pytest.approx(whole.losses, rel=1e-4)


@pytest.mark.parametrize(
    ("before", "after"), [("adamw", "sgd"), ("sgd", "adamw"), ("adamw_8bit", "lion_8bit")]
)
def test_the_states_of_one_optimizer_are_refused_by_another(
    tmp_path: Path, before: str, after: str
) -> None:
    first = train(tmp_path, before, "train.steps=2")
    with pytest.raises(UsageError, match="holds other optimizer states than"):
        train(tmp_path, after, "train.steps=3", directory=first.directory)


class PoisonsTheFirstStep(Plugin[PluginConfig]):
    """Makes a gradient infinite, and keeps a weight after every step."""

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.weights: list[Tensor] = []

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        if state.step == 1:
            next(state.model.parameters()).grad.fill_(torch.inf)

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        self.weights.append(next(state.model.parameters()).detach().clone())


@pytest.mark.parametrize("name", ON_CPU)
def test_a_first_step_that_is_skipped_leaves_no_trace(tmp_path: Path, name: str) -> None:
    poison = PoisonsTheFirstStep()
    fit = train(tmp_path, name, "train.steps=12", "train.precision=fp16_mixed", poison=poison)
    first, second, *_ = poison.weights
    assert not torch.equal(first, second)
    assert (second - first).abs().max() < 1
    assert fit.losses[0] == fit.losses[0]
    assert sum(fit.losses[-3:]) / 3 < fit.losses[0] - 0.4
    assert read_manifest(fit.outcome.checkpoint).optimizer_steps == 11


BYTES = {
    "adamw": 8.0,
    # A byte for each of two moments, and of each 256 elements the two scales.
    "adamw_8bit": 2 + 2 * 4 / 256,
    "adafactor": 4 * (256 + 512) / (256 * 512),
    "sgd": 4.0,
    "lion": 4.0,
    "lion_8bit": 1 + 4 / 256,
}


@pytest.mark.parametrize("name", ON_CPU)
def test_states_take_the_bytes_that_are_documented(name: str) -> None:
    weight = nn.Parameter(torch.ones(256, 512))
    groups = [{"params": [weight], "weight_decay": 0.0}]
    optimizer = make(OptimizersConfig(**table(name)), groups, REGIMES["fp32"])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    # All parameters share the tables of the 8-bit levels.
    kept = [
        value.nbytes
        for kind, value in optimizer.state[weight].items()
        if isinstance(value, Tensor) and value.numel() > 1 and "qmap" not in kind
    ]
    assert sum(kept) / weight.numel() == BYTES[name]


@pytest.mark.parametrize("name", PAGED)
def test_paged_optimizers_are_made_with_their_options(name: str) -> None:
    groups = [{"params": [nn.Parameter(torch.ones(4, 4))], "weight_decay": 0.1}]
    optimizer: Any = make(OptimizersConfig(name=name, betas=(0.5, 0.6)), groups, REGIMES["fp32"])
    assert optimizer.is_paged
    assert optimizer.args.optim_bits == (8 if name.endswith("8bit") else 32)
    assert [(group["betas"], group["lr"]) for group in optimizer.param_groups] == [((0.5, 0.6), 0.0)]


@pytest.mark.parametrize("name", PAGED)
@pytest.mark.usefixtures("no_gpu")
def test_paged_optimizers_need_cuda_and_say_so_before_the_model_is_made(
    tmp_path: Path, name: str
) -> None:
    made: list[str] = []

    class Watches(Plugin[PluginConfig]):
        @hookimpl
        def collect_model_kwargs(self) -> dict[str, Any]:
            made.append("model")
            return {}

    with pytest.raises(MissingRequirementError, match="needs a CUDA device") as caught:
        train(tmp_path, name, watches=Watches(PluginConfig()))
    assert caught.value.exit_code == ExitCode.ENVIRONMENT
    assert repr(name.removeprefix("paged_")) in caught.value.hint
    assert made == []


def test_without_bitsandbytes_its_optimizers_say_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "stoker_plugins.optimizers.find_spec",
        lambda name: None if name == "bitsandbytes" else real(name),
    )
    with pytest.raises(MissingRequirementError, match="bitsandbytes") as caught:
        train(tmp_path, "lion")
    assert "stoker[qlora]" in caught.value.hint
    assert len(train(tmp_path, "sgd").losses) == 3


def problems_of(folder: Path, plugins: dict[str, Any], *overrides: str) -> list[tuple[str, str]]:
    with pytest.raises(RecipeError) as caught:
        tiny_fit(folder, plugins, overrides)
    assert caught.value.exit_code == ExitCode.USAGE
    return [(problem.key, f"{problem.message} {problem.hint}") for problem in caught.value.problems]


def test_an_unknown_name_is_a_problem_with_the_nearest_one(tmp_path: Path) -> None:
    ((key, text),) = problems_of(tmp_path, {"optimizers": {"name": "adamw_8bits"}})
    assert key == "plugins.optimizers.name"
    assert "Did you mean 'adamw_8bit'?" in text


def test_an_option_of_another_optimizer_is_a_problem_that_names_who_takes_it(tmp_path: Path) -> None:
    plugins = {"optimizers": {"name": "adafactor", "momentum": 0.5, "eps": 1e-6}}
    (eps, momentum) = sorted(problems_of(tmp_path, plugins))
    assert momentum[0] == "plugins.optimizers.momentum"
    assert momentum[1].startswith("'adafactor' does not take it, but 'sgd' would.")
    assert "'adamw', 'adamw_8bit', 'paged_adamw' or 'paged_adamw_8bit'" in eps[1]


def test_looking_ahead_without_momentum_is_a_problem(tmp_path: Path) -> None:
    plugins = {"optimizers": {"name": "sgd", "momentum": 0.0, "nesterov": True}}
    ((key, _),) = problems_of(tmp_path, plugins)
    assert key == "plugins.optimizers.nesterov"


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("override", "code", "words"),
    [
        ("plugins.optimizers.name=adam", ExitCode.USAGE, 'expected "adamw", "adamw_8bit"'),
        ("plugins.qlora={}", ExitCode.USAGE, "QLoRA trains adapters, and a weight of 4 bits"),
        pytest.param(
            "plugins.optimizers.name=paged_adamw_8bit",
            ExitCode.ENVIRONMENT,
            "optimizer 'paged_adamw_8bit' needs a CUDA device",
        ),
    ],
)
def test_on_the_command_line_it_is_one_paragraph_and_the_right_code(
    tmp_path: Path, override: str, code: int, words: str
) -> None:
    tiny_recipe(tmp_path)
    command = [sys.executable, "-m", "stoker", "run", "tiny.toml", "--nproc", "1", "--set", override]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert words in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("name", [name for name in OPTIONS if name != "adamw"])
def test_only_adamw_has_float32_moments_beside_bfloat16_weights(tmp_path: Path, name: str) -> None:
    plugins = {"optimizers": {"name": name}}
    ((key, text),) = problems_of(tmp_path, plugins, "train.precision=bf16_fp32_states")
    assert key == "plugins.optimizers"
    assert f"optimizer '{name}' with precision 'bf16_fp32_states'" in text


ENGINES = {
    "fsdp": {"sgd"},
    "zero": {"sgd", "lion"},
}
"""What they take besides `adamw`."""
OFFLOADED = [
    {"fsdp": {"cpu_offload": True}},
    {"zero": {"stage": 2, "offload_optimizer": "cpu"}},
]


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_that_cut_tensors_refuse_what_needs_them_whole(
    tmp_path: Path, name: str, engine: str
) -> None:
    tiny_recipe(tmp_path)
    overrides = [f"plugins.optimizers.name={name}", f"plugins.{engine}.enabled=true"]
    _, problems = inspect_recipe(tmp_path / "tiny.toml", overrides)
    if name in {"adamw"} | ENGINES[engine]:
        assert problems == []
    else:
        (problem,) = problems
        assert problem.key == "plugins.optimizers"
        assert f"optimizer '{name}' with engine '{engine}-" in problem.message
        assert "'adamw'" in problem.hint


@pytest.mark.parametrize("plugins", OFFLOADED)
def test_only_adamw_is_offloaded(tmp_path: Path, plugins: dict[str, Any]) -> None:
    for name in ("sgd", "lion"):
        found = problems_of(tmp_path, {**plugins, "optimizers": {"name": name}})
        assert any("with offload 'cpu'" in text for _, text in found)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("sgd", {"fsdp": {"strategy": "FULL_SHARD"}}),
        ("sgd", {"zero": {"stage": 1}}),
        ("sgd", {"zero": {"stage": 3}}),
        ("lion", {"zero": {"stage": 2}}),
    ],
)
def test_what_belongs_to_single_elements_is_the_same_on_shards(
    tmp_path: Path, rank_pool: Callable[[int], Any], name: str, engine: dict[str, Any]
) -> None:
    whole = train(tmp_path / "one", name, "train.steps=6")
    pool, work = rank_pool(2), f"{WORK.as_posix()}:fit"
    arguments = {
        "folder": str(tmp_path / "two"),
        "plugins": {"optimizers": table(name), **engine},
        "overrides": settings(name, "train.steps=6"),
    }
    (tmp_path / "two").mkdir()
    sharded, _ = pool.call(work, **arguments)
    assert sharded["losses"] == pytest.approx(whole.losses, rel=1e-5)
    half, _ = pool.call(work, **{**arguments, "overrides": settings(name, "train.steps=3")})
    rest, _ = pool.call(work, **arguments, directory=half["directory"])
    assert rest["losses"] == sharded["losses"]
    half, _ = pool.call(work, **{**arguments, "overrides": settings(name, "train.steps=3")})
    alone = RunDirectory(Path(half["directory"]))
    moved = train(tmp_path / "two", name, "train.steps=6", directory=alone)
    assert moved.losses == pytest.approx(whole.losses, rel=1e-5)


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_adapters_are_trained_with_any_of_them(tmp_path: Path, name: str, precision: str) -> None:
    more = [f"train.precision={precision}", "train.steps=8"]
    fit = train(tmp_path, name, *more, lora={"rank": 2})
    assert sum(fit.losses[-3:]) / 3 < sum(fit.losses[:3]) / 3
