"""Tells the log of storages which moment of a step it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor

from stoker.train.engine import Engine

if TYPE_CHECKING:
    from stoker.data.batches import Batch
    from stoker.train.loss import Loss
    from stoker.train.measuring.components import Components
    from stoker.train.measuring.storages import StorageLog


class WatchedEngine:
    """An engine for the loop that does what another does, and says where in the step it is."""

    def __init__(self, engine: Engine, log: StorageLog, components: Components) -> None:
        self._engine = engine
        self._log = log
        self._components = components

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def forward(self, loss: Loss, batch: Batch) -> tuple[Tensor, Tensor]:
        """From here on it is `forward`; from the end of the model's forward on, `loss`."""
        self._log.moment = "forward"
        return self._engine.forward(loss, batch)

    def backward(self, loss_sum: Tensor, scale: float) -> None:
        """Whatever of the forward is alive when it begins was saved for it."""
        self._components.note_saved(self._log.alive())
        self._log.moment = "backward"
        self._engine.backward(loss_sum, scale)
        self._components.note_held(self._log, self._engine)

    def finish_gradients(self) -> None:
        """The update begins."""
        self._log.moment = "update"
        self._engine.finish_gradients()
