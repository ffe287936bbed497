"""The environment of the process that mirrors: one rank, no GPU, libraries that keep to themselves."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stoker.run.directory import RunDirectory
    from stoker_plugins.trackers.config import TrackersConfig

_OF_THE_RANK: Final = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_OF_ANOTHER_RUN: Final = (
    "MLFLOW_EXPERIMENT_ID",
    "MLFLOW_EXPERIMENT_NAME",
    "MLFLOW_NESTED_RUN",
    "MLFLOW_RUN_ID",
    "MLFLOW_TAGS",
    "MLFLOW_TRACKING_URI",
)
"""Would go before what the recipe says."""
_KEPT_OF_WANDB: Final = ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE")

ALONE: Final = {
    "WORLD_SIZE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
}
"""Accelerate must neither look for other ranks nor take memory of the GPU."""

QUIET: Final = {
    # https://docs.wandb.ai/models/track/environment-variables
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
    # https://mlflow.org/docs/latest/community/usage-tracking.html
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # MLflow keeps its file store, and maintains it no further; the others need a database or a server.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # Where there is no git, MLflow would warn that it cannot say which commit this is.
    "GIT_PYTHON_REFRESH": "quiet",
}
"""Nothing about the run or its errors goes to the makers of the libraries."""


def tracker_directory(directory: RunDirectory, config: TrackersConfig) -> Path:
    """The folder that holds a folder for each tracker."""
    return config.directory or directory.path / "trackers"


def make_environment(
    directory: RunDirectory, config: TrackersConfig, inherited: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """This process's environment without what belongs to a rank or another run, and with the options.

    Secrets are in it: it is the one place that neither other users nor files see.
    """
    left_out = {*_OF_THE_RANK, *_OF_ANOTHER_RUN}
    left_out |= {name for name in inherited if name.startswith("WANDB_")} - {*_KEPT_OF_WANDB}
    kept = {name: value for name, value in inherited.items() if name not in left_out}
    return kept | ALONE | QUIET | _of_wandb(directory, config) | _of_mlflow(config)


def _of_wandb(directory: RunDirectory, config: TrackersConfig) -> dict[str, str]:
    wandb = config.wandb
    own = directory.path / "trackers" / "wandb-own"
    values = {
        "WANDB_MODE": wandb.mode,
        "WANDB_DIR": str(tracker_directory(directory, config)),
        # Else these would be in the home directory.
        "WANDB_CACHE_DIR": str(own / "cache"),
        "WANDB_CONFIG_DIR": str(own / "config"),
        "WANDB_DATA_DIR": str(own / "data"),
        "WANDB_ARTIFACT_DIR": str(own / "artifacts"),
    }
    if wandb.base_url is not None:
        values["WANDB_BASE_URL"] = wandb.base_url
    if wandb.api_key is not None:
        values["WANDB_API_KEY"] = wandb.api_key.get_secret_value()
    return values


def _of_mlflow(config: TrackersConfig) -> dict[str, str]:
    mlflow = config.mlflow
    values = {}
    if mlflow.username is not None:
        values["MLFLOW_TRACKING_USERNAME"] = mlflow.username
    if mlflow.password is not None:
        values["MLFLOW_TRACKING_PASSWORD"] = mlflow.password.get_secret_value()
    if mlflow.token is not None:
        values["MLFLOW_TRACKING_TOKEN"] = mlflow.token.get_secret_value()
    return values
