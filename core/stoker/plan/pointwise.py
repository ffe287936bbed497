"""Norms and activations, operation by operation as transformers has them. Torch-free."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stoker.plan.tape import Tape
from stoker.plan.values import FLOAT32, Value

if TYPE_CHECKING:
    from stoker.plan.block import BlockWriter


def _times_weight(writer: BlockWriter, source: Value, trained: bool, item: int) -> Value:
    """The weight of a norm: what it is multiplied with is kept for its gradient."""
    return writer.tape.make(
        source.numel,
        max(source.item, item),
        [source],
        [source] if trained else [],
        backward_bytes=source.numel * max(source.item, item) if trained else 0.0,
        parameter_gradient=1.0 if trained else 0.0,
    )


def _normalised(writer: BlockWriter, source: Value, rows: float) -> Value:
    """x * rsqrt(mean(x ** 2)), in float32."""
    tape = writer.tape
    source = tape.cast(source, FLOAT32)
    variance = tape.mean(tape.square(source), rows)
    return tape.mul(source, tape.map(variance, "output"))


def _weight_item(writer: BlockWriter, trained: bool) -> int:
    return writer.arithmetic.trained if trained else writer.arithmetic.compute


def _rms(writer: BlockWriter, source: Value, trained: bool, rows: float) -> Value:
    normed = writer.tape.cast(_normalised(writer, source, rows), source.item)
    return _times_weight(writer, normed, trained, _weight_item(writer, trained))


def _rms_in_float32(writer: BlockWriter, source: Value, trained: bool, rows: float) -> Value:
    normed = _times_weight(writer, _normalised(writer, source, rows), trained, FLOAT32)
    return writer.tape.cast(normed, source.item)


def _centred(writer: BlockWriter, source: Value, trained: bool, rows: float) -> Value:
    """Cohere's: the mean is taken away first, twice."""
    tape, item = writer.tape, source.item
    source = tape.cast(source, FLOAT32)
    mean = tape.mean(source, rows)
    variance = tape.mean(tape.square(tape.add(source, mean)), rows)
    normed = tape.mul(tape.add(source, mean), tape.map(variance, "output"))
    return tape.cast(_times_weight(writer, normed, trained, FLOAT32), item)


def _layer_norm(writer: BlockWriter, source: Value, trained: bool, rows: float) -> Value:
    """One kernel; autocast on CUDA gives it float32."""
    tape, arithmetic = writer.tape, writer.arithmetic
    if arithmetic.autocasts and not arithmetic.on_cpu:
        source = tape.cast(source, FLOAT32)
    sums = tape.value(2 * rows, FLOAT32)
    return tape.make(
        source.numel, source.item, [source], [source, sums], parameter_gradient=float(trained)
    )


NORMS = {
    "rms": _rms,
    "rms_fp32_weight": _rms_in_float32,
    "gemma": _rms_in_float32,
    "cohere": _centred,
    "layer": _layer_norm,
    "layer_without_weight": _layer_norm,
}


def _gelu_new(tape: Tape, source: Value) -> Value:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x ** 3))), operation by operation."""
    half = tape.scale(source)
    cubed = tape.scale(tape.square(source))
    inner = tape.scale(tape.add(source, cubed))
    return tape.mul(half, tape.shift(tape.map(inner, "output")))


def _relu_squared(tape: Tape, source: Value) -> Value:
    return tape.square(tape.map(source, "output"))


def _keeping_output(tape: Tape, source: Value) -> Value:
    return tape.map(source, "output")


ACTIVATIONS = {
    "gelu_new": _gelu_new,
    "relu2": _relu_squared,
    "relu": _keeping_output,
    "tanh": _keeping_output,
}
"""Those that do more than keep their input: what others are taken to do."""
