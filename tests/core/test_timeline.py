"""The timeline in the docstring of `stoker.hookspecs` is what really happens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stoker import hookspecs
from stoker.dispatch import HOOK_NAMES
from stoker.testing import tiny_fit

NOT_IN_A_FIT = {
    "make_model_files",
    "on_exception",
    "export_model",
}
"""Called for other paths, by other commands, or instead of the rest; each is tested in its place."""

EVERYWHERE = {"save_state", "collect_notices", "collect_limits"}
"""Asked for at many places; the block names the first of them."""


@dataclass
class Line:
    """A line of the block: a hook, or words that introduce the indented lines below it."""

    indent: int
    words: str
    hook: str | None
    children: list[Line] = field(default_factory=list)


def timeline() -> Line:
    """The block as a tree, from where ranks begin."""
    documentation = hookspecs.__doc__ or ""
    block = documentation.split(".. timeline-start")[1].split(".. timeline-end")[0]
    root = Line(-1, "", None)
    stack = [root]
    for text in block.split("# on every rank", 1)[1].splitlines()[1:]:
        words = text.strip()
        # Text on the right, and comments, explain; they are not calls.
        if not words or words.startswith("#") or len(text) - len(text.lstrip()) > 40:
            continue
        match = re.match(r"(\w+)\(", words)
        hook = match.group(1) if match and match.group(1) in HOOK_NAMES else None
        line = Line(len(text) - len(text.lstrip()), words, hook)
        while stack[-1].indent >= line.indent:
            stack.pop()
        stack[-1].children.append(line)
        stack.append(line)
    return root


def expected(line: Line, steps: int, micro_batches: int, evaluations: set[int]) -> list[str]:
    """Calls of a fit: log points and boundaries at every step, checkpoints at its start and its end."""

    def walk(lines: list[Line], step: int) -> list[str]:
        calls: list[str] = []
        for child in lines:
            if child.words.startswith("repeat for every step"):
                for number in range(1, steps + 1):
                    calls += walk(child.children, number)
            elif child.words.startswith("repeat for every micro-batch"):
                calls += walk(child.children, step) * micro_batches
            elif child.words.startswith("at an evaluation"):
                calls += walk(child.children, step) if step in evaluations else []
            elif child.words.startswith("at a checkpoint"):
                continue
            elif child.words.startswith(("a first checkpoint", "at the end")):
                calls += [each.hook for each in checkpoint.children if each.hook]
            elif child.hook and child.hook not in NOT_IN_A_FIT | EVERYWHERE:
                calls.append(child.hook)
        return calls

    checkpoint = find(line, "at a checkpoint")
    return walk(line.children, 0)


def find(line: Line, words: str) -> Line:
    """The line of the tree that begins so."""
    lines = [line]
    for each in lines:
        lines += each.children
    return next(each for each in lines if each.words.startswith(words))


def test_a_fit_calls_hooks_in_the_order_of_the_block(tmp_path: Path) -> None:
    """With saves that training waits for: others are done at a boundary that no one can foretell."""
    settings = ["train.steps=4", "train.evaluate_every=2", "checkpoint.asynchronous=false"]
    fit = tiny_fit(tmp_path, {}, settings)
    calls = [name for name in fit.timeline if name not in EVERYWHERE]
    assert calls == expected(timeline(), steps=4, micro_batches=2, evaluations={2, 4})


def test_every_hook_has_its_place_in_the_block_and_a_signature_there() -> None:
    documentation = hookspecs.__doc__ or ""
    for name in HOOK_NAMES:
        code = getattr(hookspecs, name).__code__
        arguments = ", ".join(code.co_varnames[: code.co_argcount])
        assert f"{name}({arguments})" in documentation, name


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_every_hook_says_when_it_is_called_and_what_it_may_do(name: str) -> None:
    assert len(getattr(hookspecs, name).__doc__ or "") > 20
