"""What ranks of the pool do for tests that train: a tiny fit together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stoker.errors import StokerError
from stoker.testing import tiny_fit

WORK = Path(__file__).as_posix()
"""`pool.call(f"{WORK}:fit", folder=..., plugins=..., overrides=...)`."""


def fit(
    folder: str,
    plugins: dict[str, dict[str, Any]] | None = None,
    overrides: list[str] | None = None,
    directory: str | None = None,
) -> dict[str, Any]:
    """Train the tiny model on all ranks: losses, norms, evaluations and events, or the error.

    `plugins` are tables of installed plugins. Goes on with the run in `directory` where one is given.
    """
    from stoker.run.directory import RunDirectory

    given = None if directory is None else RunDirectory(Path(directory))
    try:
        done = tiny_fit(Path(folder), plugins, overrides or [], directory=given)
    except StokerError as error:
        return {"error": error.message, "hint": error.hint, "exit_code": int(error.exit_code)}
    return {
        "directory": str(done.directory.path),
        "exit_code": int(done.outcome.exit_code),
        "losses": done.losses,
        "norms": [event["grad_norm"] for event in done.of_kind("step")],
        "evaluations": [event["eval_loss"] for event in done.of_kind("evaluate")],
        "notes": [event["message"] for event in done.of_kind("note")],
        "events": done.events,
    }
