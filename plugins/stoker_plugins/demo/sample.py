"""One greedy answer, so that a person sees what training changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from stoker.train.modes import evaluation_mode

if TYPE_CHECKING:
    from stoker.train.state import State
    from stoker_plugins.demo import DemoConfig


def note_answer(config: DemoConfig, state: State, when: str) -> None:
    """Write the model's answer as a `note` event, from rank 0; nothing where weights are sharded."""
    run = state.run
    if not run.is_main or not _is_whole(state.model):
        return
    prompt = run.tokenizer.apply_chat_template(
        [{"role": "user", "content": config.sample_question}],
        chat_template=run.recipe.data.chat_template,
        add_generation_prompt=True,
        tokenize=False,
    )
    input_ids = run.tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    with evaluation_mode(state.model):
        tokens = greedy(state, input_ids.to(state.engine.device), config.sample_tokens)
    answer = " ".join(str(run.tokenizer.decode(tokens, skip_special_tokens=True)).split())
    cut = " ..." if len(tokens) == config.sample_tokens else ""
    run.events.write("note", message=f"{when}: {config.sample_question} -> {answer}{cut}")


@torch.no_grad()
def greedy(state: State, input_ids: torch.Tensor, max_tokens: int) -> list[int]:
    """The likeliest token again and again, until the end of the turn. `input_ids` is (1, length)."""
    regime, device = state.engine.regime, state.engine.device
    tokens: list[int] = []
    cache = None
    with torch.autocast(device.type, regime.compute, enabled=regime.autocasts):
        while len(tokens) < max_tokens:
            result = state.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
            cache = result.past_key_values
            input_ids = result.logits[:, -1:].argmax(-1)
            token = int(input_ids)
            if token == state.run.tokenizer.eos_token_id:
                break
            tokens.append(token)
    return tokens


def _is_whole(model: nn.Module) -> bool:
    """False where a forward on one rank would wait for the others: DTensors, ZeRO's partitions."""
    from torch.distributed.tensor import DTensor

    return not any(
        isinstance(parameter, DTensor) or hasattr(parameter, "ds_id") for parameter in model.parameters()
    )
