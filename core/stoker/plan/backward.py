"""The backward pass of a tape: what is alive while gradients come and go. Torch-free."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from stoker.plan.values import Node, Peak, Value

if TYPE_CHECKING:
    from stoker.plan.tape import Tape


class Backward:
    """Runs the nodes of a tape in reverse and counts what is alive."""

    def __init__(self, tape: Tape, saved: Counter[int]) -> None:
        self.tape = tape
        self.owners_of_saved = Counter(saved)
        self.saved = sum(tape.sizes[storage] for storage in saved if storage not in tape.casts)
        self.casts = sum(tape.sizes[storage] for storage in saved if storage in tape.casts)
        self.flying = 0.0
        self.stored = 0.0
        self.owners: Counter[int] = Counter()
        """Of each gradient's memory."""
        self.bytes: list[float] = []
        self.gradient: dict[int, int] = {}
        """Value's identity -> its gradient's memory."""
        self.waiting = 0.0
        """Gradients that there are when something saved is first asked for."""
        self.most = Peak()
        self.most_alone = Peak()

    def run(self, output: Value) -> tuple[Peak, Peak]:
        """(the peak where gradients of parameters add up, the peak where they leave at once)."""
        if output.needs_grad:
            self.gradient[id(output)] = self._allocate(self.tape.gradient_bytes(output))
        self._look(0.0)
        asked = False
        for node in reversed(self.tape.nodes):
            memories = [self.gradient.pop(id(v)) for v in node.outputs if id(v) in self.gradient]
            if not memories:
                continue
            if node.saved and not asked:
                asked, self.waiting = True, self.flying
            given = self._give(node, memories[0])
            self._look(node.backward_bytes + node.parameter_gradient)
            for memory in memories:
                self._release(memory)
            for storage in node.saved:
                self._forget(storage)
            if node.stored_gradient != node.parameter_gradient:
                self._look(node.parameter_gradient + node.stored_gradient)
            self.stored += node.stored_gradient
            for value, memory in given:
                self._receive(value, memory)
            self._look(0.0)
        return self.most, self.most_alone

    def _look(self, more: float) -> None:
        """Compare what is alive now, and `more` bytes for a moment, with the worst so far."""
        flying = self.flying + more
        if self.saved + self.casts + flying > self.most_alone.total:
            self.most_alone = Peak(self.saved, self.casts, flying)
        if self.saved + self.casts + flying + self.stored > self.most.total:
            self.most = Peak(self.saved, self.casts, flying, self.stored)

    def _give(self, node: Node, memory: int) -> list[tuple[Value, int]]:
        """The gradient of each input, in new memory or that of the output's gradient."""
        given = []
        for value in node.inputs:
            needed = self.tape.gradient_bytes(value)
            if node.passes and value.item == node.outputs[0].item and self.bytes[memory] >= needed:
                self.owners[memory] += 1
                given.append((value, memory))
            else:
                given.append((value, self._allocate(needed)))
        return given

    def _receive(self, value: Value, memory: int) -> None:
        """Add to a gradient that is there: in place where nobody else has it."""
        there = self.gradient.get(id(value))
        if there is None:
            self.gradient[id(value)] = memory
            return
        if self.owners[there] == 1:
            self._release(memory)
            return
        self.gradient[id(value)] = self._allocate(self.tape.gradient_bytes(value))
        self._look(0.0)
        self._release(there)
        self._release(memory)

    def _allocate(self, size: float) -> int:
        self.bytes.append(size)
        self.owners[len(self.bytes) - 1] = 1
        self.flying += size
        return len(self.bytes) - 1

    def _release(self, memory: int) -> None:
        self.owners[memory] -= 1
        if self.owners[memory] == 0:
            self.flying -= self.bytes[memory]

    def _forget(self, storage: int) -> None:
        self.owners_of_saved[storage] -= 1
        if self.owners_of_saved[storage]:
            return
        if storage in self.tape.casts:
            self.casts -= self.tape.sizes[storage]
        else:
            self.saved -= self.tape.sizes[storage]
