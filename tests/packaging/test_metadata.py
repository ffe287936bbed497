"""pyproject.toml, constraints.txt and the tree say the same."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins() -> dict[str, str]:
    """Versions of constraints.txt by name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {name.lower().replace("_", "-"): version for name, version in pairs}


def requirements() -> list[Requirement]:
    extras = PROJECT["optional-dependencies"].values()
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in extra)]
    return [r for r in map(Requirement, texts) if r.name != "stoker"]


ONLY_BESIDE_CUDA = {"flash-attn"}
"""Extra and distribution that no machine without a CUDA toolkit can build."""
NOT_IN_ALL = ONLY_BESIDE_CUDA | {"liger"}
"""Extras that do nothing without a CUDA GPU."""


@pytest.mark.parametrize(
    "requirement", [each for each in requirements() if each.name not in ONLY_BESIDE_CUDA], ids=str
)
def test_every_requirement_is_pinned_to_a_version_it_admits(requirement):
    assert requirement.specifier.contains(pins()[requirement.name])


def test_torch_is_pinned_so_that_a_build_without_cuda_is_admitted():
    assert pins()["torch"] == "2.13.0"


def test_every_plugin_package_has_an_entry_point_and_the_other_way_round():
    folders = {path.parent.name for path in (ROOT / "plugins/stoker_plugins").glob("*/__init__.py")}
    values = PROJECT["entry-points"]["stoker.plugins"].values()
    assert {value.split(":")[0].removeprefix("stoker_plugins.") for value in values} == folders


def test_everything_is_installed_by_the_extra_all():
    [everything] = map(Requirement, PROJECT["optional-dependencies"]["all"])
    extras = set(PROJECT["optional-dependencies"])
    assert everything.extras == extras - {"all", "dev"} - NOT_IN_ALL
