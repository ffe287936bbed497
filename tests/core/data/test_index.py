from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stoker.data.index import PreparedData, prepare_index
from stoker.data.problems import DataError
from stoker.data.sources import PluginSource
from stoker.errors import StorageError
from stoker.recipe.model import Recipe

MakeRecipe = Callable[..., Recipe]
MakeTokenizer = Callable[..., PreTrainedTokenizerFast]


class Reports(list[tuple[str, int, int]]):
    """Remembers what was reported."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        self.append((phase, done, total))

    def of(self, phase: str) -> list[tuple[int, int]]:
        return [(done, total) for name, done, total in self if name == phase]


def _pairs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}+1=", "completion": f"{i + 1}"} for i in range(start, start + count)]


def _write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _train(*sources: dict[str, Any] | Path, **data: Any) -> dict[str, Any]:
    rows = [
        source if isinstance(source, dict) else {"path": str(source), "format": "completion"}
        for source in sources
    ]
    return {"train": rows} | data


def _texts(prepared: PreparedData, tokenizer: PreTrainedTokenizerFast, half: str = "train") -> list[str]:
    index = getattr(prepared, half)
    return [tokenizer.decode(index.row(number)[0]) for number in range(len(index))]


def test_rows_keep_the_order_of_the_recipe_and_of_their_files(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    first = _write(tmp_path / "z.jsonl", _pairs(2))
    second = _write(tmp_path / "more/b.jsonl", _pairs(1, 20)).parent
    _write(tmp_path / "more/a.jsonl", _pairs(1, 10))
    folder = {"path": str(second), "format": "completion"}
    prepared = prepare_index(make_recipe(_train(first, folder)), tokenizer, {}, Reports())
    assert _texts(prepared, tokenizer) == [
        "0+1=1<|eos|>",
        "1+1=2<|eos|>",
        "10+1=11<|eos|>",
        "20+1=21<|eos|>",
    ]
    assert prepared.train.source_sizes == [2, 2]
    assert prepared.train.supervised_counts.tolist() == [2, 2, 3, 3]
    assert prepared.evaluation is None
    assert prepared.notes[0].startswith("training data: 4 rows, 28 tokens")


def test_the_second_call_reads_the_cache(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(_train(_write(tmp_path / "a.jsonl", _pairs(9)), eval_fraction=0.4))
    first_reports, second_reports = Reports(), Reports()
    first = prepare_index(recipe, tokenizer, {}, first_reports)
    second = prepare_index(recipe, tokenizer, {}, second_reports)
    assert first_reports.of("tokenising")
    assert not second_reports.of("tokenising")
    for half in ("train", "evaluation"):
        assert _texts(first, tokenizer, half) == _texts(second, tokenizer, half)
    assert first.notes == second.notes


def test_using_the_tokenizer_elsewhere_does_not_spoil_the_cache(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(_train(_write(tmp_path / "a.jsonl", _pairs(3))))
    prepare_index(recipe, tokenizer, {}, Reports())
    tokenizer("abc", truncation=True, max_length=2)
    again = Reports()
    prepare_index(recipe, tokenizer, {}, again)
    assert not again.of("tokenising")


@pytest.mark.parametrize(
    "change",
    ["content", "template", "tokenizer", "sequence_length", "supervise", "eval_fraction", "format"],
)
def test_the_cache_is_not_used_when_anything_it_depends_on_changes(
    tmp_path: Path, make_tokenizer: MakeTokenizer, make_recipe: MakeRecipe, change: str
) -> None:
    rows = [{"instruction": f"{i}?", "output": "x", "text": "y"} for i in range(8)]
    file = _write(tmp_path / "a.jsonl", rows)
    data = _train({"path": str(file), "format": "alpaca"}, sequence_length=64)
    tokenizer = make_tokenizer()
    prepare_index(make_recipe(data), tokenizer, {}, Reports())
    if change == "content":
        _write(file, [*rows, rows[0]])
    elif change == "template":
        data["chat_template"] = tokenizer.chat_template.replace("<|im_end|>", "<|eos|>")
    elif change == "tokenizer":
        tokenizer = make_tokenizer(merges=(("s", "e"),))
    elif change == "format":
        data["train"][0]["format"] = "text"
    else:
        data[change] = {"sequence_length": 32, "supervise": "all", "eval_fraction": 0.5}[change]
    reports = Reports()
    prepare_index(make_recipe(data), tokenizer, {}, reports)
    assert reports.of("tokenising")


def test_a_changed_weight_uses_the_same_cache(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    source = {"path": str(_write(tmp_path / "a.jsonl", _pairs(3))), "format": "completion"}
    prepare_index(make_recipe(_train(source)), tokenizer, {}, Reports())
    reports = Reports()
    prepare_index(make_recipe(_train(source | {"weight": 2.0})), tokenizer, {}, reports)
    assert not reports.of("tokenising")


def test_progress_goes_from_nothing_to_all_rows(
    tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    rows = _pairs(700)
    reports = Reports()
    source = PluginSource("completion", lambda split: rows)
    prepare_index(make_recipe(_train({"path": "a:b"})), tokenizer, {"a:b": source}, reports)
    tokenising = reports.of("tokenising")
    assert [total for _, total in tokenising] == [700] * len(tokenising)
    done = [count for count, _ in tokenising]
    assert done == sorted(done)
    assert done[-1] == 700
    assert len(done) >= 3


def test_held_out_rows_are_chosen_by_what_they_say(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    rows = _pairs(200)
    forward = _write(tmp_path / "a.jsonl", rows)
    twice_backward = _write(tmp_path / "b.jsonl", [*rows, *rows][::-1])
    held = []
    for file in (forward, twice_backward):
        prepared = prepare_index(make_recipe(_train(file, eval_fraction=0.2)), tokenizer, {}, Reports())
        train, evaluation = _texts(prepared, tokenizer), _texts(prepared, tokenizer, "evaluation")
        assert not set(train) & set(evaluation)
        assert set(train) | set(evaluation) == {f"{i}+1={i + 1}<|eos|>" for i in range(200)}
        held.append(set(evaluation))
    assert held[0] == held[1]
    assert 20 <= len(held[0]) <= 60


def test_added_rows_move_no_other_row_between_training_and_evaluation(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    held = []
    for count in (200, 300):
        file = _write(tmp_path / f"{count}.jsonl", _pairs(count)[::-1])
        prepared = prepare_index(make_recipe(_train(file, eval_fraction=0.2)), tokenizer, {}, Reports())
        held.append(set(_texts(prepared, tokenizer, "evaluation")))
    before = {f"{i}+1={i + 1}<|eos|>" for i in range(200)}
    assert held[1] & before == held[0]
    assert held[1] > held[0]


def test_evaluation_sources_and_held_out_rows_come_together(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    train = _write(tmp_path / "a.jsonl", _pairs(50))
    extra = _write(tmp_path / "b.jsonl", _pairs(2, 900))
    evaluation = [{"path": str(extra), "format": "completion"}]
    recipe = make_recipe(_train(train, eval=evaluation, eval_fraction=0.3))
    prepared = prepare_index(recipe, tokenizer, {}, Reports())
    assert prepared.evaluation is not None
    assert len(prepared.train) + len(prepared.evaluation) == 52
    assert _texts(prepared, tokenizer, "evaluation")[-2:] == ["900+1=901<|eos|>", "901+1=902<|eos|>"]


def test_evaluation_rows_that_are_trained_on_are_counted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    train = _write(tmp_path / "a.jsonl", _pairs(10))
    leaky = _write(tmp_path / "b.jsonl", _pairs(5, 8))
    recipe = make_recipe(_train(train, eval=[{"path": str(leaky), "format": "completion"}]))
    notes = prepare_index(recipe, tokenizer, {}, Reports()).notes
    assert "2 rows of the evaluation data are in the training data too" in notes


def test_long_rows_are_cut_and_rows_left_without_a_target_dropped_both_counted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    rows = [
        {"prompt": "abc", "completion": "d" * 20},
        {"prompt": "a" * 20, "completion": "d"},
        {"prompt": "a", "completion": "b"},
    ]
    file = _write(tmp_path / "a.jsonl", rows)
    prepared = prepare_index(make_recipe(_train(file, sequence_length=8)), tokenizer, {}, Reports())
    assert _texts(prepared, tokenizer) == ["abcddddd", "ab<|eos|>"]
    assert prepared.train.supervised_counts.tolist() == [5, 2]
    notes = "\n".join(prepared.notes)
    assert "2 of 3 rows were longer than 8 tokens" in notes
    assert "1 of 3 rows were left out" in notes


def test_nothing_to_learn_at_all_is_an_error_that_says_why(
    tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"prompt": "a" * 20, "completion": "d"}])
    with pytest.raises(DataError, match=r"a\.jsonl: none of 1 row has .* in its first 8"):
        prepare_index(make_recipe(_train(file, sequence_length=8)), tokenizer, {}, Reports())
    assert not [path for path in (cache / "tokens").iterdir() if path.suffix != ".lock"]


def test_an_evaluation_source_with_nothing_to_learn_is_an_error(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    train = _write(tmp_path / "a.jsonl", _pairs(3))
    empty = _write(tmp_path / "b.jsonl", [{"prompt": "a" * 2000, "completion": "d"}])
    recipe = make_recipe(_train(train, eval=[{"path": str(empty), "format": "completion"}]))
    with pytest.raises(DataError, match=r"b\.jsonl: none of 1 row has a supervised"):
        prepare_index(recipe, tokenizer, {}, Reports())


def test_documents_are_joined_and_cut_into_blocks(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    for name, text in {"a": "abcdefghij", "b": "klm", "c": "nopq"}.items():
        (tmp_path / "docs").mkdir(exist_ok=True)
        (tmp_path / f"docs/{name}.txt").write_text(text)
    source = {"path": str(tmp_path / "docs"), "format": "text"}
    recipe = make_recipe(_train(source, sequence_length=8))
    prepared = prepare_index(recipe, tokenizer, {}, Reports())
    assert _texts(prepared, tokenizer) == ["abcdefgh", "ij<|eos|>klm<|eos|>n", "opq<|eos|>"]
    assert prepared.train.supervised_counts.tolist() == [7, 7, 3]
    assert any("3 blocks of 8 tokens" in note for note in prepared.notes)


def test_a_few_rows_of_which_none_is_held_out_are_mentioned(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", _pairs(1))
    prepared = prepare_index(make_recipe(_train(file, eval_fraction=0.001)), tokenizer, {}, Reports())
    assert prepared.evaluation is None
    assert any("held out nothing" in note for note in prepared.notes)


NO_END = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def test_a_template_that_teaches_no_stop_is_refused(
    tmp_path: Path, make_tokenizer: MakeTokenizer, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"instruction": f"{i}?", "output": "b"} for i in range(5)])
    recipe = make_recipe(_train({"path": str(file), "format": "alpaca"}, chat_template=NO_END))
    with pytest.raises(DataError, match=r"never supervised.*in 5 rows, for example line 1") as caught:
        prepare_index(recipe, make_tokenizer(), {}, Reports())
    assert "data.chat_template" in caught.value.hint


def test_some_answers_that_teach_no_stop_are_mentioned(
    tmp_path: Path, make_tokenizer: MakeTokenizer, make_recipe: MakeRecipe
) -> None:
    rows = [{"instruction": f"{i}?", "output": "b<|im_end|>" if i else "b"} for i in range(3)]
    source = {"path": str(_write(tmp_path / "a.jsonl", rows)), "format": "alpaca"}
    template = NO_END.replace("\n", "")
    notes = prepare_index(
        make_recipe(_train(source, chat_template=template)), make_tokenizer(), {}, Reports()
    ).notes
    assert any("1 answers end in no special token" in note for note in notes)


def test_rows_that_are_all_cut_before_the_end_of_an_answer_are_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"prompt": "a", "completion": "b" * 50}] * 4)
    with pytest.raises(DataError, match="every row is cut at 16 tokens") as caught:
        prepare_index(make_recipe(_train(file, sequence_length=16)), tokenizer, {}, Reports())
    assert caught.value.hint == "Raise data.sequence_length."


def test_bos_twice_is_refused_with_the_count(
    tmp_path: Path, make_tokenizer: MakeTokenizer, make_recipe: MakeRecipe
) -> None:
    tokenizer = make_tokenizer(adds_bos=True)
    tokenizer.chat_template = "<|bos|><|bos|>" + tokenizer.chat_template
    file = _write(tmp_path / "a.jsonl", [{"instruction": f"{i}?", "output": "b"} for i in range(7)])
    recipe = make_recipe(_train({"path": str(file), "format": "alpaca"}))
    with pytest.raises(DataError, match="7 of 7 rows cannot be used: lines 1, 2, 3: begins with"):
        prepare_index(recipe, tokenizer, {}, Reports())


def test_conversations_without_bos_are_mentioned(
    tmp_path: Path, make_tokenizer: MakeTokenizer, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"instruction": f"{i}?", "output": "b"} for i in range(7)])
    recipe = make_recipe(_train({"path": str(file), "format": "alpaca"}))
    for adds_bos in (True, False):
        notes = prepare_index(recipe, make_tokenizer(adds_bos=adds_bos), {}, Reports()).notes
        assert any("7 conversations do not begin with BOS" in note for note in notes) == adds_bos


def test_bad_rows_are_refused_with_the_count_and_examples(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    bad = [{"prompt": "a", "completion": 4}, {"prompt": "a"}]
    file = _write(tmp_path / "a.jsonl", [*_pairs(300), *bad])
    with file.open("a") as lines:
        lines.write('{"prompt": \n')
    with pytest.raises(DataError) as caught:
        prepare_index(make_recipe(_train(file)), tokenizer, {}, Reports())
    assert caught.value.message == (
        f"{file}: 3 of 303 rows cannot be used: "
        "line 301: column 'completion': expected a string, found a number; "
        "line 302: column 'completion' is missing; columns found: prompt; "
        "line 303: no JSON: Expecting value (column 11)."
    )
    assert 'data.on_bad_row = "skip"' in caught.value.hint


def test_a_source_that_is_all_wrong_is_refused_before_all_of_it_is_read(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"question": "a"}] * 1000)
    reports = Reports()
    with pytest.raises(DataError, match=r"at least 100 of 1,000 rows .* columns found: question"):
        prepare_index(make_recipe(_train(file)), tokenizer, {}, reports)
    assert not reports.of("tokenising")


def test_the_search_for_more_bad_rows_can_be_interrupted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"prompt": "a"}, *_pairs(2000)])

    def stop(phase: str, done: int, total: int) -> None:
        assert phase != "tokenising"
        if phase == "looking for more bad rows":
            raise _Stop

    with pytest.raises(_Stop):
        prepare_index(make_recipe(_train(file)), tokenizer, {}, stop)


def test_bad_rows_can_be_skipped_and_are_counted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [*_pairs(98), {"prompt": "a"}, *_pairs(1, 500)])
    recipe = make_recipe(_train(file, on_bad_row="skip"))
    prepared = prepare_index(recipe, tokenizer, {}, Reports())
    assert len(prepared.train) == 99
    assert any("1 of 100 rows cannot be used and are skipped: line 99: " in n for n in prepared.notes)
    with pytest.raises(DataError, match="1 of 100 rows cannot be used"):
        prepare_index(make_recipe(_train(file)), tokenizer, {}, Reports())


def test_more_bad_rows_than_allowed_are_refused_though_they_may_be_skipped(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", [*_pairs(98), {"prompt": "a"}, {"prompt": "b"}])
    data = _train(file, on_bad_row="skip")
    with pytest.raises(DataError, match=r"2 of 100 rows .* \(at most 1.0% may be: data.max_bad_share\)"):
        prepare_index(make_recipe(data), tokenizer, {}, Reports())
    prepared = prepare_index(make_recipe(data | {"max_bad_share": 0.02}), tokenizer, {}, Reports())
    assert len(prepared.train) == 98


def test_a_file_that_changes_while_it_is_tokenised_is_kept_under_no_digest(
    tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    first = _write(tmp_path / "a.jsonl", _pairs(300))
    second = _write(tmp_path / "b.jsonl", _pairs(5))
    recipe = make_recipe(_train(first, second))

    def swap(phase: str, done: int, total: int) -> None:
        if phase == "tokenising":
            _write(second, _pairs(5, 900))

    with pytest.raises(DataError, match=r"b\.jsonl was changed while it was read") as caught:
        prepare_index(recipe, tokenizer, {}, swap)
    assert caught.value.hint == "Run again."
    assert not [path for path in (cache / "tokens").iterdir() if path.suffix != ".lock"]
    _write(second, _pairs(5))
    prepared = prepare_index(recipe, tokenizer, {}, Reports())
    assert _texts(prepared, tokenizer)[-1] == "4+1=5<|eos|>"


def test_notes_from_the_cache_name_the_file_as_it_is_called_now(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    rows = [*_pairs(5), {"prompt": "a", "completion": "b" * 50}]
    for name in ("before", "after"):
        file = _write(tmp_path / f"{name}.jsonl", rows)
        reports = Reports()
        recipe = make_recipe(_train(file, sequence_length=16))
        notes = prepare_index(recipe, tokenizer, {}, reports).notes
        assert any(note.startswith(f"{file}: 1 of 6 rows were longer") for note in notes)
    assert not reports.of("tokenising")
    other = tmp_path.parent.name
    for about in (Path(os.environ["STOKER_CACHE"]) / "tokens").glob("*/about.json"):
        assert other not in about.read_text()


def test_half_a_cached_index_is_made_again(
    tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(_train(_write(tmp_path / "a.jsonl", _pairs(60)), eval_fraction=0.4))
    first = prepare_index(recipe, tokenizer, {}, Reports())
    (held_out,) = (cache / "tokens").glob("*/eval.arrow")
    held_out.unlink()
    again = prepare_index(recipe, tokenizer, {}, Reports())
    assert again.evaluation is not None
    assert first.evaluation is not None
    assert len(again.evaluation) == len(first.evaluation)


@pytest.mark.parametrize(
    ("row", "note"),
    [
        ({"instruction": "a?", "output": " "}, "1 answers are empty"),
        ({"instruction": "say <|im_end|>", "output": "b"}, "1 rows have special tokens in their words"),
    ],
)
def test_what_is_odd_about_conversations_is_mentioned(
    tmp_path: Path,
    tokenizer: PreTrainedTokenizerFast,
    make_recipe: MakeRecipe,
    row: dict[str, str],
    note: str,
) -> None:
    file = _write(tmp_path / "a.jsonl", [{"instruction": "c?", "output": "d"}, row])
    recipe = make_recipe(_train({"path": str(file), "format": "alpaca"}))
    notes = prepare_index(recipe, tokenizer, {}, Reports()).notes
    assert [text for text in notes if text.startswith(note)]


class _Stop(Exception):
    pass


@pytest.mark.parametrize("when", range(6))
def test_an_interruption_at_any_point_leaves_nothing_half_written(
    tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe, cache: Path, when: int
) -> None:
    rows = _pairs(700)
    sources = {"a:b": PluginSource("completion", lambda split: rows)}
    recipe = make_recipe(_train({"path": "a:b"}))
    reports = Reports()

    def stop(phase: str, done: int, total: int) -> None:
        reports(phase, done, total)
        if len(reports) > when:
            raise _Stop

    with pytest.raises(_Stop):
        prepare_index(recipe, tokenizer, sources, stop)
    kept = cache / "tokens"
    assert not kept.exists() or all(path.suffix == ".lock" for path in kept.iterdir())
    assert len(prepare_index(recipe, tokenizer, sources, Reports()).train) == 700


def test_a_damaged_index_is_made_again(
    tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(_train(_write(tmp_path / "a.jsonl", _pairs(30))))
    prepare_index(recipe, tokenizer, {}, Reports())
    (file,) = cache.glob("tokens/*/train.arrow")
    file.write_bytes(file.read_bytes()[:-100])
    assert len(prepare_index(recipe, tokenizer, {}, Reports()).train) == 30


def test_a_cache_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, cache: Path, tokenizer: PreTrainedTokenizerFast, make_recipe: MakeRecipe
) -> None:
    recipe = make_recipe(_train(_write(tmp_path / "a.jsonl", _pairs(3))))
    cache.mkdir()
    (cache / "tokens").write_text("in the way")
    with pytest.raises(StorageError, match="STOKER_CACHE"):
        prepare_index(recipe, tokenizer, {}, Reports())


PROCESS = textwrap.dedent(
    """
    import os, signal, sys, importlib.util
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("helpers", sys.argv[1])
    helpers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helpers)
    from stoker.data.index import prepare_index
    from stoker.recipe.model import Recipe
    from stoker.recipe.schema import RecipeTables

    phases = []
    def report(phase, done, total):
        phases.append(phase)
        if sys.argv[3] == "die" and phase == "tokenising":
            os.kill(os.getpid(), signal.SIGKILL)

    tables = RecipeTables.model_validate({
        "run": {"name": "test"}, "model": {"path": "x"},
        "data": {"train": [{"path": sys.argv[2], "format": "completion"}]},
        "train": {"learning_rate": 0.1, "steps": 1},
    })
    recipe = Recipe(tables=tables, path=Path("recipe.toml"))
    print("ready", flush=True)
    sys.stdin.readline()
    data = prepare_index(recipe, helpers._tokenizer(), {}, report)
    print(len(data.train), "tokenising" in phases, flush=True)
    """
)


def _start(file: Path, how: str) -> subprocess.Popen[str]:
    helpers = Path(__file__).with_name("conftest.py")
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(helpers), str(file), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_ranks_that_start_together_tokenise_once(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", _pairs(3000))
    processes = [_start(file, "live") for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    answers = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(answers) == [["3000", "False"], ["3000", "True"]]


def test_a_process_killed_while_tokenising_leaves_nothing_torn(
    tmp_path: Path, cache: Path, make_tokenizer: MakeTokenizer, make_recipe: MakeRecipe
) -> None:
    file = _write(tmp_path / "a.jsonl", _pairs(3000))
    killed = _start(file, "die")
    killed.communicate("go\n", timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert list(cache.glob("tokens/*.unfinished")), "it was killed in the middle"
    prepared = prepare_index(make_recipe(_train(file)), make_tokenizer(), {}, Reports())
    assert len(prepared.train) == 3000
    assert not list(cache.glob("tokens/*.unfinished"))
