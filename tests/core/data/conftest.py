"""A cache of its own for every test, and tokenizers made in code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from stoker.recipe.model import Recipe
from stoker.recipe.schema import RecipeTables

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]
MakeRecipe = Callable[..., Recipe]


def _tokenizer(
    chat_template: str | None = CHATML,
    merges: tuple[tuple[str, str], ...] = (),
    adds_bos: bool = False,
) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*alphabet, *(first + second for first, second in merges)]
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=list(merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|bos|>", "<|eos|>", "<|im_start|>", "<|im_end|>"])
    if adds_bos:
        bos = backend.token_to_id("<|bos|>")
        backend.post_processor = processors.Sequence(
            [
                processors.ByteLevel(trim_offsets=True),
                processors.TemplateProcessing("<|bos|> $A", special_tokens=[("<|bos|>", bos)]),
            ]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|bos|>", eos_token="<|eos|>"
    )
    tokenizer.chat_template = chat_template
    return tokenizer


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test; the home folder stays untouched."""
    directory = tmp_path / "cache"
    monkeypatch.setenv("STOKER_CACHE", str(directory))
    return directory


@pytest.fixture(scope="session")
def make_tokenizer() -> MakeTokenizer:
    """Makes a byte-level tokenizer: a token for each byte, and one for each merge."""
    return _tokenizer


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes and a ChatML template."""
    return _tokenizer()


@pytest.fixture
def make_recipe() -> MakeRecipe:
    """Builds a recipe around a `[data]` table."""

    def make(data: Mapping[str, Any], **train: Any) -> Recipe:
        tables = {
            "run": {"name": "test"},
            "model": {"path": "x"},
            "data": dict(data),
            "train": {"learning_rate": 0.1, "steps": 1} | train,
        }
        return Recipe(tables=RecipeTables.model_validate(tables), path=Path("recipe.toml"))

    return make
