"""The sources under `demo:`: rows, limits, splits, determinism and the cache."""

from __future__ import annotations

import pytest

from stoker.errors import MissingRequirementError, StokerError
from stoker_plugins.demo import SOURCES, Demo, DemoConfig
from stoker_plugins.demo import data as demo_data


def sources(run, **options):
    return Demo(DemoConfig(**options)).collect_sources(run)


def questions(rows):
    return [row["messages"][0]["content"] for row in rows]


def answers(rows):
    turns = [turn for row in rows for turn in row["messages"]]
    return {turn["content"] for turn in turns if turn["role"] == "assistant"}


def test_docstrings_are_conversations_of_a_question_and_an_answer(make_run):
    source = sources(make_run())["demo:docstrings"]
    assert source.format == "messages"
    for row in source.load("train")[:50]:
        question, answer = row["messages"]
        assert (question["role"], answer["role"]) == ("user", "assistant")
        assert question["content"].endswith("?")
        assert 20 <= len(answer["content"]) <= 240


def test_text_holds_whole_docstrings(make_run):
    source = sources(make_run())["demo:text"]
    assert source.format == "text"
    assert any(row["text"].count("\n\n") > 1 for row in source.load("train"))


def test_chats_are_two_or_three_questions_about_one_module_under_a_system_prompt(make_run):
    source = sources(make_run())["demo:chat"]
    assert source.format == "messages"
    lengths = set()
    for row in source.load("train"):
        system, *turns = row["messages"]
        assert system["role"] == "system"
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        lengths.add(len(turns) // 2)
        first, *others = [turn["content"] for turn in turns[::2]]
        assert "Python's `" in first
        assert all(question.startswith("And what") for question in others)
    assert lengths == {2, 3}


def test_alpaca_rows_have_an_instruction_an_input_and_an_output(make_run):
    source = sources(make_run())["demo:alpaca"]
    assert source.format == "alpaca"
    rows = source.load("train")
    assert all(set(row) == {"instruction", "input", "output"} and all(row.values()) for row in rows)
    assert {row["instruction"].split("Python's")[0] for row in rows} == {
        "Describe this module of ",
        "Describe this class of ",
        "Describe what this function of ",
    }


@pytest.mark.parametrize("name", SOURCES)
def test_rows_are_the_same_at_every_call(make_run, name):
    run = make_run()
    first = sources(run)[name].load("train")
    assert first == sources(run)[name].load("train")


@pytest.mark.parametrize("name", SOURCES)
def test_limits_keep_the_first_rows_of_each_split(make_run, name):
    run = make_run()
    limited = sources(run, max_train_rows=7, max_eval_rows=3)[name]
    everything = sources(run)[name]
    assert limited.load("train") == everything.load("train")[:7]
    assert limited.load("eval") == everything.load("eval")[:3]


def test_longer_answers_are_left_out(make_run):
    rows = sources(make_run(), longest_answer=60)["demo:docstrings"].load("train")
    assert rows
    assert all(len(row["messages"][1]["content"]) <= 60 for row in rows)


def test_the_splits_ask_different_questions(make_run):
    source = sources(make_run())["demo:docstrings"]
    assert not set(questions(source.load("train"))) & set(questions(source.load("eval")))


@pytest.mark.parametrize("name", ["demo:docstrings", "demo:chat"])
def test_nothing_that_is_graded_was_answered_in_training(make_run, name):
    source = sources(make_run(), max_eval_rows=10_000)[name]
    train, held_out = answers(source.load("train")), answers(source.load("eval"))
    assert len(held_out) > 100
    assert not train & held_out


def test_no_alpaca_output_that_is_graded_is_in_training(make_run):
    source = sources(make_run(), max_eval_rows=10_000)["demo:alpaca"]
    train, held_out = ({row["output"] for row in source.load(split)} for split in ("train", "eval"))
    assert not train & held_out


def test_the_sample_question_is_about_a_module_that_is_held_out(make_run):
    source = sources(make_run(), max_eval_rows=10_000)["demo:docstrings"]
    assert DemoConfig().sample_question in questions(source.load("eval"))


def test_an_unknown_split_is_refused_with_those_that_exist(make_run):
    with pytest.raises(StokerError, match=r"no split 'validation'.*'train' or 'eval'"):
        sources(make_run())["demo:docstrings"].load("validation")


def test_the_sources_are_parsed_once_and_with_progress(make_run, own_cache, monkeypatch):
    run = make_run()
    sources(run)["demo:docstrings"].load("train")
    last = run.written("progress")[-1]
    assert last["done"] == last["total"] > 100
    monkeypatch.setattr(demo_data, "extract_pairs", None)
    assert sources(run)["demo:docstrings"].load("eval")


def test_a_python_without_its_sources_is_named(make_run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_data, "standard_library", lambda: tmp_path)
    with pytest.raises(MissingRequirementError, match=str(tmp_path)):
        sources(make_run())["demo:docstrings"].load("train")
