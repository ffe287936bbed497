from __future__ import annotations

import json
from typing import Any

import pytest

from stoker.data.formats import Completion, Conversation, RowError, Text, identity, parse_row


def _conversation(row: dict[str, Any], data_format: Any) -> Conversation:
    example = parse_row(row, data_format)
    assert isinstance(example, Conversation)
    return example


def test_text_is_supervised_as_a_whole() -> None:
    assert parse_row({"text": "once", "id": 3}, "text") == Text("once")


def test_completion_has_a_prompt_and_what_follows() -> None:
    row = {"prompt": "2+2=", "completion": "4"}
    assert parse_row(row, "completion") == Completion("2+2=", "4")


def test_alpaca_joins_instruction_and_input_into_one_question() -> None:
    row = {"instruction": "Add.", "input": "2, 2", "output": "4", "system": "Be brief."}
    example = _conversation(row, "alpaca")
    assert example.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Add.\n\n2, 2"},
        {"role": "assistant", "content": "4"},
    ]
    assert example.supervised == (False, False, True)


@pytest.mark.parametrize("empty", [{}, {"input": ""}, {"input": None}])
def test_alpaca_without_input_uses_the_shorter_prompt(empty: dict[str, Any]) -> None:
    example = _conversation({"instruction": "Sing.", "output": "La"} | empty, "alpaca")
    assert example.messages[0]["content"] == "Sing."
    assert example.plain == Completion(
        "Below is an instruction that describes a task. Write a response that appropriately completes "
        "the request.\n\n### Instruction:\nSing.\n\n### Response:\n",
        "La",
    )


def test_alpaca_with_input_uses_the_longer_prompt() -> None:
    example = _conversation({"instruction": "Add.", "input": "2, 2", "output": "4"}, "alpaca")
    assert example.plain is not None
    assert example.plain.prompt == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n2, 2\n\n### Response:\n"
    )


def test_messages_learn_all_assistant_turns() -> None:
    roles = ["system", "user", "assistant", "user", "assistant"]
    row = {"messages": [{"role": role, "content": "x"} for role in roles]}
    assert _conversation(row, "messages").supervised == (False, False, True, False, True)


def test_a_message_of_weight_0_is_not_supervised_and_its_weight_not_shown_to_the_template() -> None:
    row = {
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": "wrong", "weight": 0},
            {"role": "user", "content": "b"},
            {"role": "assistant", "content": "right", "weight": 1},
        ]
    }
    example = _conversation(row, "messages")
    assert example.supervised == (False, False, False, True)
    assert all("weight" not in message for message in example.messages)


def test_nulls_that_columnar_files_add_are_taken_out() -> None:
    row = {"messages": [{"role": "user", "content": "a", "name": None, "tool_calls": None}]}
    assert _conversation(row, "messages").messages == [{"role": "user", "content": "a"}]


def test_a_tool_call_needs_no_content() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
    row = {
        "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}],
        "tools": [{"type": "function"}],
    }
    example = _conversation(row, "messages")
    assert example.messages == [{"role": "assistant", "content": "", "tool_calls": [call]}]
    assert example.tools == [{"type": "function"}]


def test_sharegpt_names_become_roles() -> None:
    row = {
        "system": "Be kind.",
        "conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}],
    }
    example = _conversation(row, "sharegpt")
    assert [message["role"] for message in example.messages] == ["system", "user", "assistant"]
    assert example.supervised == (False, False, True)


@pytest.mark.parametrize(
    ("data_format", "row", "message"),
    [
        ("text", {"content": "a"}, "column 'text' is missing; columns found: content"),
        ("text", {"text": None}, r"column 'text': expected a string, found nothing \(null\)"),
        ("text", {"text": 5}, "column 'text': expected a string, found a number"),
        ("text", "just a string", "a row must be a table of columns, not a string"),
        ("completion", {"prompt": "a"}, "column 'completion' is missing"),
        ("alpaca", {"instruction": "a", "output": ["b"]}, "column 'output': .* found a list"),
        ("messages", {"messages": []}, "at least one entry, found an empty list"),
        ("messages", {"messages": ["hi"]}, "message 1: expected a table"),
        ("messages", {"messages": [{"role": "bot", "content": "a"}]}, "message 1: role .* 'bot'"),
        ("messages", {"messages": [{"role": "user"}]}, "message 1: content must be a string"),
        (
            "messages",
            {"messages": [{"role": "assistant", "content": "a", "weight": 0.5}]},
            "weight must be 0 or 1, not 0.5",
        ),
        ("messages", {"messages": [{"role": "user", "content": "a"}], "tools": "x"}, "column 'tools'"),
        ("sharegpt", {"conversations": [{"from": "alien", "value": "a"}]}, "turn 1: from .* 'alien'"),
        ("sharegpt", {"conversations": [{"from": "gpt", "value": 1}]}, "turn 1: value .* a number"),
    ],
)
def test_a_bad_row_says_which_column_and_why(data_format: Any, row: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        parse_row(row, data_format)


def test_identity_depends_on_what_is_said_and_nothing_else() -> None:
    said = {"prompt": "a", "completion": "b"}
    first = identity(parse_row({"id": 1} | said, "completion"))
    assert first == identity(parse_row({"id": 2} | said, "completion"))
    assert first != identity(parse_row({"prompt": "ab", "completion": ""}, "completion"))
    assert 0 <= first < 2**64


def test_a_cell_of_a_table_may_hold_a_conversation_as_json() -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    example = parse_row({"messages": json.dumps(messages)}, "messages")
    assert example == parse_row({"messages": messages}, "messages")
    with pytest.raises(RowError, match="column 'messages': no JSON"):
        parse_row({"messages": "hello"}, "messages")


def test_tools_and_arguments_may_be_json_in_a_string() -> None:
    call = {"type": "function", "function": {"name": "f", "arguments": '{"x": null, "y": 1}'}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    row = {"messages": [{"role": "assistant", "tool_calls": [call]}], "tools": json.dumps(tools)}
    example = parse_row(row, "messages")
    assert isinstance(example, Conversation)
    assert example.tools == tools
    (parsed,) = example.messages[0]["tool_calls"]
    assert parsed["function"]["arguments"] == {"x": None, "y": 1}
    assert example.messages[0]["content"] == ""


def test_a_function_call_of_sharegpt_is_a_tool_call() -> None:
    turns = [
        ("human", "a"),
        ("function_call", '{"name": "f", "arguments": {"x": 1}}'),
        ("observation", "2"),
    ]
    row = {"conversations": [{"from": who, "value": said} for who, said in turns], "tools": "[]"}
    example = parse_row(row, "sharegpt")
    assert isinstance(example, Conversation)
    assert [message["role"] for message in example.messages] == ["user", "assistant", "tool"]
    assert example.messages[1]["tool_calls"][0]["function"] == {"name": "f", "arguments": {"x": 1}}
    assert example.supervised == (False, True, False)
    assert example.tools is None
    with pytest.raises(RowError, match="turn 1: no JSON"):
        parse_row({"conversations": [{"from": "function_call", "value": "f(1)"}]}, "sharegpt")


@pytest.mark.parametrize("call", ["f", {}, {"function": {"name": "f", "arguments": "[1]"}}])
def test_a_tool_call_without_a_name_or_a_table_is_refused(call: object) -> None:
    with pytest.raises(RowError, match=r"message 1: (a tool call needs|the arguments of f)"):
        parse_row({"messages": [{"role": "assistant", "tool_calls": [call]}]}, "messages")
