"""How many tokens a recipe's data have, remembered from the last time they were tokenised.

A plan reads these without torch, a tokenizer or Arrow. They are found by what the data depend on as far
as that can be known in a millisecond: the recipe's table, names, sizes and times of files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.cache import cache_directory
from stoker.data.files import find_files
from stoker.data.problems import DataError

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.schema import DataSource

_VERSION = 1
NUM_QUANTILES = 65
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True)
class HalfCounts:
    """The rows to train on, or those to evaluate on."""

    source_rows: tuple[int, ...]
    """Rows of each source, in the recipe's order."""
    tokens: int
    supervised: int
    longest: int
    """Tokens of the longest row."""
    most_supervised: int
    """Supervised tokens of the row with most."""
    quantiles: tuple[int, ...]
    """Lengths of rows at equal steps of rank, the shortest and the longest among them."""

    @property
    def rows(self) -> int:
        """Rows of all sources."""
        return sum(self.source_rows)


@dataclass(frozen=True)
class DataCounts:
    """Both halves of a recipe's data; `evaluation` is None where there is none."""

    train: HalfCounts
    evaluation: HalfCounts | None


def half_counts(
    source_rows: Iterable[int], lengths: Sequence[int], supervised: Sequence[int]
) -> HalfCounts:
    """Counts from the length and the number of supervised tokens of each row; at least one row."""
    ordered = sorted(int(length) for length in lengths)
    last = len(ordered) - 1
    steps = NUM_QUANTILES - 1
    return HalfCounts(
        source_rows=tuple(int(rows) for rows in source_rows),
        tokens=sum(ordered),
        supervised=int(sum(supervised)),
        longest=ordered[-1],
        most_supervised=int(max(supervised)),
        quantiles=tuple(ordered[round(last * number / steps)] for number in range(NUM_QUANTILES)),
    )


def remember_counts(recipe: Recipe, train: Any, evaluation: Any | None) -> None:
    """Keep the counts of tokenised halves (`TokenIndex`). What is known already is left alone."""
    path = _counts_path(recipe)
    # It is there to save time: a cache that is full or read-only is no reason to stop.
    with suppress(OSError, DataError):
        if path is None or path.exists():
            return
        halves = {"train": _of_index(train), "evaluation": evaluation and _of_index(evaluation)}
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps({key: half and asdict(half) for key, half in halves.items()}))
        temporary.replace(path)


def recall_counts(recipe: Recipe) -> DataCounts | None:
    """The counts of exactly these data with this tokenizer; None if they were not tokenised here."""
    path = _counts_path(recipe)
    try:
        if path is None:
            return None
        found = json.loads(path.read_bytes())
        return DataCounts(_parse(found["train"]), found["evaluation"] and _parse(found["evaluation"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_index(index: Any) -> HalfCounts:
    return half_counts(index.source_sizes, index.lengths.tolist(), index.supervised_counts.tolist())


def _parse(values: Mapping[str, Any]) -> HalfCounts:
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list)}
    return HalfCounts(**{**values, **lists})


def _counts_path(recipe: Recipe) -> Path | None:
    """None where the data cannot even be found."""
    try:
        text = json.dumps(_facts(recipe), sort_keys=True)
    except (OSError, DataError):
        return None
    return cache_directory() / "counts" / f"{sha256(text.encode()).hexdigest()[:32]}.json"


def _facts(recipe: Recipe) -> list[Any]:
    data = recipe.data
    sources = [_source_facts(source, recipe) for source in (*data.train, *data.eval)]
    model = Path(recipe.model.path)
    tokenizer = [_state(model / name) for name in _TOKENIZER_FILES if (model / name).is_file()]
    named = [recipe.model.path, recipe.model.revision, tokenizer]
    limits = data.model_dump(mode="json", exclude={"train", "eval"})
    return [_VERSION, named, limits, len(data.train), sources]


def _source_facts(source: DataSource, recipe: Recipe) -> list[Any]:
    path = Path(source.path).expanduser()
    facts: list[Any] = [source.path, source.format, source.split]
    if path.exists():
        return [*facts, [_state(file) for file in find_files(path, source.split).files]]
    # What a plugin provides depends on its options.
    return [*facts, recipe.plugins.get(source.path.partition(":")[0])]


def _state(file: Path) -> list[Any]:
    stat = file.stat()
    return [str(file), stat.st_size, stat.st_mtime_ns]
