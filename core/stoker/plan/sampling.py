"""Counts tokens in the beginning of local files by their bytes: without a tokenizer, in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """The beginning of a source, and how often it is contained in the whole."""

    lengths: list[int]
    supervised: list[int]
    rows: float
    """Of the whole source."""


def sample_source(source: DataSource, recipe: Recipe) -> Sample | None:
    """Rows from the beginning of each file; None for what cannot be read without heavy libraries."""
    path = Path(source.path).expanduser()
    if not path.exists() or source.format is None:
        return None
    files = find_files(path, source.split).files
    if any(file.suffix.lower() == ".parquet" for file in files):
        return None
    lengths: list[int] = []
    supervised: list[int] = []
    num_rows = 0.0
    for file in files[:_MOST_FILES]:
        read = list(_read(file, source, recipe, _SAMPLE_BYTES // min(len(files), _MOST_FILES)))
        examples = [counted for counted, _ in read if counted is not None]
        lengths += [tokens for tokens, _ in examples]
        supervised += [number for _, number in examples]
        share = read[-1][1] / max(1, file.stat().st_size) if read else 1.0
        num_rows += len(examples) / max(min(share, 1.0), 1e-9)
    if not lengths:
        return None
    found = Sample(lengths, supervised, num_rows * len(files) / min(len(files), _MOST_FILES))
    return _in_blocks(found, recipe.data.sequence_length) if source.format == "text" else found


def _in_blocks(documents: Sample, length: int) -> Sample:
    """Documents are laid one after the other and cut into rows of `length` tokens."""
    tokens = documents.rows * mean(documents.lengths)
    blocks = [length] * max(1, sum(documents.lengths) // length)
    return Sample(blocks, [length - 1 for length in blocks], max(1.0, tokens / length))


Counted = tuple[int, int]
"""Tokens of a row, and how many of them carry loss."""


def _read(
    file: Path, source: DataSource, recipe: Recipe, num_bytes: int
) -> Iterator[tuple[Counted | None, float]]:
    """(counts of a row or None where it cannot be used, bytes read so far), at least one row."""
    data = recipe.data
    try:
        for located in open_file(file):
            yield _count(located.row, source, data.supervise, data.sequence_length), located.end
            if located.end >= num_bytes:
                return
    except MissingRequirementError as error:
        raise DataError(error.message, hint=error.hint) from error


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
    # Rows are cut at their end, which is where answers stand.
    cut = max(0, tokens - longest)
    return max(1, tokens - cut), max(0, learnt - cut)


def _tokens(example: Example) -> Counted:
    if isinstance(example, Text):
        return (length := _num_tokens(example.text) + 1), length - 1
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


def _num_tokens(text: str) -> int:
    return math.ceil(len(text.encode("utf-8", "surrogatepass")) / BYTES_PER_TOKEN)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def relative_error(lengths: Iterable[int]) -> float:
    """Of their mean: one standard error."""
    values = list(lengths)
    average = mean(values)
    return math.sqrt(variance(values, average) / len(values)) / average


def variance(values: Sequence[float], about: float) -> float:
    """Mean square of the differences from `about`."""
    return sum((value - about) ** 2 for value in values) / len(values)
