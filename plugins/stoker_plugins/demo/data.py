"""The docstrings as data sources, parsed once for each installation of Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.cache import cache_directory, file_lock
from stoker.data.sources import PluginSource
from stoker.errors import MissingRequirementError, UsageError
from stoker.run.files import replace_file
from stoker.train.progress import Progress
from stoker_plugins.demo import ALPACA, CHAT, DOCSTRINGS, SPLITS, TEXT, DemoConfig
from stoker_plugins.demo.docstrings import Pair, extract_pairs, source_files, standard_library
from stoker_plugins.demo.rows import as_alpaca, as_messages, as_text, chats

if TYPE_CHECKING:
    from stoker.run.context import Run

_MakeRows = Callable[[Iterable[Pair]], Iterable[Mapping[str, Any]]]

# Part of the cache's key: raise it when the same sources would give other pairs.
_EXTRACTION_VERSION = 2
_SHORTEST_ANSWER = 20
"""Characters; what is shorter says little more than the name."""


def demo_sources(config: DemoConfig, run: Run) -> dict[str, PluginSource]:
    """The sources by name; the docstrings are read when a recipe names one."""

    def rows_of(make_rows: _MakeRows) -> Callable[[str], list[Mapping[str, Any]]]:
        return lambda split: _select(config, load_pairs(run), split, make_rows)

    return {
        DOCSTRINGS: PluginSource("messages", rows_of(lambda pairs: map(as_messages, pairs))),
        CHAT: PluginSource("messages", rows_of(chats)),
        ALPACA: PluginSource("alpaca", rows_of(lambda pairs: map(as_alpaca, pairs))),
        TEXT: PluginSource("text", rows_of(lambda pairs: map(as_text, pairs))),
    }


def _select(
    config: DemoConfig, pairs: list[Pair], split: str, make_rows: _MakeRows
) -> list[Mapping[str, Any]]:
    if split not in SPLITS:
        raise UsageError(
            f"the data of plugin 'demo' has no split {split!r}.", hint="Use 'train' or 'eval'."
        )
    held_out = split == "eval"
    limit = config.max_eval_rows if held_out else config.max_train_rows
    chosen = (
        pair
        for pair in pairs
        if pair.is_evaluation == held_out
        and _SHORTEST_ANSWER <= len(pair.answer) <= config.longest_answer
    )
    return list(islice(make_rows(chosen), limit))


def load_pairs(run: Run) -> list[Pair]:
    """All pairs, from the cache or parsed now. Safe to call from many processes at once.

    Raises `MissingRequirementError` where Python came without its sources.
    """
    root = standard_library()
    files = source_files(root)
    if not files:
        raise MissingRequirementError(
            f"there are no sources of the standard library in {root}, which this data is made of.",
            hint="Use a Python that was installed with its .py files.",
        )
    path = cache_directory() / "demo" / f"docstrings-{_key(files)}.json"
    if not path.exists():
        progress = Progress(run, "reading the standard library's docstrings", len(files), "files")
        with file_lock(path.with_suffix(".lock")):
            if not path.exists():
                _write(path, files, root, progress.update)
    return [Pair(**pair) for pair in json.loads(path.read_text(encoding="utf-8"))]


def _write(path: Path, files: list[Path], root: Path, report: Callable[[int], None]) -> None:
    pairs = extract_pairs(files, root, lambda done, _: report(done))
    replace_file(path, json.dumps([asdict(pair) for pair in pairs]))


def _key(files: list[Path]) -> str:
    """Names and sizes of the sources, and what reads them."""
    digest = sha256(f"{_EXTRACTION_VERSION} {sys.version}".encode())
    for file in files:
        digest.update(f"{file} {file.stat().st_size}\n".encode())
    return digest.hexdigest()[:16]
