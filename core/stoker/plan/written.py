"""The forward and backward of a whole model on tapes, block by block. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from stoker.plan.attending import shared_by_layers
from stoker.plan.block import BlockWriter
from stoker.plan.ending import Ending, write_ending
from stoker.plan.facts import Checkpointing
from stoker.plan.inventory import Inventory, Method, take_inventory
from stoker.plan.layers import Layer, treat
from stoker.plan.surroundings import Arithmetic, Surroundings, Weight
from stoker.plan.values import Peak

if TYPE_CHECKING:
    from stoker.plan.architecture import Architecture
    from stoker.plan.facts import Loss
    from stoker.plan.situation import MicroBatch


@dataclass(frozen=True)
class Setup:
    """What the passes depend on."""

    architecture: Architecture
    micro_batch: MicroBatch
    method: Method
    checkpointing: Checkpointing
    attention: str
    arithmetic: Arithmetic
    packed: bool
    compiled: bool
    loss: Loss | None = None
    repeats_keys: bool = False


@dataclass(frozen=True, eq=False)
class Written:
    """What the passes are made of."""

    layers: tuple[Layer, ...]
    ending: Ending
    tables: float
    """Bytes that all blocks keep together."""
    held: float
    """Bytes that the forward alone holds."""
    embedding: Peak
    """At the very end of backward."""


@lru_cache(maxsize=1024)
def write_model(setup: Setup) -> Written:
    """Write it down; blocks that are alike once."""
    return _Writer(setup).written()


class _Writer:
    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.inventory: Inventory = take_inventory(setup.architecture, setup.method)
        self.around = Surroundings(
            architecture=setup.architecture,
            arithmetic=setup.arithmetic,
            micro_batch=setup.micro_batch,
            implementation=setup.attention,
            packed=setup.packed,
            adapter=setup.method.adapter,
            quantized=setup.method.quantized,
            compiled=setup.compiled,
            repeats_keys=setup.repeats_keys,
        )
        self._layers: dict[tuple[object, ...], Layer] = {}

    def written(self) -> Written:
        """All of it."""
        first_item = self._first_item()
        layers, item, needs_grad = self._write_layers(first_item)
        tables, held = self._shared()
        if layers and not layers[0].keeps_source:
            # The model's forward holds what the embedding gave.
            held += self.setup.micro_batch.tokens * self.setup.architecture.hidden_size * first_item
        return Written(
            layers=tuple(layers),
            ending=write_ending(
                self.around, self.inventory, item, needs_grad=needs_grad, loss=self.setup.loss
            ),
            tables=tables,
            held=held,
            embedding=self._embedding_backward(first_item),
        )

    def _first_item(self) -> int:
        """Bytes of an element of what the embedding gives."""
        arithmetic = self.setup.arithmetic
        return arithmetic.trained if self.inventory.embedding.trained else arithmetic.compute

    def _write_layers(self, item: int) -> tuple[list[Layer], int, bool]:
        """The blocks, and the dtype and need of a gradient of what the last one gives."""
        needs_grad = self.inventory.embedding.trained
        layers = []
        for number, weights in enumerate(self.inventory.blocks):
            layer = self._layer(number, weights, item, needs_grad)
            layers.append(layer)
            item, needs_grad = layer.footprint.output.item, layer.footprint.output.needs_grad
        return layers, item, needs_grad

    def _layer(self, number: int, weights: Mapping[str, Weight], item: int, needs_grad: bool) -> Layer:
        architecture, checkpointing = self.setup.architecture, self.setup.checkpointing
        sparse, window = number in architecture.sparse_layers, architecture.windows[number]
        treated = checkpointing.mode != "none" and number % checkpointing.every == 0
        key = (tuple(weights.items()), item, needs_grad, sparse, window, treated)
        if key not in self._layers:
            writer = BlockWriter(self.around, weights, sparse, window)
            footprint = writer.footprint(
                item,
                needs_grad=needs_grad,
                input_is_free=treated,
                products_every=checkpointing.products_every,
            )
            source = self.setup.micro_batch.tokens * architecture.hidden_size * item
            checkpointing = checkpointing if treated else Checkpointing()
            on_cpu = self.setup.arithmetic.on_cpu
            self._layers[key] = treat(footprint, checkpointing, source, on_cpu)
        return self._layers[key]

    def _shared(self) -> tuple[float, float]:
        """Cosines and sines, which all blocks keep, and a mask, which the forward holds."""
        architecture = self.setup.architecture
        item = self._first_item()
        batch, tables = self.setup.micro_batch, architecture.family.rotary_tables
        rotary = 2.0 * batch.positions * architecture.rotary_size * item * tables
        setup = self.setup
        if "embedding" in architecture.dropouts:
            noise = item if self.setup.arithmetic.on_cpu else 1
            rotary += batch.tokens * architecture.hidden_size * noise
        masks = shared_by_layers(setup.attention, architecture, batch, item, packed=setup.packed)
        if setup.checkpointing.mode in ("full", "selective"):
            # What is called again later holds what it was called with.
            return rotary + masks, 0.0
        return rotary, masks

    def _embedding_backward(self, item: int) -> Peak:
        """At the very end: the gradient of the table, from that of the first block's input."""
        embedding = self.inventory.embedding
        if not embedding.trained:
            return Peak()
        setup = self.setup
        flying = setup.micro_batch.tokens * setup.architecture.hidden_size * item
        return Peak(flying=flying, gradients=embedding.numel * setup.arithmetic.trained)
