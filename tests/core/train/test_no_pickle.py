"""No pickle is written or read by a save, a resume or an export, and none that lies about is opened."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from stoker.checkpoint.finding import list_checkpoints
from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit, tiny_recipe

WORK = Path(__file__).with_name("no_pickle_work.py")
spec = importlib.util.spec_from_file_location("no_pickle_work", WORK)
assert spec is not None
assert spec.loader is not None
work = importlib.util.module_from_spec(spec)
spec.loader.exec_module(work)


def new_run(folder: Path, plugins: dict[str, dict[str, Any]]) -> RunDirectory:
    """Made ahead: ranks of a test agree on a new one by torch's object collectives, which pickle."""
    tables = [
        f"plugins.{name}.{key}={value!r}"
        for name, table in plugins.items()
        for key, value in table.items()
    ]
    return RunDirectory.create(folder / "runs", "tiny-1", tiny_recipe(folder, tables))


@pytest.mark.parametrize("plugins", [{}, {"lora": {"rank": 2}}], ids=str)
def test_a_run_is_saved_resumed_and_exported_where_pickle_is_forbidden(
    tmp_path: Path, plugins: dict[str, Any]
) -> None:
    run = new_run(tmp_path, plugins)
    export = tmp_path / "export"
    assert work.save_and_resume(str(tmp_path), str(run.path), plugins, str(export)) == []
    assert list_checkpoints(run.checkpoints_path)[-1].step == 4
    assert list(export.glob("*.safetensors"))


@pytest.mark.parametrize(
    "plugins", [{}, {"fsdp": {"strategy": "FULL_SHARD"}}, {"zero": {"stage": 2}}], ids=str
)
def test_two_ranks_send_nothing_pickled_to_each_other_either(
    rank_pool: Callable[[int], Any], tmp_path: Path, plugins: dict[str, Any]
) -> None:
    """Neither stoker nor a library that it calls there: torch.distributed, accelerate, DeepSpeed."""
    run = new_run(tmp_path, plugins)
    arguments = {"folder": str(tmp_path), "directory": str(run.path), "plugins": plugins, "to": None}
    assert rank_pool(2).call(f"{WORK}:save_and_resume", **arguments) == [[], []]
    assert list_checkpoints(run.checkpoints_path)[-1].step == 4


class Bomb:
    """Makes a directory when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_pickle_that_goes_past_the_names_that_are_forbidden_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(pickle.dumps(Bomb(tmp_path / "gone-off")))
    found = work.unpickle(str(tmp_path / "bomb"))
    assert len(found) == 1
    assert "mkdir" in found[0]


NAMES = (
    ".metadata",
    "adapter_model.bin",
    "dl_state_dict.bin",
    "latest",
    "model.pt",
    "mp_rank_00_model_states.pt",
    "optimizer.bin",
    "optimizer.pt",
    "pytorch_model.bin",
    "random_states_0.pkl",
    "rng_state.pth",
    "scaler.pt",
    "scheduler.pt",
    "state.pkl",
    "trainer_state.json",
    "training_args.bin",
)
"""What other trainers go on from."""


class Watch:
    """Tells which of some files are opened, by whatever process in whatever language: inotify."""

    _OPENED = 0x20

    def __init__(self, paths: Iterable[Path]) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._descriptor = library.inotify_init1(os.O_NONBLOCK)
        assert self._descriptor >= 0
        self._paths = {
            library.inotify_add_watch(self._descriptor, os.fsencode(path), self._OPENED): path
            for path in paths
        }
        assert min(self._paths) > 0

    def opened(self) -> list[Path]:
        """Since the last call."""
        found = []
        try:
            events = os.read(self._descriptor, 2**16)
        except BlockingIOError:
            return []
        while events:
            number, mask, _, length = struct.unpack_from("iIII", events)
            if mask & self._OPENED:  # a file that is deleted is told of too
                found.append(self._paths[number])
            events = events[16 + length :]
        return found

    def close(self) -> None:
        os.close(self._descriptor)


def test_pickles_among_a_runs_files_are_never_opened(tmp_path: Path) -> None:
    """In the run, beside and in its checkpoints, and in what looks like a newer one."""
    run = tiny_fit(tmp_path, {}, ["train.steps=2"]).directory
    (run.checkpoints_path / "step-00000099").mkdir()
    folders = (run.path, run.checkpoints_path, *run.checkpoints_path.glob("step-*"))
    bomb = pickle.dumps(Bomb(tmp_path / "gone-off"))
    planted = [folder / name for folder in folders for name in NAMES]
    for path in planted:
        path.write_bytes(bomb)
    watch = Watch(planted)
    change = ("--set", "train.steps=4", "--allow-change", "train.steps")
    for command, *options in (
        ("verify",),
        ("resume", *change),
        ("export", "--to", str(tmp_path / "out")),
    ):
        arguments = [command, run.name, "--run-dir", str(run.path.parent), *options]
        call = [sys.executable, "-m", "stoker", *arguments]
        done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True)
        # The directory without a manifest is what `verify` complains of.
        assert (done.returncode == 0) == (command != "verify"), done.stdout + done.stderr
    assert list_checkpoints(run.checkpoints_path)[-1].step == 4
    assert watch.opened() == []
    assert not (tmp_path / "gone-off").exists()
    planted[0].read_bytes()
    assert watch.opened() == [planted[0]], "the watch does see it"
    watch.close()
