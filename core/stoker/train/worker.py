"""One rank of a run, from the environment to the exit code: `python -m stoker.train.worker RUN`."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.dispatch import Hooks
from stoker.errors import ExitCode, Interrupted, OverBudgetError, StokerError, StorageError
from stoker.plan.stored import grade_attempt, store_plan
from stoker.recipe.lock import read_lock
from stoker.recipe.model import Recipe
from stoker.registry import make_plugins
from stoker.run.attempt import begin_attempt, end_attempt, take_over
from stoker.run.budget import find_tariff, refuse_over_budget
from stoker.run.complaints import complain, complaining
from stoker.run.context import Outcome, Run
from stoker.run.directory import RunDirectory
from stoker.run.events import EventWriter
from stoker.run.heartbeat import Heartbeat
from stoker.run.naming import choose_run, open_chosen
from stoker.run.orphans import leave_when_orphaned
from stoker.run.outcome import read_outcomes, write_outcome
from stoker.run.progress import PlainView
from stoker.run.stacks import answer_stack_requests
from stoker.run.watching import summarise, watch_run
from stoker.train.distributed import (
    Place,
    announce,
    disconnect,
    learn,
    leave,
    meet,
    open_store,
    place_from_environment,
    publish,
)
from stoker.train.garbage import collecting_seldom, exit_without_collecting
from stoker.train.signals import SignalFlags

if TYPE_CHECKING:
    from stoker.train.boundary import Boundary, Decision
    from stoker.train.saving import Saver
    from stoker.train.state import State


SECONDS_TO_LEAVE = 3.0
"""Of what is left until the machine is taken away: for the ends of ranks and of their supervisor."""


def main() -> None:
    """Entry point of a rank that stoker's supervisor started.

    Its argument is the run directory, or `-` on nodes other than the first, where rank 0 says it.
    """
    signals = SignalFlags().install()
    answer_stack_requests()
    leave_when_orphaned()
    place = place_from_environment()
    publish(place)
    store = open_store(place)
    if sys.argv[1] == "-":
        assert store is not None
        facts = learn(store)
        directory, attempt = RunDirectory(Path(facts["directory"])), int(facts["attempt"])
        redirect_output(directory.log_path(attempt, place.rank))
    else:
        directory = RunDirectory(Path(sys.argv[1]).resolve())
        attempt = int(os.environ["STOKER_ATTEMPT"])
        if store is not None and place.rank == 0:
            announce(store, {"directory": str(directory.path), "attempt": attempt})
    try:
        recipe = read_lock(Path(os.environ.get("STOKER_LOCK", directory.lock_path)))
    except StokerError as error:
        leave(store, directory, attempt)
        sys.exit(_failed(directory, place, attempt, error))
    code = run_rank(recipe, directory, place, signals, attempt=attempt, store=store)
    exit_without_collecting(code)


def run_under_launcher(recipe: Recipe, *, fresh: bool) -> int:
    """One rank of torchrun, `accelerate launch` or srun: rank 0 also does the supervisor's part.

    Returns the exit code; launchers turn it into 1, so read `run.json`.
    """
    signals = SignalFlags().install()
    place = place_from_environment()
    publish(place)
    store = open_store(place)
    if place.rank > 0:
        assert store is not None
        facts = learn(store)
        if "error" in facts:
            return int(facts["exit_code"])
        directory = RunDirectory(Path(facts["directory"]))
        return run_rank(recipe, directory, place, signals, attempt=facts["attempt"], store=store)
    try:
        tariff = find_tariff(recipe)
        choice = choose_run(Path(recipe.run.directory), recipe, fresh)
        if choice.resume:
            refuse_over_budget(choice.directory, tariff)
        directory = open_chosen(choice, recipe)
        lease = take_over(directory, partial(choice.adopt, recipe))
    except StokerError as error:
        if store is not None:
            announce(store, {"error": str(error), "exit_code": int(error.exit_code)})
        raise
    nodes = max(1, place.world_size // place.local_world_size)
    attempt = begin_attempt(directory, nproc=place.local_world_size, nodes=nodes)
    if store is not None:
        announce(store, {"directory": str(directory.path.resolve()), "attempt": attempt})
    try:
        with complaining():
            store_plan(directory, ranks=place.world_size, nodes=nodes)
        with _shown(directory, attempt):
            code = run_rank(recipe, directory, place, signals, attempt=attempt, store=store)
    finally:
        with complaining():
            grade_attempt(directory, attempt)
        record = end_attempt(directory, attempt, read_outcomes(directory, attempt))
        lease.release()
    print("\n".join(summarise(directory, record)), flush=True)
    return code


@contextmanager
def _shown(directory: RunDirectory, attempt: int) -> Iterator[None]:
    """Print the run's events as plain lines: there is no `stoker run` in front of the ranks."""
    over = threading.Event()
    watcher = threading.Thread(
        target=watch_run,
        args=(directory, PlainView(sys.stdout)),
        kwargs={"since_attempt": attempt, "is_over": over.is_set},
        daemon=True,
    )
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


class _Events(EventWriter):
    """Events whose sentences do not show the values of environment variables."""

    def __init__(self, path: Path, attempt: int, rank: int, recipe: Recipe) -> None:
        super().__init__(path, attempt, rank)
        self._recipe = recipe

    def write(self, kind: str, **fields: Any) -> None:
        if isinstance(fields.get("message"), str):
            fields["message"] = self._recipe.conceal(fields["message"])
        super().write(kind, **fields)


def redirect_output(path: Path) -> None:
    """Send this process's output to its log in the run directory, once that is known."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(descriptor, stream.fileno())


def run_rank(
    recipe: Recipe,
    directory: RunDirectory,
    place: Place,
    signals: SignalFlags,
    *,
    attempt: int,
    store: object = None,
    is_last: bool = True,
) -> int:
    """Train this rank's part to the end, write its outcome file, return the exit code.

    `is_last`: leave the process group afterwards; no other run follows in this process.
    """
    # Nobody who trains has agreed to what libraries of plugins, and those that they find installed,
    # report to their makers.
    os.environ.setdefault("DO_NOT_TRACK", "true")
    events = _Events(directory.events_path, attempt, place.rank, recipe)

    def report(message: str) -> None:
        events.write("alert", message=message)

    try:
        hooks = Hooks(make_plugins(recipe.plugins), report)
    except StokerError as error:
        return _failed(directory, place, attempt, error, recipe=recipe)
    run = Run(
        recipe=recipe,
        hooks=hooks,
        directory=directory,
        events=events,
        attempt=attempt,
        rank=place.rank,
        world_size=place.world_size,
        local_rank=place.local_rank,
        store=store,
        heartbeat=Heartbeat.from_environment(),
    )
    try:
        outcome = execute(run, signals)
    except BaseException as caught:
        leave(store, directory, attempt)
        from stoker.train.out_of_memory import explained

        failure = explained(run, caught)
        run.hooks.tell_failure(run=run, error=failure)
        return _failed(directory, place, attempt, failure, run.step, recipe)
    _write_outcome(
        directory,
        attempt,
        place.rank,
        outcome.exit_code,
        step=outcome.step,
        preempted=outcome.preempted,
        reason=outcome.message,
    )
    if is_last:
        disconnect()
    return int(outcome.exit_code)


def execute(run: Run, signals: SignalFlags) -> Outcome:
    """Build, train, save, say how it ended. The timeline in `stoker.hookspecs` is this function."""
    with collecting_seldom():
        from stoker.train import build
        from stoker.train.boundary import Boundary
        from stoker.train.evaluate import Evaluator
        from stoker.train.loop import train
        from stoker.train.peaks import PeakMemory
        from stoker.train.saving import Saver
        from stoker.train.work import tell_work

    hooks, run.signals = run.hooks, signals
    hooks.notify("on_run_start", run=run)
    data = build.build_data(run, signals)
    meet(run, signals.raise_if_stopped)
    engine = build.build_engine(run)
    boundary = Boundary(run, signals)
    boundary.check_interrupted()
    chooses = run.recipe.train.micro_batch_size == "auto"
    if chooses:
        from stoker.train.automatic import choose_micro_batch_size, rehearse

        chooses = choose_micro_batch_size(run, engine)
    peak = PeakMemory(engine.device)
    order = build.build_order(run, data)
    model = build.build_model(run, engine)
    boundary.check_interrupted()
    state = build.build_state(run, order, model)
    if chooses:
        rehearse(state, boundary)
    boundary.check_interrupted()
    _set_running(run, state.total_steps, state.step)
    tell_work(state)

    hooks.notify("on_train_start", state=state)
    saver = Saver(boundary)
    with saver.closing():
        saver.begin(state)
        peak.begin()
        with build.prefetch(state, data.train) as steps:
            decision = train(state, steps, Evaluator(state, data.evaluation, boundary), saver, boundary)
        peak.report(run)
        exit_code = leave_saved(state, decision, saver, boundary)
    boundary.close()
    result = saver.result or (state.checkpoints[-1] if state.checkpoints else None)
    outcome = Outcome(
        exit_code=exit_code,
        step=state.step,
        message=_why(decision, boundary),
        checkpoint=result.path if result else None,
        preempted=decision.preempts,
    )
    _set_result(run, outcome)
    hooks.notify("on_train_end", state=state, outcome=outcome)
    hooks.notify("on_run_end", run=run, outcome=outcome)
    return outcome


def _why(decision: Decision, boundary: Boundary) -> str:
    """Why the run is left before its end; empty where it is not, or where only another rank knows."""
    from stoker.train.boundary import LIMIT

    if not decision.interrupts:
        return ""
    return boundary.limit if decision.stop == LIMIT else boundary.reason


def leave_saved(state: State, decision: Decision, saver: Saver, boundary: Boundary) -> ExitCode:
    """Save what has been trained, unless the machine is gone before that can be done. Collective."""
    from stoker.train.boundary import FINISH, LIMIT

    started, left = time.monotonic(), boundary.seconds_left()
    usable = math.inf if left is None else left - SECONDS_TO_LEAVE
    # A notice may have come to one rank only, a moment ago: all ask, whether they know of one or not.
    if not boundary.all_fine(saver.seconds_needed(state) <= usable):
        # Rather the newest durable checkpoint than a torso: one under way may still become that.
        saver.finish_within(state, max(0.0, usable) if left is not None else 0.0)
        code = ExitCode.LEFT
    else:
        saver.save_at_end(state)
        code = {FINISH: ExitCode.DONE, LIMIT: ExitCode.OVER_BUDGET}.get(decision.stop, ExitCode.STOPPED)
    if decision.preempts and state.run.is_main:
        step = state.checkpoints[-1].step if state.checkpoints else None
        phase = "left" if code == ExitCode.LEFT else "saved"
        seconds = time.monotonic() - started
        state.run.events.write("preemption", phase=phase, step=step, seconds=seconds, seconds_left=left)
    return code


def _set_running(run: Run, total_steps: int, step: int) -> None:
    if run.is_main:
        run.directory.update_record(state="running", total_steps=total_steps, step=step)
        run.events.write("state", state="running", total_steps=total_steps, step=step)


def _set_result(run: Run, outcome: Outcome) -> None:
    if run.is_main and outcome.checkpoint is not None:
        result = str(outcome.checkpoint.relative_to(run.directory.path))
        run.directory.update_record(result=result, step=outcome.step)


def _failed(
    directory: RunDirectory,
    place: Place,
    attempt: int,
    error: BaseException,
    step: int = 0,
    recipe: Recipe | None = None,
) -> int:
    """Print, write the outcome file, and return the exit code of an error."""
    if isinstance(error, StokerError):
        code, message, hint, text = error.exit_code, error.message, error.hint, ""
    else:
        code, message, hint = ExitCode.FAILED, f"{type(error).__name__}: {error}", ""
        text = "".join(traceback.format_exception(error))
    message = " ".join([message, *getattr(error, "__notes__", [])])
    said = str(error)
    if recipe is not None:
        # A library's error may quote the value of an environment variable.
        message, hint, text, said = map(recipe.conceal, (message, hint, text, said))
    complain(text or said)
    reason = ""
    if isinstance(error, Interrupted | OverBudgetError):
        message, reason = "", message
    _write_outcome(
        directory,
        attempt,
        place.rank,
        code,
        step=step,
        message=message,
        hint=hint,
        traceback=text,
        preempted=getattr(error, "preempted", False),
        reason=reason,
        failed_step=getattr(error, "step", None) if code == ExitCode.NON_FINITE else None,
    )
    return int(code)


def _write_outcome(*given: Any, **more: Any) -> None:
    """On a full disk the supervisor has to do with the exit code."""
    try:
        write_outcome(*given, **more)
    except StorageError as error:
        complain(str(error))


if __name__ == "__main__":
    main()
