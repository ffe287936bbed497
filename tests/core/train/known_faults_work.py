"""What ranks do for the negative controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import StokerError
from stoker.run.notices import Notice
from stoker.testing import tiny_fit
from stoker.train.boundary import Boundary, Decision


def adapter(folder: str, drops: bool) -> str:
    """Train and save an adapter that is cut between ranks; why that failed, or nothing.

    `drops`: rank 1 gives nothing, as where a library's own save is called on rank 0 alone.
    """
    from stoker_plugins.fsdp.engine import FsdpEngine

    tensors = FsdpEngine.tensors

    def own(self: Any) -> Any:
        return iter(()) if drops and self.rank == 1 else tensors(self)

    plugins = {"lora": {"rank": 2}, "fsdp": {"strategy": "FULL_SHARD"}}
    with mock.patch.object(FsdpEngine, "tensors", own):
        try:
            tiny_fit(Path(folder), plugins, ["train.steps=1"])
        except StokerError as error:
            return error.message
    return ""


class Leaves(Plugin[PluginConfig]):
    """Rank 1 hears in step 3 that its machine is taken away."""

    @hookimpl
    def collect_notices(self, run: Any) -> Notice | None:
        if run.rank == 1 and run.step >= 3:
            return Notice(provider="test", reason="gone soon", received=0.0)
        return None


class _Counts(Plugin[PluginConfig]):
    steps = 0

    @hookimpl
    def on_step_start(self, state: Any) -> None:
        self.steps = state.step


def stop(folder: str, agrees: bool) -> list[int]:
    """(the last step, the exit code) of a run that one rank is told to leave.

    Without agreement each rank goes by its own wishes; nothing else is asked of the others then.
    """
    counts, leaves = _Counts(PluginConfig()), Leaves(PluginConfig())
    plugins: dict[str, Any] = {"counts": counts, "leaves": leaves}
    settings = ["train.steps=10"]
    if agrees:
        fit = tiny_fit(Path(folder), plugins, settings)
        return [fit.outcome.step, int(fit.outcome.exit_code)]
    decided: list[int] = []

    def decide(self: Boundary, state: Any, **_: Any) -> Decision:
        wishes = self._pushed_wishes()
        decided.append(state.step if wishes[0] else 0)
        return Decision()

    with mock.patch.object(Boundary, "decide", decide):
        tiny_fit(Path(folder), plugins, settings)
    first = next((step for step in decided if step), 10)
    return [first, 0]
