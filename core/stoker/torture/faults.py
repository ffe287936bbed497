"""Losses and gradients that are not finite, and ranks that hang."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

from stoker import Plugin, PluginConfig, hookimpl
from stoker.checkpoint.finding import newest_valid
from stoker.errors import ExitCode
from stoker.run.skips import with_skip
from stoker.torture.forking import kill
from stoker.torture.report import Report
from stoker.torture.runs import INTERVAL, STEPS, Attempt, Result, Setup, result_of

HANG_SECONDS = 2
_MARGIN_SECONDS = 6.0
"""For the supervisor to look, ask for stacks, and end the ranks."""


class Poison(Plugin[PluginConfig]):
    """Makes the loss or a gradient of one step NaN or infinite, on one rank."""

    def __init__(self, step: int, kind: str, value: float) -> None:
        super().__init__(PluginConfig())
        self.step = step
        self.kind = kind
        self.value = value
        self._armed = False

    @hookimpl
    def patch_model(self, model: Any) -> None:
        """`loss`: through the embeddings of a token."""
        model.get_input_embeddings().register_forward_hook(
            lambda module, arguments, output: output * self.value if self._armed else None
        )

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        self._armed = self.kind == "loss" and state.step == self.step

    @hookimpl
    def on_gradients(self, state: Any) -> None:
        if self.kind == "gradient" and state.step == self.step:
            for _, gradient in state.engine.gradients():
                if gradient is not None and gradient.numel():
                    gradient.view(-1)[0] = self.value
                    return


def poisoned(poison: Poison, victim: int) -> Any:
    """What puts it into one rank: beside the plugins of the recipe."""

    def prepare(rank: int) -> None:
        from stoker import registry
        from stoker.train import worker

        def make_plugins(tables: Any) -> dict[str, Plugin[Any]]:
            return {**registry.make_plugins(tables), "poison": poison}

        if rank == victim:
            vars(worker)["make_plugins"] = make_plugins

    return prepare


def nan(setup: Setup, number: int, chance: random.Random) -> Report:
    """So many poisoned steps: each is stopped before it counts, named, and left out by a resume."""
    report, started = Report("nan", setup.engine, setup.ranks), time.monotonic()
    for count in range(number):
        kind, value = chance.choice(("loss", "gradient")), chance.choice((float("nan"), float("inf")))
        step, rank = chance.randrange(2, STEPS), chance.randrange(setup.ranks)
        directory = setup.make(f"nan-{count}")
        code = Attempt(directory, setup.ranks, poisoned(Poison(step, kind, value), rank)).wait()
        report.faults += 1
        record = directory.read_record()
        error = record.error or {}
        what = f"{value} in the {kind} of step {step} on rank {rank}"
        if code != ExitCode.NON_FINITE or error.get("step") != step:
            report.blame(f"{what}: ended with {code}, blaming step {error.get('step')}")
            continue
        if kind == "loss" and f"rank {rank}" not in str(error.get("message")):
            report.blame(f"{what}: the rank is not named: {error.get('message')}")
        newest, passed_over = newest_valid(directory.checkpoints_path, record.id)
        if newest is None or newest.step >= step or passed_over:
            report.bad_picks += 1
            report.blame(f"{what}: the newest checkpoint is {newest and newest.step}")
        directory.update_record(facts=with_skip(record, 1, directory.name))
        if Attempt(directory, setup.ranks).wait() != ExitCode.DONE:
            report.by_hand += 1
            report.blame(f"{what}: the run does not go on without the batch")
        report.resumes += 1
    report.seconds = time.monotonic() - started
    return report


def hang(setup: Setup, number: int, chance: random.Random) -> Report:
    """So many ranks that are stopped at a random instant: found in time, named, ended, gone on from."""
    report, started = Report("hang", setup.engine, setup.ranks), time.monotonic()
    calm, seconds = _calm(setup)
    for count in range(number):
        directory = setup.make(f"hung-{count}")
        attempt = Attempt(directory, setup.ranks)
        if attempt.is_over_by(chance.uniform(0.3, 0.9) * seconds) or not (ranks := attempt.ranks()):
            attempt.wait()
            continue
        victim = chance.randrange(len(ranks))
        kill(ranks[victim], signal.SIGSTOP)
        report.faults += 1
        stopped = time.monotonic()
        code = attempt.wait()
        took = time.monotonic() - stopped
        message = str((directory.read_record().error or {}).get("message"))
        if code == ExitCode.DONE:  # it had nothing left to do
            kill(ranks[victim], signal.SIGCONT)
        elif code != ExitCode.FAILED or f"rank {victim}" not in message:
            report.blame(f"rank {victim} was stopped: ended with {code}, {message}")
        elif took > 3 * HANG_SECONDS + _MARGIN_SECONDS:
            report.blame(f"rank {victim} was stopped: found after {took:.1f} s")
        if code != ExitCode.DONE and Attempt(directory, setup.ranks).wait() != ExitCode.DONE:
            report.by_hand += 1
            report.blame(f"{directory.name} does not go on")
            continue
        report.resumes += 1
        report.runs += 1
        report.unequal += result_of(directory) != calm
    report.seconds = time.monotonic() - started
    return report


def _calm(setup: Setup) -> tuple[Result, float]:
    directory = setup.make("calm-hang")
    attempt = Attempt(directory, setup.ranks)
    if (code := attempt.wait()) != ExitCode.DONE:
        raise RuntimeError(f"the uninterrupted run ended with {code}: see {directory.path}/logs.")
    return result_of(directory), time.monotonic() - attempt.started


__all__ = ["HANG_SECONDS", "INTERVAL", "Poison", "hang", "nan", "poisoned"]
