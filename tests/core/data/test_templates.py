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
# Mistral v3 as published: the system message stands in a question that is the last of all messages,
# which it never is in training.
SYSTEM_FOR_QUESTIONS = MOVING_SYSTEM.replace("loop.index0 >= messages|length - 2", "loop.last")
# DeepSeek R1: the prompt begins a thought, and all turns are stripped of theirs.
THINKING_PROMPT = (
    "{% for m in messages %}{{ m.role }}|{{ m.content.split('</think>')[-1] }}"
    "{{ '<|eos|>' if m.role == 'assistant' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant|<think>\n{% endif %}"
)
# gpt-oss: the last answer returns, an earlier one only ends.
OTHER_END = CHATML.replace(
    "<|im_end|>\n", "{{ '<|eos|>' if loop.last and message.role == 'assistant' else '<|im_end|>\n' }}"
)
# Command R7B: a turn ends in two tokens, the second of which stops the model.
TWO_ENDS = CHATML.replace("<|im_end|>\n", "<|im_end|><|eos|>")
# The first ChatML templates invited an answer always, others never.
ALWAYS_INVITES = CHATML.replace("{% if add_generation_prompt %}", "{% if true %}")
NEVER_INVITES = CHATML.replace("{% if add_generation_prompt %}", "{% if false %}")


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
        (THINKING_PROMPT, ["b.<|eos|>", "d.<|eos|>"], 0),
        # <|im_end|> is not learned: at inference the model has to return there.
        (OTHER_END, ["b.", "d.<|eos|>"], 1),
        (TWO_ENDS, ["b.<|im_end|><|eos|>", "d.<|im_end|><|eos|>"], 0),
        (ALWAYS_INVITES, ["b.<|im_end|>", "d.<|im_end|>"], 0),
        # No prompt gives the model this header: it has to write it itself.
        (NEVER_INVITES, [f"<|im_start|>assistant\n{words}<|im_end|>" for words in ("b.", "d.")], 0),
    ],
    ids=[
        *("chatml", "llama2", "qwen3", "moving-system", "plain", "one-eos"),
        *("thinking-prompt", "other-end", "two-ends", "always-invites", "never-invites"),
    ],
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
    assert _supervised(rendered) == [" b.<|eos|>", " d.<|eos|>"]


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
        (ONLY_LAST_TURN, r"drops message 2"),
        (WITHOUT_SYSTEM, r"drops or rewrites message 1 \(system\)"),
        (SYSTEM_FOR_QUESTIONS, r"drops or rewrites message 1 \(system\)"),
        (CHATML.replace("message.content", "message.content[:3]"), r"rewrites message"),
        (CHATML.replace("message.content", "message.missing"), r"drops or rewrites message 1"),
    ],
    ids=["only-last-turn", "without-system", "system-for-questions", "shortened", "all"],
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


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 / 0 }}",
        "{% for i in range(1000000000) %}{% endfor %}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ messages[9].content.x }}",
        "{{ messages | nosuchfilter }}",
    ],
)
def test_mistakes_in_a_template_are_no_tracebacks(make_tokenizer: MakeTokenizer, template: str) -> None:
    with pytest.raises(RowError, match=r"the chat template refuses this conversation: .*[^.]$"):
        ChatTemplate(make_tokenizer(template)).render(TWO_TURNS)


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


TOOL: dict[str, Any] = {"type": "function", "function": {"name": "weather"}}
# Tools and calls, and no check of anything.
WITH_CALLS = "{% if tools %}{{ tools | tojson }}{% endif %}" + CHATML.replace(
    "{{ message.content }}", "{{ message.content }}{{ (message.tool_calls or []) | tojson }}"
)


def _with_tools(arguments: dict[str, Any], *, weight: int = 1) -> Conversation:
    call = {"type": "function", "function": {"name": "weather", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": "", "tool_calls": [call], "weight": weight},
        {"role": "tool", "content": "12"},
        {"role": "assistant", "content": "12."},
    ]
    example = parse_row({"messages": messages, "tools": [TOOL]}, "messages")
    assert isinstance(example, Conversation)
    return example


@pytest.mark.parametrize("weight", [0, 1])
def test_tools_and_calls_reach_the_template(make_tokenizer: MakeTokenizer, weight: int) -> None:
    arguments = {"city": 'a "b"\n\u00e9', "days": [1, 2.5, True, None], "where": {"x": " in "}}
    rendered = ChatTemplate(make_tokenizer(WITH_CALLS)).render(_with_tools(arguments, weight=weight))
    assert rendered.text.startswith('[{"type": "function"')
    assert len(rendered.spans) == 1 + weight
    assert _supervised(rendered)[-1] == "12.[]<|im_end|>"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (CHATML, "the call of 'weather' in message 2"),
        (WITH_CALLS.replace("[]) | tojson", "[]) | length"), "the call of 'weather'"),
        (WITH_CALLS.replace("tools | tojson", "tools | length"), "the definition of tool 'weather'"),
    ],
    ids=["calls", "number-of-calls", "tools"],
)
def test_a_template_that_loses_tools_is_refused(
    make_tokenizer: MakeTokenizer, template: str, message: str
) -> None:
    conversation = _with_tools({"city": "Rome"})
    # That the question has the word is no definition.
    conversation.messages[0]["content"] = "Rome?"
    with pytest.raises(RowError, match=message) as caught:
        ChatTemplate(make_tokenizer(template)).render(conversation)
    assert "knows tools" in caught.value.hint


def test_a_question_that_is_left_out_is_missed_though_the_answer_repeats_it(
    make_tokenizer: MakeTokenizer,
) -> None:
    template = CHATML.replace(
        "{{ message.content }}", "{{ message.content if message.role == 'assistant' else '' }}"
    )
    with pytest.raises(RowError, match=r"drops or rewrites message 1 \(user\)"):
        ChatTemplate(make_tokenizer(template)).render(
            _conversation(("user", "why?"), ("assistant", "why?"))
        )


@pytest.mark.parametrize("key", ["reasoning_content", "reasoning", "thinking", "content"])
def test_reasoning_that_the_last_answer_loses_is_missed(make_tokenizer: MakeTokenizer, key: str) -> None:
    conversation = _conversation(
        ("user", "a?"), ("assistant", "b."), ("user", "c?"), ("assistant", "d.")
    )
    thought = {key: "<think>hm</think>d." if key == "content" else "hm"}
    conversation.messages[1].update(thought | ({"content": "b."} if key != "content" else {}))
    template = ChatTemplate(make_tokenizer(THINKING_PROMPT))
    assert _supervised(template.render(conversation))[1] == "d.<|eos|>"
    conversation.messages[3].update(thought)
    with pytest.raises(RowError, match=r"drops the reasoning of message 4 \(assistant\)") as caught:
        template.render(conversation)
    assert "take the reasoning out" in caught.value.hint
    unlearned = Conversation(conversation.messages, (False, True, False, False))
    assert len(template.render(unlearned).spans) == 1
