"""Whole weights that live for a while where weights are sharded, and gradients on their way. Torch-free.

As torch's FSDP2 (2.13) does it, part by part in the order of the forward: embedding and head where
they are not tied, each block, and the root with all that is left. A part's weights come as one flat
tensor and are copied out of it; the next parts' flat ones are there already.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.plan.inventory import Inventory


@dataclass(frozen=True)
class Gathering:
    """What bytes of it depend on; the number of ranks is not among that."""

    reuse_elements: float
    """A part's weights stay after its forward where fewer elements are used until its backward."""
    ahead: int
    """Parts whose weights are gathered ahead ..."""
    ahead_elements: float
    """... or elements, where it is not by parts."""
    is_cut: bool
    """Whether more than one rank shares a copy: nothing is gathered otherwise, only cast."""
    weight_bytes: int
    """Of an element when it is gathered, and of its gradient before the reduction."""
    reduce_bytes: int
    """Of an element of the gradient in the reduction."""
    whole_below: int = 0
    """Tensors with fewer elements are whole anyway."""


@dataclass
class Part:
    """Elements of one part."""

    held: int = 0
    trained: int = 0


@dataclass
class Gathered:
    """Bytes beside those of an unsharded model, by moment."""

    inventory: Inventory
    gathering: Gathering | None
    root: Part = field(default_factory=Part)
    embedding: Part = field(default_factory=Part)
    blocks: list[Part] = field(default_factory=list)
    head: Part = field(default_factory=Part)

    def __post_init__(self) -> None:
        self.blocks = [Part() for _ in range(self.inventory.architecture.num_layers)]
        if self.gathering is None:
            return
        for tensor in self.inventory.tensors:
            if tensor.numel < self.gathering.whole_below:
                continue
            part = self.blocks[tensor.block] if tensor.block is not None else self._end(tensor.part)
            part.held += tensor.numel
            part.trained += tensor.numel if tensor.trained else 0

    def _end(self, name: str) -> Part:
        return {"embedding": self.embedding, "head": self.head}.get(name, self.root)

    # -- forward ----------------------------------------------------------------------------------

    def in_forward(self, block: int) -> float:
        """While a block computes: its weights, the flat tensor they came from, those fetched ahead."""
        if self.gathering is None:
            return 0.0
        whole = self.root.held + self._kept(block) + self.blocks[block].held
        return self._bytes(whole) + self._flat(self.blocks[block].held, block)

    def before_head(self) -> float:
        """When the head's weights are copied out: the last block's flat tensor is let go after that."""
        if self.gathering is None:
            return 0.0
        flat = self.head.held + (self.blocks[-1].held if self.gathering.is_cut else 0)
        return self._bytes(flat) + self.in_loss()

    def at_logits(self) -> float:
        """When the model returns its logits."""
        if self.gathering is None:
            return 0.0
        return self._flat(self.head.held, len(self.blocks) + 1) + self.in_loss()

    def in_loss(self) -> float:
        """Root and head stay, and what will be used again soon."""
        if self.gathering is None:
            return 0.0
        return self._bytes(self.root.held + self.head.held + self._kept(len(self.blocks)))

    def _flat(self, own: int, block: int) -> float:
        """What a part's weights are copied out of, and what waits for that."""
        gathering = self.gathering
        if gathering is None or not gathering.is_cut:
            return 0.0
        if gathering.ahead_elements:
            return self._bytes(min(gathering.ahead_elements, self._total))
        following = [*self.blocks, self.head][block + 1 :][: gathering.ahead]
        return self._bytes(own + sum(part.held for part in following))

    def _kept(self, block: int) -> float:
        """Elements of the parts before a block that stay whole."""
        assert self.gathering is not None
        before = [self.embedding, *self.blocks[:block]]
        used_after = self._total - self.root.held
        kept = 0.0
        for part in before:
            used_after -= part.held
            # A frozen look-up has no backward to wait for.
            is_used_again = part is not self.embedding or part.trained or self._keeps_all
            if 2 * used_after < self.gathering.reuse_elements and is_used_again:
                kept += part.held
        return kept

    # -- backward ---------------------------------------------------------------------------------

    def in_head_backward(self) -> float:
        """The head, and the last blocks ahead of their turn."""
        return self.in_loss() + self._flat_before(len(self.blocks))

    def in_backward(self, block: int) -> float:
        """A block's weights, those fetched ahead, the gradients of the block before in reduction."""
        if self.gathering is None:
            return 0.0
        whole = self._whole_below(block) + self.blocks[block].held
        return self._bytes(whole) + self._flat_before(block) + self._reducing(block + 1)

    def after_backward(self, block: int) -> float:
        """A block's gradients as they are, and copied together for the reduction."""
        if self.gathering is None:
            return 0.0
        whole = self._whole_below(block) + self.blocks[block].trained
        return self._bytes(whole) + self._flat_before(block) + self._reducing(block)

    def after_head_backward(self) -> float:
        """The same of the head."""
        if self.gathering is None:
            return 0.0
        last = len(self.blocks)
        whole = self._whole_below(last) + self.head.trained
        return self._bytes(whole) + self._flat_before(last) + self._reducing(last)

    def at_the_end(self) -> float:
        """The same of embedding and root, beside the gradient that the embedding's backward made.

        A tied head's gradient has waited all the time. It is added to that of the embedding while the
        block before is being reduced.
        """
        gathering = self.gathering
        if gathering is None:
            return 0.0
        if not self.inventory.architecture.ties_embeddings:
            reducing = self.embedding.trained * gathering.reduce_bytes
            return self._bytes(self.root.held + self.embedding.trained) + reducing
        at_sum = self._bytes(self.root.held + 2 * self.root.trained) + self._reducing(0)
        return max(at_sum, self._bytes(self.root.held) + self.root.trained * gathering.reduce_bytes)

    def waiting_in_backward(self) -> float:
        """The gradient of a tied head."""
        if self.gathering is None or not self.inventory.architecture.ties_embeddings:
            return 0.0
        return self._bytes(self.root.trained)

    def _bytes(self, elements: float) -> float:
        assert self.gathering is not None
        return float(self.gathering.weight_bytes * elements)

    @property
    def _keeps_all(self) -> bool:
        return self.gathering is not None and self.gathering.reuse_elements == float("inf")

    @cached_property
    def _total(self) -> int:
        ends = self.root.held + self.embedding.held + self.head.held
        return ends + sum(part.held for part in self.blocks)

    def _whole_below(self, block: int) -> float:
        """Elements that are whole beside those of a block whose turn it is."""
        return self.root.held + self._kept(block) - self._kept(0)

    def _flat_before(self, block: int) -> float:
        """The parts that come next in the backward, where they are not there yet."""
        gathering = self.gathering
        if gathering is None or not gathering.is_cut:
            return 0.0
        if gathering.ahead_elements:
            absent = self._total - self._kept(block)
            return self._bytes(min(gathering.ahead_elements, absent))
        first = max(0, block - gathering.ahead)
        absent = sum(part.held for part in self.blocks[first:block])
        return self._bytes(absent) if gathering.reuse_elements == 0 else 0.0

    def _reducing(self, block: int) -> float:
        assert self.gathering is not None
        part = self.blocks[block] if block < len(self.blocks) else self.head
        return self.gathering.reduce_bytes * float(part.trained)
