"""Tokenise once, on whichever rank comes first; everyone else maps the result.

The index lies in the cache under a key made of everything its content depends on: the data, the
tokenizer, the template, the recipe's limits and this code. It appears there by one rename, so a
process that dies or is interrupted leaves nothing that could be taken for a whole index.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from stoker.cache import cache_directory, file_lock
from stoker.data.build import Note, Report, build_index
from stoker.data.counts import remember_counts
from stoker.data.encode import Encoder, tokenizer_threads
from stoker.data.sources import PluginSource, ResolvedSource, resolve_source
from stoker.data.store import TokenIndex
from stoker.durable import sync_directory, write_durably
from stoker.errors import StorageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from stoker.recipe.model import Recipe

__all__ = ["PreparedData", "Report", "TokenIndex", "prepare_index"]

_CODE_VERSION = 3
"""Raise it with every change to what an index of the same data holds."""


@dataclass(frozen=True)
class PreparedData:
    """What a run trains on and what it is graded on."""

    train: TokenIndex
    evaluation: TokenIndex | None
    notes: list[str] = field(default_factory=list)
    """What was cut, dropped or held out, for people."""
    digests: dict[str, str] = field(default_factory=dict)
    """SHA-256 over the content of each source, by dotted key: `data.train.0`."""


def prepare_index(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    plugin_sources: Mapping[str, PluginSource],
    report: Report,
) -> PreparedData:
    """The tokenised data of a recipe, from the cache where it is there already.

    Safe to call from any number of processes at once, before any process group: one tokenises, the
    others wait and call `report("waiting for another process", 0, 0)`. Raises `DataError` naming
    file, row and column for data that cannot be used, `StorageError` when the disk fails.
    """
    encoder = Encoder(tokenizer, recipe.data.chat_template, recipe.data.supervise)
    sources = train, evaluation = _resolve_sources(recipe, plugin_sources, report)
    target = cache_directory() / "tokens" / _cache_key(recipe, tokenizer, encoder, train, evaluation)
    kept = _open(target)
    if kept is None:
        try:
            with file_lock(
                target.with_suffix(".lock"),
                waiting=lambda: report("waiting for another process", 0, 0),
            ):
                kept = _open(target) or _build(target, recipe, encoder, sources, report)
        except OSError as error:
            raise StorageError(
                f"the tokenised data cannot be kept in {target.parent}: {error.strerror or error}.",
                hint="Free some space there, or set STOKER_CACHE to another folder.",
            ) from error
    remember_counts(recipe, kept.train, kept.evaluation)
    notes = [note for source in [*train, *evaluation] for note in source.notes]
    notes += [_with_name(note, [*train, *evaluation]) for note in kept.notes]
    return PreparedData(kept.train, kept.evaluation, notes, _digests(train, evaluation))


def _with_name(note: Note, sources: list[ResolvedSource]) -> str:
    """The same rows may have another name by now than when the note was kept."""
    number, text = note
    return text if number is None else f"{sources[number].name}: {text}"


def _digests(train: list[ResolvedSource], evaluation: list[ResolvedSource]) -> dict[str, str]:
    return {
        f"data.{name}.{number}": sha256(json.dumps(source.facts).encode()).hexdigest()
        for name, sources in (("train", train), ("eval", evaluation))
        for number, source in enumerate(sources)
    }


@dataclass(frozen=True)
class _Kept:
    """What lies in a folder of the cache."""

    train: TokenIndex
    evaluation: TokenIndex | None
    notes: list[Note]


def _resolve_sources(
    recipe: Recipe, plugin_sources: Mapping[str, PluginSource], report: Report
) -> tuple[list[ResolvedSource], list[ResolvedSource]]:
    wanted = [*recipe.data.train, *recipe.data.eval]
    resolved = []
    for done, source in enumerate(wanted):
        report("finding data", done, len(wanted))
        resolved.append(
            resolve_source(
                source,
                plugin_sources,
                tick=lambda done=done: report("finding data", done, len(wanted)),  # type: ignore[misc]
            )
        )
    report("finding data", len(wanted), len(wanted))
    num_train = len(recipe.data.train)
    return resolved[:num_train], resolved[num_train:]


def _cache_key(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerBase,
    encoder: Encoder,
    train: list[ResolvedSource],
    evaluation: list[ResolvedSource],
) -> str:
    import tokenizers
    import transformers

    data = recipe.data
    facts = {
        "code": _CODE_VERSION,
        "libraries": [tokenizers.__version__, transformers.__version__],
        "tokenizer": _tokenizer_digest(tokenizer),
        "template": encoder.template.source if encoder.template else None,
        "limits": [data.sequence_length, data.supervise, data.eval_fraction],
        "bad rows": [data.on_bad_row, data.max_bad_share],
        "train": [source.facts for source in train],
        "evaluation": [source.facts for source in evaluation],
    }
    return sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def _tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Over everything that decides ids; truncation and padding are the last caller's, not its own."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state.pop("truncation", None)
    state.pop("padding", None)
    facts = [state, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.special_tokens_map]
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()


def _open(target: Path) -> _Kept | None:
    """The index kept at `target`; None when there is none, or a disk damaged it."""
    try:
        about = json.loads((target / "about.json").read_text(encoding="utf-8"))
        return _Kept(
            TokenIndex.open(target / "train.arrow"),
            TokenIndex.open(target / "eval.arrow") if about["evaluation"] else None,
            [(number, text) for number, text in about["notes"]],
        )
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException):
        return None


def _build(
    target: Path,
    recipe: Recipe,
    encoder: Encoder,
    sources: tuple[list[ResolvedSource], list[ResolvedSource]],
    report: Report,
) -> _Kept:
    """Tokenise into a temporary folder and rename it to `target`. Called with the lock held."""
    temporary = target.with_suffix(".unfinished")
    # Left by a process that was killed: we hold the lock, so nobody works in it.
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(mode=0o700)
    try:
        with tokenizer_threads():
            notes = build_index(temporary, recipe.data, encoder, sources, report)
        for part in (part for half in sources for source in half for part in source.parts):
            # What was read is kept under the digest of what was there before.
            part.check_unchanged()
        about = {"evaluation": (temporary / "eval.arrow").exists(), "notes": notes}
        write_durably(temporary / "about.json", json.dumps(about).encode())
        sync_directory(temporary)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        sync_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    kept = _open(target)
    if kept is None:
        raise StorageError(f"the tokenised data in {target} cannot be read back.")
    return kept
