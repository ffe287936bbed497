"""GPUs by our name and by the driver's."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.plan.gpus import find_gpu, known_gpus, recognise

PROMISED = (
    "a100-40gb a100-80gb h100-80gb h200-141gb b200-180gb l4-24gb l40s-48gb a10g-24gb a6000-48gb "
    "rtx-3090 rtx-4090 rtx-5090 v100-16gb v100-32gb t4-16gb mi300x-192gb"
)


@pytest.mark.parametrize("name", PROMISED.split())
def test_every_promised_name_is_known(name: str) -> None:
    assert find_gpu(name).name == name


@pytest.mark.parametrize("name", known_gpus())
def test_numbers_are_of_the_right_size(name: str) -> None:
    found = find_gpu(name)
    assert 5e13 < found.bf16_flops < 3e15
    assert found.fp32_flops < found.bf16_flops
    assert 3e11 <= found.memory_bandwidth <= 8e12
    assert found.network_bandwidth <= found.link_bandwidth
    if name.endswith("gb"):
        nominal = float(name.rpartition("-")[2].removesuffix("gb"))
        assert 0.9 * nominal < found.memory_bytes / 1e9 < 1.1 * nominal


def test_case_and_separators_do_not_matter_and_a_size_without_doubt_may_be_left_out() -> None:
    assert find_gpu(" RTX_4090 ").name == "rtx-4090"
    assert find_gpu("H200").name == "h200-141gb"
    assert find_gpu("h100").name == "h100-80gb"


def test_an_ambiguous_name_lists_the_sizes() -> None:
    with pytest.raises(UsageError, match="a100-40gb or a100-80gb"):
        find_gpu("A100")


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError, match="Did you mean 'a100-80gb'") as caught:
        find_gpu("a100-90gb")
    assert "t4-16gb" in caught.value.hint
    assert caught.value.exit_code == 2


def test_the_cpu_is_a_device_with_the_memory_of_this_machine() -> None:
    cpu = find_gpu("cpu")
    assert cpu.memory_bytes > 1e8
    assert cpu.bf16_flops > 0


@pytest.mark.parametrize(
    ("driver_name", "mebibytes", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", 81920, "a100-80gb"),
        ("NVIDIA A100-SXM4-40GB", 40960, "a100-40gb"),
        ("NVIDIA A100 80GB PCIe", 81920, "a100-pcie-80gb"),
        ("A100", 40960, "a100-40gb"),
        ("A100", 81251, "a100-80gb"),
        ("NVIDIA H100 80GB HBM3", 81559, "h100-80gb"),
        ("NVIDIA H100 PCIe", 81559, "h100-pcie-80gb"),
        ("NVIDIA H100 NVL", 95830, "h100-nvl-94gb"),
        ("NVIDIA H200", 143771, "h200-141gb"),
        ("NVIDIA B200", 183359, "b200-180gb"),
        ("NVIDIA GB200", 189471, "gb200-186gb"),
        ("NVIDIA L4", 23034, "l4-24gb"),
        ("NVIDIA L40S", 46068, "l40s-48gb"),
        ("NVIDIA A10G", 23028, "a10g-24gb"),
        ("NVIDIA RTX A6000", 49140, "a6000-48gb"),
        ("NVIDIA RTX 6000 Ada Generation", 49140, "rtx-6000-ada-48gb"),
        ("NVIDIA GeForce RTX 3090", 24576, "rtx-3090"),
        ("NVIDIA GeForce RTX 4090", 24564, "rtx-4090"),
        ("NVIDIA GeForce RTX 5090", 32607, "rtx-5090"),
        ("Tesla V100-SXM2-16GB", 16160, "v100-16gb"),
        ("Tesla V100-SXM2-32GB", 32510, "v100-32gb"),
        ("Tesla V100", 32768, "v100-32gb"),
        ("Tesla T4", 15360, "t4-16gb"),
        ("AMD Instinct MI300X", 196592, "mi300x-192gb"),
    ],
)
def test_a_driver_name_is_recognised(driver_name: str, mebibytes: int, name: str) -> None:
    gpu = recognise(driver_name, mebibytes * 2**20)
    assert gpu is not None
    assert gpu.name == name


@pytest.mark.parametrize(
    ("driver_name", "mebibytes"),
    [
        ("NVIDIA GeForce RTX 3060", 12288),
        ("", 81920),
        ("A100", 61440),
        ("NVIDIA H100 80GB HBM3", 10240),  # a slice of one (MIG) is not the whole card
    ],
)
def test_what_is_not_known_is_not_guessed(driver_name: str, mebibytes: int) -> None:
    assert recognise(driver_name, mebibytes * 2**20) is None
