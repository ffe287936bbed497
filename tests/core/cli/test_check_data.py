"""`stoker check --data` and `--show-data`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
RECIPE = """\
[run]
name = "chat"
[model]
path = "demo:tiny-llama"
initial_weights = "random"
[data]
train = [{ path = "chats.jsonl", format = "messages" }]
eval = [{ path = "demo:text", split = "eval" }]
sequence_length = 128
chat_template = "chatml.jinja"
[train]
steps = 10
learning_rate = 1e-3
[plugins.demo]
"""


def chat(*turns: tuple[str, str]) -> str:
    return json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}) + "\n"


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stoker", "check", *arguments, "chat.toml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "chat.toml").write_text(RECIPE)
    (tmp_path / "chatml.jinja").write_text(CHATML)
    (tmp_path / "chats.jsonl").write_text(chat(("user", "hi\x1b[2J"), ("assistant", "h\u00e9llo")) * 3)
    return tmp_path


def append(folder: Path, text: str) -> None:
    with (folder / "chats.jsonl").open("a") as lines:
        lines.write(text)


def test_data_says_how_much_was_read(folder: Path) -> None:
    result = check(folder, "--data")
    assert (result.returncode, result.stdout) == (0, "chat.toml: ok (3 rows in one local file)\n")


def test_a_mistake_beyond_the_beginning_is_found_with_data_only(folder: Path) -> None:
    append(folder, chat(("user", "x" * 1000), ("assistant", "y")) * 4200 + "{\n")
    assert check(folder).returncode == 0
    result = check(folder, "--data")
    assert result.returncode == 2
    assert "chat.toml:7:19: data.train.0.path:" in result.stderr
    assert "1 of 4,204 rows cannot be used: line 4204: no JSON" in " ".join(result.stderr.split())


def test_rows_that_will_be_skipped_are_a_warning(folder: Path) -> None:
    recipe = RECIPE.replace(
        "sequence_length", 'on_bad_row = "skip"\nmax_bad_share = 0.5\nsequence_length'
    )
    (folder / "chat.toml").write_text(recipe)
    append(folder, "{}\n")
    result = check(folder, "--json")
    assert result.returncode == 0
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["severity"] == "warning"
    assert "1 of the first 4 rows cannot be used and are skipped" in problem["message"]


def test_examples_are_shown_as_the_model_sees_them(folder: Path) -> None:
    append(folder, "{}\n")
    (folder / "chat.toml").write_text(RECIPE.replace("[train]", 'on_bad_row = "skip"\n[train]'))
    result = check(folder, "--set", "data.max_bad_share=0.5", "--show-data", "4")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[-1] == "chat.toml: ok"
    place = f"data.train.0: {folder / 'chats.jsonl'}, line"
    start = lines.index(f"{place} 1: 33 tokens, 7 supervised")
    assert lines[start + 1 : start + 7] == [
        "  | <|im_start|>user\\n",
        # What steers a terminal is not sent to it.
        "  | hi\\x1b[2J<|im_end|>\\n",
        "  | <|im_start|>assistant\\n",
        "  + h\u00e9llo<|im_end|>",
        "  | \\n",
        "",
    ]
    assert f"{place} 4: column 'messages' is missing; columns found: none." in result.stdout
    assert sum(line.startswith("data.eval.0: demo:text, ends in row ") for line in lines) == 4


def test_examples_as_json_keep_to_the_schema(folder: Path) -> None:
    from jsonschema import Draft202012Validator

    result = check(folder, "--json", "--show-data", "1")
    answer: dict[str, Any] = json.loads(result.stdout)
    schema = Path(__file__).parents[3] / "docs/schemas/stoker-check.json"
    Draft202012Validator(json.loads(schema.read_text())).validate(answer)
    assert [example["key"] for example in answer["examples"]] == ["data.train.0", "data.eval.0"]
    learnt = [part["text"] for part in answer["examples"][0]["segments"] if part["supervised"]]
    assert learnt == ["h\u00e9llo<|im_end|>"]


def test_examples_of_a_bad_recipe_are_not_shown(folder: Path) -> None:
    result = check(folder, "--show-data", "1", "--set", "train.stepz=3")
    assert (result.returncode, result.stdout) == (2, "")


def test_what_examples_show_to_be_wrong_is_told_with_those_of_the_others(folder: Path) -> None:
    append(folder, "{}\n")
    (folder / "gone.toml").write_text(RECIPE.replace('"chats.jsonl"', '"gone.jsonl"'))
    other = RECIPE.replace('path = "demo:text", split = "eval"', 'path = "org/rows", format = "text"')
    (folder / "hub.toml").write_text(other.replace('"chats.jsonl"', '"two.jsonl"'))
    (folder / "two.jsonl").write_text(chat(("user", "a"), ("assistant", "b")))
    drops = CHATML.replace("messages %}", "messages[-1:] %}", 1)
    twice = RECIPE.replace('"chatml.jinja"', json.dumps(drops)).replace('"chats.jsonl"', '"two.jsonl"')
    (folder / "drops.toml").write_text(twice)
    command = [sys.executable, "-m", "stoker", "check", "--show-data", "2", "--json"]
    result = subprocess.run(
        [*command, "gone.toml", "hub.toml", "drops.toml"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    answer = json.loads(result.stdout)
    assert not answer["ok"]
    found = {(p["file"], p["key"]): p["message"] for p in answer["problems"]}
    assert "does not exist" in found["gone.toml", "data.train.0.path"]
    assert "org/rows (split 'train'): not a local path" in found["hub.toml", "data.eval.0.path"]
    assert "drops" in found["drops.toml", "data.train.0.path"]
    assert {each["file"] for each in answer["examples"]} == {"hub.toml", "drops.toml"}


def test_a_template_that_ends_no_turn_is_a_warning_of_the_examples(folder: Path) -> None:
    open_ended = CHATML.replace("<|im_end|>", "")
    result = check(folder, "--show-data", "2", "--json", "--set", f"data.chat_template={open_ended}")
    (problem,) = json.loads(result.stdout)["problems"]
    assert (result.returncode, problem["severity"]) == (0, "warning")
    assert "the token that ends a turn is never supervised" in problem["message"]


def test_neither_names_from_the_environment_nor_control_characters_of_rows_are_shown(
    folder: Path,
) -> None:
    secret = folder / "tok-998877.jsonl"
    secret.write_text(chat(("user", "::stop::a\r\nb\rc\x0bd"), ("assistant", "e")))
    (folder / "chat.toml").write_text(RECIPE.replace('"chats.jsonl"', '"env:CHATS"'))
    result = subprocess.run(
        [sys.executable, "-m", "stoker", "check", "--show-data", "1", "chat.toml"],
        cwd=folder,
        env={**os.environ, "CHATS": str(secret)},
        capture_output=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert b"data.train.0: env:CHATS, line 1:" in result.stdout
    assert b"998877" not in result.stdout + result.stderr
    assert b"\r" not in result.stdout
    assert b"  | ::stop::a\\r\\n\n  | b\\rc\\x0bd" in result.stdout


def test_run_refuses_bad_data_before_anything_is_started(folder: Path) -> None:
    append(folder, chat(("asistant", "hi")))
    command = [sys.executable, "-m", "stoker", "run", "chat.toml"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "Did you mean 'assistant'?" in " ".join(result.stderr.split())
    assert not (folder / "runs").exists()
