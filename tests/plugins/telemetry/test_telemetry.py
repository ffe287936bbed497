"""What telemetry writes beside a run, from threads and ranks, with and without a driver."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stoker.errors import StorageError
from stoker.run.directory import RunDirectory
from stoker.run.events import Event, EventWriter, read_events
from stoker.run.host import host_name
from stoker.testing import Fit, tiny_fit
from stoker.train.work import Work
from stoker_plugins.telemetry import Telemetry, TelemetryConfig
from stoker_plugins.telemetry.gpus import Gpus, find_index
from stoker_plugins.telemetry.host import Host
from stoker_plugins.telemetry.pace import Pace
from stoker_plugins.telemetry.sampler import Sampler

FIT = f"{Path(__file__).parents[2] / 'fit_work.py'}:fit"
OFTEN = {"telemetry": {"interval_seconds": 0.1}}


def samples_of(directory: RunDirectory) -> list[Event]:
    (path,) = directory.telemetry_path.iterdir()
    assert path.name == f"{host_name()}.jsonl"
    return read_events(path)


def of_kind(samples: list[Event], kind: str) -> list[Event]:
    return [sample for sample in samples if sample["kind"] == kind]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    return tiny_fit(tmp_path_factory.mktemp("fit"), OFTEN, ["train.steps=60"])


def test_a_host_is_sampled_while_its_ranks_train(fit: Fit) -> None:
    hosts = of_kind(samples_of(fit.directory), "host")
    assert len(hosts) >= 2
    for sample in hosts:
        assert 0 <= sample["cpu_percent"] <= 100
        assert 0 < sample["memory_used_bytes"] < sample["memory_total_bytes"]
        assert 0 < sample["disk_used_bytes"] < sample["disk_total_bytes"]
        assert sample["network_sent_bytes_per_second"] >= 0


def test_a_rank_says_its_pace_and_every_step_counts_once(fit: Fit) -> None:
    paces = of_kind(samples_of(fit.directory), "rank")
    assert sum(sample["steps"] for sample in paces) == 60
    assert paces[-1]["step"] == 60
    steps = fit.of_kind("step")
    written = sum(sample["step_seconds"] * sample["steps"] for sample in paces)
    assert written == pytest.approx(sum(event["step_seconds"] for event in steps))
    tokens = sum(s["tokens_per_second"] * s["step_seconds"] * s["steps"] for s in paces)
    assert tokens == pytest.approx(steps[-1]["tokens"])


def tokens_and_pairs(fit: Fit) -> tuple[float, float, float]:
    """Of the training rows: tokens, supervised ones, and what a token sees before it in the mean."""
    lengths, supervised = fit.run.index.lengths.astype(float), fit.run.index.supervised_counts
    return lengths.sum(), supervised.sum(), (lengths**2).sum() / lengths.sum() / 2


def test_flops_are_those_that_forward_and_backward_of_a_token_need(fit: Fit) -> None:
    """6 for a parameter of a block, the head for supervised tokens, 12 x width for a position seen."""
    tokens, supervised, seen = tokens_and_pairs(fit)
    shapes = fit.run.parameter_shapes
    blocks = sum(s.numel() for name, s in shapes.items() if "_proj" in name)
    head = shapes["model.embed_tokens.weight"].numel()
    expected = 6 * (blocks + head * supervised / tokens) + 2 * 12 * 32 * seen
    found = of_kind(samples_of(fit.directory), "rank")[0]["flops_per_token"]
    assert found == pytest.approx(expected, rel=0.01)


def test_frozen_weights_have_no_gradient_to_compute(fit: Fit, tmp_path: Path) -> None:
    full = of_kind(samples_of(fit.directory), "rank")[0]["flops_per_token"]
    lora = tiny_fit(tmp_path, {**OFTEN, "lora": {"rank": 1}})
    adapter = of_kind(samples_of(lora.directory), "rank")[0]["flops_per_token"]
    assert 0.6 * full < adapter < 0.9 * full


def test_a_device_without_a_data_sheet_has_no_mfu(fit: Fit) -> None:
    (sample, *_) = of_kind(samples_of(fit.directory), "rank")
    assert (sample["mfu"], sample["hfu"]) == (None, None)
    assert sample["hardware_flops_per_token"] > sample["flops_per_token"]


def test_mfu_and_hfu_are_shares_of_what_the_devices_could_do(tmp_path: Path) -> None:
    for source in ("data sheet", "stoker calibrate"):
        writer = EventWriter(tmp_path / "host.jsonl", 1, 0)
        pace = Pace(writer, 0.0, work=Work(6e9, 8e9, "A100", 2 * 312e12, source))
        pace.note([{"step": 1, "step_seconds": 0.5, "tokens_per_second": 40_000.0}])
    of_sheet, measured = read_events(tmp_path / "host.jsonl")
    assert of_sheet["mfu"] == pytest.approx(40_000 * 6e9 / 624e12)
    assert of_sheet["hfu"] == pytest.approx(40_000 * 8e9 / 624e12)
    assert (measured["mfu"], measured["hfu"]) == (None, None)


def test_a_rank_says_what_its_own_time_goes_to(fit: Fit) -> None:
    steps = fit.of_kind("step")
    paces = of_kind(samples_of(fit.directory), "rank")
    for part in ("data_seconds", "forward_seconds", "backward_seconds", "optimizer_seconds"):
        told = sum(sample[part] * sample["steps"] for sample in paces)
        assert told == pytest.approx(sum(step[part] for step in steps))
        assert told > 0
    assert {sample["wait_seconds"] for sample in paces} == {None}


def test_without_a_driver_it_is_said_once_that_gpus_are_not_available(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    fit = tiny_fit(tmp_path, OFTEN)
    (missing,) = of_kind(samples_of(fit.directory), "gpus")
    assert (missing["available"], missing["count"]) == (False, 0)
    assert missing["reason"] == "nvidia-ml-py is not installed"
    said = [event["message"] for event in fit.of_kind("note") if "telemetry" in event["message"]]
    assert said == ["telemetry: numbers of GPUs are not available: nvidia-ml-py is not installed"]
    assert fit.of_kind("alert") == []
    assert fit.outcome.exit_code == 0


def test_the_driver_of_this_machine_answers_or_is_missing_with_a_reason() -> None:
    """The real library, whatever this machine has."""
    gpus = Gpus()
    samples = list(gpus.look())
    gpus.close()
    assert len(samples) == gpus.count
    assert bool(gpus.missing) == (not gpus.count)


FAKE_NVML = """
from types import SimpleNamespace as Fake
NVML_TEMPERATURE_GPU = 0
class NVMLError(Exception): pass
def nvmlInit(): pass
def nvmlShutdown(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(index): return index
def nvmlDeviceGetName(index): return "NVIDIA H100 80GB HBM3"
def nvmlDeviceGetMemoryInfo(index): return Fake(used=3 * 2**30, total=80 * 2**30)
def nvmlDeviceGetUtilizationRates(index): return Fake(gpu=97, memory=41)
def nvmlDeviceGetPowerUsage(index):
    if index == 1: raise NVMLError("Not Supported")
    return 312_500
def nvmlDeviceGetTemperature(index, sensor): return 61
def nvmlDeviceGetHandleByUUID(uuid):
    if uuid != "GPU-0b": raise NVMLError("Not Found")
    return 1
def nvmlDeviceGetIndex(index): return index
"""
"""A driver with two GPUs, of which the second cannot say its power. Used where there is none."""


@pytest.fixture
def fake_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pynvml.py").write_text(FAKE_NVML)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    importlib.invalidate_caches()


def test_gpus_of_a_fake_driver_are_sampled_and_what_one_cannot_say_is_null(fake_gpus: None) -> None:
    first, second = Gpus().look()
    assert first == {
        "index": 0,
        "name": "NVIDIA H100 80GB HBM3",
        "utilization_percent": 97,
        "memory_used_bytes": 3 * 2**30,
        "memory_total_bytes": 80 * 2**30,
        "power_watts": 312.5,
        "temperature_celsius": 61,
    }
    assert second["power_watts"] is None
    assert second["temperature_celsius"] == 61


def test_a_rank_says_which_gpu_it_has_as_the_driver_counts_them(fake_gpus: None, tmp_path: Path) -> None:
    assert find_index("GPU-0b") == 1
    assert find_index("MIG-0c") is None
    pace = Pace(
        EventWriter(tmp_path / "host.jsonl", 1, 0),
        0.0,
        work=None,
        gpu_index=find_index("GPU-0b"),
    )
    pace.note([{"step": 1, "step_seconds": 0.5, "tokens_per_second": 40_000.0}])
    (sample,) = read_events(tmp_path / "host.jsonl")
    assert sample["gpu_index"] == 1


def test_a_rank_on_a_cpu_has_no_gpu(fit: Fit) -> None:
    assert of_kind(samples_of(fit.directory), "rank")[0]["gpu_index"] is None


def test_the_lines_of_two_ranks_are_whole_and_one_of_them_samples_the_host(
    rank_pool: Callable[[int], Any], tmp_path: Path
) -> None:
    settings = {"plugins": OFTEN, "overrides": ["train.steps=40"]}
    done = rank_pool(2).call(FIT, folder=str(tmp_path), **settings)[0]
    directory = RunDirectory(Path(done["directory"]))
    (path,) = directory.telemetry_path.iterdir()
    samples = read_events(path)
    assert len(samples) == len(path.read_text().splitlines())
    assert {sample["rank"] for sample in of_kind(samples, "rank")} == {0, 1}
    assert {sample["rank"] for sample in of_kind(samples, "host")} == {0}
    waits = [sample["wait_seconds"] for sample in of_kind(samples, "rank")]
    assert all(0 <= wait < 10 for wait in waits)


def test_switched_on_it_changes_no_bit_of_training(fit: Fit, tmp_path: Path) -> None:
    assert tiny_fit(tmp_path, {}, ["train.steps=60"]).losses == fit.losses


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("error", [RuntimeError("broken"), StorageError("no room.")])
def test_what_goes_wrong_in_its_thread_is_said_once_and_ends_the_samples_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(host: Host) -> None:
        raise error

    monkeypatch.setattr(Host, "look", fail)
    sampler = Sampler(EventWriter(tmp_path / "host.jsonl", 1, 0), tmp_path, 0.01)
    sampler.start()
    wait_for(lambda: not sampler._thread.is_alive())
    sampler.stop()
    said = [each for each in sampler.take_messages() if "no more samples" in each]
    assert len(said) == 1
    assert str(error) in said[0]
    assert sampler.take_messages() == []


def test_a_folder_that_cannot_be_made_leaves_the_plugin_out_and_the_run_goes_on(tmp_path: Path) -> None:
    class Unlucky(Telemetry):
        def __init__(self, config: TelemetryConfig) -> None:
            super().__init__(config)
            (tmp_path / "runs" / "tiny-1" / "telemetry").touch()

    directory = tiny_fit(tmp_path).directory
    fit = tiny_fit(
        tmp_path, {"telemetry": Unlucky(TelemetryConfig())}, ["train.steps=6"], directory=directory
    )
    assert fit.outcome.exit_code == 0
    (alert,) = fit.of_kind("alert")
    assert "'telemetry' raised in on_run_start and is left out" in alert["message"]
