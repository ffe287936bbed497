"""What every contender is given, how it takes the time, and how it is graded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

IGNORED = -100
"""Label of a token that carries no loss, in PyTorch, transformers and TRL."""
LORA_RANK = 16
LORA_ALPHA = 32
HELD_OUT_ROWS = 16

Row = dict[str, list[int]]
"""`input_ids` and `labels` of one document, as long as each other; labels are not shifted."""


@dataclass(frozen=True)
class Workload:
    """One run: the same for all contenders of a round. Paths are absolute."""

    model: str
    """Directory in Hugging Face layout."""
    rows: str
    """JSON Lines of `Row`, in the order in which steps take them, `steps * batch_size` of them."""
    held_out: str
    """JSON Lines of `Row` that are never trained on."""
    adapter: str | None
    """PEFT adapter to begin with, so that all begin alike; None trains the whole model."""
    precision: str
    """`fp32`, or `bf16`: automatic mixed precision over float32 weights."""
    steps: int
    batch_size: int
    micro_batch_size: int
    sequence_length: int
    learning_rate: float
    seed: int
    folder: str
    """Empty directory for what the contender writes."""
    evaluate_every: int = 0
    """Steps between evaluations on the held-out rows, outside the clock; 0: none."""
    data: dict[str, Any] = field(default_factory=dict)
    """Table `[data]` of stoker's recipe: where `rows` and `held_out` come from."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further options for the library; with one that it does not know, `mistakes.py` sees its answer."""

    @property
    def micro_batches(self) -> int:
        """Of a step."""
        return -(-self.batch_size // max(1, self.micro_batch_size))  # 0 is for the library to refuse

    def write(self, path: Path) -> Path:
        """As JSON, for another process."""
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: str | Path) -> Workload:
        """What `write` wrote."""
        return cls(**json.loads(Path(path).read_text()))


def read_rows(path: str | Path) -> list[Row]:
    """All rows of a JSON Lines file."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def steps_of(workload: Workload, rows: Sequence[Row]) -> Iterator[list[list[Row]]]:
    """The micro-batches of each step, in the order of the rows."""
    size, micro = workload.batch_size, workload.micro_batch_size
    for first in range(0, workload.steps * size, size):
        step = rows[first : first + size]
        yield [list(step[start : start + micro]) for start in range(0, size, micro)]


def num_targets(rows: Sequence[Row]) -> int:
    """Supervised tokens: the first of a row is nobody's target."""
    return sum(label != IGNORED for row in rows for label in row["labels"][1:])


def num_tokens(rows: Sequence[Row]) -> int:
    """Tokens without padding."""
    return sum(len(row["input_ids"]) for row in rows)


class Meter:
    """Seconds of each step, from one boundary to the next; what happens in `paused` does not count."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.step_seconds: list[float] = []
        self.held_out: list[tuple[float, float]] = []
        """Seconds of training so far, and the loss on the held-out rows."""
        self._began = self._ended = 0.0
        self._mark = 0.0

    def start(self) -> None:
        """The first step begins."""
        self._began = time.time()
        self._mark = time.perf_counter()

    def step(self, loss: float | None = None) -> None:
        """A step ended. `loss` may also be appended to `losses` later."""
        now = time.perf_counter()
        self.step_seconds.append(now - self._mark)
        self._mark = now
        self._ended = time.time()
        if loss is not None:
            self.losses.append(loss)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what happens inside."""
        stopped = time.perf_counter()
        yield
        self._mark += time.perf_counter() - stopped

    def evaluate(self, workload: Workload, held_out_loss: Callable[[], float]) -> None:
        """After a step: grade the model if it is due."""
        every = workload.evaluate_every
        if every and len(self.step_seconds) % every == 0:
            with self.paused():
                self.held_out.append((sum(self.step_seconds), held_out_loss()))

    def report(self, **notes: Any) -> None:
        """Print the result as the last line of standard output."""
        result = {
            "losses": self.losses,
            "step_seconds": self.step_seconds,
            "began": self._began,
            "ended": self._ended,
            "held_out": self.held_out,
            "notes": notes,
        }
        print(json.dumps(result), flush=True)
