"""What a compiler makes of a tape: everything between two kernels runs as one. Torch-free.

`torch.compile` cuts forward from backward where least has to be kept (the min-cut partitioner, torch
2.13): inputs of matrix products and of attention, which their backward wants in memory, are kept; what
only lies between kernels is made anew from what is kept, and is never in memory itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stoker.plan.tape import Tape
    from stoker.plan.values import Node, Value


def fuse(tape: Tape, output: Value) -> Tape:
    """The same tape with what is written to memory by compiled code; `output` leaves it."""
    return _Fusing(tape, output).fused()


class _Fusing:
    def __init__(self, tape: Tape, output: Value) -> None:
        self.tape = tape
        self.output = output
        self.kept = {storage for node in tape.nodes if node.is_kernel for storage in node.saved}

    def fused(self) -> Tape:
        tape = self.tape
        nodes = [self._node(node) for node in tape.nodes]
        made = [storage for storage in tape.made_of if not self._is_written(storage)]
        sizes = list(tape.sizes)
        for storage in made:
            sizes[storage] = 0.0
        return replace(tape, sizes=sizes, nodes=nodes, is_compiled=False, there=self._there())

    def _is_written(self, storage: int) -> bool:
        return (
            storage in self.kept or storage in self.tape.kernel_inputs or storage == self.output.storage
        )

    def _there(self) -> frozenset[int]:
        """Values on either side of a kernel, and on either end of the tape."""
        kernels = [node for node in self.tape.nodes if node.is_kernel]
        values = [value for node in kernels for value in (*node.outputs, *node.inputs)]
        sources = [value for node in self.tape.nodes for value in node.inputs if value.storage == 0]
        return frozenset(map(id, [self.output, *values, *sources]))

    def _node(self, node: Node) -> Node:
        if node.is_kernel:
            return node
        wanted = tuple(root for storage in node.saved for root in self._roots(storage))
        return replace(node, saved=wanted, backward_bytes=0.0)

    def _roots(self, storage: int) -> tuple[int, ...]:
        """What a value is made anew from: the least of what has to be kept for that."""
        if storage in self.kept or not self._is_cheaper_anew(storage):
            self.kept.add(storage)
            return (storage,)
        return tuple(root for source in self.tape.made_of[storage] for root in self._roots(source))

    def _is_cheaper_anew(self, storage: int) -> bool:
        sources = self.tape.made_of.get(storage)
        return sources is not None and sum(map(self._cost, set(sources))) < self.tape.sizes[storage]

    def _cost(self, storage: int) -> float:
        """Bytes to keep so that a value can be had in backward."""
        if storage in self.kept:
            return 0.0
        size = self.tape.sizes[storage]
        sources = self.tape.made_of.get(storage)
        return size if sources is None else min(size, sum(map(self._cost, set(sources))))
