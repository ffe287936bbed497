"""The training loop, in the order things happen.

`SYNC` marks where the host waits for the device: at log points, evaluations and checkpoints only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch

from stoker.data.batches import Step
from stoker.train.boundary import FINISH, LIMIT, Boundary, Decision
from stoker.train.coverage import GradientCoverage
from stoker.train.finite import spoiling
from stoker.train.metrics import StepLog
from stoker.train.rng import seed_micro_batch
from stoker.train.split import REST

if TYPE_CHECKING:
    from stoker.train.evaluate import Evaluator
    from stoker.train.saving import Saver
    from stoker.train.split import Split
    from stoker.train.state import State


def train(
    state: State, data: Iterable[Step], evaluator: Evaluator, saver: Saver, boundary: Boundary
) -> Decision:
    """Run steps until the last one or until all ranks decide to stop; returns that decision."""
    hooks, engine, recipe = state.run.hooks, state.engine, state.run.recipe.train
    log, coverage = StepLog(state), GradientCoverage(state)
    split = log.split
    decision = Decision()
    # A stop may have cut off the evaluation that was due after the step a run goes on from.
    if evaluation_due(state) and state.evaluated_step < state.step:
        evaluator.run()
        boundary.check_interrupted()
        log.restart_clock()

    for step in data:  # the steps that are left, their batches made ahead of time
        split.mark("data")
        plan = step.plan
        state.step = plan.step
        state.run.heartbeat.beat(f"step {plan.step}")
        hooks.notify("on_step_start", state=state)
        split.mark(REST)
        loss = run_micro_batches(state, step, split)

        engine.finish_gradients()
        hooks.notify("on_gradients", state=state)
        learning_rate = state.schedule(plan.step)
        coverage.observe(learning_rate)  # SYNC once, in the third step
        gradient_norm = engine.clip_gradients(recipe.max_grad_norm)
        engine.step(learning_rate)
        split.mark("optimizer")
        state.run.step = plan.step
        state.run.heartbeat.is_warm = True

        state.tokens += plan.num_tokens
        state.supervised_tokens += plan.num_supervised
        metrics = log.append(loss, gradient_norm, learning_rate, plan.num_tokens)
        hooks.notify("on_step_end", state=state, metrics=metrics)

        last = plan.step == state.total_steps
        evaluates = evaluation_due(state)
        log_point = evaluates or plan.step % recipe.log_every == 0
        if log_point:
            log_rows(state, log)  # SYNC
        decision = boundary.decide(state, now=log_point)
        saver.settle(state)
        if evaluates or decision.evaluate:
            log_rows(state, log)  # SYNC
            evaluator.run()  # SYNC
            decision = boundary.decide(state, now=True, before=decision)
            log.restart_clock()
        wants_checkpoint = decision.checkpoint or saver.is_due(plan.step)
        if wants_checkpoint and not (last or decision.stop):
            save(state, log, saver)  # SYNC
        if decision.stop:
            log_rows(state, log)  # SYNC
            break
        split.mark(REST)
    # Whatever it was that had been used up: it was enough.
    finished = decision.stop == LIMIT and state.step == state.total_steps
    return decision if decision.stop and not finished else Decision(stop=FINISH)


def save(state: State, log: StepLog, saver: Saver) -> None:
    """Begin a checkpoint of the step just done; it is copied to the host and written in the background.

    Raises `NonFiniteError` before anything non-finite could be saved.
    """
    log_rows(state, log)
    began = time.perf_counter()
    saver.save(state)
    log.note_saving(time.perf_counter() - began)
    log.restart_clock()


def evaluation_due(state: State) -> bool:
    """At the start, every `evaluate_every` steps, and at the end."""
    every = state.run.recipe.train.evaluate_every or state.total_steps
    return state.step == state.total_steps or state.step % every == 0


def run_micro_batches(state: State, step: Step, split: Split | None = None) -> torch.Tensor:
    """Forward and backward of this rank's share of a step; returns its part of the step's loss.

    The loss of a step is the sum over its supervised tokens divided by their number N, which every
    rank knows before the first backward. Engines average over ranks, hence the factor. `split` is told
    when a forward and when a backward has ended.
    """
    engine, plan = state.engine, step.plan
    total = torch.zeros((), device=engine.device)
    for position, batch in enumerate(step.batches):
        last = position == len(step.batches) - 1
        seed_micro_batch(state.seed, plan.step, batch.index, engine.device)
        with engine.micro_batch(last=last):
            loss_sum, _ = engine.forward(state.loss, batch.to(engine.device))
            if split is not None:
                split.mark("forward")
            engine.backward(spoiling(loss_sum), engine.world_size / plan.num_supervised)
        if split is not None:
            split.mark("backward")
        total += loss_sum.detach() / plan.num_supervised
        state.run.heartbeat.beat(f"step {plan.step}")
        state.run.hooks.notify("on_micro_batch_end", state=state)
    return total


def log_rows(state: State, log: StepLog) -> None:
    """Bring the rows since the last log point to the host, write them, tell the plugins.

    Raises `NonFiniteError`, after the rows of the good steps, if a step was not finite.
    """
    rows = log.flush()
    if rows:
        tell_rows(state, rows)
        tell_skipped(state, log.skipped)
    if log.failure is not None:
        raise log.failure


def tell_skipped(state: State, steps: list[int]) -> None:
    """One `note` event for steps whose float16 gradients overflowed, so that they were not applied."""
    if steps and state.run.is_main:
        scale = state.engine.save_state()["loss_scale"]
        which = ", ".join(map(str, steps))
        message = f"skipped step {which}: float16 gradients overflowed. The loss scale is now {scale:g}"
        state.run.events.write("note", message=message)


def tell_rows(state: State, rows: list[dict[str, float]]) -> None:
    """One `step` event for each row, then the plugins."""
    state.metrics.update(rows[-1])
    if state.run.is_main:
        for row in rows:
            state.run.events.write("step", total_steps=state.total_steps, **row)
    state.run.hooks.notify("on_log", state=state, rows=rows)
