"""Processes that measure one setting after the other: they import torch and meet once. Torch-free."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Self

from stoker.errors import ExitCode, MissingRequirementError, StokerError, UsageError
from stoker.plan.measured import Measured, Setting
from stoker.recipe.lock import write_lock
from stoker.recipe.model import Recipe
from stoker.run.files import make_private_directory
from stoker.run.ranks import Topology, rank_environment

COMMAND = (sys.executable, "-P", "-m", "stoker.train.measuring.serve")
SECONDS_FOR_THE_OTHERS = 5.0
"""After one rank failed, how long the others may take to notice before all are ended."""
SECONDS_TO_LEAVE = 20.0
DEFAULT_TIMEOUT_SECONDS = 600.0

Answer = Mapping[str, Any]
"""`measured`, or `error` with `hint` and `exit_code`."""


class MeasuringRanks:
    """`ranks` processes that build and train together what they are asked to. A context manager."""

    def __init__(self, ranks: int, folder: Path, environment: Mapping[str, str] = os.environ) -> None:
        """`folder` takes their logs, the recipes, and the file through which they meet."""
        self.ranks = ranks
        self.folder = folder
        self._environment = dict(environment)
        self._processes: list[subprocess.Popen[str]] = []
        self._answers: SimpleQueue[tuple[int, Answer | None]] = SimpleQueue()
        self._starts = 0
        self._requests = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def measure(
        self, recipe: Recipe, setting: Setting, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> Measured:
        """What the fullest rank held. Raises `StokerError` with what the first one that failed says."""
        if not self._processes:
            self._start()
        self._requests += 1
        lock = self.folder / f"recipe-{self._requests}.lock.json"
        write_lock(recipe, lock)
        request = json.dumps({"lock": str(lock.absolute()), "setting": setting.to_json()})
        for process in self._processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(f"{request}\n")
                process.stdin.flush()
        answers = self._collect(timeout_seconds)
        failures = [answer for answer in answers if "error" in answer]
        if failures:
            raise _error(failures[0])
        measured = [Measured.from_json(answer["measured"]) for answer in answers]
        return max(measured, key=lambda each: each.allocated)

    def _collect(self, timeout_seconds: float) -> Sequence[Answer]:
        """An answer of every rank, or at least one error; ends all ranks where one died or hangs."""
        answers: list[Answer] = []
        deadline = time.monotonic() + timeout_seconds
        while len(answers) < self.ranks:
            try:
                rank, answer = self._answers.get(timeout=max(0.0, deadline - time.monotonic()))
            except Empty:
                self.kill()
                return [*answers, {"error": f"no measurement within {timeout_seconds:g} s."}]
            if answer is None:
                death = self._death(rank)
                self.kill()
                return [*answers, death]
            answers.append(answer)
            if "error" in answer:
                deadline = min(deadline, time.monotonic() + SECONDS_FOR_THE_OTHERS)
        return answers

    def _death(self, rank: int) -> Answer:
        """What is known of a rank that ended without an answer."""
        code = self._processes[rank].wait()
        lines = self._log_path(rank).read_text(errors="replace").strip().splitlines()
        last = f": {lines[-1]}" if lines else ""
        return {"error": f"the rank {rank} that measured ended with {code}{last}."}

    def _start(self) -> None:
        self._starts += 1
        self._answers = SimpleQueue()
        make_private_directory(self._place)
        topology = Topology(self.ranks)
        for rank in range(self.ranks):
            environment = rank_environment(topology, rank, 1, self._place / "store", self._environment)
            with self._log_path(rank).open("w") as log:
                process = subprocess.Popen(
                    COMMAND,
                    env=environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            self._processes.append(process)
            Thread(target=_listen, args=(rank, process, self._answers), daemon=True).start()

    @property
    def _place(self) -> Path:
        return self.folder / f"ranks-{self._starts}"

    def _log_path(self, rank: int) -> Path:
        return self._place / f"rank-{rank}.log"

    def kill(self) -> None:
        """End all ranks at once; the next measurement starts new ones."""
        for process in self._processes:
            process.kill()
        self._leave()

    def close(self) -> None:
        """Let the ranks leave; end those that do not."""
        for process in self._processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(timeout=SECONDS_TO_LEAVE)
            except subprocess.TimeoutExpired:
                process.kill()
        self._leave()

    def _leave(self) -> None:
        for process in self._processes:
            process.wait()
            for stream in (process.stdin, process.stdout):
                with suppress(BrokenPipeError):
                    if stream is not None:
                        stream.close()
        self._processes = []


def _listen(
    rank: int,
    process: subprocess.Popen[str],
    answers: SimpleQueue[tuple[int, Answer | None]],
) -> None:
    """Pass a rank's lines on; None at its end."""
    assert process.stdout is not None
    with suppress(ValueError, OSError):  # closed meanwhile: nobody listens any more
        for line in process.stdout:
            answers.put((rank, json.loads(line)))
    answers.put((rank, None))


def _error(answer: Answer) -> StokerError:
    kinds = {ExitCode.USAGE: UsageError, ExitCode.ENVIRONMENT: MissingRequirementError}
    kind = kinds.get(answer.get("exit_code", ExitCode.FAILED), StokerError)
    return kind(answer["error"], hint=answer.get("hint", ""))
