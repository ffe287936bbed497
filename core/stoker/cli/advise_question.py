"""Completes a question about advice: from a recipe, by asking on a terminal, by stated assumptions."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stoker.advice.question import (
    DEFAULT_TOKENS_PER_EXAMPLE,
    GPUS_OF_A_NODE,
    Question,
)
from stoker.errors import UsageError
from stoker.plan.gpus import find_gpu
from stoker.plan.guide import GUIDE
from stoker.plan.models import find_model

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe


def _count(text: str | int) -> int:
    try:
        number = int(str(text).replace(",", "").replace("_", ""))
    except ValueError:
        number = 0
    if number < 1:
        raise UsageError(f"{text!r} is no whole number above 0.")
    return number


def _model(text: str) -> str:
    if not Path(text).expanduser().is_dir():
        find_model(text)
    return text


@dataclass(frozen=True)
class Ask:
    """One question on a terminal."""

    field: str
    text: str
    why: str
    default: Any
    accepts: Callable[[Any], Any] = bool
    """Makes a value of what was typed. Raises `UsageError`: it is asked again."""
    is_required: bool = False
    """Without an answer there is no advice; others have an assumption, which is said."""
    assumption: str = ""

    @property
    def flag(self) -> str:
        """The option that answers it."""
        return f"--{self.field.replace('_', '-')}"


ASKS: tuple[Ask, ...] = (
    Ask("model", "Model", "Its size decides what fits.", "llama-3-8b", _model, is_required=True),
    Ask(
        "continued_pretraining",
        "Continued pre-training on raw text",
        "Raw text wants all weights; question and answer pairs rarely do.",
        False,
        assumption="no raw text (--continued-pretraining)",
    ),
    Ask(
        "examples",
        "Examples",
        f"Below {GUIDE.few_examples:,} full fine-tuning overfits more easily. Of raw text: documents.",
        10_000,
        _count,
        is_required=True,
    ),
    Ask(
        "tokens_per_example",
        "Tokens of an example, on average",
        "Time and dollars are those of tokens.",
        DEFAULT_TOKENS_PER_EXAMPLE,
        _count,
        assumption=f"{DEFAULT_TOKENS_PER_EXAMPLE} tokens an example (--tokens-per-example)",
    ),
    Ask(
        "multi_task",
        "Several tasks or tenants on one base",
        "Adapters can be swapped; whole models cannot.",
        False,
        assumption="one task (--multi-task)",
    ),
    Ask(
        "domain_shift",
        "Major shift of domain, such as another language",
        "Then an adapter may be what limits.",
        False,
        assumption="no major shift of domain (--domain-shift)",
    ),
    Ask(
        "gpu",
        "Type of GPU",
        "Its memory decides what fits, its price what it costs.",
        "a100-80gb",
        lambda text: find_gpu(text).name,
        is_required=True,
    ),
    Ask(
        "gpus",
        "How many, on all nodes together",
        "Several share what one cannot hold.",
        1,
        _count,
        is_required=True,
    ),
)


def complete(stated: Mapping[str, Any], recipe: Recipe | None = None, *, may_ask: bool) -> Question:
    """The question, from options over `recipe` over answers over assumptions.

    Asks only where standard input and output are a terminal. Raises `UsageError` that names what is
    missing elsewhere.
    """
    known = {name: value for name, value in stated.items() if value is not None}
    if recipe is not None:
        known = {**_from_recipe(recipe, known), **known}
    open_asks = [ask for ask in ASKS if ask.field not in known]
    if may_ask and sys.stdin.isatty() and sys.stdout.isatty():
        for ask in open_asks:
            known[ask.field] = _answer(ask)
        open_asks = []
    missing = [ask for ask in open_asks if ask.is_required]
    if missing:
        raise UsageError(
            f"not known: {', '.join(ask.text[0].lower() + ask.text[1:] for ask in missing)}.",
            hint=f"Add {', '.join(ask.flag for ask in missing)}; on a terminal it is asked.",
        )
    known.setdefault("nodes", nodes_for(known["gpus"]))
    assumed = (*known.pop("assumed", ()), *(ask.assumption for ask in open_asks))
    return Question(**known, assumed=assumed)


def nodes_for(gpus: int) -> int:
    """The fewest nodes of at most 8 GPUs that share so many out evenly."""
    least = max(1, math.ceil(gpus / GPUS_OF_A_NODE))
    return next(nodes for nodes in range(least, max(gpus, 1) + 1) if gpus % nodes == 0)


def _answer(ask: Ask) -> Any:
    click.echo(f"\n{ask.why}", err=True)
    if isinstance(ask.default, bool):
        return click.confirm(ask.text, default=ask.default, err=True)

    def convert(text: Any) -> Any:
        try:
            return ask.accepts(text)
        except UsageError as error:
            raise click.UsageError(str(error)) from error

    return click.prompt(ask.text, default=ask.default, value_proc=convert, err=True)


def _from_recipe(recipe: Recipe, stated: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe says, and what is known of its data.

    Raises `DataError` for files that cannot be read as the recipe says.
    """
    from stoker.plan.dataset import estimate_data

    found: dict[str, Any] = {
        "model": recipe.model.path,
        "sequence_length": recipe.data.sequence_length,
        "batch_size": recipe.train.batch_size,
        "gpus": recipe.launch.gpus_per_node * recipe.launch.nodes,
        "nodes": recipe.launch.nodes,
        "continued_pretraining": all(source.format == "text" for source in recipe.data.train),
        "assumed": (),
    }
    if "gpus" in stated:
        # A node of another number of GPUs is another machine.
        del found["nodes"]
    data = None if "examples" in stated else estimate_data(recipe)
    if data is not None:
        found["examples"] = max(1, round(data.epoch_rows))
        found["tokens_per_example"] = max(1, round(data.tokens_per_row))
        found["assumed"] = (data.how,)
    elif recipe.data.sequence_length < DEFAULT_TOKENS_PER_EXAMPLE:
        found["tokens_per_example"] = recipe.data.sequence_length
    if examples := stated.get("examples", found.get("examples")):
        found["epochs"] = _epochs(recipe, examples)
    return found


def _epochs(recipe: Recipe, examples: int) -> float:
    if recipe.train.epochs is not None:
        return recipe.train.epochs
    return (recipe.train.steps or 1) * recipe.train.batch_size / examples
