"""The table of `trackers`, and what its process gets of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stoker.errors import ExitCode, MissingRequirementError, RecipeError
from stoker.run.directory import RunDirectory
from stoker.testing import tiny_fit, tiny_recipe
from stoker_plugins.trackers.config import TrackersConfig
from stoker_plugins.trackers.environment import make_environment
from stoker_plugins.trackers.problems import find_problems


def test_an_unknown_tracker_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"use\.0: .*Did you mean 'tensorboard'\?"):
        tiny_recipe(tmp_path, ['plugins.trackers.use=["tensorbord"]'])


@pytest.mark.parametrize(
    ("table", "key", "message"),
    [
        ({"use": ["mlflow", "mlflow"]}, "use", "twice"),
        ({"wandb": {"mode": "online"}}, "wandb", "is not used"),
        ({"use": ["mlflow"], "mlflow": {"tracking_uri": "mlruns"}}, "mlflow.tracking_uri", "http"),
        (
            {"use": ["mlflow"], "mlflow": {"tracking_uri": "https://me:word@host"}},
            "mlflow.tracking_uri",
            "a user or a password",
        ),
        ({"use": ["wandb"], "wandb": {"base_url": "http://[::1"}}, "wandb.base_url", "expected http"),
        ({"use": ["mlflow"], "mlflow": {"username": "me"}}, "mlflow", "go together"),
        (
            {"use": ["mlflow"], "mlflow": {"username": "me", "password": "word", "token": "t"}},
            "mlflow.token",
            "both",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(table: dict[str, Any], key: str, message: str) -> None:
    (problem,) = find_problems(TrackersConfig.model_validate(table))
    assert problem.key == f"plugins.trackers.{key}"
    assert message in problem.message


def test_a_secret_that_is_written_down_is_refused(tmp_path: Path) -> None:
    settings = ['plugins.trackers.use=["wandb"]', 'plugins.trackers.wandb.api_key="0123456789"']
    with pytest.raises(RecipeError, match=r"wandb.api_key: .*env:NAME"):
        tiny_recipe(tmp_path, settings)


def test_a_package_that_is_missing_ends_the_run_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stoker_plugins.trackers.find_spec", lambda name: None)
    with pytest.raises(
        MissingRequirementError, match=r"wandb.*pip install 'stoker\[trackers\]'"
    ) as caught:
        tiny_fit(tmp_path, {"trackers": {"use": ["wandb"]}})
    assert caught.value.exit_code == ExitCode.ENVIRONMENT


def test_the_recipe_counts_and_not_what_an_environment_says_of_another_run(tmp_path: Path) -> None:
    inherited = {
        "PATH": "/bin",
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "8",
        "MLFLOW_RUN_ID": "another",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
        "WANDB_MODE": "online",
        "WANDB_RUN_ID": "another",
        "WANDB_API_KEY": "inherited",
    }
    made = make_environment(RunDirectory(tmp_path / "run"), TrackersConfig(), inherited)
    assert made["PATH"] == "/bin"
    assert made["WORLD_SIZE"] == "1"
    assert made["WANDB_MODE"] == "offline"
    assert made["WANDB_API_KEY"] == "inherited"
    assert made.keys().isdisjoint({"RANK", "LOCAL_RANK", "WANDB_RUN_ID"})
    assert {name for name in made if name.startswith("MLFLOW_")} == {
        "MLFLOW_ALLOW_FILE_STORE",
        "MLFLOW_DISABLE_TELEMETRY",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR",
    }


def test_no_library_gets_a_folder_outside_the_run_or_may_report_home(tmp_path: Path) -> None:
    made = make_environment(RunDirectory(tmp_path), TrackersConfig(use=["wandb"]), {})
    folders = {name: value for name, value in made.items() if name.endswith("_DIR")}
    assert len(folders) == 5
    assert all(Path(value).is_relative_to(tmp_path) for value in folders.values())
    assert (made["WANDB_ERROR_REPORTING"], made["MLFLOW_DISABLE_TELEMETRY"]) == ("false", "true")
    assert made["DO_NOT_TRACK"] == "true"


def test_secrets_go_by_the_environment(tmp_path: Path) -> None:
    table = {
        "use": ["wandb", "mlflow"],
        "wandb": {"api_key": "key", "base_url": "https://wandb.example"},
        "mlflow": {"username": "me", "password": "word"},
    }
    made = make_environment(RunDirectory(tmp_path), TrackersConfig.model_validate(table), {})
    assert (made["WANDB_API_KEY"], made["WANDB_BASE_URL"]) == ("key", "https://wandb.example")
    assert made["MLFLOW_TRACKING_USERNAME"] == "me"
    assert made["MLFLOW_TRACKING_PASSWORD"] == "word"
