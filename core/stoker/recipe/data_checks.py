"""Checks of what is in the data files of a recipe, as far as no tokenizer is needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from stoker.data.bad_rows import BadRowPolicy
from stoker.data.inspect import Inspected, inspect_source
from stoker.data.problems import DataError
from stoker.recipe.path_checks import format_fix
from stoker.recipe.problems import Problem
from stoker.recipe.schema import DataFormat, DataTable


@dataclass
class DataInspector:
    """Looks into the local files of a recipe, at their beginning or at all of them.

    It looks at tables that need not be valid, and leaves out what other checks speak about.
    """

    whole: bool = False
    inspected: dict[str, Inspected] = field(default_factory=dict)
    """By dotted key of the source, for those without an error."""

    def problems(self, tables: Mapping[str, Any]) -> Iterator[Problem]:
        """What is wrong; local paths are absolute by now. One problem for each source."""
        data = tables.get("data")
        if not isinstance(data, Mapping):
            return
        policy = _policy(data)
        for key, source in _local_sources(data):
            try:
                found = inspect_source(
                    Path(source["path"]), source["format"], source.get("split"), policy, whole=self.whole
                )
            except DataError as error:
                fix = format_fix(key, source["path"], source["format"])
                yield Problem(key=f"{key}.path", message=error.message, hint=error.hint, fix=fix)
                continue
            self.inspected[key] = found
            for note in found.notes:
                message = f"{source['path']}: {note}."
                yield Problem(key=f"{key}.path", message=message, severity="warning")


def _policy(data: Mapping[str, Any]) -> BadRowPolicy:
    """The policy as stated, or the default where what is stated is no policy."""
    share = data.get("max_bad_share")
    if not isinstance(share, (int, float)):
        share = DataTable.model_fields["max_bad_share"].default
    return BadRowPolicy(data.get("on_bad_row") == "skip", share)


def _local_sources(data: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(dotted key, table) of the sources that are files or folders here."""
    for name in ("train", "eval"):
        rows = data.get(name)
        for number, row in enumerate(rows if isinstance(rows, list) else []):
            if isinstance(row, Mapping) and _is_local(row):
                yield f"data.{name}.{number}", row


def _is_local(row: Mapping[str, Any]) -> bool:
    path, split = row.get("path"), row.get("split")
    return (
        isinstance(path, str)
        and os.path.isabs(path)
        and os.path.exists(path)
        and row.get("format") in get_args(DataFormat)
        and (split is None or isinstance(split, str))
    )
