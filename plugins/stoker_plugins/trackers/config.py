"""The table `[plugins.trackers]`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from stoker import PluginConfig

TrackerName = Literal["tensorboard", "wandb", "mlflow"]


class WandbTable(PluginConfig):
    """Weights & Biases."""

    mode: Literal["offline", "online"] = Field(
        default="offline",
        description="`offline` writes files that `wandb sync` sends later; `online` sends at once.",
    )
    entity: str | None = Field(
        default=None, description="User or team that owns the project. Unset: the key's own."
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="`env:NAME` of the key for `online`. "
        "Unset: WANDB_API_KEY, or what `wandb login` left.",
    )
    base_url: str | None = Field(
        default=None, description="Of a server of one's own. Unset: https://api.wandb.ai."
    )


class MlflowTable(PluginConfig):
    """MLflow."""

    tracking_uri: str | None = Field(
        default=None, description="Of a tracking server, http or https. Unset: files in `directory`."
    )
    username: str | None = Field(default=None, description="For a server with basic authentication.")
    password: SecretStr | None = Field(default=None, description="`env:NAME` of the user's password.")
    token: SecretStr | None = Field(
        default=None, description="`env:NAME` of a bearer token, instead of user and password."
    )


class TrackersConfig(PluginConfig):
    """Which trackers get a copy of the run's numbers, and under which name."""

    use: list[TrackerName] = Field(
        default=["tensorboard"], min_length=1, description="Which trackers to write to."
    )
    project: str | None = Field(
        default=None,
        pattern=r"^[^/\\#?%:'\"]{1,128}$",
        description="Project of Weights & Biases, experiment of MLflow. Unset: `run.name`.",
    )
    tags: list[str] = Field(
        default=[],
        description="Tags of the run in Weights & Biases and MLflow; `key=value` gives one a value.",
    )
    directory: Path | None = Field(
        default=None,
        description="Folder of their files, which several runs may share. "
        "Unset: `trackers` in the run directory.",
    )
    drain_seconds: float = Field(
        default=20.0,
        ge=0,
        le=100,
        description="Longest wait at the end of a run for what has not been written yet.",
    )
    timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="A tracker that takes longer for one call is left out from then on.",
    )
    wandb: WandbTable = Field(default_factory=WandbTable, description="Options of Weights & Biases.")
    mlflow: MlflowTable = Field(default_factory=MlflowTable, description="Options of MLflow.")
