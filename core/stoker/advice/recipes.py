"""Writes recipes that do what advice says: a template, with the reasons as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stoker.advice.advise import Advice
from stoker.advice.search import Choice
from stoker.errors import StorageError, UsageError
from stoker.recipe.paths import plugin_of
from stoker.scaffold.choose import fitting_template, template_value
from stoker.scaffold.fill import fill
from stoker.scaffold.settings import Setting, plugin_settings
from stoker.scaffold.values import Values, legal_name

if TYPE_CHECKING:
    from stoker.recipe.model import Recipe

RECOMMENDED = "recommended"
GB = 1e9
_WIDTH = 100


@dataclass(frozen=True)
class Sources:
    """What the recipes train on, as the command line says it."""

    model_paths: dict[str, str]
    """A directory or hub id for each model of the ladder."""
    data: str | None = None
    data_format: str | None = None
    recipe: Recipe | None = None
    """Where there is no `data`: a recipe whose data they take, with the plugins that provide them."""


def recipe_texts(advice: Advice, sources: Sources, folder: Path) -> dict[str, str]:
    """Texts by file name: the recommendation, and every other rung that fits on the GPUs at hand."""
    choices: dict[str, Choice] = {}
    if advice.choice is not None:
        choices[RECOMMENDED] = advice.choice
    for rung in advice.ladder:
        if rung.here is not None and rung.here is not advice.choice:
            choices[legal_name(rung.name)] = rung.here
    return {
        f"{name}.toml": _text(name, choice, advice, sources, folder) for name, choice in choices.items()
    }


def write_recipes(texts: dict[str, str], folder: Path, *, replace: bool = False) -> list[Path]:
    """Write them into `folder`, which is made.

    Raises `UsageError`, before anything is written, if one of them exists and may not be replaced, and
    `StorageError` if the folder cannot be written to.
    """
    paths = {folder / name: text for name, text in texts.items()}
    if not replace and (there := [path for path in paths if path.exists()]):
        raise UsageError(
            f"{there[0]} exists already; nothing was written.",
            hint="Name another folder, or add --force to replace recipes in it.",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"recipes cannot be written to {folder}: {error.strerror or error}.",
            hint="Choose another folder.",
        ) from error
    return list(paths)


def _text(name: str, choice: Choice, advice: Advice, sources: Sources, folder: Path) -> str:
    candidate = choice.candidate
    template = fitting_template(candidate.tables, raw_text=advice.question.continued_pretraining)
    path = sources.model_paths[candidate.model]
    run_name = legal_name(f"{candidate.method}-{Path(candidate.model).name}")
    values = Values(
        name=run_name,
        model=path,
        data=sources.data,
        data_format=sources.data_format,
    )
    settings = [*_settings(choice, advice), *plugin_settings(candidate.tables)]
    if path != candidate.model and not advice.question.continued_pretraining:
        why = "chats need a variant with a chat template, or data.chat_template"
        settings.append(Setting("model.path", path, why))
    if sources.recipe is not None and sources.data is None:
        settings += _data_settings(sources.recipe)
    heading = _heading(name == RECOMMENDED, choice, advice)
    return fill(template, values, folder, settings, heading)


def _heading(is_recommended: bool, choice: Choice, advice: Advice) -> Iterator[str]:
    candidate, estimate = choice.candidate, choice.estimate
    what = "what it recommends" if is_recommended else "another rung of its ladder"
    nodes = f" on {candidate.nodes} nodes" if candidate.nodes > 1 else ""
    where = f"{candidate.gpus} x {candidate.gpu}{nodes}"
    said = f"Written by `stoker advise`, {what}: {candidate.method} of {candidate.model} on {where}."
    yield from textwrap.wrap(said, _WIDTH)
    hours = estimate.hours
    usd = f", ${estimate.usd.low:,.2f} to ${estimate.usd.high:,.2f}" if estimate.usd else ""
    yield (
        f"Planned: {estimate.total_bytes / GB:.1f} of {estimate.capacity_bytes / GB:.1f} GB per GPU, "
        f"{hours.low:.2g} to {hours.high:.2g} hours{usd}."
    )
    if is_recommended:
        for reason in advice.reasons:
            said = f"{reason.part} {reason.value}: {reason.because}."
            yield from textwrap.wrap(said, _WIDTH, initial_indent="  ", subsequent_indent="    ")


def _settings(choice: Choice, advice: Advice) -> Iterator[Setting]:
    candidate, estimate = choice.candidate, choice.estimate
    epochs = candidate.epochs
    yield Setting("train.steps", None)
    yield Setting(
        "train.epochs", int(epochs) if epochs == int(epochs) else epochs, "passes over the rows"
    )
    product = f"{candidate.micro_batch_size} x {candidate.gpus} x {candidate.accumulation}"
    yield Setting(
        "train.batch_size",
        candidate.batch_size,
        f"rows of a step: at once x GPUs x accumulation, {product}",
    )
    used = f"{estimate.total_bytes / GB:.1f} of {estimate.capacity_bytes / GB:.1f} GB by the plan"
    yield Setting("train.micro_batch_size", candidate.micro_batch_size, f"rows at once on a GPU: {used}")
    yield Setting("train.precision", candidate.precision)
    if advice.question.continued_pretraining and candidate.method != "full":
        # The template of raw text has the rate of a whole model.
        own = fitting_template(candidate.tables)
        rate = template_value(own, "train", "learning_rate")
        yield Setting("train.learning_rate", rate, "an adapter bears more than a whole model")
    length = candidate.row_tokens
    yield Setting("data.sequence_length", length, "tokens; longer rows are cut and counted")
    yield Setting("checkpoint.keep", 2, "the newest; each holds what is trained and its moments")
    if advice.spot:
        yield Setting("checkpoint.every", "auto", "as often as pays where machines are taken away")
    engine = choice.preferences["engine"].because
    yield Setting("launch.gpus_per_node", candidate.gpus_per_node, _short(engine))
    if candidate.nodes > 1:
        yield Setting("launch.nodes", candidate.nodes, "`stoker run --nnodes` on each of them")


def _data_settings(recipe: Recipe) -> Iterator[Setting]:
    """The data of a recipe, but for the length of rows, which is advised."""
    stated = recipe.tables.data.model_dump(exclude_defaults=True)
    # As they were written where variables stand for them: their values are written into no file.
    tables = recipe.resolved()
    for key in dict.fromkeys(("train", "eval", "eval_fraction", *stated)):
        if key != "sequence_length":
            yield Setting(f"data.{key}", _as_stated(stated.get(key), tables["data"][key]))
    paths = [source.path for source in (*recipe.data.train, *recipe.data.eval)]
    for plugin in dict.fromkeys(filter(None, map(plugin_of, paths))):
        table = tables["plugins"][plugin]
        own = {key: value for key, value in table.items() if _is_own(recipe, plugin, key)}
        yield from plugin_settings({plugin: own})


def _as_stated(stated: Any, written: Any) -> Any:
    """`written` without what has its default; None for what is not stated at all."""
    if isinstance(stated, list):
        return [_as_stated(*each) for each in zip(stated, written, strict=True)]
    if isinstance(stated, dict):
        return {key: written[key] for key in stated}
    return None if stated is None else written


def _is_own(recipe: Recipe, plugin: str, key: str) -> bool:
    """Whether an option stands in the recipe; a default has another origin."""
    origins = [
        origin
        for name, origin in recipe.origins.items()
        if f"{name}.".startswith(f"plugins.{plugin}.{key}.")
    ]
    return any(origin != f"plugin:{plugin}" for origin in origins)


def _short(text: str) -> str:
    """A comment that fits behind a value."""
    return textwrap.shorten(text, 70, placeholder=" ...")
