"""Counts tokens in the beginning of local files by their bytes: without a tokenizer, in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.data.counts import SourceCounts, count_rows
from stoker.data.files import find_files
from stoker.data.formats import Completion, Conversation, Example, Text, parse_row
from stoker.data.problems import DataError, RowError
from stoker.data.readers import open_file
from stoker.errors import MissingRequirementError

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe
    from stoker.recipe.schema import DataSource

BYTES_PER_TOKEN = 4.4
"""Of UTF-8. Measured with SmolLM2's vocabulary of 49,152: English web text (C4) 4.45, instructions 4.51,
their answers 4.67, Python 3.67."""
BYTES_PER_TOKEN_ERROR = 0.25
"""Relative: code and other languages take more tokens, larger vocabularies fewer."""
TOKENS_PER_MESSAGE = 5
"""What a chat template puts around a turn."""
_SAMPLE_BYTES = 400_000
_MOST_FILES = 64


@dataclass(frozen=True)
class Sample:
    """What the beginning of a source says of the whole."""

    counts: SourceCounts
    """Of the whole source, extrapolated by bytes."""
    rows_read: int
    error: float
    """Relative standard error of a row's mean length; 0 where every row was read."""


def sample_source(source: DataSource, recipe: Recipe) -> Sample | None:
    """From the beginning of each file; None for what cannot be read without heavy libraries."""
    path = Path(source.path).expanduser()
    if not path.exists() or source.format is None:
        return None
    files = find_files(path, source.split).files
    if any(file.suffix.lower() == ".parquet" for file in files):
        return None
    rows: list[Counted] = []
    num_rows = 0.0
    looked_at = files[:_MOST_FILES]
    for file in looked_at:
        usable, share = _read(file, source, recipe, _SAMPLE_BYTES // len(looked_at))
        rows += usable
        num_rows += len(usable) / share
    if not rows:
        return None
    num_rows *= len(files) / len(looked_at)
    if source.format == "text":
        return _in_blocks(rows, num_rows, recipe.data.sequence_length)
    return _extrapolated(rows, num_rows)


def _extrapolated(rows: Sequence[Counted], num_rows: float) -> Sample:
    lengths, supervised = [list(column) for column in zip(*rows, strict=True)]
    counts = count_rows(lengths, supervised)
    times = num_rows / counts.rows
    whole = replace(
        counts, rows=num_rows, tokens=counts.tokens * times, supervised=counts.supervised * times
    )
    return Sample(whole, len(rows), relative_error(lengths) if times > 1 else 0.0)


def _in_blocks(documents: Sequence[Counted], num_documents: float, length: int) -> Sample:
    """Documents are laid one after the other and cut into rows of `length` tokens."""
    tokens = sum(each for each, _ in documents) * num_documents / len(documents)
    blocks = _extrapolated([(length, length - 1)], max(1.0, tokens / length))
    return replace(blocks, rows_read=len(documents))


Counted = tuple[int, int]
"""Tokens of a row, and how many of them carry loss."""


def _read(file: Path, source: DataSource, recipe: Recipe, num_bytes: int) -> tuple[list[Counted], float]:
    """Counts of usable rows from the beginning of a file, and the share of it that was read."""
    data, size = recipe.data, file.stat().st_size
    if file.suffix.lower() == ".txt":
        # One document, which may be too long to be read for its length.
        return ([_text_tokens(size)] if size else []), 1.0
    rows: list[Counted] = []
    try:
        for located in open_file(file):
            counted = _count(located.row, source, data.supervise, data.sequence_length)
            rows += [counted] if counted is not None else []
            if located.end >= num_bytes:
                return rows, min(1.0, located.end / size)
    except MissingRequirementError as error:
        raise DataError(error.message, hint=error.hint) from error
    return rows, 1.0


def _count(row: Any, source: DataSource, supervise: str, longest: int) -> Counted | None:
    assert source.format is not None
    try:
        example = parse_row(row, source.format)
    except RowError:
        return None
    tokens, learnt = _tokens(example)
    if supervise == "all":
        learnt = tokens
    if source.format == "text":
        return tokens, learnt
    # Rows are cut at their end, which is where answers stand; those without any of them are left out.
    cut = max(0, tokens - longest)
    return (tokens - cut, learnt - cut) if learnt > cut else None


def _tokens(example: Example) -> Counted:
    if isinstance(example, Text):
        return _text_tokens(_num_bytes(example.text))
    if isinstance(example, Completion):
        answer = _num_tokens(example.completion) + 1
        return _num_tokens(example.prompt) + answer, answer
    return _conversation(example)


def _conversation(example: Conversation) -> Counted:
    turns = [_message_tokens(message) for message in example.messages]
    learnt = sum(n + 1 for n, counts in zip(turns, example.supervised, strict=True) if counts)
    return sum(turns) + TOKENS_PER_MESSAGE * len(turns), learnt


def _message_tokens(message: Mapping[str, Any]) -> int:
    calls = message.get("tool_calls")
    return _num_tokens(str(message.get("content", ""))) + (_num_tokens(str(calls)) if calls else 0)


def _text_tokens(num_bytes: int) -> Counted:
    """Of a document and its end."""
    tokens = math.ceil(num_bytes / BYTES_PER_TOKEN)
    return tokens + 1, tokens


def _num_tokens(text: str) -> int:
    return math.ceil(_num_bytes(text) / BYTES_PER_TOKEN)


def _num_bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def relative_error(lengths: Sequence[int]) -> float:
    """Of their mean: one standard error."""
    mean = sum(lengths) / len(lengths)
    return math.sqrt(variance(lengths, mean) / len(lengths)) / mean


def variance(values: Sequence[float], about: float) -> float:
    """Mean square of the differences from `about`."""
    return sum((value - about) ** 2 for value in values) / len(values)
