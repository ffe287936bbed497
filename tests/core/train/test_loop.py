"""The loop keeps its promises, on the tiny model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stoker.errors import NonFiniteError, StokerError
from stoker.plugin import Plugin, PluginConfig, hookimpl
from stoker.testing import rewrite_manifest, tiny_fit
from stoker.train.distributed import Place


class Base(Plugin[PluginConfig]):
    def __init__(self) -> None:
        super().__init__(PluginConfig())


class SynchronisationCounter(TorchDispatchMode):
    """Counts what makes the host wait for a device: reading a value, and `nonzero`.

    On the CPU every copy is host to host, so device-to-host copies show as `_to_copy` and `copy_`
    between devices only; a meta tensor stands for the device in a test of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func)
        if any(
            part in name for part in ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero")
        ):
            self.found.append(name)
        elif "_to_copy" in name or "copy_" in name:
            target = (kwargs or {}).get("device")
            source = args[0] if "_to_copy" in name else args[1]
            if target is not None and source.device.type != "cpu" and target.type == "cpu":
                self.found.append(name)
        return func(*args, **(kwargs or {}))


class CountsBetweenLogPoints(Base):
    """Switches the counter on for the steps after the first three, and off at log points."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = SynchronisationCounter()
        self.on = False
        self.steps = 0

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        # The third step looks at gradient coverage, once in a run; every tenth is a log point.
        if state.step > 3 and state.step % 10 != 0 and not self.on:
            self.counter.__enter__()
            self.on = True

    @hookimpl
    def on_step_end(self, state: Any, metrics: Any) -> None:
        self.steps += self.on
        if self.on and state.step % 10 == 9:
            self.counter.__exit__(None, None, None)
            self.on = False

    @hookimpl
    def on_exception(self) -> None:
        if self.on:
            self.counter.__exit__(None, None, None)


@pytest.mark.parametrize("precision", ["fp32", "bf16_mixed", "fp16_mixed", "bf16_fp32_states"])
def test_nothing_synchronises_between_log_points(tmp_path: Path, precision: str) -> None:
    counting = CountsBetweenLogPoints()
    tiny_fit(
        tmp_path,
        {"counting": counting},
        [f"train.precision={precision}", "train.steps=20", "train.log_every=10"],
    )
    assert counting.steps >= 12
    assert counting.counter.found == []


def test_the_counter_would_have_seen_a_synchronisation() -> None:
    counter = SynchronisationCounter()
    with counter:
        torch.ones(3).sum().item()
        torch.ones(3).nonzero()
    assert len(counter.found) == 2


def test_a_run_is_bit_identical_with_and_without_plugins_that_do_nothing(tmp_path: Path) -> None:
    class Idle(Base):
        @hookimpl
        def on_step_end(self, metrics: Any) -> None:
            metrics["loss"].clone()

    plain = tiny_fit(tmp_path / "a", {}, ["train.steps=4"])
    with_plugin = tiny_fit(tmp_path / "b", {"idle": Idle()}, ["train.steps=4"])
    assert plain.losses == with_plugin.losses


@pytest.fixture(autouse=True)
def folders(tmp_path: Path) -> Iterator[None]:
    for name in "ab":
        (tmp_path / name).mkdir()
    return


def test_the_guides_effective_batch_is_two_times_four_times_four() -> None:
    """micro_batch_size 2 on 4 ranks with 4 accumulation steps is a batch of 32."""
    from types import SimpleNamespace

    import numpy as np

    from stoker.data.batches import cut_by_length, plan_rows

    index: Any = SimpleNamespace(
        lengths=np.full(32, 5), supervised_counts=np.full(32, 4), __len__=lambda: 32
    )
    plans = [plan_rows(1, range(32), index, cut_by_length(2), rank, 4) for rank in range(4)]
    assert [len(plan.micro_batches) for plan in plans] == [4, 4, 4, 4]
    assert sorted(row for plan in plans for rows in plan.micro_batches for row in rows) == list(
        range(32)
    )
    assert {plan.num_supervised for plan in plans} == {32 * 4}


def test_losses_do_not_depend_on_the_micro_batch_size(tmp_path: Path) -> None:
    one = tiny_fit(tmp_path / "a", {}, ["train.micro_batch_size=1"]).losses
    four = tiny_fit(tmp_path / "b", {}, ["train.micro_batch_size=4"]).losses
    assert one == pytest.approx(four, rel=1e-6)


def test_evaluation_keeps_the_best_so_far(tmp_path: Path) -> None:
    fit = tiny_fit(tmp_path, {}, ["train.steps=6", "train.evaluate_every=2"])
    evaluations = fit.of_kind("evaluate")
    assert [event["step"] for event in evaluations] == [0, 2, 4, 6]
    losses = [event["eval_loss"] for event in evaluations]
    assert [event["best_eval_loss"] for event in evaluations] == [min(losses[: n + 1]) for n in range(4)]


def test_epochs_give_as_many_steps_as_the_rows_need(tmp_path: Path) -> None:
    """20 rows, 8 rows a step, 2 epochs: 5 steps."""
    import tomlkit

    from stoker.testing import tiny_recipe

    tiny_recipe(tmp_path)
    text = (tmp_path / "tiny.toml").read_text()
    document = tomlkit.parse(text)
    assert "steps" in document["train"]  # type: ignore[operator]
    fit = tiny_fit(tmp_path, {}, ["train.steps=5", "train.batch_size=8"])
    from stoker.data.order import total_steps
    from stoker.recipe.schema import TrainTable

    table = TrainTable(epochs=2.0, batch_size=8, learning_rate=1.0)
    from stoker.train.build import build_order

    order = build_order(fit.run, _prepared(fit.run))
    assert total_steps(table, order) == 5


def _prepared(run: Any) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(train=run.index)


class PoisonsGradients(Base):
    """Makes one gradient NaN in a given step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step
        self.weights: list[torch.Tensor] = []

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        parameter = next(state.model.parameters())
        if state.step == self.step:
            parameter.grad[0, 0] = math.nan

    @hookimpl
    def on_step_end(self, state: Any) -> None:
        self.weights.append(next(state.model.parameters()).detach().clone())


@pytest.mark.parametrize("precision", ["fp32", "bf16_fp32_states"])
def test_a_non_finite_gradient_is_never_applied_and_named_at_the_log_point(
    tmp_path: Path, precision: str
) -> None:
    poison = PoisonsGradients(step=6)
    with pytest.raises(NonFiniteError, match="gradient of step 6"):
        tiny_fit(
            tmp_path,
            {"poison": poison},
            ["train.steps=20", "train.log_every=10", f"train.precision={precision}"],
        )
    before, *after = poison.weights[4:]
    assert len(after) == 5, "the host learns of it at the log point, in step 10"
    assert all(torch.equal(before, later) for later in after)
    kept = (tmp_path / "runs" / "tiny-1" / "checkpoints").iterdir()
    assert [path.name for path in kept] == ["step-00000000"]


def test_an_fp16_overflow_skips_its_step_and_training_goes_on(tmp_path: Path) -> None:
    poison = PoisonsGradients(step=5)
    fit = tiny_fit(tmp_path, {"poison": poison}, ["train.steps=8", "train.precision=fp16_mixed"])
    assert torch.equal(poison.weights[3], poison.weights[4])
    assert not torch.equal(poison.weights[4], poison.weights[5])
    assert len(fit.losses) == 8


def test_a_degrading_plugin_that_raises_is_one_alert_and_the_run_goes_on(tmp_path: Path) -> None:
    class Tracker(Base):
        failure_policy = "degrade"

        @hookimpl
        def on_log(self) -> None:
            raise ConnectionError("the tracker is away")

    fit = tiny_fit(tmp_path, {"tracker": Tracker()})
    (alert,) = fit.of_kind("alert")
    assert "'tracker' raised in on_log" in alert["message"]
    assert "the tracker is away" in alert["message"]
    assert len(fit.losses) == 3


def test_a_fatal_plugin_that_raises_ends_the_run_and_is_named(tmp_path: Path) -> None:
    class Broken(Base):
        @hookimpl
        def on_step_end(self) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        tiny_fit(tmp_path, {"broken": Broken()})
    assert caught.value.__notes__ == ["raised by plugin 'broken' in on_step_end"]


@pytest.mark.parametrize("every", ["2 steps", "10 min"])
def test_a_wish_for_a_checkpoint_is_granted_once(tmp_path: Path, every: str) -> None:
    """Between log points a wish is heard one step later, when it may still stand."""

    class Wants(Base):
        last = 0

        @hookimpl
        def should_checkpoint(self, state: Any) -> bool:
            wants = every == "10 min" and state.step - self.last >= 5
            if wants:
                self.last = state.step
            return wants

    fit = tiny_fit(
        tmp_path,
        {"wants": Wants()},
        ["train.steps=14", "train.log_every=100", f'checkpoint.every="{every}"', "checkpoint.keep=9"],
    )
    saved = [e["step"] for e in fit.of_kind("checkpoint") if e["phase"] == "committed"]
    assert saved == ([0, 2, 4, 6, 8, 10, 12, 14] if every == "2 steps" else [0, 6, 11, 14])


def test_good_steps_before_a_non_finite_one_are_logged(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match="step 4"):
        tiny_fit(tmp_path, {"p": PoisonsGradients(4)}, ["train.steps=9", "train.log_every=9"])
    from stoker.run.events import read_events

    events = read_events(tmp_path / "runs" / "tiny-1" / "events.jsonl")
    assert [event["step"] for event in events if event["kind"] == "step"] == [1, 2, 3]


def test_skipped_steps_are_counted_over_attempts_and_do_not_hinder_a_save(tmp_path: Path) -> None:
    settings = ["train.precision=fp16_mixed", "train.schedule=constant", "train.log_every=1"]
    first = tiny_fit(tmp_path, {"p": PoisonsGradients(5)}, [*settings, "train.steps=5"])
    assert first.outcome.checkpoint is not None
    second = tiny_fit(tmp_path, {}, [*settings, "train.steps=8"], directory=first.directory)
    from stoker.checkpoint.manifest import read_manifest

    assert read_manifest(first.outcome.checkpoint).optimizer_steps == 4
    assert read_manifest(second.outcome.checkpoint).optimizer_steps == 7


def test_an_evaluation_that_a_stop_cut_off_is_made_up_for(tmp_path: Path) -> None:
    class StopsAt(Base):
        @hookimpl
        def should_stop(self, state: Any) -> bool:
            return bool(state.step == 3)

    settings = ["train.steps=6", "train.evaluate_every=3"]
    first = tiny_fit(tmp_path, {"stops": StopsAt()}, settings)
    rewrite_manifest(first.outcome.checkpoint, lambda values: values.update(evaluated_step=0))
    second = tiny_fit(tmp_path, {}, settings, directory=first.directory)
    assert [event["step"] for event in second.of_kind("evaluate")] == [0, 3, 3, 6]


def test_a_run_that_goes_on_with_no_step_left_still_has_its_result(tmp_path: Path) -> None:
    first = tiny_fit(tmp_path, {}, ["train.steps=3"])
    first.directory.update_record(result=None)
    second = tiny_fit(tmp_path, {}, ["train.steps=3"], directory=first.directory)
    assert second.outcome.checkpoint == first.outcome.checkpoint
    assert first.directory.read_record().result is not None


def test_the_state_of_any_optimizer_survives_a_resume(tmp_path: Path) -> None:
    class Momentum(Base):
        @hookimpl
        def make_optimizer(self, parameter_groups: Any) -> torch.optim.Optimizer:
            return torch.optim.SGD(parameter_groups, lr=0.1, momentum=0.9)

    class StopsAt(Base):
        @hookimpl
        def should_stop(self, state: Any) -> bool:
            return bool(state.step == 3)

    settings = ["train.steps=6", "train.schedule=constant"]
    whole = tiny_fit(tmp_path / "a", {"momentum": Momentum()}, settings)
    first = tiny_fit(tmp_path / "b", {"momentum": Momentum(), "stops": StopsAt()}, settings)
    second = tiny_fit(tmp_path / "b", {"momentum": Momentum()}, settings, directory=first.directory)
    assert second.losses == whole.losses


class CutsOff(Base):
    """Detaches the first layer's output, as a broken checkpointing plugin would."""

    @hookimpl
    def patch_model(self, model: Any) -> None:
        model.model.layers[0].register_forward_hook(lambda module, inputs, output: output.detach())


def test_tensors_without_a_gradient_stop_the_run_and_are_named(tmp_path: Path) -> None:
    with pytest.raises(StokerError, match=r"had no gradient in the first 3 steps: .*layers\.0\."):
        tiny_fit(tmp_path, {"cuts_off": CutsOff()}, ["train.steps=5", "train.schedule=constant"])


def test_steps_with_a_learning_rate_of_zero_do_not_count_as_looked_at(tmp_path: Path) -> None:
    """LoRA's A has no gradient while B is zero, so looking before anything moved would be wrong."""
    fit = tiny_fit(tmp_path, {"lora": {"rank": 2}}, ["train.steps=6", "train.warmup=4"])
    assert len(fit.losses) == 6


def test_resuming_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = tiny_fit(tmp_path / "a", {}, ["train.steps=6", "train.schedule=constant"])

    class StopsAt(Base):
        @hookimpl
        def should_stop(self, state: Any) -> bool:
            return bool(state.step == 3)

    settings = ["train.steps=6", "train.schedule=constant"]
    first = tiny_fit(tmp_path / "b", {"stops": StopsAt()}, settings)
    second = tiny_fit(tmp_path / "b", {}, settings, directory=first.directory)
    assert first.outcome.step == 3
    assert second.of_kind("resume")[0]["step"] == 3
    assert second.losses == whole.losses


def test_ranks_are_found_in_the_variables_of_every_launcher() -> None:
    from stoker.train.distributed import place_from_environment

    torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    slurm = {
        "SLURM_PROCID": "3",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_LOCALID": "1",
        "SLURM_NTASKS_PER_NODE": "2",
    }
    assert place_from_environment(torchrun) == place_from_environment(slurm) == Place(3, 4, 1, 2)
    assert place_from_environment({}) == Place(0, 1, 0, 1)
