"""`demo:docstrings` and `demo:text`: limits, formats, determinism and the cache."""

from __future__ import annotations

import pytest

from stoker.errors import MissingRequirementError, StokerError
from stoker_plugins.demo import Demo, DemoConfig
from stoker_plugins.demo import data as demo_data


def sources(run, **options):
    return Demo(DemoConfig(**options)).collect_sources(run)


def questions(rows):
    return [row["messages"][0]["content"] for row in rows]


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


def test_rows_are_the_same_at_every_call(make_run):
    run = make_run()
    first = sources(run)["demo:docstrings"].load("train")
    assert first == sources(run)["demo:docstrings"].load("train")


def test_limits_keep_the_first_rows_of_each_split(make_run):
    run = make_run()
    limited = sources(run, max_train_rows=7, max_eval_rows=3, longest_answer=60)["demo:docstrings"]
    everything = sources(run, longest_answer=60)["demo:docstrings"]
    assert limited.load("train") == everything.load("train")[:7]
    assert limited.load("eval") == everything.load("eval")[:3]
    assert all(len(row["messages"][1]["content"]) <= 60 for row in limited.load("train"))


def test_the_splits_ask_different_questions(make_run):
    source = sources(make_run())["demo:docstrings"]
    assert not set(questions(source.load("train"))) & set(questions(source.load("eval")))


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
