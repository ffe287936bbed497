"""The run directory: the API between a run and everyone who looks at it. Readable without torch."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from stoker.errors import StokerError, StorageError, UsageError
from stoker.recipe.model import Recipe
from stoker.recipe.problems import did_you_mean
from stoker.run.files import make_private_directory, replace_file, sync_entries
from stoker.run.host import boot_id, host_name, is_alive
from stoker.run.lease import WATCH_SECONDS, is_held, is_renewed, was_renewed_lately
from stoker.run.record import ACTIVE_STATES, RunRecord, State, parse_record

RECORD_NAME: Final = "run.json"
DEFAULT_PARENT: Final = Path("runs")
"""Default of `run.directory`, relative to where stoker is called."""
RANK_LOG: Final = re.compile(r"rank-(\d+)\.log")
"""Names that `RunDirectory.log_path` gives, and the rank in them."""


class RunDirectory:
    """Paths and the record of one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        """The run's name is its directory's."""
        return self.path.name

    @property
    def record_path(self) -> Path:
        return self.path / RECORD_NAME

    @property
    def recipe_path(self) -> Path:
        """The recipe as launched, comments kept."""
        return self.path / "recipe.toml"

    @property
    def lock_path(self) -> Path:
        """Every resolved value and where it came from."""
        return self.path / "recipe.lock.json"

    @property
    def plan_path(self) -> Path:
        """What was predicted, and later how that compared."""
        return self.path / "plan.json"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def ledger_path(self) -> Path:
        """What the run has cost; only where a plugin knows a price."""
        return self.path / "ledger.jsonl"

    @property
    def telemetry_path(self) -> Path:
        """Folder of samples of the machines, one file for each host."""
        return self.path / "telemetry"

    @property
    def control_path(self) -> Path:
        """Folder of requests to the run."""
        return self.path / "control"

    @property
    def checkpoints_path(self) -> Path:
        return self.path / "checkpoints"

    @property
    def lease_path(self) -> Path:
        return self.path / "lease.json"

    @property
    def supervisor_log_path(self) -> Path:
        """Empty unless the supervisor itself fails."""
        return self.path / "logs" / "supervisor.log"

    def attempt_path(self, attempt: int) -> Path:
        """Folder of logs and outcomes of one attempt, counted from 1."""
        return self.path / "logs" / f"attempt-{attempt}"

    def log_path(self, attempt: int, rank: int) -> Path:
        """Standard output and error of one rank."""
        return self.attempt_path(attempt) / f"rank-{rank}.log"

    def outcome_path(self, attempt: int, rank: int) -> Path:
        """How one rank ended."""
        return self.attempt_path(attempt) / f"rank-{rank}.outcome.json"

    def store_path(self, attempt: int) -> Path:
        """The file through which ranks of one node meet; fresh for each attempt."""
        return self.path / "store" / f"attempt-{attempt}"

    @classmethod
    def create(cls, parent: Path, name: str, recipe: Recipe) -> RunDirectory:
        """Make the directory of a new run: private, complete from the moment it appears.

        Raises `UsageError` if the name is taken, `StorageError` if nothing can be written.
        """
        make_private_directory(parent)
        draft = cls(parent / f".{name}.{secrets.token_hex(4)}")
        _fill(draft, name, recipe)
        final = cls(parent / name)
        try:
            # Fails if there is such a directory, so that of two launches at once only one wins.
            draft.path.rename(final.path)
        except OSError as error:
            _discard(draft)
            raise UsageError(f"{final.path} exists already.") from error
        sync_entries(parent)
        return final

    def read_record(self) -> RunRecord:
        """The record as stated; see `effective_state` for whether its supervisor still lives.

        Raises `UsageError` if this is no run directory, `StorageError` if the record is damaged.
        """
        try:
            return parse_record(self.record_path.read_text())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UsageError(f"{self.path} is not a run directory: it has no {RECORD_NAME}.") from error
        except (OSError, ValueError, TypeError) as error:
            raise StorageError(f"{self.record_path} cannot be read: {error}.") from error

    def update_record(self, **changes: Any) -> RunRecord:
        """Change values of the record, atomically, whoever else changes others meanwhile."""
        with self._record_lock():
            record = self.read_record().changed(**changes)
            replace_file(self.record_path, record.to_json())
        return record

    def effective_state(self, record: RunRecord | None = None) -> State:
        """The stated state, or `lost` if it says active and nobody works on the run any more.

        A run of another machine is lost when its lease is free and was not renewed for a minute; to
        act on that, see `settled_state`.
        """
        record = record or self.read_record()
        if record.state not in ACTIVE_STATES:
            return record.state
        if record.host != host_name():
            lives = is_held(self.lease_path) or was_renewed_lately(self._signs_of_life)
            return record.state if lives else "lost"
        if record.boot_id != boot_id() or not self._is_worked_on(record):
            # It may have ended properly between reading the record and looking at the lease.
            again = self.read_record()
            return "lost" if again == record else again.state
        return record.state

    def settled_state(
        self, say: Callable[[str], None] = lambda text: None, seconds: float = WATCH_SECONDS
    ) -> State:
        """The effective state, for those who would go on with the run.

        If another machine was at work on it, and may have disappeared a moment ago, this watches for so
        many seconds whether it shows a sign of life; clocks of two machines may differ. `say` gets a
        line about that.
        """
        record = self.read_record()
        foreign = record.state in ACTIVE_STATES and record.host != host_name()
        if not foreign or is_held(self.lease_path):
            return self.effective_state(record)
        say(f"{self.name} was at work on {record.host}: looking for a sign of life for {seconds:.0f} s")
        return record.state if is_renewed(self._signs_of_life, seconds) else "lost"

    @property
    def _signs_of_life(self) -> tuple[Path, ...]:
        # Under foreign launchers nobody renews the lease, but events are written.
        return self.lease_path, self.events_path

    def _is_worked_on(self, record: RunRecord) -> bool:
        # Between the making of the directory and the taking of the lease there is only the launcher.
        return is_held(self.lease_path) or (record.state == "preparing" and is_alive(record.pid))

    @contextmanager
    def _record_lock(self) -> Iterator[None]:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(f"{self.record_path}.lock", flags, 0o600)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _fill(draft: RunDirectory, name: str, recipe: Recipe) -> None:
    from stoker.recipe.lock import write_lock

    for folder in (draft.path, draft.control_path, draft.checkpoints_path, draft.path / "logs"):
        make_private_directory(folder)
    replace_file(draft.recipe_path, recipe.text)
    write_lock(recipe, draft.lock_path)
    draft.lock_path.chmod(0o600)
    record = RunRecord(
        name=name,
        id=uuid.uuid4().hex,
        series=recipe.run.name,
        recipe_hash=recipe.fingerprint(),
        host=host_name(),
        pid=os.getpid(),
        boot_id=boot_id(),
        created=time.time(),
    )
    replace_file(draft.record_path, record.to_json())


def _discard(draft: RunDirectory) -> None:
    import shutil

    shutil.rmtree(draft.path, ignore_errors=True)


def find_run(name_or_path: str, parent: Path = DEFAULT_PARENT) -> RunDirectory:
    """The run called so in `parent`, else the one at that path.

    Raises `UsageError`, with the nearest spelling, if there is none.
    """
    for path in (parent / name_or_path, Path(name_or_path)):
        if (path / RECORD_NAME).is_file():
            return RunDirectory(path)
    names = [directory.name for directory in list_runs(parent)]
    hint = did_you_mean(name_or_path, names)
    if not hint:
        hint = f"There are: {', '.join(names[:8])}." if names else f"There are no runs in {parent}."
    raise UsageError(f"there is no run {name_or_path!r} in {parent}.", hint=hint)


def list_runs(parent: Path) -> list[RunDirectory]:
    """Runs in a folder, oldest first; entries that are no runs or are damaged are left out."""
    found = []
    for path in parent.iterdir() if parent.is_dir() else ():
        try:
            if not path.name.startswith("."):
                found.append((RunDirectory(path).read_record().created, path))
        except StokerError:
            continue
    return [RunDirectory(path) for _, path in sorted(found)]
