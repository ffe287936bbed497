"""Training and evaluation mode, which a model's modules may have each for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """All modules in evaluation mode, without dropout; afterwards each in the mode that it was in.

    `model.train()` would switch on what somebody has switched off, such as the dropout of frozen blocks.
    """
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        # Parents come first: `train` sets a module's children too.
        for module, training in before:
            module.train(training)
