"""Options of the plugin: what `check` says about them, without torch or DeepSpeed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import RecipeError
from stoker.testing import tiny_recipe
from stoker_plugins.zero import ZeroConfig
from stoker_plugins.zero.checks import option_problems
from stoker_plugins.zero.settings import deepspeed_settings


def problems(**options: Any) -> dict[str, str]:
    found = option_problems(ZeroConfig(**options))
    return {
        problem.key.removeprefix("plugins.zero."): f"{problem.message} {problem.hint}"
        for problem in found
    }


def test_good_options_have_no_problem(tmp_path: Path) -> None:
    assert problems() == {}
    assert problems(stage=3, offload_optimizer="nvme", nvme_path=tmp_path, config={"aio": {}}) == {}


@pytest.mark.parametrize(
    ("options", "key", "words"),
    [
        ({"stage": 2, "offload_parameters": "cpu"}, "offload_parameters", "needs stage 3, not 2"),
        ({"stage": 3, "offload_optimizer": "nvme"}, "nvme_path", "needs a directory"),
        ({"stage": 2, "nvme_path": "."}, "nvme_path", "nothing is offloaded"),
        (
            {"stage": 3, "offload_optimizer": "nvme", "nvme_path": "/no/such/place"},
            "nvme_path",
            "does not exist",
        ),
        (
            {"stage": 3, "offload_optimizer": "nvme", "nvme_path": __file__},
            "nvme_path",
            "is no directory",
        ),
        ({"config": {"gradient_clipping": 1.0}}, "config.gradient_clipping", "train.max_grad_norm"),
        ({"config": {"bf16": {"enabled": True}}}, "config.bf16", "train.precision"),
        ({"config": {"train_batch_size": 8}}, "config.train_batch_size", "train.batch_size"),
        ({"config": {"optimizer": {}}}, "config.optimizer", "said twice"),
        ({"config": {"step_per_print": 1}}, "config.step_per_print", "Did you mean 'steps_per_print'?"),
        (
            {"config": {"zero_optimization": {"stage": 2}}},
            "config.zero_optimization.stage",
            "plugins.zero.stage",
        ),
        (
            {"config": {"zero_optimization": {"round_robin_gradient": True}}},
            "config.zero_optimization.round_robin_gradient",
            "Did you mean 'round_robin_gradients'?",
        ),
        ({"config": {"zero_optimization": 3}}, "config.zero_optimization", "must be a table"),
    ],
    ids=lambda value: None if isinstance(value, dict) else str(value)[:30],
)
def test_a_contradiction_names_both_sides(options: dict[str, Any], key: str, words: str) -> None:
    found = problems(**options)
    assert words in found[key]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("{stage=4}", "1, 2 or 3"),
        ('{stage=2, offload_optimizer="nvme"}', "stage 3"),
    ],
)
def test_check_refuses_what_zero_does_not_have(tmp_path: Path, table: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        tiny_recipe(tmp_path, [f"plugins.zero={table}"])


@pytest.mark.parametrize("precision", ["bf16", "bf16_fp32_states", "fp16_mixed"])
def test_precisions_that_deepspeed_keeps_otherwise_are_refused(tmp_path: Path, precision: str) -> None:
    with pytest.raises(RecipeError, match="bf16_mixed"):
        tiny_recipe(tmp_path, ["plugins.zero={stage=2}", f'train.precision="{precision}"'])


def test_every_option_reaches_deepspeed() -> None:
    from stoker.train.precision import REGIMES

    config = ZeroConfig(stage=3, offload_optimizer="cpu", offload_parameters="cpu", config={"aio": {}})
    settings = deepspeed_settings(
        config, REGIMES["bf16_mixed"], micro_batch_size=2, largest_part_elements=7, swap_folder=None
    )
    zero = settings["zero_optimization"]
    assert settings["aio"] == {}
    assert settings["bf16"]["enabled"]
    assert zero["sub_group_size"] == config.sub_group_elements
    assert zero["offload_param"]["buffer_size"] == 7
    assert zero["offload_param"]["max_in_cpu"] == 0
    assert zero["offload_optimizer"]["buffer_count"] == 4
