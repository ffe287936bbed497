"""FSDP on gloo ranks: every strategy trains like one process, and sharded like it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import RecipeError
from stoker.testing import tiny_recipe, write_tiny_model

FIT = f"{Path(__file__).parents[2] / 'fit_work.py'}:fit"
WORK = Path(__file__).with_name("fsdp_work.py").as_posix()

STRATEGIES = ("FULL_SHARD", "SHARD_GRAD_OP", "HYBRID_SHARD", "NO_SHARD")
METHODS: dict[str, dict[str, Any]] = {"full": {}, "lora": {"lora": {"rank": 4}}}
ODD = {"hidden_size": 40, "intermediate_size": 65, "tie_word_embeddings": False}
"""Rows of 40, 65 and 259 elements: neither 2 nor 3 divide them all."""

Pool = Callable[[int], Any]


def differences(found: list[float], expected: list[float]) -> float:
    """Largest relative difference."""
    return max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))


@pytest.fixture(scope="module")
def reference(rank_pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The default engine's run on one rank, once for each kind of run."""
    known: dict[str, Any] = {}

    def run(plugins: dict[str, Any], overrides: list[str], model: dict[str, Any] | None = None) -> Any:
        key = repr((plugins, overrides, model))
        if key not in known:
            folder = tmp_path_factory.mktemp("reference")
            if model:
                write_tiny_model(folder / "model", **model)
            (known[key],) = rank_pool(1).call(
                FIT, folder=str(folder), plugins=plugins, overrides=overrides
            )
        return known[key]

    return run


def fit(pool: Any, folder: Path, options: dict[str, Any], **arguments: Any) -> list[Any]:
    """A fit under fsdp on all ranks of a pool; all of them must have seen the same."""
    plugins = {"fsdp": options, **arguments.pop("plugins", {})}
    results: list[Any] = pool.call(FIT, folder=str(folder), plugins=plugins, **arguments)
    return results


# -- the same as one process ----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_losses_and_norms_equal_those_of_one_process(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path, strategy: str, method: str
) -> None:
    overrides = ["train.precision=fp32", "train.steps=4", "train.evaluate_every=2"]
    expected = reference(METHODS[method], overrides)
    results = fit(
        rank_pool(2), tmp_path, {"strategy": strategy}, plugins=METHODS[method], overrides=overrides
    )
    for result in results:
        assert differences(result["losses"], expected["losses"]) < 1e-5
        assert differences(result["norms"], expected["norms"]) < 1e-5
        assert differences(result["evaluations"], expected["evaluations"]) < 1e-5


@pytest.mark.parametrize("shard_size", [1, 2])
def test_hybrid_groups_of_any_size_train_the_same(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path, shard_size: int
) -> None:
    overrides = ["train.steps=3"]
    options = {"strategy": "HYBRID_SHARD", "shard_size": shard_size}
    result = fit(rank_pool(2), tmp_path, options, overrides=overrides)[0]
    expected = reference({}, overrides)
    assert differences(result["losses"], expected["losses"]) < 1e-5
    assert differences(result["norms"], expected["norms"]) < 1e-5


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strategy", ["FULL_SHARD", "NO_SHARD"])
def test_sizes_that_three_ranks_do_not_divide_and_untied_embeddings(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path, strategy: str, method: str
) -> None:
    overrides = ["train.steps=3"]
    expected = reference(METHODS[method], overrides, ODD)
    write_tiny_model(tmp_path / "model", **ODD)
    result = fit(
        rank_pool(3), tmp_path, {"strategy": strategy}, plugins=METHODS[method], overrides=overrides
    )[0]
    assert differences(result["losses"], expected["losses"]) < 1e-5
    assert differences(result["norms"], expected["norms"]) < 1e-5


BOUNDS = {"bf16": 2e-3, "bf16_fp32_states": 2e-3, "bf16_mixed": 5e-3}
"""Largest relative difference of losses; the default engine casts at other places in mixed precision."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("precision", BOUNDS)
def test_low_precision_stays_near_the_default_engine(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path, precision: str, method: str
) -> None:
    overrides = [f"train.precision={precision}", "train.steps=4"]
    plugins = METHODS[method] | {"activation_checkpointing": {}}
    expected = reference(METHODS[method], overrides)
    result = fit(rank_pool(2), tmp_path, {}, plugins=plugins, overrides=overrides)[0]
    assert differences(result["losses"], expected["losses"]) < BOUNDS[precision]
    assert differences(result["norms"], expected["norms"]) < 20 * BOUNDS[precision]


@pytest.mark.parametrize(
    "options",
    [
        {"reshard_after_forward": False},
        {"strategy": "SHARD_GRAD_OP", "reshard_after_forward": True},
        {"prefetch": 2},
        {"cpu_offload": True},
        {"cpu_offload": True, "pin_memory": False, "strategy": "NO_SHARD"},
        {"reduce_gradients": "last_micro_batch"},
        {"reduce_gradients": "last_micro_batch", "strategy": "HYBRID_SHARD", "shard_size": 1},
        {"block_class": "LlamaMLP"},
    ],
    ids=str,
)
def test_no_option_changes_what_is_computed(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path, options: dict[str, Any]
) -> None:
    """Two micro-batches on each rank."""
    overrides = ["train.steps=3", "train.batch_size=8"]
    expected = reference({}, overrides)
    result = fit(rank_pool(2), tmp_path, options, overrides=overrides)[0]
    assert differences(result["losses"], expected["losses"]) < 1e-5
    assert differences(result["norms"], expected["norms"]) < 1e-5


@pytest.mark.slow
def test_weights_may_stay_sharded_over_fewer_ranks_between_forward_and_backward(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path
) -> None:
    options = {"reshard_after_forward": 2}
    result = fit(rank_pool(4), tmp_path, options, overrides=["train.batch_size=8"])[0]
    expected = reference({}, ["train.batch_size=8"])
    assert differences(result["losses"], expected["losses"]) < 1e-5


def test_one_rank_shards_nothing_and_says_so(
    rank_pool: Pool, reference: Callable[..., Any], tmp_path: Path
) -> None:
    (result,) = fit(rank_pool(1), tmp_path, {})
    note = "fsdp: FULL_SHARD over one rank shards nothing: every rank holds the whole model."
    assert note in result["notes"]
    assert differences(result["losses"], reference({}, [])["losses"]) < 1e-5


# -- what is where ------------------------------------------------------------------------------


def measure(pool: Any, folder: Path, options: dict[str, Any], **arguments: Any) -> list[Any]:
    plugins = {"fsdp": options, **arguments.pop("plugins", {})}
    results: list[Any] = pool.call(f"{WORK}:measure", folder=str(folder), plugins=plugins, **arguments)
    return results


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_rank_holds_its_share_of_weights_gradients_and_states(
    rank_pool: Pool, tmp_path: Path, strategy: str
) -> None:
    alone = measure(rank_pool(1), tmp_path / "1", {"strategy": strategy})[0]["bytes"]
    ranks = measure(rank_pool(2), tmp_path / "2", {"strategy": strategy})
    share = 1.0 if strategy == "NO_SHARD" else 0.5
    assert alone["optimizer"] == 2 * alone["weights"] == 2 * alone["gradients"]
    for rank in ranks:
        for component, whole in alone.items():
            assert rank["bytes"][component] == pytest.approx(share * whole, rel=0.03)


def test_gradients_are_whole_only_where_they_are_reduced_last(rank_pool: Pool, tmp_path: Path) -> None:
    overrides = ["train.steps=1", "train.batch_size=8"]
    often, last = (
        measure(rank_pool(2), tmp_path / name, {"reduce_gradients": name}, overrides=overrides)[0]
        for name in ("every_micro_batch", "last_micro_batch")
    )
    assert often["between"][0] == pytest.approx(last["between"][0] / 2, rel=0.03)
    assert last["between"][1] == often["between"][1] == often["between"][0]


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_pieces_of_all_ranks_hold_every_element_once(
    rank_pool: Pool, tmp_path: Path, strategy: str, num_ranks: int
) -> None:
    write_tiny_model(tmp_path / "model", **ODD)
    results = measure(rank_pool(num_ranks), tmp_path, {"strategy": strategy})
    ranges: dict[tuple[str, str], list[tuple[int, int]]] = {}
    sizes: dict[tuple[str, str], int] = {}
    for name, kind, shape, start, stop, held in [p for r in results for p in r["pieces"]]:
        assert 0 <= start < stop
        assert held == stop - start
        ranges.setdefault((name, kind), []).append((start, stop))
        sizes[name, kind] = 1
        for length in shape:
            sizes[name, kind] *= length
    assert {kind for _, kind in ranges} == {"weight", "exp_avg", "exp_avg_sq"}
    for key, parts in ranges.items():
        ends = [0, *(stop for _, stop in sorted(parts))]
        assert [start for start, _ in sorted(parts)] == ends[:-1], key
        assert ends[-1] == sizes[key], key


def test_nothing_stays_gathered_after_an_evaluation(rank_pool: Pool, tmp_path: Path) -> None:
    for strategy in ("FULL_SHARD", "SHARD_GRAD_OP"):
        result = measure(rank_pool(2), tmp_path / strategy, {"strategy": strategy})[0]
        assert len(result["sharded"]) == len({name for name, *_ in result["pieces"]})


def parts(pool: Any, folder: Path, options: dict[str, Any]) -> Any:
    return pool.call(f"{WORK}:parts", folder=str(folder), options=options)[0]


def test_tied_embeddings_stay_with_the_root_and_untied_ones_are_parts(
    rank_pool: Pool, tmp_path: Path
) -> None:
    blocks = ["model.layers.0", "model.layers.1"]
    tied = parts(rank_pool(2), tmp_path / "tied", {})
    assert tied["parts"] == blocks
    assert tied["root"] == ["model.embed_tokens.weight", "model.norm.weight"]
    write_tiny_model(tmp_path / "untied" / "model", tie_word_embeddings=False)
    untied = parts(rank_pool(2), tmp_path / "untied", {})
    assert untied["parts"] == ["model.embed_tokens", *blocks, "lm_head"]
    assert untied["root"] == ["model.norm.weight"]


def test_the_block_class_and_the_offload_are_what_the_recipe_says(
    rank_pool: Pool, tmp_path: Path
) -> None:
    found = parts(rank_pool(2), tmp_path, {"block_class": "LlamaMLP", "cpu_offload": True})
    assert found["parts"] == ["model.layers.0.mlp", "model.layers.1.mlp"]
    assert found["offloads"] == "CPUOffloadPolicy"
    assert found["device"] == "cpu"


def test_blocks_are_gathered_ahead_by_the_depth_and_kept_as_the_strategy_says(
    rank_pool: Pool, tmp_path: Path
) -> None:
    """The root gathers the first of 4 blocks, each block those after it."""
    write_tiny_model(tmp_path / "model", num_hidden_layers=4)

    def gathered(**options: Any) -> dict[str, list[int]]:
        found: dict[str, list[int]] = rank_pool(2).call(
            f"{WORK}:gathered", folder=str(tmp_path), options=options
        )[0]
        return found

    assert gathered() == {"forward": [2, 2, 2, 1], "after": [0]}
    assert gathered(prefetch=2) == {"forward": [3, 3, 2, 1], "after": [0]}
    kept = {"forward": [2, 3, 4, 4], "after": [4]}
    assert gathered(strategy="SHARD_GRAD_OP") == gathered(reshard_after_forward=False) == kept


# -- checkpoints ----------------------------------------------------------------------------------

STEADY = ["train.schedule=constant", "train.evaluate_every=2"]


@pytest.mark.parametrize(
    ("strategy", "precision", "method"),
    [
        ("FULL_SHARD", "fp32", "full"),
        ("FULL_SHARD", "bf16_mixed", "lora"),
        ("HYBRID_SHARD", "bf16_fp32_states", "full"),
        ("SHARD_GRAD_OP", "bf16", "lora"),
        ("NO_SHARD", "fp16_mixed", "full"),
    ],
)
def test_a_resumed_run_goes_on_bit_by_bit(
    rank_pool: Pool, tmp_path: Path, strategy: str, precision: str, method: str
) -> None:
    options, pool = {"strategy": strategy}, rank_pool(2)
    settings = [*STEADY, f"train.precision={precision}"]
    plugins = METHODS[method]
    six, four = [*settings, "train.steps=6"], [*settings, "train.steps=4"]
    whole = fit(pool, tmp_path / "whole", options, plugins=plugins, overrides=six)[0]
    first = fit(pool, tmp_path / "cut", options, plugins=plugins, overrides=four)[0]
    second = fit(
        pool,
        tmp_path / "cut",
        options,
        plugins=plugins,
        overrides=six,
        directory=first["directory"],
    )[0]
    assert second["losses"] == whole["losses"]
    assert second["norms"] == whole["norms"]


def test_a_checkpoint_of_two_ranks_goes_on_with_three_and_under_the_default_engine(
    rank_pool: Pool, tmp_path: Path
) -> None:
    write_tiny_model(tmp_path / "model", **ODD)
    settings = [*STEADY, "train.steps=6"]
    whole = fit(rank_pool(2), tmp_path, {}, overrides=settings)[0]
    later: list[tuple[Any, dict[str, Any]]] = [(rank_pool(3), {"fsdp": {}}), (rank_pool(1), {})]
    for pool, plugins in later:
        first = fit(rank_pool(2), tmp_path, {}, overrides=[*STEADY, "train.steps=3"])[0]
        arguments = {"plugins": plugins, "overrides": settings, "directory": first["directory"]}
        second = pool.call(FIT, folder=str(tmp_path), **arguments)[0]
        assert differences(second["losses"], whole["losses"]) < 1e-5


# -- what is not finite ---------------------------------------------------------------------------


@pytest.mark.parametrize("poisoned_rank", [0, 1])
@pytest.mark.parametrize("precision", ["fp32", "bf16_fp32_states"])
def test_one_ranks_bad_gradient_stops_all_ranks_before_anything_is_applied(
    rank_pool: Pool, tmp_path: Path, precision: str, poisoned_rank: int
) -> None:
    results = rank_pool(2).call(
        f"{WORK}:poisoned", folder=str(tmp_path), precision=precision, poisoned_rank=poisoned_rank
    )
    for result in results:
        assert result["skipped"] == [0, 1, 2, 3]
        assert result["finite"]
        assert "step 2" in result["error"]


def test_a_float16_overflow_on_one_rank_skips_the_step_on_all(rank_pool: Pool, tmp_path: Path) -> None:
    results = rank_pool(2).call(
        f"{WORK}:poisoned", folder=str(tmp_path), precision="fp16_mixed", poisoned_rank=1
    )
    assert results[0] == results[1]
    assert results[0]["finite"]
    assert results[0]["skipped"][1] - results[0]["skipped"][0] == 1
    assert not results[0]["error"]


# -- loading --------------------------------------------------------------------------------------


def test_no_rank_ever_holds_the_whole_model(rank_pool: Pool, start_ranks: Pool, tmp_path: Path) -> None:
    """317 M parameters in float32, read from safetensors by two fresh processes."""
    folder = str(tmp_path / "large" / "model")
    (whole,) = rank_pool(1).call(f"{WORK}:write_large_model", folder=folder)
    assert whole >= 4 * 300e6
    fresh = start_ranks(2)
    try:
        growths = fresh.call(
            f"{WORK}:load_growth", warm=str(tmp_path / "warm"), folder=str(tmp_path / "large")
        )
    finally:
        fresh.close()
        for file in (tmp_path / "large" / "model").glob("*.safetensors"):
            file.unlink()
    print("growth of anonymous memory:", [round(growth / whole, 3) for growth in growths])
    assert all(0.45 * whole < growth <= 0.65 * whole for growth in growths)


# -- bad input ------------------------------------------------------------------------------------


def test_a_block_class_that_does_not_exist_is_named_with_those_that_do(
    rank_pool: Pool, tmp_path: Path
) -> None:
    for result in fit(rank_pool(2), tmp_path, {"block_class": "LlamaLayer"}):
        assert result["exit_code"] == 2
        assert result["error"].startswith("plugins.fsdp.block_class: the model has no module of class")
        assert "LlamaDecoderLayer" in result["hint"]


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"strategy": "HYBRID_SHARD", "shard_size": 2},
            "plugins.fsdp.shard_size: groups of 2 ranks do not divide 3 ranks.",
            "Choose one of 1, 3.",
        ),
        (
            {"reshard_after_forward": 2},
            "plugins.fsdp.reshard_after_forward: 2 does not divide the 3 ranks that share one copy.",
            "Choose true, false or one of 1, 3.",
        ),
    ],
    ids=["shard_size", "reshard_after_forward"],
)
def test_groups_that_do_not_divide_the_ranks_are_refused_at_start_and_by_check(
    rank_pool: Pool, tmp_path: Path, options: dict[str, Any], message: str, hint: str
) -> None:
    for result in fit(rank_pool(3), tmp_path, options):
        assert (result["exit_code"], result["error"], result["hint"]) == (2, message, hint)
    table = [f"plugins.fsdp.{key}={value}" for key, value in options.items()]
    problems = check(tmp_path, [*table, "launch.gpus_per_node=3", "train.batch_size=6"])
    assert [f"{problem.key}: {problem.message}" for problem in problems] == [message]


def test_a_shard_size_without_groups_is_refused(tmp_path: Path) -> None:
    (problem,) = check(tmp_path, ["plugins.fsdp.shard_size=2"])
    assert problem.key == "plugins.fsdp.shard_size"
    assert "HYBRID_SHARD" in problem.hint


def test_two_engines_are_refused(tmp_path: Path) -> None:
    problems = check(tmp_path, ["plugins.fsdp={}", "plugins.zero.stage=2"])
    assert any("fsdp" in problem.message and "zero" in problem.message for problem in problems)


def test_quantized_weights_are_refused_on_every_rank(rank_pool: Pool, tmp_path: Path) -> None:
    for result in fit(rank_pool(2), tmp_path, {}, plugins={"lora": {}, "qlora": {}}):
        assert "4-bit weights are packed as they are loaded" in result["error"]


def check(folder: Path, overrides: list[str]) -> list[Any]:
    """The problems that `stoker check` finds with the tiny recipe."""
    with pytest.raises(RecipeError) as raised:
        tiny_recipe(folder, overrides)
    return raised.value.problems
