"""Where a run is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import ExitCode, MissingRequirementError
from stoker.run.events import read_events
from stoker_plugins.spot import recognition
from stoker_plugins.spot.recognition import read_dmi, recognise

AWS = {"sys_vendor": "Amazon EC2", "product_name": "p4d.24xlarge"}
XEN = {"sys_vendor": "Xen", "bios_version": "4.11.amazon"}
GCP = {"sys_vendor": "Google", "product_name": "Google Compute Engine"}
AZURE = {
    "sys_vendor": "Microsoft Corporation",
    "product_name": "Virtual Machine",
    "chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77",
}


@pytest.mark.parametrize(
    ("environment", "dmi", "provider"),
    [
        ({}, AWS, "aws"),
        ({}, XEN, "aws"),
        ({}, GCP, "gcp"),
        ({}, AZURE, "azure"),
        ({"SLURM_JOB_ID": "7"}, {}, "slurm"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, {}, "kubernetes"),
        ({"RUNPOD_POD_ID": "x"}, {}, "runpod"),
        # Whoever started the run ends it before the machine beneath does.
        ({"SLURM_JOB_ID": "7"}, AWS, "slurm"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, GCP, "kubernetes"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "RUNPOD_POD_ID": "x"}, AZURE, "runpod"),
        ({"SLURM_JOB_ID": ""}, AWS, "aws"),
        # Machines of the same vendors that nobody preempts.
        ({}, AZURE | {"chassis_asset_tag": "8217-0862-3573-8867-4205-5446-75"}, None),
        (
            {},
            {"sys_vendor": "Microsoft Corporation", "product_name": "Surface", "chassis_asset_tag": "0"},
            None,
        ),
        ({}, {"sys_vendor": "Google", "product_name": "Pixelbook"}, None),
        ({}, {"sys_vendor": "Xen", "bios_version": "4.2"}, None),
        ({"HOME": "/root"}, {"sys_vendor": "QEMU"}, None),
        ({}, {}, None),
    ],
)
def test_a_provider_is_recognised(
    environment: dict[str, str], dmi: dict[str, str], provider: str | None
) -> None:
    found = recognise(environment, dmi)
    assert (found and found[0]) == provider


def test_the_firmware_is_read_as_far_as_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "sys_vendor").write_text("Amazon EC2\n")
    (tmp_path / "product_name").mkdir()
    assert read_dmi(tmp_path) == {"sys_vendor": "Amazon EC2"}


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("RUNPOD_POD_ID", "SLURM_JOB_ID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(recognition, "_DMI", tmp_path)


def test_what_was_taken_and_why_is_noted(
    nowhere: None, monkeypatch: pytest.MonkeyPatch, start: Any
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    watch = start()
    (note,) = read_events(watch.run.events.path)
    assert note["kind"] == "note"
    assert note["message"] == "spot: heeds notices of slurm, because SLURM_JOB_ID is set"


def test_where_nothing_is_recognised_the_choices_are_named(nowhere: None, start: Any) -> None:
    with pytest.raises(MissingRequirementError) as caught:
        start()
    assert caught.value.exit_code == ExitCode.ENVIRONMENT == 5
    for name in ("aws", "gcp", "azure", "slurm", "kubernetes", "runpod", "file"):
        assert name in caught.value.hint
