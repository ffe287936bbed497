"""The three trackers, each through Accelerate's class for it."""

from __future__ import annotations

import errno
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

if TYPE_CHECKING:
    from stoker_plugins.trackers.bookmark import Bookmark
    from stoker_plugins.trackers.config import TrackersConfig
    from stoker_plugins.trackers.ending import Ending


@dataclass(frozen=True)
class Naming:
    """What a tracker calls the run, and where it puts files."""

    run_name: str
    run_id: str
    """Unique for ever."""
    project: str
    directory: Path


class Backend(ABC):
    """One tracker. Every call may take long, or raise whatever the library raises."""

    library: ClassVar[str]
    """The module that takes long to import."""

    def __init__(self, config: TrackersConfig, naming: Naming) -> None:
        self.config = config
        self.naming = naming
        self._tracker: GeneralTracker = None

    def load(self) -> None:
        """Import the library: from a cold disk that may take longer than any call."""
        import_module(self.library)

    @abstractmethod
    def open(self, bookmark: Bookmark) -> None:
        """Begin, or go on with the run that the bookmark knows."""

    def configure(self, values: Mapping[str, Any]) -> None:
        """Give it the recipe; once for a run."""
        self._tracker.store_init_configuration(dict(values))

    def log(self, values: Mapping[str, float], step: int) -> None:
        """One row of numbers."""
        self._tracker.log(dict(values), step=step)

    def log_beside(self, values: Mapping[str, float], step: int) -> None:
        """Numbers that are no row of a step: the row of that step comes later, or came before."""
        self.log(values, step)

    def rewind(self, step: int) -> bool:
        """Forget what is later than a step, so that it is logged again; False: what was logged stays."""
        return False

    @abstractmethod
    def close(self, ending: Ending, step: int) -> None:
        """Say how the run ended and write what is left."""


class TensorBoard(Backend):
    """Event files, one more for each attempt."""

    library = "torch.utils.tensorboard"

    def open(self, bookmark: Bookmark) -> None:
        """What was written after the bookmark was, if anything, does not count."""
        last = max(bookmark.seen.values(), default=None)
        self._open(None if last is None else last + 1)

    def _open(self, purge_step: int | None) -> None:
        self._tracker = TensorBoardTracker(
            self.naming.run_name, self.naming.directory / "tensorboard", purge_step=purge_step
        )
        self._tracker.start()

    def rewind(self, step: int) -> bool:
        self._tracker.finish()
        self._open(step + 1)
        return True

    def close(self, ending: Ending, step: int) -> None:
        self._tracker.log({"outcome": ending.word}, step=step)
        self._tracker.finish()


class Wandb(Backend):
    """Weights & Biases. Its steps may not decrease within a run."""

    library = "wandb"

    def __init__(self, config: TrackersConfig, naming: Naming) -> None:
        super().__init__(config, naming)
        self._last_step = 0
        self._held: list[tuple[int, Mapping[str, float]]] = []

    def open(self, bookmark: Bookmark) -> None:
        import wandb

        # Their samples of this machine would be of this process; hosts, code and command lines are
        # not what a mirror of the events is asked for.
        settings = wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        self._last_step = max(bookmark.seen.values(), default=0)
        self._tracker = WandBTracker(
            self.naming.project,
            name=self.naming.run_name,
            id=self.naming.run_id,
            resume="allow",
            entity=self.config.wandb.entity,
            mode=self.config.wandb.mode,
            tags=self.config.tags,
            dir=self.naming.directory,
            settings=settings,
        )
        self._tracker.start()

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Raises `OSError` on a full disk, of which its service process tells nobody."""
        if shutil.disk_usage(self.naming.directory).free == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.naming.directory))
        super().log(values, step)
        self._last_step = step
        due = [held for held in self._held if held[0] <= step]
        self._held = [held for held in self._held if held[0] > step]
        for _, beside in due:
            super().log(beside, step)

    def log_beside(self, values: Mapping[str, float], step: int) -> None:
        """Later than its step if rows of later ones are there; held back until its step's row is."""
        if step <= self._last_step:
            super().log(values, self._last_step)
        else:
            self._held.append((step, values))

    def close(self, ending: Ending, step: int) -> None:
        import wandb

        for held_step, values in sorted(self._held, key=lambda held: held[0]):
            super().log(values, held_step)
        self._tracker.tracker.summary.update({"outcome": ending.word})
        self._tracker.tracker.finish(exit_code=1 if ending.exit_code is None else ending.exit_code)
        # Its service process ends with this; else only when it finds that we are gone.
        wandb.teardown()


class Mlflow(Backend):
    """MLflow, which chooses the ids of runs itself."""

    library = "mlflow"

    def open(self, bookmark: Bookmark) -> None:
        import mlflow

        files = (self.naming.directory / "mlflow").absolute().as_uri()
        mlflow.set_tracking_uri(self.config.mlflow.tracking_uri or files)
        pairs = (tag.partition("=") for tag in self.config.tags)
        self._tracker = MLflowTracker(
            self.naming.project,
            run_id=bookmark.run_id or None,
            run_name=self.naming.run_name,
            tags={name: value or "true" for name, _, value in pairs},
        )
        self._tracker.start()
        bookmark.run_id = self._tracker.tracker.info.run_id

    def close(self, ending: Ending, step: int) -> None:
        import mlflow

        mlflow.set_tag("outcome", ending.word)
        statuses = {"done": "FINISHED", "failed": "FAILED"}
        mlflow.end_run(statuses.get(ending.word, "KILLED"))


BACKENDS: dict[str, type[Backend]] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": Mlflow}
