"""What is learned of conversations, written by hand for the template families in use.

golden/<family>.jinja is a template in the manner of the family, golden/<family>.txt what it makes of
the conversations below: {+ and +} enclose what is learned. White space counts, but for the line end
before the next `===`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from stoker.data.encode import Encoder
from stoker.data.formats import Conversation, parse_row
from stoker.data.problems import RowError
from stoker.data.templates import _STAND_INS, ChatTemplate, Rendered

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]
Messages = list[dict[str, Any]]

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Family:
    """What a tokenizer of a family knows besides its template."""

    end: str
    bos: str = "<|bos|>"
    eos: str = "<|eos|>"
    special: tuple[str, ...] = ()


LLAMA = Family(
    "<|eot_id|>", "<|begin_of_text|>", "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>")
)
CHATML = Family("<|im_end|>", eos="<|im_end|>", special=("<|im_start|>", "<|im_sep|>"))
GEMMA = Family("<end_of_turn>", "<bos>", "<eos>", ("<start_of_turn>",))
MISTRAL = Family(
    "</s>",
    "<s>",
    "</s>",
    (
        *("[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
        *("[TOOL_RESULTS]", "[TOOL_CONTENT]", "[/TOOL_RESULTS]"),
    ),
)
PHI = Family("<|end|>", "<s>", "<|endoftext|>", ("<|system|>", "<|user|>", "<|assistant|>"))
# The last four are tokens of their own, and end no turn.
QWEN = Family(
    "<|im_end|>",
    eos="<|im_end|>",
    special=("<|im_start|>", "<think>", "</think>", "<tool_call>", "</tool_call>"),
)

FAMILIES = {
    "llama-3": LLAMA,
    "llama-3.1": LLAMA,
    "chatml": CHATML,
    "chatml-default": CHATML,
    "gemma-2": GEMMA,
    "gemma-3": GEMMA,
    "mistral-v1": MISTRAL,
    "mistral-v3": MISTRAL,
    "mistral-v7": MISTRAL,
    "phi-3": PHI,
    "phi-4": CHATML,
    "qwen-2.5": QWEN,
    "qwen-3": QWEN,
}
WITH_TOOLS = ("llama-3.1", "mistral-v3", "mistral-v7", "qwen-2.5", "qwen-3")


def _call(city: str, number: int) -> dict[str, Any]:
    function = {"name": "weather", "arguments": {"city": city}}
    return {"id": f"call0000{number}", "type": "function", "function": function}


def _said(role: str, content: str, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


WEATHER = [{"type": "function", "function": {"name": "weather"}}]
SYSTEM = _said("system", "Be brief.")
RESULTS = [
    _said("tool", "12 C", tool_call_id="call00001"),
    _said("tool", "3 C", tool_call_id="call00002"),
]
CONVERSATIONS: dict[str, Messages] = {
    "system": [SYSTEM, _said("user", "Hi"), _said("assistant", "Hello.")],
    "turns": [
        _said("user", " 1+1?\n"),
        _said("assistant", "  2 "),
        _said("user", "And\n\n2+2?"),
        _said("assistant", "4 é😀"),
    ],
    "moved": [
        SYSTEM,
        _said("user", "Hi"),
        _said("assistant", "Hello."),
        _said("user", "Bye"),
        _said("assistant", "Bye."),
    ],
    "twice": [_said("user", "Hi"), _said("assistant", "Hello."), _said("assistant", "Bye.")],
    "first": [_said("assistant", "Hi"), _said("user", "Hello?"), _said("assistant", "Yes.")],
    "echo": [_said("user", "x"), _said("assistant", "x")] * 2,
    "empty": [_said("user", ""), _said("assistant", "Yes?")],
    "specials": [_said("user", "What is {end}?"), _said("assistant", "{end} ends a turn.")],
    "weights": [
        _said("user", "1+1?"),
        _said("assistant", "3.", weight=0),
        _said("user", "No."),
        _said("assistant", "2."),
    ],
    "thoughts": [
        _said("user", "a?"),
        _said("assistant", "<think>one</think>b."),
        _said("user", "c?"),
        _said("assistant", "<think>two</think>d."),
    ],
    "tools": [
        SYSTEM,
        _said("user", "Rome?"),
        {"role": "assistant", "content": None, "tool_calls": [_call("Rome", 1)]},
        RESULTS[0],
        _said("assistant", "It is 12 C."),
    ],
    "calls": [
        _said("user", "Rome, Oslo?"),
        {"role": "assistant", "tool_calls": [_call("Rome", 1), _call("Oslo", 2)]},
        *RESULTS,
        _said("assistant", "12 and 3."),
        _said("user", "Thanks."),
        _said("assistant", "Welcome."),
    ],
    "spoken": [
        _said("user", "Rome?"),
        _said("assistant", "Let me look.", tool_calls=[_call("Rome", 1)]),
        RESULTS[0],
        _said("assistant", "It is 12 C."),
    ],
}
EVERYWHERE = {"system", "turns", "twice", "first", "echo", "empty", "specials", "weights", "tools"}


def _golden(family: str) -> dict[str, tuple[str, str]]:
    """For each conversation why it is refused, or nothing, and its marked text."""
    _, *cases = re.split(r"^=== ", (GOLDEN / f"{family}.txt").read_text(encoding="utf-8"), flags=re.M)
    assert cases.pop() == "end\n"
    parted = [case.partition("\n") for case in cases]
    heads = [head.partition(" refused: ") for head, _, _ in parted]
    texts = [text.removesuffix("\n") for _, _, text in parted]
    return {name: (reason, text) for (name, _, reason), text in zip(heads, texts, strict=True)}


CASES = [
    pytest.param(family, name, text, id=f"{family}-{name}")
    for family in FAMILIES
    for name, (reason, text) in _golden(family).items()
    if not reason
]
REFUSED = [
    pytest.param(family, name, reason, id=f"{family}-{name}")
    for family in FAMILIES
    for name, (reason, _) in _golden(family).items()
    if reason
]


@pytest.fixture(scope="module")
def tokenizers(make_tokenizer: MakeTokenizer) -> dict[str, PreTrainedTokenizerFast]:
    return {name: _tokenizer(make_tokenizer, name, family) for name, family in FAMILIES.items()}


def _tokenizer(make: MakeTokenizer, name: str, family: Family) -> PreTrainedTokenizerFast:
    tokenizer = make((GOLDEN / f"{name}.jinja").read_text(encoding="utf-8"))
    tokenizer.add_tokens([family.bos, family.eos, family.end, *family.special], special_tokens=True)
    tokenizer.bos_token, tokenizer.eos_token = family.bos, family.eos
    return tokenizer


def _conversation(messages: Messages, tools: list[Any] | None = None) -> Conversation:
    example = parse_row({"messages": messages, "tools": tools}, "messages")
    assert isinstance(example, Conversation)
    return example


def _case(family: str, name: str) -> Conversation:
    end = FAMILIES[family].end
    messages = [
        message | {"content": content.replace("{end}", end)}
        if (content := message.get("content"))
        else message
        for message in CONVERSATIONS[name]
    ]
    return _conversation(messages, WEATHER if name in ("tools", "calls", "spoken") else None)


def _marked(rendered: Rendered) -> str:
    marked, place = "", 0
    for start, stop in rendered.spans:
        marked += rendered.text[place:start] + "{+" + rendered.text[start:stop] + "+}"
        place = stop
    return marked + rendered.text[place:]


def _plain(marked: str) -> str:
    return marked.replace("{+", "").replace("+}", "")


def _learned(marked: str) -> list[str]:
    return re.findall(r"\{\+(.*?)\+\}", marked, flags=re.S)


def test_no_golden_text_is_missing() -> None:
    for family in FAMILIES:
        assert set(_golden(family)) >= EVERYWHERE
        assert set(_golden(family)) <= set(CONVERSATIONS)


@pytest.mark.parametrize(("family", "name", "expected"), CASES)
def test_the_characters_that_are_learned(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, name: str, expected: str
) -> None:
    rendered = ChatTemplate(tokenizers[family]).render(_case(family, name))
    assert _marked(rendered) == expected
    assert rendered.open_turns == 0
    assert all(learned.endswith(FAMILIES[family].end) for learned in _learned(expected))


@pytest.mark.parametrize(("family", "name", "expected"), CASES)
def test_the_tokens_that_are_learned(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, name: str, expected: str
) -> None:
    tokenizer = tokenizers[family]
    encoder = Encoder(tokenizer)
    (row,) = encoder.encode(encoder.passages(_case(family, name)))
    assert tokenizer.decode(row.ids) == _plain(expected)
    breaks = np.flatnonzero(np.diff(row.supervised)) + 1
    runs = zip(np.split(row.ids, breaks), np.split(row.supervised, breaks), strict=True)
    learned = [tokenizer.decode(ids) for ids, supervised in runs if supervised[0]]
    # Turns that touch are one run.
    assert learned == _learned(expected.replace("+}{+", ""))


@pytest.mark.parametrize(("family", "name", "reason"), REFUSED)
def test_what_a_template_cannot_render_is_refused(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, name: str, reason: str
) -> None:
    with pytest.raises(RowError, match=re.escape(reason)) as caught:
        ChatTemplate(tokenizers[family]).render(_case(family, name))
    assert "data.chat_template" in caught.value.hint


# Here the text before a turn is another than at inference, by design of the template.
REWRITTEN = {
    ("mistral-v3", "moved", 2),
    ("mistral-v3", "calls", 1),
    ("mistral-v3", "calls", 4),
    ("qwen-3", "twice", 2),
}


@pytest.mark.parametrize(("family", "name", "expected"), CASES)
def test_what_is_learned_begins_where_the_model_will_begin(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, name: str, expected: str
) -> None:
    conversation = _case(family, name)
    rendered = ChatTemplate(tokenizers[family]).render(conversation)
    turns = [turn for turn, learned in enumerate(conversation.supervised) if learned and turn > 0]
    for turn, (start, _) in zip(reversed(turns), reversed(rendered.spans), strict=False):
        if (family, name, turn) in REWRITTEN:
            continue
        asked = tokenizers[family].apply_chat_template(
            conversation.messages[:turn],
            tools=conversation.tools,
            tokenize=False,
            add_generation_prompt=True,
        )
        assert rendered.text[:start] == asked


@pytest.mark.parametrize("family", FAMILIES)
def test_everything_is_learned_when_asked(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str
) -> None:
    encoder = Encoder(tokenizers[family], supervise="all")
    (row,) = encoder.encode(encoder.passages(_case(family, "echo")))
    assert row.supervised.all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("words", [*_STAND_INS, "Z7", "assistant", "model", "<|", "\n", "{", "é"])
def test_no_words_hide_where_a_turn_is(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, words: str
) -> None:
    conversation = _conversation([_said("user", words), _said("assistant", words)] * 3)
    rendered = ChatTemplate(tokenizers[family]).render(conversation)
    assert len(rendered.spans) == 3
    for start, stop in rendered.spans:
        learned = rendered.text[start:stop].removesuffix(FAMILIES[family].end)
        thought, closed, said = learned.rpartition("</think>")
        assert said.strip() == words.strip()
        assert (closed, thought) in (("", ""), ("</think>", "<think>\n\n"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_long_conversation_needs_few_renderings(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tokenizers[family]
    calls = []
    render = tokenizer.apply_chat_template
    monkeypatch.setattr(
        tokenizer, "apply_chat_template", lambda *a, **k: calls.append(1) or render(*a, **k)
    )
    messages = [_said(role, f"{number}.") for number in range(20) for role in ("user", "assistant")]
    rendered = ChatTemplate(tokenizer).render(_conversation(messages))
    assert len(rendered.spans) == 20
    assert len(calls) <= 6 * 20 + 4


WORDS = st.text(alphabet="ab \n\"'{<|>é😀", max_size=8)


@st.composite
def conversations(draw: st.DrawFn, family: str) -> Conversation:
    messages: Messages = []
    if family != "gemma-2" and draw(st.booleans()):
        messages.append(_said("system", draw(WORDS) + "S"))
    uses_tools = family in WITH_TOOLS and draw(st.booleans())
    for _ in range(draw(st.integers(1, 4))):
        messages.append(_said("user", draw(WORDS)))
        if uses_tools and draw(st.booleans()):
            call = _call("Ans" + draw(WORDS) + "wer", 1)
            messages.append(_said("assistant", "", tool_calls=[call], weight=1))
            messages.append(RESULTS[0])
        weight = draw(st.sampled_from([0, 1, 1]))
        messages.append(_said("assistant", draw(WORDS) + "Answer" + draw(WORDS), weight=weight))
    return _conversation(messages, WEATHER if uses_tools else None)


@pytest.mark.parametrize("family", FAMILIES)
@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_masks_of_any_conversation(
    tokenizers: dict[str, PreTrainedTokenizerFast], family: str, data: st.DataObject
) -> None:
    conversation = data.draw(conversations(family))
    rendered = ChatTemplate(tokenizers[family]).render(conversation)
    edges = [edge for span in rendered.spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(rendered.text) for edge in edges)
    learned = [message for message, is_learned in _turns(conversation) if is_learned]
    assert len(rendered.spans) == len(learned)
    for message, (start, stop) in zip(learned, rendered.spans, strict=True):
        span = rendered.text[start:stop]
        assert message["content"].strip() in span
        assert len(re.findall("Answer|Ans.*wer", span)) == 1
        assert span.endswith(FAMILIES[family].end)
        assert span.count(FAMILIES[family].end) == 1
        assert not re.search(r"user|model|assistant|header|\[/?INST\]|_start|\|sep", span)
    outside = "".join(
        rendered.text[start:stop]
        for start, stop in zip([0, *edges[1::2]], [*edges[::2], len(rendered.text)], strict=True)
    )
    unlearned = sum(message["role"] == "assistant" for message, _ in _turns(conversation))
    assert outside.count("Answer") == unlearned - len(learned)


def _turns(conversation: Conversation) -> list[tuple[dict[str, Any], bool]]:
    return list(zip(conversation.messages, conversation.supervised, strict=True))
