"""docs/preemption.md says what is so, and its snippets do what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import tomli
import yaml

from stoker_plugins.spot import Spot, SpotConfig
from stoker_plugins.spot.providers import FACTS

PAGE = (Path(__file__).parents[3] / "docs/preemption.md").read_text()


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_table_has_every_provider_with_its_defaults() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]+) \| (\d*) ?\|$", PAGE, re.MULTILINE)
    found = {name: (lead, poll) for name, lead, poll in rows}
    for name, facts in FACTS.items():
        lead = "as it says" if facts.grace_seconds is None else f"{facts.grace_seconds:g} s"
        poll = "" if facts.poll_seconds is None else f"{facts.poll_seconds:g}"
        assert found[name] == (lead, poll)
    assert set(found) == set(FACTS)
    choices = get_args(SpotConfig.model_fields["provider"].annotation)
    assert set(choices) == {"auto", *FACTS}


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (1, False), (75, True), (76, True)])
def test_the_batch_script_puts_the_job_back_after_a_preemption(
    tmp_path: Path, code: int, requeued: bool
) -> None:
    (script,) = snippets("bash")
    (tmp_path / "job.sh").write_text(script)
    stand_ins = {"srun": f'echo "$@" >> calls; exit {code}', "scontrol": 'echo "$@" >> calls'}
    for name, body in stand_ins.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    done = subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=environment)
    assert done.returncode == code
    first, *rest = (tmp_path / "calls").read_text().splitlines()
    assert first.startswith("stoker run recipe.toml ")
    assert rest == (["requeue 7"] if requeued else [])


def test_settings_in_the_snippets_are_right() -> None:
    kubernetes, skypilot = map(yaml.safe_load, snippets("yaml"))
    container = kubernetes["spec"]["template"]["spec"]["containers"][0]
    assert container["command"][:2] == ["stoker", "run"]
    tables = [tomli.loads(snippets("toml")[0])["plugins"]["spot"]]
    tables += [tomli.loads(setting)["plugins"]["spot"] for setting in spot_settings(container["args"])]
    assert len(tables) == 2
    nothing: Any = None
    for table in tables:
        assert Spot(SpotConfig(**table)).collect_problems(nothing) == []
    pod_seconds = kubernetes["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert tables[1]["grace_seconds"] < pod_seconds
    rules = kubernetes["spec"]["podFailurePolicy"]["rules"]
    assert rules[0]["onExitCodes"]["values"] == [75, 76]
    assert skypilot["resources"]["job_recovery"]["recover_on_exit_codes"] == [75, 76]


def spot_settings(arguments: list[str]) -> list[str]:
    return [argument for argument in arguments if argument.startswith("plugins.spot")]
