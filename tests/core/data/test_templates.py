"""Each template is the skeleton of a family in use; the supervised text is written out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from stoker.data.formats import Conversation, RowError, parse_row
from stoker.data.templates import ChatTemplate, Rendered

MakeTokenizer = Callable[..., PreTrainedTokenizerFast]

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Llama 2, Mistral v1: the turn ends in EOS, and the next user's turn begins with BOS again.
LLAMA2 = (
    "{% for m in messages %}{% if m.role == 'user' %}<|bos|>[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content.strip() }} <|eos|>"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}"
    "{% endif %}{% endfor %}"
)
# Qwen3: thoughts are kept in the turns after the last question only, and an empty thought is added
# to the very last.
QWEN3 = (
    "{% set ns = namespace(last=-1) %}"
    "{% for m in messages %}{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}"
    "{% endfor %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% set parts = m.content.split('</think>') %}"
    "{% if loop.index0 > ns.last and (loop.last or parts|length > 1) %}<think>\n"
    "{{ parts[0].replace('<think>', '').strip() if parts|length > 1 else '' }}\n</think>\n\n{% endif %}"
    "{{ parts[-1].strip() }}{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Mistral v3: the system message moves into the last question.
MOVING_SYSTEM = (
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST] "
    "{% if loop.index0 >= messages|length - 2 and system %}{{ system }}\n\n{% endif %}"
    "{{ m.content }}[/INST]{% elif m.role == 'assistant' %} {{ m.content }}<|eos|>{% endif %}"
    "{% endfor %}"
)
# Bases with a plain template: nothing closes a turn but a line end.
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
# EOS once, after everything.
ONE_EOS = (
    "{% for m in messages %}{{ '### ' + m.role + '\n' + m.content + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}### assistant\n{% else %}<|eos|>{% endif %}"
)
ONLY_LAST_TURN = (
    "{% for m in messages[-2:] %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
WITHOUT_SYSTEM = CHATML.replace(
    "{% for message in messages %}", "{% for message in messages if message.role != 'system' %}"
)


def _conversation(*turns: tuple[str, str]) -> Conversation:
    messages = [{"role": role, "content": content} for role, content in turns]
    example = parse_row({"messages": messages}, "messages")
    assert isinstance(example, Conversation)
    return example


def _supervised(rendered: Rendered) -> list[str]:
    return [rendered.text[start:stop] for start, stop in rendered.spans]


TWO_TURNS = _conversation(("user", "a?"), ("assistant", "b."), ("user", "c?"), ("assistant", "d."))


@pytest.mark.parametrize(
    ("template", "supervised", "open_turns"),
    [
        (CHATML, ["b.<|im_end|>", "d.<|im_end|>"], 0),
        (LLAMA2, [" b. <|eos|>", " d. <|eos|>"], 0),
        (QWEN3, ["b.<|im_end|>", "<think>\n\n</think>\n\nd.<|im_end|>"], 0),
        (MOVING_SYSTEM, [" b.<|eos|>", " d.<|eos|>"], 0),
        (PLAIN, ["b.\n", "d.\n"], 2),
        (ONE_EOS, ["b.\n", "d.\n<|eos|>"], 1),
    ],
    ids=["chatml", "llama2", "qwen3", "moving-system", "plain", "one-eos"],
)
def test_answers_and_what_ends_them_are_supervised(
    make_tokenizer: MakeTokenizer, template: str, supervised: list[str], open_turns: int
) -> None:
    rendered = ChatTemplate(make_tokenizer(template)).render(TWO_TURNS)
    assert _supervised(rendered) == supervised
    assert rendered.open_turns == open_turns


def test_chatml_learns_neither_the_line_end_after_a_turn_nor_the_header(
    make_tokenizer: MakeTokenizer,
) -> None:
    rendered = ChatTemplate(make_tokenizer(CHATML)).render(TWO_TURNS)
    rest = rendered.text
    for answer in _supervised(rendered):
        rest = rest.replace(answer, "_")
    assert rest == (
        "<|im_start|>user\na?<|im_end|>\n<|im_start|>assistant\n_\n"
        "<|im_start|>user\nc?<|im_end|>\n<|im_start|>assistant\n_\n"
    )


def test_an_answer_that_repeats_the_question_is_found_in_its_place(
    make_tokenizer: MakeTokenizer,
) -> None:
    echo = _conversation(("user", "x"), ("assistant", "x"), ("user", "x"), ("assistant", "x"))
    for template in (CHATML, QWEN3, MOVING_SYSTEM):
        rendered = ChatTemplate(make_tokenizer(template)).render(echo)
        starts = [start for start, _ in rendered.spans]
        assert rendered.text.count("x", 0, starts[0]) == 1
        assert rendered.text.count("x", 0, starts[1]) == 3


def test_thoughts_are_supervised_where_the_template_keeps_them(make_tokenizer: MakeTokenizer) -> None:
    thinking = _conversation(
        ("user", "a?"),
        ("assistant", "<think>one</think>b."),
        ("user", "c?"),
        ("assistant", "<think>two</think>d."),
    )
    rendered = ChatTemplate(make_tokenizer(QWEN3)).render(thinking)
    assert _supervised(rendered) == ["b.<|im_end|>", "<think>\ntwo\n</think>\n\nd.<|im_end|>"]


def test_a_system_message_that_moves_does_not_move_the_mask(make_tokenizer: MakeTokenizer) -> None:
    rendered = ChatTemplate(make_tokenizer(MOVING_SYSTEM)).render(
        _conversation(
            ("system", "Be brief."),
            ("user", "a?"),
            ("assistant", "b."),
            ("user", "c?"),
            ("assistant", "d."),
        )
    )
    assert rendered.text == "[INST] a?[/INST] b.<|eos|>[INST] Be brief.\n\nc?[/INST] d.<|eos|>"
    # The first turn starts with its words here: no prefix shows where generation would begin.
    assert _supervised(rendered) == ["b.<|eos|>", " d.<|eos|>"]


def test_turns_of_weight_0_are_left_out(make_tokenizer: MakeTokenizer) -> None:
    conversation = Conversation(TWO_TURNS.messages, (False, False, False, True))
    rendered = ChatTemplate(make_tokenizer(CHATML)).render(conversation)
    assert _supervised(rendered) == ["d.<|im_end|>"]


def test_several_answers_in_a_row_are_all_supervised(make_tokenizer: MakeTokenizer) -> None:
    rendered = ChatTemplate(make_tokenizer(CHATML)).render(
        _conversation(("user", "a?"), ("assistant", "b"), ("tool", "c"), ("assistant", "d"))
    )
    assert _supervised(rendered) == ["b<|im_end|>", "d<|im_end|>"]


def test_an_answer_may_come_first(make_tokenizer: MakeTokenizer) -> None:
    rendered = ChatTemplate(make_tokenizer(CHATML)).render(
        _conversation(("assistant", "hi"), ("user", "a?"), ("assistant", "b"))
    )
    assert _supervised(rendered) == ["hi<|im_end|>", "b<|im_end|>"]


def test_a_conversation_without_an_answer_teaches_nothing(make_tokenizer: MakeTokenizer) -> None:
    assert ChatTemplate(make_tokenizer(CHATML)).render(_conversation(("user", "a?"))).spans == []


def test_white_space_an_answer_ends_in_is_kept(make_tokenizer: MakeTokenizer) -> None:
    rendered = ChatTemplate(make_tokenizer(CHATML)).render(
        _conversation(("user", "a?"), ("assistant", " b \n"))
    )
    assert _supervised(rendered) == [" b \n<|im_end|>"]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (ONLY_LAST_TURN, r"drops message 3"),
        (WITHOUT_SYSTEM, r"drops or rewrites message 1 \(system\)"),
        (CHATML.replace("message.content", "message.content[:3]"), r"rewrites message"),
    ],
    ids=["only-last-turn", "without-system", "shortened"],
)
def test_a_template_that_loses_words_is_refused(
    make_tokenizer: MakeTokenizer, template: str, message: str
) -> None:
    conversation = _conversation(
        ("system", "Be brief."),
        ("user", "first?"),
        ("assistant", "one."),
        ("user", "second?"),
        ("assistant", "two."),
    )
    with pytest.raises(RowError, match=message) as caught:
        ChatTemplate(make_tokenizer(template)).render(conversation)
    assert "data.chat_template" in caught.value.hint


def test_what_a_template_raises_is_passed_on(make_tokenizer: MakeTokenizer) -> None:
    with pytest.raises(RowError, match="Only user and assistant roles are supported!"):
        ChatTemplate(make_tokenizer(LLAMA2)).render(_conversation(("system", "s"), ("user", "a")))


def test_a_tool_result_written_as_json_counts_as_rendered(make_tokenizer: MakeTokenizer) -> None:
    template = CHATML.replace(
        "{{ message.content }}",
        "{{ message.content | tojson if message.role == 'tool' else message.content }}",
    )
    rendered = ChatTemplate(make_tokenizer(template)).render(
        _conversation(("user", "a"), ("tool", 'say "h\u00e9"\n'), ("assistant", "b"))
    )
    assert _supervised(rendered) == ["b<|im_end|>"]


def test_the_recipe_s_template_goes_before_the_tokenizer_s(make_tokenizer: MakeTokenizer) -> None:
    rendered = ChatTemplate(make_tokenizer(CHATML), PLAIN).render(TWO_TURNS)
    assert rendered.text.startswith("user: a?\n")


def test_tools_reach_the_template(make_tokenizer: MakeTokenizer) -> None:
    template = "{% if tools %}{{ tools | length }} tools{% endif %}" + CHATML
    tool: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
    conversation = Conversation(TWO_TURNS.messages, TWO_TURNS.supervised, tools=[tool])
    rendered = ChatTemplate(make_tokenizer(template)).render(conversation)
    assert rendered.text.startswith("1 tools")
    assert _supervised(rendered) == ["b.<|im_end|>", "d.<|im_end|>"]
