"""Model files and data that are real in kind and tiny in size. Needs tokenizers, not torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def write_tiny_model(directory: Path, **config: Any) -> Path:
    """Write a Llama's config and a byte tokenizer with a chat template, and no weights.

    `config` overrides entries of `config.json`: the default has two layers of width 32.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(tiny_config() | config, indent=1))
    write_byte_tokenizer(directory)
    return directory


def tiny_config() -> dict[str, Any]:
    """`config.json` of the tiny Llama."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": 256 + len(SPECIAL_TOKENS),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": 256,
        "eos_token_id": 258,
        "pad_token_id": 256,
    }


def write_byte_tokenizer(directory: Path) -> None:
    """One token for each byte, three special ones, and a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # In this order, so that ids are 256, 257, 258 whatever the wrapper does.
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS))
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=SPECIAL_TOKENS[0],
        pad_token=SPECIAL_TOKENS[0],
        eos_token=SPECIAL_TOKENS[2],
        additional_special_tokens=[SPECIAL_TOKENS[1]],
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(directory)


def write_tiny_data(path: Path, num_rows: int = 20) -> Path:
    """Write questions and answers of different lengths as `messages` rows, one JSON a line."""
    rows = []
    for number in range(num_rows):
        answer = " ".join(str(number * factor) for factor in range(1, 2 + number % 5))
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"Count in steps of {number}."},
                    {"role": "assistant", "content": answer},
                ]
            }
        )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
