"""What autograd keeps between forward and backward, and what it takes on the way. Torch-free.

A block's forward is written down as operations on values that have a size and no content. Each operation
says what torch saves for its backward (tools/autograd/derivatives.yaml of torch 2.13) and which of its
inputs get a gradient; the rest, such as "a frozen layer does not keep its input", follows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stoker.plan.backward import Backward
from stoker.plan.fusing import fuse
from stoker.plan.values import Footprint, Node, Value


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
        backward = Backward(self, saved)
        with_gradients, alone = backward.run(output)
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
            waiting=backward.waiting,
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
