"""What autograd keeps between forward and backward, and what it takes on the way. Torch-free.

A block's forward is written down as operations on values that have a size and no content. Each operation
says what torch saves for its backward (tools/autograd/derivatives.yaml of torch 2.13) and which of its
inputs get a gradient; the rest, such as "a frozen layer does not keep its input", follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from stoker.plan.fusing import fuse

FLOAT32 = 4
INDEX = 8


@dataclass(frozen=True, eq=False, slots=True)
class Value:
    """A tensor of the forward pass."""

    numel: float
    item: int
    """Bytes of an element."""
    needs_grad: bool
    storage: int
    """Views share it."""

    @property
    def nbytes(self) -> float:
        """Bytes, of a view only its own part."""
        return self.numel * self.item


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the backward pass."""

    outputs: tuple[Value, ...]
    inputs: tuple[Value, ...]
    """Those that get a gradient."""
    saved: tuple[int, ...] = ()
    passes: bool = False
    """The gradient goes on as it is, without a copy."""
    backward_bytes: float = 0.0
    """Taken and given back while this operation runs backward."""
    parameter_gradient: float = 0.0
    """Bytes of a parameter's gradient as it leaves this operation ..."""
    stored_gradient: float = 0.0
    """... and as it is kept for the update."""
    is_kernel: bool = False
    """A matrix product or attention, which a compiler does not join with what is around it."""


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes at the worst time of a backward pass."""

    saved: float = 0.0
    """What forward kept and is not used up yet."""
    casts: float = 0.0
    """Of copies of weights in the compute dtype the same."""
    flying: float = 0.0
    """Gradients of activations, temporaries, and a parameter's gradient on its way."""
    gradients: float = 0.0
    """Gradients of parameters that are complete."""

    @property
    def total(self) -> float:
        """All of it."""
        return self.saved + self.casts + self.flying + self.gradients


def add(first: Peak, second: Peak) -> Peak:
    """Bytes of two things that are there at a time."""
    return Peak(
        first.saved + second.saved,
        first.casts + second.casts,
        first.flying + second.flying,
        first.gradients + second.gradients,
    )


class Moment(NamedTuple):
    """A time at which memory may be fullest."""

    peak: Peak
    logits: float
    done: float
    """Gradients of parts whose backward is over, in the dtype they are kept in."""

    @property
    def fixed(self) -> float:
        """Bytes that do not depend on who keeps gradients."""
        return self.peak.total + self.logits


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one run of a tape."""

    kept: float
    """Saved for backward at the end of forward, without copies of weights."""
    keeps_source: bool
    """Whether the tape's first value is among that."""
    kept_casts: float
    """Copies of weights in the compute dtype that are saved."""
    all_casts: float
    """All such copies that are made: autocast keeps them to the end of forward."""
    forward_peak: float
    """The most at any time of forward, with what has been saved so far, without copies of weights."""
    unsaved_peak: float
    """The same where nothing is saved: the first forward of a recomputed block."""
    recomputing_peak: float
    """The most at any time of the second one, which ends where all is saved."""
    products: float
    """Outputs of matrix products and attention."""
    selective_peak: float
    """The most while all but these are recomputed."""
    fetched: float
    """The most that one operation of the backward has saved, copies of weights included."""
    backward: Peak
    """Gradients of parameters add up, in the dtype they are kept in."""
    backward_alone: Peak
    """Gradients of parameters leave at once."""
    gradients: float
    """Of the tape's own parameters, as they are kept."""
    output: Value


@dataclass
class Tape:
    """Records a forward pass."""

    sizes: list[float] = field(default_factory=list)
    """Bytes of each storage; 0 for what lives anyway: parameters, tables that all blocks share."""
    nodes: list[Node] = field(default_factory=list)
    casts: set[int] = field(default_factory=set)
    uses: list[tuple[int, ...]] = field(default_factory=list)
    """Storages that each operation of the forward touches, in order."""
    products: set[int] = field(default_factory=set)
    """Outputs of matrix products and attention, which selective checkpointing keeps."""
    attended: set[int] = field(default_factory=set)
    """Those of attention."""
    last_save: int = 0
    """Number of the last operation that saves something: a recomputation stops before it."""
    is_compiled: bool = False
    """Operations between kernels run as one, and what lies between them is never there."""
    made_of: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Storage -> those it was made of; of a kernel's outputs and of what is given there are none."""
    kernel_inputs: set[int] = field(default_factory=set)
    there: frozenset[int] | None = None
    """Identities of values that are written to memory, and so are their gradients; None: all."""

    # -- values -----------------------------------------------------------------------------------

    def value(self, numel: float, item: int, *, needs_grad: bool = False, free: bool = False) -> Value:
        """A new tensor; `free`: it is counted elsewhere."""
        self.sizes.append(0.0 if free else numel * item)
        made = Value(numel, item, needs_grad, len(self.sizes) - 1)
        self.uses.append((made.storage,))
        return made

    def make(
        self,
        numel: float,
        item: int,
        inputs: Sequence[Value],
        saves: Iterable[Value] = (),
        *,
        saves_output: bool = False,
        passes: bool = False,
        view_of: Value | None = None,
        backward_bytes: float = 0.0,
        parameter_gradient: float = 0.0,
        stored_gradient: float = 0.0,
        is_kernel: bool = False,
    ) -> Value:
        """The output of an operation over `inputs`; that of a parameter makes its gradient too."""
        started = len(self.uses)
        wanting = tuple(value for value in inputs if value.needs_grad)
        needs_grad = bool(wanting) or parameter_gradient > 0
        if view_of is not None:
            output = Value(numel, item, needs_grad, view_of.storage)
        else:
            output = self.value(numel, item, needs_grad=needs_grad)
            if is_kernel:
                self.kernel_inputs.update(value.storage for value in inputs)
            else:
                self.made_of[output.storage] = tuple(value.storage for value in inputs)
        if needs_grad:
            saved = tuple(value.storage for value in (*saves, *([output] if saves_output else [])))
            self.last_save = started if saved else self.last_save
            self.nodes.append(
                Node(
                    (output,),
                    wanting,
                    saved,
                    passes,
                    backward_bytes,
                    parameter_gradient,
                    stored_gradient,
                    is_kernel,
                )
            )
        self.touch(*inputs, output)
        return output

    def touch(self, *values: Value) -> None:
        """Somebody holds these until now."""
        self.uses.append(tuple(value.storage for value in values))

    # -- operations -------------------------------------------------------------------------------

    def view(self, source: Value) -> Value:
        """Another shape of the same memory."""
        return self.make(source.numel, source.item, [source], passes=True, view_of=source)

    def part(self, source: Value, numel: float) -> Value:
        """A slice; its gradient is padded to the size of the whole."""
        return self.make(numel, source.item, [source], view_of=source)

    def split(self, source: Value, *numels: float) -> tuple[Value, ...]:
        """Slices that make up the whole; their gradients are put together once."""
        parts = tuple(Value(numel, source.item, source.needs_grad, source.storage) for numel in numels)
        self.touch(source)
        if source.needs_grad:
            self.nodes.append(Node(parts, (source,)))
        return parts

    def copy(self, source: Value) -> Value:
        """The same values, laid out anew."""
        return self.make(source.numel, source.item, [source], passes=True)

    def cast(self, source: Value, item: int) -> Value:
        """Another dtype; nothing where it is the same."""
        return source if source.item == item else self.make(source.numel, item, [source])

    def scale(self, source: Value) -> Value:
        """Times a constant."""
        return self.make(source.numel, source.item, [source])

    def shift(self, source: Value) -> Value:
        """Plus a constant."""
        return self.make(source.numel, source.item, [source], passes=True)

    def add(self, left: Value, right: Value) -> Value:
        """Sum of two tensors."""
        numel, item = max(left.numel, right.numel), max(left.item, right.item)
        return self.make(numel, item, [left, right], passes=True)

    def mul(self, left: Value, right: Value) -> Value:
        """Product; each factor is kept where the other one needs a gradient."""
        numel, item = max(left.numel, right.numel), max(left.item, right.item)
        saves = [a for a, b in ((left, right), (right, left)) if b.needs_grad]
        # A factor that was spread over the other, or widened: first the product's size, then its own.
        spread = sum(1 for v in (left, right) if v.needs_grad and (v.numel < numel or v.item < item))
        return self.make(numel, item, [left, right], saves, backward_bytes=spread * numel * item)

    def map(self, source: Value, keeps: str) -> Value:
        """A function of single elements that keeps its `input` or its `output`."""
        if keeps == "input":
            return self.make(source.numel, source.item, [source], [source])
        return self.make(source.numel, source.item, [source], saves_output=True)

    def square(self, source: Value) -> Value:
        """Its backward makes x, 2 x and then the gradient."""
        extra = 2 * source.nbytes
        return self.make(source.numel, source.item, [source], [source], backward_bytes=extra)

    def mean(self, source: Value, numel: float) -> Value:
        """Over the channels; its gradient is an expanded view until it is used."""
        made = self.make(numel, source.item, [source])
        del self.made_of[made.storage]  # a compiler does not reduce twice
        return made

    def concatenate(self, *sources: Value) -> Value:
        """One tensor of several."""
        numel, item = sum(value.numel for value in sources), max(value.item for value in sources)
        return self.make(numel, item, sources, passes=True)

    # -- what it comes to -------------------------------------------------------------------------

    def footprint(self, output: Value, products_every: int = 1) -> Footprint:
        """Bytes over the whole run; `output` gets a gradient.

        `products_every`: selective checkpointing keeps the first of so many products, and attention.
        """
        if self.is_compiled:
            return fuse(self, output).footprint(output, products_every)
        selected = {*self.attended, *sorted(self.products - self.attended)[::products_every]}
        saved = Counter(storage for node in self.nodes for storage in node.saved)
        casts = self.casts
        with_gradients, alone = _Backward(self, saved).run(output)
        return Footprint(
            kept=sum(self.sizes[storage] for storage in saved if storage not in casts),
            keeps_source=0 in saved,
            kept_casts=sum(self.sizes[storage] for storage in saved if storage in casts),
            all_casts=sum(self.sizes[storage] for storage in casts),
            forward_peak=self.forward_peak(saved.keys(), output),
            unsaved_peak=self.forward_peak((), output),
            recomputing_peak=self.forward_peak(saved.keys(), output, self.last_save),
            products=sum(self.sizes[storage] for storage in selected),
            selective_peak=self.forward_peak(saved.keys(), output, self.last_save, selected),
            fetched=max((sum(self.sizes[s] for s in node.saved) for node in self.nodes), default=0.0),
            backward=with_gradients,
            backward_alone=alone,
            gradients=sum(node.stored_gradient for node in self.nodes),
            output=output,
        )

    def gradient_bytes(self, value: Value) -> float:
        """Of a value's gradient, unless it never is in memory."""
        return value.nbytes if self.there is None or id(value) in self.there else 0.0

    def forward_peak(
        self,
        kept: Iterable[int],
        output: Value,
        stop: int | None = None,
        there: Iterable[int] = (),
    ) -> float:
        """Tensors live from the operation that makes them to the last one that takes them.

        `there`: made before.
        """
        last = {storage: when for when, used in enumerate(self.uses) for storage in used}
        forever = {*kept, output.storage}
        alive: set[int] = {*self.casts, *there}
        now = most = sum(self.sizes[storage] for storage in there)
        for when, used in enumerate(self.uses[:stop]):
            for storage in used:
                if storage not in alive:
                    alive.add(storage)
                    now += self.sizes[storage]
            most = max(most, now)
            for storage in used:
                if last[storage] == when and storage not in forever and storage not in self.casts:
                    alive.discard(storage)
                    now -= self.sizes[storage]
        return most


class _Backward:
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
        self.most = Peak()
        self.most_alone = Peak()

    def run(self, output: Value) -> tuple[Peak, Peak]:
        """(the peak where gradients of parameters add up, the peak where they leave at once)."""
        if output.needs_grad:
            self.gradient[id(output)] = self._allocate(self.tape.gradient_bytes(output))
        self._look(0.0)
        for node in reversed(self.tape.nodes):
            memories = [self.gradient.pop(id(v)) for v in node.outputs if id(v) in self.gradient]
            if not memories:
                continue
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
