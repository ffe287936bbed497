"""What a row of each source looks like, made from pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from stoker_plugins.demo.docstrings import Pair

SYSTEM_PROMPT = (
    "You answer questions about Python's standard library briefly, as its documentation does."
)
_MOST_QUESTIONS = 3
_INSTRUCTIONS = {
    "module": "Describe this module of Python's standard library.",
    "class": "Describe this class of Python's `{module}` module.",
    "function": "Describe what this function of Python's `{module}` module does.",
}
_NEXT_QUESTIONS = {
    "module": "And what is the module itself about?",
    "class": "And what is the class `{subject}`?",
    "function": "And what does `{subject}` do?",
}


def as_messages(pair: Pair) -> Mapping[str, Any]:
    """A question of the user and the assistant's answer."""
    return {"messages": [_user(pair.question), _assistant(pair)]}


def as_text(pair: Pair) -> Mapping[str, Any]:
    """The name with the whole docstring under it."""
    return {"text": f"{pair.name}\n\n{pair.docstring}"}


def as_alpaca(pair: Pair) -> Mapping[str, Any]:
    """An instruction, what it is about, and the answer."""
    instruction = _INSTRUCTIONS[pair.kind].format(module=pair.module)
    return {"instruction": instruction, "input": pair.subject, "output": pair.answer}


def chats(pairs: Iterable[Pair]) -> list[Mapping[str, Any]]:
    """Conversations of two or three pairs of one module each."""
    return [as_conversation(group) for group in conversations(pairs)]


def as_conversation(pairs: Sequence[Pair]) -> Mapping[str, Any]:
    """A system prompt, then one question after the other; only the first names the module."""
    first, *others = pairs
    messages = [{"role": "system", "content": SYSTEM_PROMPT}, _user(first.question), _assistant(first)]
    for pair in others:
        question = _NEXT_QUESTIONS[pair.kind].format(subject=pair.subject)
        messages += [_user(question), _assistant(pair)]
    return {"messages": messages}


def conversations(pairs: Iterable[Pair]) -> list[list[Pair]]:
    """Pairs of one module in twos and threes, in the order of the first of each.

    A pair that is alone in its module is left out: it is no conversation.
    """
    by_module: dict[str, list[tuple[int, Pair]]] = {}
    for place, pair in enumerate(pairs):
        by_module.setdefault(pair.module, []).append((place, pair))
    groups = [group for placed in by_module.values() for group in _cut(placed)]
    return [[pair for _, pair in group] for group in sorted(groups, key=lambda group: group[0][0])]


def _cut(placed: Sequence[tuple[int, Pair]]) -> list[Sequence[tuple[int, Pair]]]:
    """Threes, and one or two twos where threes do not come out even."""
    groups, start = [], 0
    while (left := len(placed) - start) > 1:
        length = 2 if left in (2, 4) else _MOST_QUESTIONS
        groups.append(placed[start : start + length])
        start += length
    return groups


def _user(question: str) -> dict[str, str]:
    return {"role": "user", "content": question}


def _assistant(pair: Pair) -> dict[str, str]:
    return {"role": "assistant", "content": pair.answer}
