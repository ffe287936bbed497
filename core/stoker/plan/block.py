"""The forward of one transformer block on a tape: what transformers 5.23 computes. Torch-free.

The order of operations is that of `models/llama/modeling_llama.py` and its relatives; each branch is a
field of `stoker.plan.families.Family`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stoker.plan.attending import Attention, attention_of
from stoker.plan.mixture import merged_product, write_mixture
from stoker.plan.pointwise import ACTIVATIONS, NORMS
from stoker.plan.surroundings import Surroundings, Weight
from stoker.plan.tape import Tape
from stoker.plan.values import FLOAT32, Footprint, Value


@dataclass
class BlockWriter:
    """Writes the forward of one block."""

    around: Surroundings
    weights: Mapping[str, Weight]
    """By name inside the block."""
    is_sparse: bool
    window: int | None

    def __post_init__(self) -> None:
        self.tape = Tape(is_compiled=self.around.compiled)
        self.architecture = self.around.architecture
        self.family = self.architecture.family
        self.arithmetic = self.around.arithmetic
        self.tokens = self.around.micro_batch.tokens

    def footprint(
        self, item: int, *, needs_grad: bool, input_is_free: bool, products_every: int = 1
    ) -> Footprint:
        """Bytes of the block, for an input of this dtype.

        `input_is_free`: the input is counted elsewhere, else here if it is kept.
        """
        width = self.tokens * self.architecture.hidden_size
        source = self.tape.value(width, item, needs_grad=needs_grad, free=input_is_free)
        self.tables = self.tape.value(0, item, free=True)
        return self.tape.footprint(self._block(source), products_every)

    # -- the block --------------------------------------------------------------------------------

    def _block(self, hidden: Value) -> Value:
        family = self.family
        normed = self.norm(hidden, family.attention_norm)
        attended = self._attention(normed)
        self.tape.touch(normed)
        attended = self.norm(attended, family.after_attention_norm)
        attended = self._dropout(attended, "residual")
        if self.architecture.parallel:
            normed = self.norm(hidden, family.mlp_norm) if family.mlp_norm else normed
            grown = self._dropout(self._feed_forward(normed), "residual")
            return self.tape.add(self.tape.add(attended, grown), hidden)
        hidden = self.tape.add(hidden, attended)
        grown = self._feed_forward(self.norm(hidden, family.mlp_norm))
        grown = self.norm(grown, family.after_mlp_norm)
        return self.tape.add(hidden, self._dropout(grown, "residual"))

    def _feed_forward(self, normed: Value) -> Value:
        grown = write_mixture(self, normed) if self.is_sparse else self.mlp(normed, self._mlp_names())
        self.tape.touch(normed)  # the block's forward holds it until then
        return grown

    def _mlp_names(self) -> tuple[str, str, str]:
        return self.family.gate, self.family.up, self.family.down

    def mlp(self, source: Value, names: tuple[str, str, str], width: int | None = None) -> Value:
        tape, (gate, up, down) = self.tape, names
        inner = self.tokens * (width or self.architecture.intermediate_size)
        hidden = self.tokens * self.architecture.hidden_size
        if self.family.fused_gate_up:
            both = self.linear(source, self.family.fused_gate_up, 2 * inner)
            first, second = tape.split(both, inner, inner)
            product = tape.mul(second, self.activation(first))
        elif gate:
            activated = self.activation(self.linear(source, gate, inner))
            product = tape.mul(activated, self.linear(source, up, inner))
        else:
            product = self.activation(self.linear(source, up, inner))
        return self.linear(product, down, hidden)

    # -- attention --------------------------------------------------------------------------------

    def _attention(self, normed: Value) -> Value:
        query, key, value = self._projections(normed)
        query = self.norm(query, self.family.query_norm, self._norm_rows(self.architecture.num_heads))
        key = self.norm(
            key, self.family.key_norm, self._norm_rows(self.architecture.num_key_value_heads)
        )
        if self.architecture.rotary_size:
            query, key = self._rotate(query), self._rotate(key)
        attended = self._attend(query, key, value)
        width = self.tokens * self.architecture.hidden_size
        return self.linear(attended, self.family.output, width)

    def _norm_rows(self, heads: int) -> float:
        return self.tokens * (heads if self.family.qk_norm_over == "head" else 1)

    def _projections(self, normed: Value) -> tuple[Value, Value, Value]:
        architecture, family = self.architecture, self.family
        queries = self.tokens * architecture.attention_width
        keys = self.tokens * architecture.num_key_value_heads * architecture.head_size
        if family.fused_qkv:
            fused = self.linear(normed, family.fused_qkv, queries + 2 * keys)
            query, key, value = self.tape.split(fused, queries, keys, keys)
            return query, key, value
        return (
            self.linear(normed, family.query, queries),
            self.linear(normed, family.key, keys),
            self.linear(normed, family.value, keys),
        )

    def _rotate(self, source: Value) -> Value:
        """(x * cos) + (rotate_half(x) * sin), and the channels that are not rotated."""
        tape, architecture = self.tape, self.architecture
        share = architecture.rotary_size / architecture.head_size
        turned = source if share == 1 else tape.part(source, source.numel * share)
        half = turned.numel / 2
        with_cos = tape.mul(turned, self.tables)
        rotated = tape.concatenate(tape.scale(tape.part(turned, half)), tape.part(turned, half))
        result = tape.add(with_cos, tape.mul(rotated, self.tables))
        if not self._rotates_a_part():
            return result
        return tape.concatenate(result, tape.part(source, source.numel - turned.numel))

    def _attend(self, query: Value, key: Value, value: Value) -> Value:
        kind = self._attention_kind()
        if kind == "scores":
            return self._scores(query, key, value)
        if kind == "unfused":
            return self._unfused(query, key, value)
        tape = self.tape
        query, key, value = (self._for_product(tensor) for tensor in (query, key, value))
        if kind == "kernel_with_mask" or self.around.repeats_keys:
            key, value = self._repeated(key), self._repeated(value)
        heads = self.architecture.num_heads
        sums = tape.value(self.tokens * heads, FLOAT32)
        given = [query, key, value]
        output = tape.make(
            query.numel, query.item, given, [*given, sums], saves_output=True, is_kernel=True
        )
        tape.attended.update((output.storage, sums.storage))
        tape.products.update(tape.attended)
        # The output is laid out as the queries are, which put together from parts are not as the next
        # layer wants them; documents are put together themselves.
        copies = kind == "kernel_by_document" or self._rotates_a_part()
        return tape.copy(output) if copies else output

    def _rotates_a_part(self) -> bool:
        return self.family.rotary == "partial" and self.architecture.rotary_size > 0

    def _attention_kind(self) -> Attention:
        return attention_of(
            self.around.implementation,
            self.architecture,
            self.window,
            self.around.micro_batch,
            packed=self.around.packed,
            on_cpu=self.arithmetic.on_cpu,
            compute_bytes=self.arithmetic.compute,
            compiled=self.around.compiled,
        )

    def _repeated(self, source: Value) -> Value:
        """Keys or values once for each query head, as a copy."""
        repeats = self.architecture.num_heads // self.architecture.num_key_value_heads
        if repeats == 1:
            return source
        return self.tape.make(source.numel * repeats, source.item, [source])

    def _scores(self, query: Value, key: Value, value: Value) -> Value:
        tape, architecture = self.tape, self.architecture
        batch = self.around.micro_batch
        key, value = self._repeated(key), self._repeated(value)
        score_numel = batch.rows * architecture.num_heads * batch.positions**2
        scores = tape.scale(self._product(query, key, score_numel))
        if self.family.attention_softcap:
            scores = tape.scale(tape.map(tape.scale(scores), "output"))
        scores = tape.add(scores, tape.value(0, query.item, free=True))
        shares = tape.map(tape.cast(scores, FLOAT32), "output")
        shares = self._dropout(tape.cast(shares, query.item), "attention")
        attended = self._product(shares, value, self.tokens * architecture.attention_width)
        return tape.copy(attended)

    def _unfused(self, query: Value, key: Value, value: Value) -> Value:
        """`at::_scaled_dot_product_attention_math`, in float32: products want factors laid out anew."""
        tape, architecture, batch = self.tape, self.architecture, self.around.micro_batch
        item = self._for_product(query).item
        query, key, value = (tape.cast(tensor, FLOAT32) for tensor in (query, key, value))
        key, value = self._repeated(key), self._repeated(value)
        query, key = tape.copy(tape.scale(query)), tape.copy(tape.scale(key))
        numel = batch.rows * architecture.num_heads * batch.positions**2
        shares = tape.map(self._matmul(query, key, numel), "output")
        dropped = self._dropout(shares, "attention")
        width = self.tokens * architecture.attention_width
        attended = self._matmul(dropped, tape.copy(value), width)
        return tape.copy(tape.cast(attended, item))

    def _product(self, left: Value, right: Value, numel: float) -> Value:
        """A batched matrix product."""
        return self._matmul(self._for_product(left), self._for_product(right), numel)

    def _matmul(self, left: Value, right: Value, numel: float) -> Value:
        saves = [a for a, b in ((left, right), (right, left)) if b.needs_grad]
        return self.tape.make(numel, left.item, [left, right], saves, is_kernel=True)

    # -- layers -----------------------------------------------------------------------------------

    def _for_product(self, source: Value) -> Value:
        """As autocast hands it to a matrix product."""
        return self.tape.cast(source, self.arithmetic.compute) if self.arithmetic.autocasts else source

    def linear(self, source: Value, name: str, numel: float) -> Value:
        weight = self.weights[f"{name}.weight"]
        if weight.adapted and not weight.is_layer:
            return merged_product(self, source, weight, numel)
        if weight.quantized:
            result = self._unpacking_linear(source, weight, numel)
        else:
            result = self._plain_linear(source, weight, numel)
        return self._adapted(source, result, numel) if weight.adapted else result

    def _plain_linear(self, source: Value, weight: Weight, numel: float) -> Value:
        arithmetic = self.arithmetic
        source = self._for_product(source)
        inputs, saves = [source], [source] if weight.trained else []
        if weight.trained and arithmetic.autocasts:
            copy = self.tape.value(weight.numel, arithmetic.compute)
            self.tape.casts.add(copy.storage)
            inputs.append(copy)
            if source.needs_grad:
                saves.append(copy)
        output = self.tape.make(
            numel,
            arithmetic.compute,
            inputs,
            saves,
            parameter_gradient=weight.numel * arithmetic.compute if weight.trained else 0.0,
            stored_gradient=weight.numel * arithmetic.gradient if weight.trained else 0.0,
            is_kernel=True,
        )
        self.tape.products.add(output.storage)
        return output

    def _unpacking_linear(self, source: Value, weight: Weight, numel: float) -> Value:
        """bitsandbytes: the weight is unpacked for the backward, and kept packed."""
        tape, compute = self.tape, self.arithmetic.compute
        item = source.item
        source = tape.cast(source, compute)
        unpacked = weight.numel * compute
        packing = self.around.quantized
        saves = [source] if packing is not None and packing.keeps_inputs else []
        result = tape.make(numel, compute, [source], saves, backward_bytes=unpacked, is_kernel=True)
        return tape.cast(result, item)

    def _adapted(self, source: Value, result: Value, numel: float) -> Value:
        """PEFT's `result + lora_B(lora_A(dropout(x))) * scaling`."""
        adapter, tape, given = self.around.adapter, self.tape, source
        assert adapter is not None
        rank = self.tokens * adapter.rank
        item = result.item
        source = tape.cast(source, self.arithmetic.trained)
        if adapter.dropout:
            source = self._drop(source)
        inputs, outputs = source.numel / self.tokens, numel / self.tokens
        lowered = self._plain_linear(source, Weight(int(inputs * adapter.rank), trained=True), rank)
        raised = self._plain_linear(lowered, Weight(int(outputs * adapter.rank), trained=True), numel)
        update = tape.scale(raised)
        if adapter.magnitudes:
            update = self._scaled_update(result, raised, inputs, outputs)
        total = tape.add(result, update)
        tape.touch(given)  # by the caller
        return tape.cast(total, item)

    def _scaled_update(self, result: Value, raised: Value, inputs: float, outputs: float) -> Value:
        """DoRA: magnitude over norm, times the base's result and times the update.

        For the norm the update is made as a matrix, from a matrix of ones on the diagonal, beside the
        weight, their sum and a scaled copy.
        """
        tape, item = self.tape, self.arithmetic.trained
        tape.touch(tape.value(inputs**2 + 4 * inputs * outputs, item))
        magnitude = tape.value(outputs, item, needs_grad=True)
        return tape.add(tape.mul(result, magnitude), tape.scale(tape.mul(raised, magnitude)))

    def norm(self, source: Value, name: str, rows: float | None = None) -> Value:
        """`rows`: how many means are taken."""
        if not name:
            return source
        weight = self.weights.get(f"{name}.weight")
        write = NORMS[self.family.norm]
        return write(self, source, weight is not None and weight.trained, rows or self.tokens)

    def activation(self, source: Value) -> Value:
        write = ACTIVATIONS.get(self.architecture.activation)
        return write(self.tape, source) if write else self.tape.map(source, "input")

    def _dropout(self, source: Value, place: str) -> Value:
        return self._drop(source) if self.architecture.dropouts.get(place) else source

    def _drop(self, source: Value) -> Value:
        """CUDA keeps a mask of one byte for each element, the CPU the noise in the input's dtype."""
        item = source.item if self.arithmetic.on_cpu else 1
        return self.tape.make(source.numel, source.item, [source], [self.tape.value(source.numel, item)])
