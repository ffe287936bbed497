"""What a storage is for."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.train.engine import Engine
    from stoker.train.measuring.storages import Allocation, StorageLog

HELD = ("weights", "gradients", "master_weights", "optimizer", "buffers")
_COMPUTING = ("forward", "loss")
_SCALES = "bitsandbytes.quantize"
"""Made beside the values of quantized weights, which the engine holds."""
_PRODUCTS = ("aten.mm", "aten.addmm", "aten.bmm", "aten.baddbmm")


@dataclass
class Components:
    """Sorts allocations of one step into `stoker.plan.memory.COMPONENTS`.

    What the engine says that it holds is exact, and so is the sum. The rest is told apart by what was
    seen of it:

    - `logits`: as many columns as the vocabulary has words and as many rows as there are supervised
      tokens (or tokens); in the backward not what a matrix product gives: the head's gradient.
    - `activations`: made in the forward and still there when the backward begins, or made in
      the backward while autograd records, which is recomputation with its own temporaries.
    - `buffers`: copies of weights in another dtype, gathered weights, buckets, buffers of the model,
      and whatever else lives shortly.
    """

    vocab_size: int
    logits_rows: AbstractSet[int]
    saved: set[Allocation] = field(default_factory=set)
    """Alive when a backward began."""
    _held: dict[Allocation, str] = field(default_factory=dict)

    def note_held(self, log: StorageLog, engine: Engine) -> None:
        """Ask the engine what it holds now. Who was a gradient once, was one from its allocation on."""
        for component, tensor in engine.held():
            allocation = log.see(tensor, "held by the engine")
            if allocation is not None:
                self._held.setdefault(allocation, component)

    def note_saved(self, alive: Iterable[Allocation]) -> None:
        """What there is when a backward begins."""
        self.saved.update(alive)

    def of(self, allocation: Allocation) -> str:
        """The component's name."""
        if allocation in self._held:
            return self._held[allocation]
        if allocation.operation.startswith(_SCALES):
            return "weights"
        if self._is_logits(allocation):
            return "logits"
        if allocation.was_resized or self._is_cast_weight(allocation):
            return "buffers"
        if allocation.moment in _COMPUTING and allocation in self.saved:
            return "activations"
        if allocation.moment == "backward" and allocation.has_gradients:
            return "activations"
        return "buffers"

    def _is_logits(self, allocation: Allocation) -> bool:
        *rows, columns = allocation.shape or (0,)
        if columns != self.vocab_size or allocation.moment not in (*_COMPUTING, "backward"):
            return False
        num_rows = 1
        for length in rows:
            num_rows *= length
        is_product = allocation.operation.startswith(_PRODUCTS)
        return num_rows in self.logits_rows and not (allocation.moment == "backward" and is_product)

    def _is_cast_weight(self, allocation: Allocation) -> bool:
        original = allocation.casts
        return original is not None and self._held.get(original) in ("weights", "master_weights")
