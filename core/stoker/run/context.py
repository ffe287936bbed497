"""`Run`: what hooks are given, and `Outcome`: how a run ended. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.errors import ExitCode
from stoker.run.heartbeat import Heartbeat

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from stoker.data.index import TokenIndex
    from stoker.dispatch import Hooks
    from stoker.recipe.model import Recipe
    from stoker.run.directory import RunDirectory
    from stoker.run.events import EventWriter
    from stoker.train.engine import Engine
    from stoker.train.signals import SignalFlags


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    exit_code: ExitCode
    step: int = 0
    """Last optimizer step that was applied."""
    message: str = ""
    checkpoint: Path | None = None
    """The checkpoint that holds the result, if one was committed."""
    preempted: bool = False
    """Left because the machine is about to be taken away, not because someone asked."""


@dataclass
class Run:
    """One rank's view of a run. Fields are filled in the order of the timeline."""

    recipe: Recipe
    hooks: Hooks
    directory: RunDirectory
    events: EventWriter
    attempt: int = 1
    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    model_directory: Path = field(default_factory=Path)
    """Hugging Face layout; known after `make_model_files`."""
    store: Any = None
    """torch's key-value store of this run's ranks; None for one rank."""
    heartbeat: Heartbeat = field(default_factory=lambda: Heartbeat(None))
    """Where this rank says what it does, for the one who looks after it."""

    step: int = 0
    """The last optimizer step that was applied."""
    base_modules: dict[str, Any] = field(default_factory=dict)
    """The model's modules by name as they were before any plugin changed the model."""

    parameter_shapes: dict[str, Any] = field(default_factory=dict)
    """`torch.Size` of every parameter by name, as built: an engine may keep a part of it only."""

    data_digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 of the content of each source by dotted key, and of the recipe's table as `data`."""

    # Known later; reading one before its place in the timeline is an AttributeError.
    tokenizer: PreTrainedTokenizerBase = field(init=False)
    index: TokenIndex = field(init=False)
    engine: Engine = field(init=False)
    signals: SignalFlags = field(init=False)
    """What signals have asked of this rank; known from the start of a run that trains."""

    chosen_micro_batch_size: int | None = None
    """What `train.micro_batch_size = "auto"` has come to, once an engine is there."""

    @property
    def micro_batch_size(self) -> int:
        """Rows of a micro-batch. Raises `RuntimeError` where "auto" has not come to a number yet."""
        stated = self.recipe.train.micro_batch_size
        found = self.chosen_micro_batch_size if stated == "auto" else stated
        if found is None:
            raise RuntimeError('train.micro_batch_size is "auto": no number has been chosen yet')
        return found

    @property
    def is_training(self) -> bool:
        """False where a model is built to be exported: there is no engine then."""
        return hasattr(self, "engine")

    @property
    def is_main(self) -> bool:
        """True on rank 0, which alone writes what exists once."""
        return self.rank == 0
