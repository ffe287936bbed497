"""Where rows come from: files, folders, the hub, plugins.

A source is opened in stages. `resolve_source` finds its parts; `Part.digest` says what is in them,
which is all a filled cache needs; `Part.open` reads rows, when something must be tokenised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.data.digests import file_digest, file_state
from stoker.data.files import find_files
from stoker.data.problems import DataError
from stoker.data.readers import DATA_SUFFIXES, ListedRows, Rows, open_file
from stoker.recipe.problems import did_you_mean

if TYPE_CHECKING:
    from stoker.recipe.schema import DataFormat, DataSource


@dataclass(frozen=True)
class PluginSource:
    """Rows that a plugin provides under a name such as `demo:docstrings`.

    `load(split)` returns JSON-able rows laid out as `format` says, the same ones in the same order
    on every rank and every call. `split` is the recipe's, `train` by default.
    """

    format: DataFormat
    load: Callable[[str], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True)
class Part:
    """One file, split or plugin source: what messages about a row name."""

    label: str
    open: Callable[[], Rows]
    """Opens the content for reading."""
    make_digest: Callable[[], str]
    look: Callable[[], object] = lambda: None
    """What differs when the content has been written to: size, times."""

    @cached_property
    def digest(self) -> str:
        """SHA-256 over the content, in hex; the first call reads it all. Raises `DataError`."""
        self.__dict__["seen"] = self.look()
        return self.make_digest()

    def check_unchanged(self) -> None:
        """Raise `DataError` if the content was written to since it was digested."""
        if self.__dict__.get("seen") != self.look():
            raise DataError(f"{self.label} was changed while it was read.", hint="Run again.")


@dataclass(frozen=True)
class ResolvedSource:
    """One row of `data.train` or `data.eval`, found."""

    name: str
    format: DataFormat
    parts: list[Part]
    notes: list[str] = field(default_factory=list)

    @property
    def facts(self) -> list[object]:
        """What its rows depend on."""
        return [self.format, [part.digest for part in self.parts]]


def resolve_source(
    source: DataSource,
    plugin_sources: Mapping[str, PluginSource],
    tick: Callable[[], None] = lambda: None,
) -> ResolvedSource:
    """Find the parts of a source.

    `tick` is called now and then while content is digested and may raise to give up. Raises
    `DataError` for what is missing, empty or of an unknown kind.
    """
    if source.path in plugin_sources:
        return _resolve_plugin(source, plugin_sources[source.path])
    path = Path(source.path).expanduser()
    if path.exists():
        return _resolve_files(source, path, tick)
    if _is_plugin_name(source.path):
        raise _unknown_plugin_source(source.path, plugin_sources)
    if path.is_absolute() or source.path.startswith(".") or path.suffix.lower() in DATA_SUFFIXES:
        raise DataError(f"{source.path}: no such file or directory.")
    return _resolve_hub(source)


def _stated_format(source: DataSource) -> DataFormat:
    if source.format is None:
        raise DataError(
            f"{source.path}: its format is not stated.",
            hint="Add format = text, completion, alpaca, messages or sharegpt.",
        )
    return source.format


def _resolve_files(source: DataSource, path: Path, tick: Callable[[], None]) -> ResolvedSource:
    chosen = find_files(path, source.split)
    parts = [_file_part(file, tick) for file in chosen.files]
    return ResolvedSource(source.path, _stated_format(source), parts, chosen.notes)


def _file_part(file: Path, tick: Callable[[], None]) -> Part:
    return Part(
        str(file), lambda: open_file(file), lambda: file_digest(file, tick), lambda: file_state(file)
    )


def _resolve_plugin(source: DataSource, plugin_source: PluginSource) -> ResolvedSource:
    if source.format not in (None, plugin_source.format):
        raise DataError(
            f"{source.path}: the recipe says format {source.format!r}, its plugin provides "
            f"{plugin_source.format!r}.",
            hint="Leave `format` out: a plugin's source knows its own.",
        )
    rows = list(plugin_source.load(source.split or "train"))
    digest = _digest_rows(source.path, rows)
    part = Part(source.path, lambda: ListedRows(rows), lambda: digest)
    return ResolvedSource(source.path, plugin_source.format, [part])


def _digest_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> str:
    digest = sha256()
    for number, row in enumerate(rows, start=1):
        try:
            digest.update(json.dumps(row, sort_keys=True).encode() + b"\n")
        except (TypeError, ValueError) as error:
            raise DataError(
                f"{name}, row {number}: a plugin's rows must be JSON-able: {error}"
            ) from error
    return digest.hexdigest()


def _is_plugin_name(path: str) -> bool:
    return path.partition(":")[0].isidentifier() and ":" in path


def _unknown_plugin_source(path: str, plugin_sources: Mapping[str, PluginSource]) -> DataError:
    nearest = did_you_mean(path, plugin_sources)
    plugin = path.partition(":")[0]
    hint = nearest or f"Is the table [plugins.{plugin}] in the recipe?"
    return DataError(f"{path}: no plugin of this recipe provides it.", hint=hint)


def _resolve_hub(source: DataSource) -> ResolvedSource:
    from stoker.data.hub import load_from_hub

    stated_format, split = _stated_format(source), source.split or "train"
    rows = load_from_hub(source.path, split)
    # The library's fingerprint covers the dataset's commit, configuration and split.
    part = Part(
        f"{source.path} (split {split!r})", lambda: ListedRows(rows), lambda: str(rows._fingerprint)
    )
    return ResolvedSource(source.path, stated_format, [part])
