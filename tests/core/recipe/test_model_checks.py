"""A sequence length that a model was not made for is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stoker.recipe.model_checks import longest_sequence, model_problems

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}


@pytest.mark.parametrize(
    ("config", "limit"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"n_positions": 1024, "n_ctx": 1024}, 1024),
        ({"max_position_embeddings": 4096, "rope_scaling": None}, 4096),
        # Llama 3.1 states the positions it ends up with, Qwen 2.5 those before it is stretched.
        ({"max_position_embeddings": 131072, "rope_scaling": LLAMA3}, 131072),
        ({"max_position_embeddings": 32768, "rope_scaling": YARN}, 131072),
        ({"max_position_embeddings": 131072, "rope_parameters": YARN}, 131072),
        ({"max_position_embeddings": 2048, "rope_scaling": {"type": "linear", "factor": 2}}, 4096),
        ({"max_position_embeddings": 2048, "rope_scaling": {"type": "yarn", "factor": 1e400}}, 2048),
        ({"max_position_embeddings": 2048, "rope_scaling": {"rope_type": ["yarn"], "factor": 2}}, 2048),
        ({"text_config": {"max_position_embeddings": 8192}}, 8192),
        ({"max_position_embeddings": -1}, None),
        ({"model_type": "mamba"}, None),
    ],
)
def test_the_positions_a_model_knows(config: dict[str, Any], limit: int | None) -> None:
    assert longest_sequence(config) == limit


def problems(folder: Path, config: str | None, sequence_length: Any) -> list[tuple[str, str]]:
    if config is not None:
        (folder / "config.json").write_text(config)
    tables = {"model": {"path": str(folder)}, "data": {"sequence_length": sequence_length}}
    return [(problem.key, problem.message) for problem in model_problems(tables)]


def test_rows_longer_than_the_model_s_positions_are_refused(tmp_path: Path) -> None:
    config = json.dumps({"max_position_embeddings": 2048})
    assert problems(tmp_path, config, 2048) == []
    assert problems(tmp_path, config, 4096) == [
        (
            "data.sequence_length",
            "found 4,096 tokens, more than the 2,048 positions that the model knows.",
        )
    ]
    assert problems(tmp_path, config, "4096") == []


def test_a_config_that_is_no_json_object_is_named_with_its_line(tmp_path: Path) -> None:
    ((key, message),) = problems(tmp_path, '{\n"a": }', 10)
    assert (key, message.endswith("config.json: line 2, column 6: no JSON: Expecting value.")) == (
        "model.path",
        True,
    )
    assert "nested too deeply" in problems(tmp_path, "[" * 100_000, 10)[0][1]
    assert "no JSON object" in problems(tmp_path, "[]", 10)[0][1]
    (tmp_path / "config.json").write_bytes(b"\xff")
    assert "not UTF-8" in problems(tmp_path, None, 10)[0][1]


def test_models_that_are_not_here_are_not_looked_at(tmp_path: Path) -> None:
    assert problems(tmp_path, None, 10) == []
    for path in ("demo:tiny-llama", "org/model", 3, None):
        tables = {"model": {"path": path}, "data": {"sequence_length": 10**9}}
        assert list(model_problems(tables)) == []
    assert list(model_problems({})) == []
