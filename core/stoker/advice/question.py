"""What advice is asked about: data, model, machines and limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from stoker.errors import UsageError

DEFAULT_TOKENS_PER_EXAMPLE = 512
DEFAULT_BATCH_SIZE = 32
GPUS_OF_A_NODE = 8


@dataclass(frozen=True, kw_only=True)
class Question:
    """Everything that the rules look at. Raises `UsageError` for numbers that cannot be."""

    model: str
    """A name that the planner knows, or a folder with a config.json."""
    examples: int
    """Rows, or documents of raw text."""
    gpu: str
    gpus: int
    """At hand, on all nodes together."""
    nodes: int = 1
    tokens_per_example: int = DEFAULT_TOKENS_PER_EXAMPLE
    """On average."""
    sequence_length: int | None = None
    """Tokens of the longest row; None: made from `tokens_per_example`."""
    epochs: float | None = None
    batch_size: int = DEFAULT_BATCH_SIZE
    """Rows of a step, at least: rounded up until GPUs and micro-batches divide it."""
    multi_task: bool = False
    """Several tasks or tenants are served from one base."""
    continued_pretraining: bool = False
    domain_shift: bool = False
    """A language or a field that the model hardly knows."""
    budget_usd: float | None = None
    hours: float | None = None
    assumed: tuple[str, ...] = field(default=())
    """What nobody stated, in words."""

    def __post_init__(self) -> None:
        for name in ("examples", "gpus", "nodes", "tokens_per_example", "batch_size"):
            _positive(f"--{name.replace('_', '-')}", getattr(self, name))
        for name in ("sequence_length", "epochs", "budget_usd", "hours"):
            value = getattr(self, name)
            if value is not None:
                _positive(f"--{name.replace('_', '-')}", value)
        if self.gpus % self.nodes:
            raise UsageError(
                f"{self.gpus} GPUs cannot be shared out evenly to {self.nodes} nodes.",
                hint="--gpus is their number on all nodes together.",
            )

    @property
    def passes(self) -> float:
        """Epochs as stated; else 3, the guide's, and 1 over raw text."""
        return self.epochs or (1.0 if self.continued_pretraining else 3.0)

    @property
    def row_tokens(self) -> int:
        """Tokens of the longest row: as stated; else 2,048 for blocks of raw text, and for examples
        the power of two that leaves room for those twice as long as the average."""
        if self.sequence_length is not None:
            return self.sequence_length
        if self.continued_pretraining:
            return 2048
        return max(256, 1 << (2 * self.tokens_per_example - 1).bit_length())

    @property
    def tokens(self) -> float:
        """Of all epochs."""
        return self.examples * self.tokens_per_example * self.passes

    def rows_of(self, row_tokens: int) -> int:
        """Rows of one epoch: raw text is cut into blocks of `row_tokens` without padding."""
        if self.continued_pretraining:
            return max(1, round(self.examples * self.tokens_per_example / row_tokens))
        return self.examples


def _positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise UsageError(f"{name} cannot be {value:g}.", hint="Give a number above 0.")
