"""JSON Schemas of the options of plugins, which are imported in a process of their own.

A plugin may fail to import, print, or take its process down: the others are described all the same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from stoker.errors import PluginError
from stoker.registry import installed_plugins, load_plugin_class

TIMEOUT_SECONDS = 120


class PluginSchemas(NamedTuple):
    """What the installed plugins say about their options."""

    schemas: dict[str, dict[str, Any]]
    failures: dict[str, str]
    """Why a plugin could not be described, by name."""


def read_plugin_schemas() -> PluginSchemas:
    """Describe every installed plugin; none of them is imported into this process."""
    found = PluginSchemas({}, {})
    pending = list(installed_plugins())
    while pending:
        answers, end = _ask(pending)
        for answer in answers:
            pending.remove(answer["name"])
            if "schema" in answer:
                found.schemas[answer["name"]] = answer["schema"]
            else:
                found.failures[answer["name"]] = answer["error"]
        if pending:
            # The process went down at the first one that it did not answer for.
            found.failures[pending.pop(0)] = end
    return found


def _ask(names: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """A child's answers, one for each plugin in order, as far as it came; and how it ended."""
    command = [sys.executable, "-m", __name__, *names]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, env=environment, timeout=TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        return _answers(error.stdout or b""), f"its import takes longer than {TIMEOUT_SECONDS} s."
    return _answers(done.stdout), f"its import ends the process with {done.returncode}."


def _answers(output: bytes) -> list[dict[str, Any]]:
    # A line without its end is one that the child did not finish.
    return [json.loads(line) for line in output.split(b"\n")[:-1]]


def _answer(name: str) -> dict[str, Any]:
    try:
        return {"name": name, "schema": load_plugin_class(name).Config.model_json_schema()}
    except PluginError as error:
        return {"name": name, "error": error.message}
    except Exception as error:
        return {"name": name, "error": f"{type(error).__name__}: {error}"}


def _main() -> None:
    # What plugins print must not stand between the answers.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for name in sys.argv[1:]:
            answers.write(json.dumps(_answer(name)) + "\n")
            answers.flush()


if __name__ == "__main__":
    _main()
