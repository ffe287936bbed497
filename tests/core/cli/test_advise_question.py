"""A question is completed from options, a recipe, answers on a terminal, and stated assumptions."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from stoker.cli.advise_question import ASKS, complete, nodes_for
from stoker.errors import UsageError
from stoker.recipe.loading import load_recipe

STATED: Mapping[str, Any] = {"model": "gpt2", "examples": 5, "gpu": "t4-16gb", "gpus": 2}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal on which these lines are typed; what is shown there comes back."""

    def type_lines(*lines: str) -> Terminal:
        out = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in lines)))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", out)
        return out

    return type_lines


def test_without_a_terminal_what_is_missing_is_named() -> None:
    with pytest.raises(UsageError) as raised:
        complete({"model": "gpt2", "gpu": None}, may_ask=True)
    assert raised.value.message == "not known: examples, type of GPU, how many, on all nodes together."
    assert "--examples, --gpu, --gpus" in raised.value.hint


def test_without_a_terminal_the_rest_is_assumed_and_said() -> None:
    question = complete(STATED, may_ask=True)
    assert (question.multi_task, question.tokens_per_example, question.nodes) == (False, 512, 1)
    assert question.assumed == tuple(ask.assumption for ask in ASKS if ask.assumption)
    stated = complete({**STATED, "multi_task": False, "domain_shift": True}, may_ask=True)
    assert stated.domain_shift
    assert not any("--multi-task" in said or "--domain-shift" in said for said in stated.assumed)


def test_on_a_terminal_only_what_is_open_is_asked_with_a_reason(terminal) -> None:
    out = terminal("", "7", "", "y", "n", "h100-80gb", "16")
    question = complete({"model": "gpt2"}, may_ask=True)
    assert question.model == "gpt2"
    assert (question.examples, question.tokens_per_example) == (7, 512)
    assert (question.multi_task, question.domain_shift) == (True, False)
    assert (question.gpu, question.gpus, question.nodes) == ("h100-80gb", 16, 2)
    assert question.assumed == ()
    for ask in ASKS:
        assert (ask.text in out.getvalue()) == (ask.field != "model")
        assert (ask.why in out.getvalue()) == (ask.field != "model")


def test_what_cannot_be_is_asked_again(terminal) -> None:
    out = terminal("lama-3-8b", "gpt2", "", "many", "2,000", "", "", "", "a100", "A100-80GB", "0", "2")
    question = complete({}, may_ask=True)
    assert (question.model, question.examples) == ("gpt2", 2000)
    assert (question.gpu, question.gpus) == ("a100-80gb", 2)
    for said in ("'llama-3-8b'", "'many' is no whole number", "a100-40gb or a100-80gb", "'0' is no"):
        assert said in out.getvalue()


def test_json_asks_nothing_even_on_a_terminal(terminal) -> None:
    terminal()
    with pytest.raises(UsageError, match="not known: model"):
        complete({}, may_ask=False)


def test_every_question_without_an_assumption_is_required() -> None:
    assert all(ask.is_required != bool(ask.assumption) for ask in ASKS)


@pytest.fixture
def recipe(home):
    def write(train: str = "steps = 30", data_format: str = "messages", **more: str):
        row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
        row = {"text": "once"} if data_format == "text" else row
        (home / "rows.jsonl").write_text((json.dumps(row) + "\n") * 40)
        path = home / "mine.toml"
        path.write_text(f"""\
[run]
name = "mine"
[model]
path = "{more.get("model", "meta-llama/Meta-Llama-3-8B")}"
[data]
train = [{{ path = "{more.get("data", "rows.jsonl")}", format = "{data_format}" }}]
eval_fraction = 0.25
sequence_length = 256
[train]
{train}
batch_size = 16
learning_rate = 1e-4
[launch]
gpus_per_node = 4
nodes = 2
""")
        return load_recipe(path)

    return write


def test_a_recipe_says_most_of_it(recipe) -> None:
    question = complete({"gpu": "a100-80gb"}, recipe(), may_ask=False)
    assert (question.model, question.examples) == ("meta-llama/Meta-Llama-3-8B", 30)
    assert (question.gpus, question.nodes, question.batch_size) == (8, 2, 16)
    assert question.sequence_length == 256
    assert 2 <= question.tokens_per_example < 20
    assert question.assumed[0].startswith("data: about 30 rows")
    assert question.epochs == pytest.approx(30 * 16 / 30)
    assert not question.continued_pretraining
    assert not any("--continued-pretraining" in said for said in question.assumed)


def test_options_count_more_than_the_recipe(recipe) -> None:
    stated = {"gpu": "a100-80gb", "gpus": 2, "examples": 60_000, "continued_pretraining": True}
    question = complete(stated, recipe("epochs = 2"), may_ask=False)
    assert (question.gpus, question.nodes, question.examples) == (2, 1, 60_000)
    assert question.epochs == 2
    assert question.continued_pretraining


def test_text_in_a_recipe_is_continued_pretraining(recipe) -> None:
    question = complete({"gpu": "a100-80gb"}, recipe(data_format="text"), may_ask=False)
    assert question.continued_pretraining


def test_data_on_the_hub_cannot_be_counted(recipe) -> None:
    with pytest.raises(UsageError, match="not known: examples"):
        complete({"gpu": "a100-80gb"}, recipe(data="someone/chats"), may_ask=False)


def test_stated_examples_are_not_counted_and_rows_are_no_longer_than_the_recipe_s(recipe) -> None:
    question = complete({"gpu": "a100-80gb", "examples": 7}, recipe("epochs = 2"), may_ask=False)
    assert (question.examples, question.tokens_per_example) == (7, 256)
    assert not any(said.startswith("data:") for said in question.assumed)


@pytest.mark.parametrize(("gpus", "nodes"), [(1, 1), (8, 1), (9, 3), (12, 2), (16, 2), (17, 17)])
def test_nodes_share_gpus_out_evenly(gpus, nodes) -> None:
    assert nodes_for(gpus) == nodes
