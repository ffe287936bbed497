"""How many tokens a recipe's data have, remembered from the last time they were tokenised.

A plan reads these without torch, a tokenizer or Arrow. They are found by what the data depend on as far
as that can be known in a millisecond: the recipe's table, names, sizes and times of files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.cache import cache_directory
from stoker.data.files import find_files
from stoker.data.problems import DataError

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.schema import DataSource

_VERSION = 2
NUM_QUANTILES = 65
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@dataclass(frozen=True)
class SourceCounts:
    """Rows of one source as they are trained on: cut, and documents laid out in blocks."""

    rows: float
    """A whole number where they were counted."""
    tokens: float
    supervised: float
    longest: int
    """Tokens of the longest row."""
    most_supervised: int
    """Supervised tokens of the row with most."""
    quantiles: tuple[int, ...]
    """Lengths of rows at equal steps of rank, the shortest and the longest among them."""


@dataclass(frozen=True)
class DataCounts:
    """Every source of a recipe's data, in its order; `evaluation` is empty where there is none."""

    train: tuple[SourceCounts, ...]
    evaluation: tuple[SourceCounts, ...]


def count_rows(lengths: Sequence[int], supervised: Sequence[int]) -> SourceCounts:
    """Counts from the length and the number of supervised tokens of each row."""
    ordered = sorted(lengths)
    last = len(ordered) - 1
    steps = NUM_QUANTILES - 1
    return SourceCounts(
        rows=len(ordered),
        tokens=sum(ordered),
        supervised=sum(supervised),
        longest=max(ordered, default=0),
        most_supervised=max(supervised, default=0),
        quantiles=tuple(ordered[round(last * number / steps)] for number in range(NUM_QUANTILES))
        if ordered
        else (),
    )


def remember_counts(recipe: Recipe, train: Any, evaluation: Any | None) -> None:
    """Keep the counts of tokenised halves (`TokenIndex`). What is known already is left alone."""
    path = _counts_path(recipe)
    # It is there to save time: a cache that is full or read-only is no reason to stop.
    with suppress(OSError, DataError):
        if path is None or path.exists():
            return
        counts = DataCounts(_of_index(train), _of_index(evaluation) if evaluation else ())
        path.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(asdict(counts)))
        temporary.replace(path)


def recall_counts(recipe: Recipe) -> DataCounts | None:
    """The counts of exactly these data with this tokenizer; None if they were not tokenised here."""
    path = _counts_path(recipe)
    try:
        if path is None:
            return None
        found = json.loads(path.read_bytes())
        return DataCounts(_parse(found["train"]), _parse(found["evaluation"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_index(index: Any) -> tuple[SourceCounts, ...]:
    lengths, supervised = index.lengths.tolist(), index.supervised_counts.tolist()
    ends = list(accumulate(index.source_sizes))
    return tuple(
        count_rows(lengths[end - size : end], supervised[end - size : end])
        for size, end in zip(index.source_sizes, ends, strict=True)
    )


def _parse(sources: Sequence[Mapping[str, Any]]) -> tuple[SourceCounts, ...]:
    return tuple(SourceCounts(**{**each, "quantiles": tuple(each["quantiles"])}) for each in sources)


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
    stated: list[Any] = [source.format, source.split]
    if path.exists():
        return [*stated, [_state(file.absolute()) for file in find_files(path, source.split).files]]
    # What a plugin provides depends on its options.
    return [*stated, source.path, recipe.plugins.get(source.path.partition(":")[0])]


def _state(file: Path) -> list[Any]:
    stat = file.stat()
    return [str(file), stat.st_size, stat.st_mtime_ns]
