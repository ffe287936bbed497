"""What no-op plugins cost a step: the hooks of one step, called as the loop calls them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from stoker.dispatch import Hooks
from stoker.plugin import Plugin, PluginConfig, hookimpl

NUMBERS = (0, 1, 5, 10, 20, 50)
LOG_EVERY = 10
EVENTS_PER_STEP = 9
"""Hooks of a step of one micro-batch, without `on_log`."""


class NoOp(Plugin[PluginConfig]):
    """Implements each hook that is called in every step, and does nothing."""

    Config = PluginConfig

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        """Do nothing."""

    @hookimpl
    def on_micro_batch_end(self, state: Any) -> None:
        """Do nothing."""

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        """Do nothing."""

    @hookimpl
    def on_step_end(self, state: Any, metrics: Mapping[str, Any]) -> None:
        """Do nothing."""

    @hookimpl
    def on_log(self, state: Any, rows: Sequence[Any]) -> None:
        """Do nothing."""

    @hookimpl
    def collect_notices(self, run: Any) -> None:
        """Know of no notice."""

    @hookimpl
    def collect_limits(self, run: Any) -> None:
        """Know of no limit."""

    @hookimpl
    def should_evaluate(self, state: Any) -> bool:
        """Ask for nothing."""
        return False

    @hookimpl
    def should_checkpoint(self, state: Any) -> bool:
        """Ask for nothing."""
        return False

    @hookimpl
    def should_stop(self, state: Any) -> bool:
        """Ask for nothing."""
        return False


def call_step(hooks: Hooks, state: Any, step: int) -> None:
    """The hooks of one step, in the order of the loop."""
    hooks.notify("on_step_start", state=state)
    hooks.notify("on_micro_batch_end", state=state)
    hooks.notify("on_gradients", state=state)
    hooks.notify("on_step_end", state=state, metrics={})
    if step % LOG_EVERY == 0:
        hooks.notify("on_log", state=state, rows=[])
    hooks.collect("collect_notices", run=state)
    hooks.collect("collect_limits", run=state)
    hooks.vote("should_evaluate", state=state)
    hooks.vote("should_checkpoint", state=state)
    hooks.vote("should_stop", state=state)


def ours(num_plugins: int) -> Callable[[int], None]:
    """One step's hooks with so many plugins."""
    plugins: dict[str, Plugin[Any]] = {f"no_op_{n}": NoOp(PluginConfig()) for n in range(num_plugins)}
    hooks, state = Hooks(plugins), object()
    return lambda step: call_step(hooks, state, step)


def hugging_face(num_callbacks: int) -> Callable[[int], None]:
    """As many events of `CallbackHandler`, with so many callbacks that do nothing."""
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import CallbackHandler

    callbacks = [TrainerCallback() for _ in range(num_callbacks)]
    handler = CallbackHandler(callbacks, cast(Any, None), None, None, None)
    arguments = cast(TrainingArguments, None)
    state, control = TrainerState(), TrainerControl()

    def call(step: int) -> None:
        for _ in range(EVENTS_PER_STEP):
            handler.on_step_end(arguments, state, control)
        if step % LOG_EVERY == 0:
            handler.on_log(arguments, state, control, {})

    return call


def microseconds(step: Callable[[int], None], steps: int) -> float:
    """Processor time of a call."""
    started = time.process_time()
    for number in range(steps):
        step(number)
    return (time.process_time() - started) / steps * 1e6


def fit(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """Slope of the least-squares line, and R2."""
    slope, _ = statistics.linear_regression(xs, ys)
    return slope, statistics.correlation(xs, ys) ** 2


def hooks_rows(steps: int, rounds: int) -> list[tuple[str, str, str]]:
    """Rows of the table: what, measured, asked. Rounds alternate; medians count."""
    compared = {str(number): ours(number) for number in NUMBERS}
    compared |= {"hf 0": hugging_face(0), "hf 10": hugging_face(10)}
    times: dict[str, list[float]] = {name: [] for name in compared}
    for _ in range(rounds):
        for name, call in compared.items():
            times[name].append(microseconds(call, steps))
    middle = {name: statistics.median(values) for name, values in times.items()}
    extra = {number: middle[str(number)] - middle["0"] for number in NUMBERS}
    slope, r2 = fit(NUMBERS, list(extra.values()))
    rows = [("hooks with no plugin", f"{middle['0']:.1f} us a step", "")]
    for number in NUMBERS[1:]:
        spread = max(times[str(number)]) - min(times[str(number)])
        asked = "60 us" if number == 10 else ""
        measured = f"{extra[number]:.1f} us a step (spread {spread:.1f})"
        rows.append((f"... {number} no-op plugins add", measured, asked))
    rows.append(("... for each plugin", f"{slope:.2f} us, R2 {r2:.4f}", "linear"))
    added = middle["hf 10"] - middle["hf 0"]
    rows.append(("Hugging Face's handler, ten no-op callbacks add", f"{added:.1f} us a step", ""))
    return rows
