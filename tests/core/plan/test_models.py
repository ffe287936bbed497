"""Models by name."""

from __future__ import annotations

import pytest

from stoker.errors import UsageError
from stoker.plan.architecture import read_architecture
from stoker.plan.models import find_model, find_model_config, known_models

PROMISED = (
    "llama-2-7b llama-2-13b llama-2-70b llama-3-8b llama-3-70b llama-3.1-405b llama-3.2-1b llama-3.2-3b "
    "mistral-7b mixtral-8x7b qwen2.5-0.5b qwen2.5-7b qwen2.5-14b qwen2.5-32b qwen2.5-72b qwen3-0.6b "
    "qwen3-8b qwen3-32b gemma-2-2b gemma-2-9b gemma-2-27b phi-3-mini smollm2-135m"
)


@pytest.mark.parametrize("name", PROMISED.split())
def test_every_promised_name_is_known(name: str) -> None:
    assert find_model_config(name)["model_type"]


@pytest.mark.parametrize(
    ("hub_id", "name"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "llama-3.1-8b"),
        ("meta-llama/Meta-Llama-3-8B", "llama-3-8b"),
        ("meta-llama/Llama-2-7b-chat-hf", "llama-2-7b"),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral-7b-v0.3"),
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", "mixtral-8x7b"),
        ("google/gemma-2-9b-it", "gemma-2-9b"),
        ("microsoft/Phi-3-mini-4k-instruct", "phi-3-mini"),
        ("Qwen/Qwen3-8B-Base", "qwen3-8b"),
        ("LLAMA-3-8B", "llama-3-8b"),
    ],
)
def test_a_hub_id_and_its_instruct_variant_have_the_sizes_of_the_base(hub_id: str, name: str) -> None:
    assert find_model(hub_id).name == name


def test_every_hub_id_of_the_table_finds_its_own_row() -> None:
    for model in known_models().values():
        assert find_model(model.hub_id).config == model.config


def test_an_unknown_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(UsageError, match="Did you mean 'llama-3-8b'") as caught:
        find_model("llama-3-9b")
    assert "gpt2-xl" in caught.value.hint


@pytest.mark.parametrize("name", known_models())
def test_the_tensors_that_follow_from_the_config_sum_up_to_the_published_count(name: str) -> None:
    architecture = read_architecture(find_model_config(name))
    assert architecture.num_parameters == known_models()[name].parameters
    assert not architecture.is_guess


def test_a_config_may_be_changed_without_changing_the_table() -> None:
    find_model_config("gpt2")["n_layer"] = 1
    assert find_model_config("gpt2")["n_layer"] == 12
