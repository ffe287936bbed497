"""The plugin under examples/, as somebody else's package in a fresh environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "stoker-loss-printer"


@pytest.fixture(scope="module")
def environment(make_environment, example_wheel):
    made = make_environment("train")
    made.install(example_wheel)
    return made


def test_it_is_listed_and_described(environment):
    assert "loss_printer" in environment.run("stoker", "plugins").stdout
    described = environment.run("stoker", "plugins", "loss_printer")
    assert described.returncode == 0, described.stderr
    assert "Print at every n-th log point." in described.stdout
    assert "on_log" in described.stdout


def test_its_options_are_checked_like_anybody_elses(environment):
    recipe = str(environment.site_packages / "stoker" / "recipes" / "smoke.toml")
    copy = environment.work / "wrong.toml"
    copy.write_text(Path(recipe).read_text() + "\n[plugins.loss_printer]\nevry = 2\n")
    result = environment.run("stoker", "check", str(copy))
    assert result.returncode == 2
    assert "plugins.loss_printer.evry" in result.stderr
    assert "'every'" in result.stderr


def test_the_wheels_smoke_recipe_trains_and_prints_the_loss_to_the_log(environment):
    recipe = str(environment.site_packages / "stoker" / "recipes" / "smoke.toml")
    options = ["train.steps=4", "train.log_every=1", "plugins.loss_printer.every=2"]
    settings = [argument for option in options for argument in ("--set", option)]
    result = environment.run("stoker", "run", recipe, *settings, "--plain")
    assert result.returncode == 0, result.stdout + result.stderr
    run = environment.work / "runs" / "smoke"
    assert json.loads((run / "run.json").read_text())["state"] == "done"
    where = environment.run("python", "-c", "import stoker; print(stoker.__file__)").stdout
    assert where.startswith(str(environment.site_packages))
    log = (run / "logs" / "attempt-1" / "rank-0.log").read_text()
    printed = [line for line in log.splitlines() if line.startswith("loss printer: step ")]
    assert [line.split()[3] for line in printed] == ["2:", "4:"]


def test_its_own_tests_pass():
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE), "-c", "/dev/null"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "tests"],
        cwd=EXAMPLE,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
