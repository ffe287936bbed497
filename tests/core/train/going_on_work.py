"""What ranks do for the tests of going on anywhere: resume, and save at once what was loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stoker import Plugin, PluginConfig, hookimpl
from stoker.checkpoint.commit import Commit
from stoker.checkpoint.tensors import write_pieces
from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit
from stoker.train.saving import make_manifest

WORK = Path(__file__).as_posix()


class Dumps(Plugin[PluginConfig]):
    """Commits the state as it is before the first step to a folder of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(PluginConfig())
        self.folder = folder

    @hookimpl
    def on_train_start(self, state: Any) -> None:
        import torch.distributed as dist

        commit = Commit(self.folder, f"step-{state.step:08d}")
        commit.begin()
        write_pieces(commit.directory, state.run.rank, state.engine.tensors())
        if dist.is_initialized():
            dist.barrier()
        if state.run.is_main:
            commit.seal(make_manifest(state))
        if dist.is_initialized():
            dist.barrier()


def resume(
    folder: str, directory: str, dump: str, plugins: dict[str, Any], overrides: list[str]
) -> list[float]:
    """Losses of all steps of a run that goes on here; `dump` gets the state that it began with."""
    run = RunDirectory(Path(directory))
    tables = {**plugins, "dumps": Dumps(Path(dump))}
    return tiny_fit(Path(folder), tables, overrides, directory=run).losses
