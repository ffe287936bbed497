"""What can be wrong with a recipe whose tables are all valid: combinations of values.

Each check is a function from a recipe to problems with dotted keys; positions are added later.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stoker.recipe.draft import leaves
from stoker.recipe.model import Recipe
from stoker.recipe.paths import kind_of
from stoker.recipe.problems import Fix, Problem
from stoker.recipe.schema import RunTable

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECRET = re.compile(
    r"hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|AKIA[0-9A-Z]{12,}|gh[opsu]_[A-Za-z0-9]{16,}"
    r"|github_pat_[A-Za-z0-9_]{16,}|xox[abps]-[A-Za-z0-9-]{10,}"
)


EVAL_FRACTION = 0.05
"""Share of the training rows to hold out where nobody says another."""


def check_recipe(recipe: Recipe) -> list[Problem]:
    """All problems the core itself can see."""
    return [problem for check in _CHECKS for problem in check(recipe)]


def secret_problems(tables: Mapping[str, Any]) -> Iterator[Problem]:
    """Values that look like credentials: recipes are committed, copied and logged."""
    for key, value in leaves(tables):
        if isinstance(value, str) and _SECRET.search(value):
            yield Problem(
                key=key,
                message="found what looks like a secret; recipes are no place for it.",
                hint="Put it into an environment variable and write env:NAME.",
            )


def _check_remote_code(recipe: Recipe) -> Iterator[Problem]:
    model = recipe.model
    # Code in a local directory is the user's own copy: nobody changes it under them.
    if not model.trust_remote_code or kind_of(model.path) != "hub":
        return
    if not _COMMIT.fullmatch(model.revision or ""):
        found = f"found {model.revision!r}" if model.revision else "model.revision is not set"
        yield Problem(
            key="model.revision" if model.revision else "model.trust_remote_code",
            message=f"trust_remote_code needs the 40 hex digits of a commit in revision; {found}.",
            hint="A branch or tag can be moved to other code after you have read it.",
        )


def _check_batch(recipe: Recipe) -> Iterator[Problem]:
    train, launch = recipe.train, recipe.launch
    # What is chosen leaves no rank idle that could have a row.
    rows = 1 if train.micro_batch_size == "auto" else train.micro_batch_size
    if rows > train.batch_size:
        yield Problem(
            key="train.micro_batch_size",
            message=f"found {rows}, more than train.batch_size = {train.batch_size}.",
            hint="batch_size is the rows of a whole step, over all ranks.",
            fix=Fix(action="set", key="train.micro_batch_size", value=train.batch_size),
        )
    ranks = launch.gpus_per_node * launch.nodes
    micro_batches = -(-train.batch_size // rows)
    if ranks > micro_batches:
        yield Problem(
            key="train.batch_size",
            message=f"a step is {micro_batches} micro-batches, so {ranks - micro_batches} of {ranks} "
            "ranks have nothing to do.",
            hint="Raise batch_size or lower micro_batch_size.",
            severity="warning",
            fix=_enough_work(train.batch_size, ranks),
        )


def _enough_work(batch_size: int, ranks: int) -> Fix:
    """A micro-batch for each rank; the batch stays as it is where it has a row for each."""
    if batch_size >= ranks:
        return Fix(action="set", key="train.micro_batch_size", value=batch_size // ranks)
    return Fix(action="set", key="train.batch_size", value=ranks)


def _check_evaluation(recipe: Recipe) -> Iterator[Problem]:
    if recipe.train.evaluate_every and not recipe.data.eval and not recipe.data.eval_fraction:
        yield Problem(
            key="train.evaluate_every",
            message="there is nothing to evaluate on.",
            hint="Add data.eval or data.eval_fraction.",
            fix=Fix(action="set", key="data.eval_fraction", value=EVAL_FRACTION),
        )


def _check_directory(recipe: Recipe) -> Iterator[Problem]:
    directory = Path(os.path.expanduser(recipe.run.directory))
    for folder in (directory, *directory.parents):
        # Unlike Path.exists, this is False, not an exception, for a name no file can have.
        if os.path.exists(folder):
            if not os.path.isdir(folder):
                found = "a part of it" if "run.directory" in recipe.references else folder
                yield Problem(
                    key="run.directory",
                    message=f"{found} is a file, expected a directory for runs.",
                    fix=_default_directory(recipe.run.directory),
                )
            return


def _default_directory(stated: str) -> Fix | None:
    default = RunTable.model_fields["directory"].default
    is_no_help = stated == default or os.path.isfile(default)
    return None if is_no_help else Fix(action="set", key="run.directory", value=default)


def _check_restarts(recipe: Recipe) -> Iterator[Problem]:
    launch = recipe.launch
    if launch.max_restarts > 0 and launch.nodes > 1:
        yield Problem(
            key="launch.max_restarts",
            message=f"found {launch.max_restarts} with launch.nodes = {launch.nodes}; "
            "nodes can only be started again together.",
            hint="Let the cluster restart all of them, by the exit code, and leave this out.",
            fix=Fix(action="set", key="launch.max_restarts", value=0),
        )


_CHECKS = (_check_remote_code, _check_batch, _check_evaluation, _check_directory, _check_restarts)
