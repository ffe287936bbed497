"""A recipe is resolved, or every mistake in it is told at once, at its place, with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stoker.errors import RecipeError
from stoker.recipe.loading import inspect_recipe, load_recipe
from stoker.recipe.problems import Problem

Write = Callable[..., Path]


def problems_of(path: Path, *overrides: str) -> dict[str, Problem]:
    recipe, problems = inspect_recipe(path, overrides)
    assert recipe is None or all(problem.severity == "warning" for problem in problems)
    return {problem.key: problem for problem in problems}


def test_a_good_recipe_is_resolved_with_defaults_and_origins(write_recipe: Write) -> None:
    path = write_recipe()
    recipe = load_recipe(path, ["train.batch_size=4"])
    assert recipe.train.batch_size == 4
    assert recipe.train.schedule == "cosine"
    assert recipe.plugins["demo"]["max_eval_rows"] == 64
    assert recipe.text == path.read_text()
    assert recipe.path == path
    assert recipe.origins["train.batch_size"] == "--set"
    assert recipe.origins["train.steps"] == "recipe.toml:13"
    assert recipe.origins["train.schedule"] == "default"
    assert recipe.origins["data.train.0.path"] == "recipe.toml:9"
    assert recipe.origins["plugins.demo.max_eval_rows"] == "plugin:demo"


def test_all_mistakes_are_told_at_once(write_recipe: Write) -> None:
    path = write_recipe(
        replace={
            'name = "good"': 'name = "Not Good"\nsteps = 3',
            "steps = 10\n": 'steps = "10"\nlearning_rat = 1\n',
            "learning_rate = 1e-3": "learning_rate = -1",
            '{ path = "demo:docstrings" }': '{ path = "./missing.jsonl", format = "alpacca" }',
            "[plugins.demo]": "[plugins.demo]\nmax_train_row = 3\n[plugins.lorra]",
        }
    )
    found = problems_of(path)
    assert set(found) == {
        "run.name",
        "run.steps",
        "train.steps",
        "train.learning_rat",
        "train.learning_rate",
        "data.train.0.path",
        "data.train.0.format",
        "plugins.demo.max_train_row",
        "plugins.lorra",
    }
    for key, problem in found.items():
        line = path.read_text().splitlines()[problem.line - 1]
        assert problem.file == str(path)
        assert problem.column > 0
        assert key.rpartition(".")[2] in line


def test_messages_use_the_words_of_toml_and_the_nearest_spelling(write_recipe: Write) -> None:
    path = write_recipe(
        replace={
            "steps = 10\n": 'steps = "10"\nlearning_rat = 1\nwarmup = true\nseed = 1\n',
            "sequence_length = 64": 'sequence_length = 64.5\nsupervise = "al"',
            'train = [{ path = "demo:docstrings" }]': 'train = "demo:docstrings"',
        }
    )
    found = problems_of(path)
    assert found["train.steps"].message == 'found the string "10", expected an integer.'
    assert found["train.learning_rat"].hint == "Did you mean 'learning_rate'?"
    assert found["train.warmup"].message == "found the boolean true, expected an integer or a float."
    assert found["train.seed"].hint == "It belongs into [run]."
    assert found["data.sequence_length"].message == "found the float 64.5, expected an integer."
    assert found["data.supervise"].hint == "Did you mean 'all'?"
    assert found["data.train"].message == 'found the string "demo:docstrings", expected an array.'


def test_a_missing_key_is_placed_at_its_table_and_a_missing_table_at_the_file(
    write_recipe: Write,
) -> None:
    path = write_recipe(replace={"learning_rate = 1e-3\n": "", '[run]\nname = "good"\n': ""})
    found = problems_of(path)
    lines = path.read_text().splitlines()
    assert lines[found["train.learning_rate"].line - 1] == "[train]"
    assert "expected a float" in found["train.learning_rate"].message
    assert found["run"].message == "the table [run] is missing."


@pytest.mark.parametrize("text", ["", "steps = 10\nepochs = 1\n"])
def test_steps_and_epochs_exclude_each_other(write_recipe: Write, text: str) -> None:
    path = write_recipe(replace={"steps = 10\n": text})
    problem = problems_of(path)["train"]
    assert "'epochs'" in problem.message
    assert "'steps'" in problem.message
    assert path.read_text().splitlines()[problem.line - 1] == "[train]"


def test_steps_and_epochs_are_told_together_with_another_mistake(write_recipe: Write) -> None:
    path = write_recipe(replace={"steps = 10\n": "", "batch_size = 8": 'batch_size = "8"'})
    assert {"train", "train.batch_size"} <= set(problems_of(path))


def test_an_integer_is_good_where_a_float_is_expected(write_recipe: Write) -> None:
    recipe = load_recipe(write_recipe(replace={"learning_rate = 1e-3": "learning_rate = 1"}))
    assert recipe.train.learning_rate == 1.0
    assert isinstance(recipe.train.learning_rate, float)


@pytest.mark.parametrize("value", ["inf", "nan", "-inf"])
def test_numbers_must_be_finite_and_that_is_told_once(write_recipe: Write, value: str) -> None:
    path = write_recipe(replace={"learning_rate = 1e-3": f"learning_rate = {value}"})
    _, problems = inspect_recipe(path)
    assert [problem.key for problem in problems] == ["train.learning_rate"]
    assert problems[0].message == f"found {value}, expected a finite number."


def test_load_recipe_raises_with_every_problem(write_recipe: Write) -> None:
    path = write_recipe(replace={"steps = 10": "stepps = 10", "batch_size = 8": "batch_size = 0"})
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert {problem.key for problem in raised.value.problems} >= {"train.stepps", "train.batch_size"}
    assert raised.value.exit_code == 2


def test_warnings_alone_do_not_refuse_a_recipe(write_recipe: Write) -> None:
    path = write_recipe(replace={"[plugins.demo]": "[launch]\ngpus_per_node = 8\n[plugins.demo]"})
    recipe, problems = inspect_recipe(path)
    assert recipe is not None
    assert [(problem.key, problem.severity) for problem in problems] == [("train.batch_size", "warning")]
    assert load_recipe(path).launch.gpus_per_node == 8


# -- files ----------------------------------------------------------------------------------------


def test_a_file_that_is_missing_is_told_with_the_nearest_name(
    write_recipe: Write, tmp_path: Path
) -> None:
    write_recipe()
    _, (problem,) = inspect_recipe(tmp_path / "recipes.toml")
    assert problem.message == "no such file."
    assert "recipe.toml" in problem.hint


def test_files_that_are_no_text_are_refused_in_words(tmp_path: Path) -> None:
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"[run]\nname = \xff\n")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * 1_000_001)
    nested = tmp_path / "nested.toml"
    nested.write_text("a = " + "[" * 100_000)
    dotted = tmp_path / "dotted.toml"
    dotted.write_text("a." * 100_000 + "a = 1")
    expected = {
        tmp_path: "directory",
        binary: "line 2",
        large: "1 MB",
        nested: "nested",
        dotted: "nested",
    }
    for path, word in expected.items():
        recipe, (problem,) = inspect_recipe(path)
        assert recipe is None
        assert word in problem.message
        assert problem.file == str(path)


def test_a_syntax_error_has_line_and_column(write_recipe: Write) -> None:
    path = write_recipe(replace={'name = "good"': "name = good"})
    _, (problem,) = inspect_recipe(path)
    assert (problem.line, problem.column) == (2, 8)
    assert "not valid TOML" in problem.message


def test_a_byte_order_mark_is_ignored(write_recipe: Write) -> None:
    path = write_recipe()
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_recipe(path).run.name == "good"


# -- extends --------------------------------------------------------------------------------------


def test_a_recipe_extends_another_one(write_recipe: Write) -> None:
    write_recipe(name="bases/base.toml")
    path = write_recipe(
        'extends = "bases/base.toml"\n'
        '[run]\nname = "child"\n'
        '[data]\ntrain = [{ path = "demo:text", weight = 2.0 }]\n'
    )
    recipe = load_recipe(path)
    assert recipe.run.name == "child"
    assert recipe.train.batch_size == 8
    assert [source.path for source in recipe.data.train] == ["demo:text"]
    assert recipe.data.sequence_length == 64
    assert recipe.origins["run.name"] == "recipe.toml:3"
    assert recipe.origins["train.batch_size"] == "bases/base.toml:14"


def test_what_an_upper_array_replaced_is_no_origin(write_recipe: Write) -> None:
    write_recipe(
        name="base.toml",
        replace={'"demo:docstrings" }': '"demo:docstrings", weight = 2.0 }, { path = "demo:text" }'},
    )
    path = write_recipe('extends = "base.toml"\n[data]\ntrain = [{ path = "demo:text" }]\n')
    recipe = load_recipe(path)
    assert recipe.data.train[0].weight == 1.0
    assert recipe.origins["data.train.0.weight"] == "default"
    assert recipe.origins["data.train.0.path"] == "recipe.toml:3"


def test_a_mistake_in_the_base_is_placed_in_the_base(write_recipe: Write) -> None:
    base = write_recipe(name="base.toml", replace={"batch_size = 8": "batch_sise = 8"})
    problem = problems_of(write_recipe('extends = "base.toml"\n'))["train.batch_sise"]
    assert problem.file == str(base)
    assert problem.line == 14


def test_epochs_in_the_upper_recipe_replace_steps_of_the_lower(write_recipe: Write) -> None:
    write_recipe(name="base.toml")
    recipe = load_recipe(write_recipe('extends = "base.toml"\n[train]\nepochs = 2.0\n'))
    assert (recipe.train.epochs, recipe.train.steps) == (2.0, None)


def test_circles_and_missing_bases_are_placed_at_extends(write_recipe: Write) -> None:
    write_recipe('extends = "b.toml"\n', name="a.toml")
    circle = write_recipe('# b\nextends = "a.toml"\n', name="b.toml")
    _, (problem,) = inspect_recipe(circle)
    assert "a.toml" in problem.message
    assert problem.key == "extends"
    missing = write_recipe('\nextends = "nowhere.toml"\n', name="c.toml")
    _, (problem,) = inspect_recipe(missing)
    assert (problem.file, problem.line) == (str(missing), 2)
    assert "nowhere.toml" in problem.message
    number = write_recipe("extends = 3\n", name="d.toml")
    _, (problem,) = inspect_recipe(number)
    assert "expected a string" in problem.message


def test_a_long_chain_is_refused(write_recipe: Write) -> None:
    write_recipe(name="0.toml")
    for number in range(1, 10):
        write_recipe(f'extends = "{number - 1}.toml"\n', name=f"{number}.toml")
    assert inspect_recipe(write_recipe('extends = "6.toml"\n'))[0] is not None
    recipe, (problem,) = inspect_recipe(write_recipe('extends = "7.toml"\n'))
    assert recipe is None
    assert "more than 8" in problem.message


# -- --set ----------------------------------------------------------------------------------------


def test_set_takes_toml_values_and_else_strings(write_recipe: Write) -> None:
    recipe = load_recipe(
        write_recipe(),
        [
            "train.learning_rate=2e-4",
            "run.name=plain-text",
            "train.precision='fp32'",
            'data.train=[{ path = "demo:text" }]',
            "data.train.0.weight=3.0",
            "checkpoint.every=5 steps",
        ],
    )
    assert recipe.train.learning_rate == 2e-4
    assert recipe.run.name == "plain-text"
    assert recipe.train.precision == "fp32"
    assert (recipe.data.train[0].path, recipe.data.train[0].weight) == ("demo:text", 3.0)
    assert recipe.checkpoint.every == "5 steps"
    assert recipe.origins["data.train.0.path"] == "--set"


def test_set_switches_a_plugin_on_and_off(write_recipe: Write) -> None:
    path = write_recipe()
    assert set(load_recipe(path, ["plugins.lora.rank=4"]).plugins) == {"demo", "lora"}
    off = load_recipe(path, ["plugins.lora.rank=4", "plugins.lora.enabled=false"])
    assert set(off.plugins) == {"demo"}


def test_what_set_leaves_out_of_a_table_is_a_default(write_recipe: Write) -> None:
    rows = 'data.train=[{ path = "demo:text" }]'
    recipe = load_recipe(write_recipe(), ["plugins.lora={ rank = 4 }", rows])
    assert recipe.origins["plugins.lora.rank"] == "--set"
    assert recipe.origins["plugins.lora.alpha"] == "plugin:lora"
    assert recipe.origins["data.train.0.weight"] == "default"


def test_set_steps_replaces_epochs(write_recipe: Write) -> None:
    path = write_recipe(replace={"steps = 10": "epochs = 1.0"})
    assert load_recipe(path, ["train.steps=3"]).train.steps == 3
    assert "train" in problems_of(path, "train.steps=3", "train.epochs=1.0")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train.stepps=3", "no key 'stepps'"),
        ("train.batch_size=many", 'found the string "many", expected an integer'),
        ("train.steps", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
        ("run.name.x=3", "not a table"),
        ("data.train.7.path=x", "no item '7'"),
        ("train=3", "expected a table"),
        ("a" + ".a" * 5000 + "=1", "expected KEY=VALUE"),
    ],
)
def test_a_wrong_set_is_reported_as_such(write_recipe: Write, override: str, words: str) -> None:
    _, problems = inspect_recipe(write_recipe(), [override])
    assert [problem.file for problem in problems] == ["--set"]
    assert words in problems[0].message


# -- paths ----------------------------------------------------------------------------------------


def test_relative_paths_belong_to_the_file_that_states_them(
    write_recipe: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("recipes", "here"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_text('{"text": "a"}\n')
    monkeypatch.chdir(tmp_path / "here")
    source = '{ path = "rows.jsonl", format = "text" }'
    path = write_recipe(name="recipes/recipe.toml", replace={'{ path = "demo:docstrings" }': source})
    assert load_recipe(path).data.train[0].path == str(tmp_path / "recipes" / "rows.jsonl")
    relative = Path("../recipes/recipe.toml")
    assert load_recipe(relative).data.train[0].path == str(tmp_path / "recipes" / "rows.jsonl")
    overridden = load_recipe(path, ["data.train.0.path=rows.jsonl"])
    assert overridden.data.train[0].path == str(tmp_path / "here" / "rows.jsonl")


def test_hub_ids_and_names_of_plugins_stay_as_they_are(write_recipe: Write) -> None:
    path = write_recipe(
        replace={
            'path = "demo:tiny-llama"': 'path = "org/model-1.5b"',
            '{ path = "demo:docstrings" }': '{ path = "org/data", format = "text" }',
        }
    )
    recipe = load_recipe(path)
    assert recipe.model.path == "org/model-1.5b"
    assert recipe.data.train[0].path == "org/data"
