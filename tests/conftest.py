"""Fixtures for all tests: nothing is written to the home folder, and ranks are started once."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# One thread for each of two ranks on two cores; more of them only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# MLflow, which DeepSpeed imports, would make a file about itself in the home folder and report its use.
os.environ.setdefault("DO_NOT_TRACK", "true")
# Where the Makefile has DeepSpeed's extensions compiled to, which takes minutes once.
os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(Path(sys.prefix) / "torch-extensions"))
os.environ.setdefault("MAX_JOBS", "2")
# Tests send it to processes of theirs, which would inherit from nohup that it is not heard.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


LONG = (
    "test_torture.py",
    "test_recipes.py",
    "test_interruption.py",
    "test_equivalence.py",
    "test_twins.py",
    "test_matrix.py",
    "test_schemas.py",
    "test_launchers.py",
    "test_fsdp.py",
    "test_offload.py",
)
"""Files of half a minute and more: begun first, so that none is left when the other process is done."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(name) if (name := item.path.name) in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of the test session, so that tests neither use nor fill the user's."""
    folder = Path(os.environ.get("STOKER_TEST_CACHE") or tmp_path_factory.mktemp("cache"))
    before = dict(os.environ)
    os.environ.update(STOKER_CACHE=str(folder), HF_HUB_OFFLINE="1", HF_HOME=str(folder / "hf"))
    yield folder
    os.environ.clear()
    os.environ.update(before)


def _ranks_module() -> Any:
    spec = importlib.util.spec_from_file_location("ranks", Path(__file__).with_name("ranks.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["ranks"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process and its children see no GPU, so that what is said without one is tested anywhere."""
    import torch

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def _script(folder: str, name: str) -> ModuleType:
    path = Path(__file__).parents[1] / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


@pytest.fixture(scope="session")
def docs_script() -> Callable[[str], ModuleType]:
    """`docs_script("write_recipes")` is docs/write_recipes.py as a module."""
    return partial(_script, "docs")


@pytest.fixture(scope="session")
def benchmark_script() -> Callable[[str], ModuleType]:
    """`benchmark_script("plan_time")` is benchmarks/plan_time.py as a module."""
    return partial(_script, "benchmarks")


@pytest.fixture(scope="session")
def start_ranks(private_cache: Path) -> Iterator[Callable[[int], Any]]:
    """`start_ranks(2)` is a new pool of two gloo ranks; whoever asks for it closes it."""
    module = _ranks_module()
    starters: list[Any] = []

    def start(world_size: int) -> Any:
        if not starters:
            starters.append(module.RankStarter())
        return module.RankPool(starters[0], world_size)

    yield start
    for starter in starters:
        starter.close()


@pytest.fixture(scope="session")
def rank_pool(start_ranks: Callable[[int], Any]) -> Iterator[Callable[[int], Any]]:
    """`rank_pool(2)` is a pool of two gloo ranks, started at its first use."""
    pools: dict[int, Any] = {}

    def pool(world_size: int) -> Any:
        if world_size not in pools:
            pools[world_size] = start_ranks(world_size)
        return pools[world_size]

    yield pool
    for running in pools.values():
        running.close()
