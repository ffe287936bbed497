"""`stoker advise`: an answer with reasons, recipes, JSON, and exit codes that CI can act on."""

from __future__ import annotations

import json

import pytest
import tomli
from click import UsageError as ClickUsageError

from stoker.cli.advise import command
from stoker.errors import RecipeError, UsageError
from stoker.recipe.loading import inspect_recipe

STATED = ("--model", "llama-3-8b", "--examples", 20_000, "--gpu", "a100-80gb", "--gpus", 1)
DEFAULT = dict(zip(STATED[::2], STATED[1::2], strict=True))


@pytest.fixture
def ask(invoke):
    """Call the command with the usual options, some of them changed."""

    def call(*more, **changes):
        options = {**DEFAULT, **{f"--{name}": value for name, value in changes.items()}}
        return invoke(command, *(part for option in options.items() for part in option), *more)

    return call


def test_an_answer_with_its_ladder(ask) -> None:
    result = ask()
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("lora llama-3-8b on 1 x a100-80gb: ")
    assert max(map(len, lines)) <= 80
    for rung in ("qlora llama-3-8b", "lora llama-3-8b", "full llama-3-8b", "lora llama-3-70b"):
        assert any(line[2:].startswith(rung) for line in lines)


def test_the_name_of_a_gpu_in_any_spelling(ask) -> None:
    assert "on 1 x h200-141gb" in ask(gpu="H200").stdout


def test_json_is_nothing_but_json(ask) -> None:
    said = json.loads(ask("--json").stdout)
    assert said["status"] == "recommended"
    assert said["recommended"]["values"]["method"] == "lora"
    assert said["recommended"]["total_bytes"] <= said["recommended"]["capacity_bytes"]
    assert said["written"] == []


def test_what_fits_nowhere_here_ends_in_3_with_the_smallest_thing_that_would(ask) -> None:
    result = ask(model="llama-3.1-405b", gpu="t4-16gb")
    assert result.exit_code == 3
    assert "The smallest thing that would: " in result.stdout
    assert json.loads(ask("--json", model="llama-3.1-405b", gpu="t4-16gb").stdout)["smallest"]


def test_a_budget_that_nothing_keeps_ends_in_4(ask) -> None:
    assert ask("--budget-usd", "0.01").exit_code == 4
    assert ask("--hours", "0.01").exit_code == 4
    assert ask("--budget-usd", "1000", "--hours", "1000").exit_code == 0


def test_recipes_are_written_and_pass_check(ask, home) -> None:
    result = ask("--write", "advised")
    assert "advised/recommended.toml: written" in result.stdout
    paths = sorted((home / "advised").iterdir())
    assert len(paths) > 1
    for path in paths:
        assert inspect_recipe(path)[1] == []
    path = home / "advised" / "recommended.toml"
    assert tomli.loads(path.read_text())["model"]["path"] == "meta-llama/Meta-Llama-3-8B"
    again = ask("--write", "advised")
    assert isinstance(again.exception, UsageError)
    assert ask("--write", "advised", "--force", "--json").exit_code == 0


def test_recipes_train_on_the_user_s_data_and_model(ask, home) -> None:
    (home / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    model = home / "model"
    model.mkdir()
    config = {"model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "vocab_size": 320}
    config |= {"num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
    (model / "config.json").write_text(json.dumps(config))
    result = ask("--write", "advised", "--data", "rows.jsonl", model="./model")
    assert result.exit_code == 0, result.output
    tables = tomli.loads((home / "advised" / "recommended.toml").read_text())
    assert tables["model"]["path"] == "../model"
    assert tables["data"]["train"] == [{"path": "../rows.jsonl", "format": "completion"}]
    assert tables["data"]["sequence_length"] == 512


RECIPE = """\
[run]
name = "mine"
[model]
path = "demo:smollm2-135m"
[data]
train = [{ path = "rows.jsonl", format = "messages", weight = 2 }, { path = "demo:docstrings" }]
eval_fraction = 0.1
sequence_length = 256
[train]
epochs = 2
learning_rate = 1e-3
[plugins.demo]
max_train_rows = 100
"""


def test_a_recipe_s_data_and_model_go_on_into_those_that_are_written(invoke, home) -> None:
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    (home / "rows.jsonl").write_text(json.dumps(chat) + "\n")
    (home / "mine.toml").write_text(RECIPE)
    options = ("--gpu", "rtx-4090", "--examples", "2000", "--write", "advised")
    result = invoke(command, "mine.toml", *options)
    assert result.exit_code == 0, result.output
    tables = tomli.loads((home / "advised" / "recommended.toml").read_text())
    assert tables["model"]["path"] == "demo:smollm2-135m"
    assert tables["data"] == {
        "train": [
            {"path": str(home / "rows.jsonl"), "format": "messages", "weight": 2.0},
            {"path": "demo:docstrings"},
        ],
        "eval_fraction": 0.1,
        "sequence_length": 256,
    }
    assert tables["plugins"]["demo"] == {"max_train_rows": 100}
    assert tables["train"]["epochs"] == 2
    for path in (home / "advised").iterdir():
        assert [each.message for each in inspect_recipe(path)[1] if each.severity == "error"] == []


def test_a_wrong_recipe_is_an_error(invoke, home) -> None:
    (home / "mine.toml").write_text(RECIPE.replace("epochs", "epoch"))
    assert isinstance(invoke(command, "mine.toml", "--gpu", "t4-16gb").exception, RecipeError)
    (home / "mine.toml").write_text(RECIPE)
    (home / "rows.jsonl").write_text("{}\n")
    assert isinstance(invoke(command, "mine.toml", "--gpu", "t4-16gb").exception, RecipeError)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu": "a100"}, "a100-40gb or a100-80gb"),
        ({"gpu": "a100-88gb"}, "Did you mean"),
        ({"model": "lama-3-8b"}, "Did you mean 'llama-3-8b'"),
        ({"gpus": 0}, "--gpus cannot be 0"),
        ({"budget-usd": -1}, "--budget-usd cannot be -1"),
        ({"provider": "awz"}, "no prices of a provider 'awz'"),
        ({"sequence-length": 100_000}, "8192 positions"),
    ],
)
def test_what_cannot_be_is_named(ask, changes, said) -> None:
    result = ask(**changes)
    assert isinstance(result.exception, UsageError)
    assert said in str(result.exception)


def test_what_is_missing_is_named(invoke) -> None:
    result = invoke(command, "--model", "llama-3-8b")
    assert isinstance(result.exception, UsageError)
    assert "--examples, --gpu, --gpus" in str(result.exception)


def test_data_belong_to_recipes(ask) -> None:
    result = ask("--data", "rows.jsonl")
    assert result.exit_code == ClickUsageError.exit_code
    assert "add --write DIR" in result.output
