"""What one rank computes and moves for one micro-batch.

Multiplications of matrices, by the usual count: 2 operations for each weight and token in a forward, as
many again for the gradient of the inputs and for that of the weights; for attention 4 * width for each
pair of positions. A frozen weight has no gradient; a checkpointed block is computed again; the head sees
supervised tokens only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from stoker.plan.gpus import CPU
from stoker.plan.trained import inventory_of, trained_set

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.facts import Facts
    from stoker.plan.situation import MicroBatch, Situation

FUSED_BACKWARD = 2.5
"""Attention's backward over its forward: scores are computed again, five products for two (Dao 2023)."""
EAGER_BACKWARD = 2.0
_HALF = 2
"""Bytes of an element that the kernel for documents of various lengths takes."""


@dataclass(frozen=True)
class Work:
    """Of one rank and one micro-batch, forward and backward."""

    matmul_flops: float
    """Executed by linear layers and the head, recomputation included."""
    attention_flops: float
    """Executed by attention, recomputation included."""
    model_flops: float
    """What forward and backward need, without recomputation: the numerator of MFU."""
    moved_bytes: float
    """Bytes of the tensors between the products, once for each pass over them."""
    unpacked_bytes: float
    """Bytes of quantized weights read and of the unpacked copies written."""
    layer_passes: float
    """Blocks that are run: layers times forward, backward (twice a forward) and recomputation."""

    @property
    def executed_flops(self) -> float:
        """The numerator of HFU."""
        return self.matmul_flops + self.attention_flops


def count_work(situation: Situation, facts: Facts, micro_batch: MicroBatch | None = None) -> Work:
    """The work of `micro_batch`, by default of the largest."""
    architecture = situation.architecture
    batch = micro_batch or situation.micro_batch
    again = _recomputed(facts)
    blocks, head = _forward_parameters(architecture)
    trained = trained_set(architecture, facts)
    # Forward and gradient of the inputs everywhere, gradient of the weights where they are trained.
    needed = 2.0 * batch.tokens * (2 * blocks + trained.matmul + 3 * trained.adapter)
    needed += 2.0 * batch.supervised * (2 * head + trained.head)
    matmul = needed + 2.0 * batch.tokens * again * (blocks + trained.adapter)
    pairs = _attended_pairs(situation, batch, facts)
    attention = 4.0 * architecture.attention_width * pairs
    is_fused = facts.attention != "eager"
    backward = FUSED_BACKWARD if is_fused else EAGER_BACKWARD
    causal = 4.0 * architecture.attention_width * _causal_pairs(architecture, batch)
    moved = _moved_elements(architecture) * batch.tokens * situation.compute_bytes
    # A selective mode keeps products and attention; everything between them is done again.
    passed = 3 + (1.0 if facts.checkpointing.mode == "selective" else again)
    return Work(
        matmul_flops=matmul,
        attention_flops=attention * (1 + again + backward),
        model_flops=needed + 3 * causal,
        moved_bytes=moved * passed,
        unpacked_bytes=_unpacked_bytes(situation, facts) * (2 + again),
        layer_passes=architecture.num_layers * passed,
    )


def evaluation_work(situation: Situation, facts: Facts, micro_batch: MicroBatch | None = None) -> Work:
    """The same of a forward alone."""
    architecture = situation.architecture
    batch = micro_batch or situation.micro_batch
    blocks, head = _forward_parameters(architecture)
    adapter = trained_set(architecture, facts).adapter
    matmul = 2.0 * (batch.tokens * (blocks + adapter) + batch.supervised * head)
    attention = 4.0 * architecture.attention_width * _attended_pairs(situation, batch, facts)
    needed = 4.0 * architecture.attention_width * _causal_pairs(architecture, batch)
    return Work(
        matmul_flops=matmul,
        attention_flops=attention,
        model_flops=2.0 * (batch.tokens * blocks + batch.supervised * head) + needed,
        moved_bytes=_moved_elements(architecture) * batch.tokens * situation.compute_bytes,
        unpacked_bytes=_unpacked_bytes(situation, facts),
        layer_passes=architecture.num_layers,
    )


def _recomputed(facts: Facts) -> float:
    """Share of a forward's products that are computed again."""
    checkpointing = facts.checkpointing
    return 1 / checkpointing.every if checkpointing.mode == "full" else 0.0


@lru_cache(maxsize=64)
def _forward_parameters(architecture: Architecture) -> tuple[float, float]:
    """Active elements of matrices in the blocks, and of the head."""
    head = float(architecture.vocab_size * architecture.hidden_size)
    return architecture.matmul_parameters - head, head


def _causal_pairs(architecture: Architecture, batch: MicroBatch) -> float:
    """Pairs of positions that have to be looked at, over all layers, for the whole micro-batch."""
    return batch.tokens * _causal_context(architecture, batch.longest_document)


@lru_cache(maxsize=256)
def _causal_context(architecture: Architecture, length: int) -> float:
    """Positions that a token of a document looks at in the mean, added up over the layers."""
    seen = [min(window or length, length) for window in _windows(architecture)]
    return sum(each - each * each / (2 * length) for each in seen)


def _attended_pairs(situation: Situation, batch: MicroBatch, facts: Facts) -> float:
    """Pairs that are computed: all of a row where a mask says which count."""
    architecture = situation.architecture
    if facts.attention == "eager" or (facts.packed and _masks_documents(situation, facts)):
        return float(batch.tokens) * batch.positions * architecture.num_layers
    return _causal_pairs(architecture, batch)


def _masks_documents(situation: Situation, facts: Facts) -> bool:
    """Whether torch's attention keeps documents apart by a mask, as `stoker.train.documents` decides."""
    if facts.attention != "sdpa":
        return False
    if situation.gpu.name == CPU:
        return facts.compiled != "no"
    return not situation.gpu.has_bf16 or situation.compute_bytes != _HALF


def _windows(architecture: Architecture) -> tuple[int | None, ...]:
    return architecture.windows or (None,) * architecture.num_layers


@lru_cache(maxsize=64)
def _moved_elements(architecture: Architecture) -> float:
    """Elements of the tensors between products, for a token and a forward, over all layers.

    Residuals, norms, queries, keys and values count as ten times the hidden size, the MLP's inner
    tensors as two (five where they are gated) times its width: the shape of the cost, not its size,
    which is fitted to measurements.
    """
    inner = architecture.intermediate_size
    if architecture.num_experts:
        inner = (
            architecture.experts_per_token * architecture.expert_size + architecture.shared_expert_size
        )
    is_gated = bool(architecture.family.gate or architecture.family.fused_gate_up)
    return architecture.num_layers * (10.0 * architecture.hidden_size + (5 if is_gated else 2) * inner)


def _unpacked_bytes(situation: Situation, facts: Facts) -> float:
    if facts.quantized is None:
        return 0.0
    elements = inventory_of(situation.architecture, facts).quantized
    return elements * (facts.quantized.bytes_per_weight + situation.compute_bytes)
