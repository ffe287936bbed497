"""How pairs become conversations."""

from __future__ import annotations

import pytest

from stoker_plugins.demo.docstrings import Pair
from stoker_plugins.demo.rows import as_alpaca, as_conversation, conversations


def pair(module: str, number: int = 1) -> Pair:
    return Pair(module, "function", f"f{number}(x)", f"{module}.f{number}", f"Does {number}.")


@pytest.mark.parametrize(
    ("count", "lengths"),
    [(1, []), (2, [2]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (6, [3, 3]), (7, [3, 2, 2])],
)
def test_pairs_of_a_module_are_cut_into_threes_and_twos(count, lengths):
    cut = conversations(pair("box", number) for number in range(count))
    assert [len(group) for group in cut] == lengths


def test_modules_are_not_mixed_and_come_in_the_order_of_their_first_pair():
    pairs = [pair("lid", 1), pair("box", 1), pair("box", 2), pair("lonely"), pair("lid", 2)]
    names = [[each.name for each in group] for group in conversations(pairs)]
    assert names == [["lid.f1", "lid.f2"], ["box.f1", "box.f2"]]


def test_only_the_first_question_of_a_conversation_names_the_module():
    turns = as_conversation([pair("box", 1), pair("box", 2)])["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user", "assistant"]
    assert turns[1]["content"] == "What does `f1(x)` in Python's `box` module do?"
    assert turns[3]["content"] == "And what does `f2(x)` do?"
    assert (turns[2]["content"], turns[4]["content"]) == ("Does 1.", "Does 2.")


def test_an_instruction_is_about_its_input():
    assert as_alpaca(pair("box")) == {
        "instruction": "Describe what this function of Python's `box` module does.",
        "input": "f1(x)",
        "output": "Does 1.",
    }
