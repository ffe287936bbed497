"""What `stoker check` and `stoker run` say of a price or a budget that cannot be."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import RecipeError, UsageError
from stoker.run.budget import find_tariff
from stoker.testing import tiny_recipe
from stoker_plugins.cost import Cost, CostConfig
from stoker_plugins.cost.price import find_problems


def problems_of(**config: Any) -> list[tuple[str, str]]:
    found = find_problems(CostConfig(**config))
    return [(problem.key, f"{problem.message} {problem.hint}") for problem in found]


@pytest.mark.parametrize("option", ["usd_per_gpu_hour", "budget_usd", "budget_hours"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_amounts_that_are_not_above_zero_are_refused(tmp_path: Path, option: str, value: str) -> None:
    with pytest.raises(RecipeError, match=rf"plugins\.cost\.{option}") as info:
        tiny_recipe(tmp_path, ["plugins.cost.usd_per_gpu_hour=2.5", f"plugins.cost.{option}={value}"])
    assert info.value.exit_code == 2


def test_a_warning_at_more_than_all_of_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"plugins\.cost\.warn_at"):
        tiny_recipe(tmp_path, ["plugins.cost.usd_per_gpu_hour=2.5", "plugins.cost.warn_at=1.5"])


def test_without_a_price_or_a_provider_there_is_nothing_to_reckon_with() -> None:
    ((key, said),) = problems_of()
    assert key == "plugins.cost"
    assert "neither usd_per_gpu_hour nor provider" in said
    assert "Set plugins.cost.usd_per_gpu_hour." in said


@pytest.mark.parametrize("option", [{"provider": "lambda"}, {"gpu": "h100-80gb"}, {"spot": True}])
def test_what_is_asked_of_a_table_that_nobody_looks_into_is_refused(option: dict[str, Any]) -> None:
    ((key, said),) = problems_of(usd_per_gpu_hour=2.5, **option)
    assert key == f"plugins.cost.{next(iter(option))}"
    assert "usd_per_gpu_hour is given" in said


def test_an_unknown_provider_or_gpu_is_refused_with_the_nearest_name() -> None:
    ((key, said),) = problems_of(provider="lamda")
    assert key == "plugins.cost.provider"
    assert "'lambda'" in said
    ((key, said),) = problems_of(provider="lambda", gpu="h10-80gb")
    assert key == "plugins.cost.gpu"
    assert "h100-80gb" in said


def test_a_gpu_that_the_provider_does_not_let_is_refused() -> None:
    ((key, said),) = problems_of(provider="lambda", gpu="rtx-3090")
    assert key == "plugins.cost.provider"
    assert "no price of rtx-3090 at lambda is known" in said


def test_a_given_price_is_taken_as_it_is(tmp_path: Path) -> None:
    tables = ["plugins.cost.usd_per_gpu_hour=2.5", "plugins.cost.budget_usd=7"]
    tariff = find_tariff(tiny_recipe(tmp_path, tables))
    assert tariff is not None
    assert (tariff.usd_per_gpu_hour, tariff.budget_usd, tariff.budget_hours) == (2.5, 7.0, None)
    assert tariff.source == "plugins.cost.usd_per_gpu_hour"


def test_a_price_of_the_table_says_whose_it_is_and_of_when(tmp_path: Path) -> None:
    tables = ['plugins.cost.provider="lambda"', 'plugins.cost.gpu="h100-80gb"']
    tariff = find_tariff(tiny_recipe(tmp_path, tables))
    assert tariff is not None
    assert 1 < tariff.usd_per_gpu_hour < 10
    assert tariff.source.startswith("h100-80gb at lambda, on demand, as of 20")


def test_of_a_range_the_upper_end_counts(tmp_path: Path) -> None:
    tables = ['plugins.cost.provider="guide"', 'plugins.cost.gpu="a100-80gb"']
    tariff = find_tariff(tiny_recipe(tmp_path, tables))
    assert tariff is not None
    assert tariff.usd_per_gpu_hour == 3.0


def test_a_machine_without_a_gpu_of_the_table_needs_a_name_or_a_price(
    tmp_path: Path, no_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real probe, which asks the driver that is not there; elsewhere it is hidden from it."""
    (tmp_path / "pynvml.py").write_text("raise ModuleNotFoundError('pynvml')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    with pytest.raises(UsageError, match="which GPU to look up cannot be told here") as info:
        Cost(CostConfig(provider="lambda")).make_tariff(None)  # type: ignore[arg-type]
    assert "Set plugins.cost.usd_per_gpu_hour. Or name the GPU" in info.value.hint


FAKE_NVML = """
from types import SimpleNamespace as Fake
class NVMLError(Exception): pass
def nvmlInit(): pass
def nvmlDeviceGetCount(): return len(NAMES)
def nvmlSystemGetDriverVersion(): return "570"
def nvmlSystemGetCudaDriverVersion(): return 12080
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(index): return NAMES[index]
def nvmlDeviceGetMemoryInfo(index): return Fake(total=81559 * 2**20)
def nvmlDeviceGetGraphicsRunningProcesses(index): return []
def nvmlDeviceGetComputeRunningProcesses(index): return []
"""
"""A driver with GPUs that this machine does not have: nothing else can say their names here."""


def with_fake_gpus(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    (folder / "pynvml.py").write_text(f"{FAKE_NVML}\nNAMES = {names!r}\n")
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=":")


def test_the_gpu_of_a_fake_driver_is_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "NVIDIA H100 80GB HBM3"
    with_fake_gpus(tmp_path, monkeypatch, name, name)
    tariff = Cost(CostConfig(provider="lambda")).make_tariff(None)  # type: ignore[arg-type]
    assert tariff.source.startswith("h100-80gb at lambda")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("NVIDIA H100 80GB HBM3", "NVIDIA A100-SXM4-80GB"), "GPUs of several types"),
        (("Voodoo 5",), "the price table knows no 'Voodoo 5'"),
        ((), "the driver knows no GPU"),
    ],
)
def test_gpus_of_a_fake_driver_without_one_price_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], said: str
) -> None:
    with_fake_gpus(tmp_path, monkeypatch, *names)
    with pytest.raises(UsageError, match=said):
        Cost(CostConfig(provider="lambda")).make_tariff(None)  # type: ignore[arg-type]


def test_a_run_without_a_price_ends_with_2_and_leaves_nothing_behind(tmp_path: Path) -> None:
    tiny_recipe(tmp_path)
    command = [sys.executable, "-m", "stoker", "run", "tiny.toml", "--set", "plugins.cost.budget_usd=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no price is known" in done.stderr
    assert not (tmp_path / "runs").exists()
