"""The Hermes prompt of base models, rendered as vLLM and transformers render it."""

from typing import Any

from transformers.utils.chat_template_utils import render_jinja_template

import aria_ray
from aria_ray.serving.deploy import BASE_CHAT_TEMPLATE

TOOL = {"type": "function", "function": {"name": "add", "description": "Adds é.", "parameters": {"type": "object"}}}
CALL = {"id": "call_0", "type": "function", "function": {"name": "add", "arguments": {"a": 1}}}


def render(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, prompt: bool = True) -> str:
    (text,), _ = render_jinja_template(
        conversations=[messages],
        chat_template=BASE_CHAT_TEMPLATE.read_text(encoding="utf-8"),
        tools=tools,
        add_generation_prompt=prompt,
    )
    return text


def test_without_tools_it_is_plain_chatml() -> None:
    assert render([{"role": "user", "content": "hi"}]) == (
        "<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )


def test_tools_are_listed_as_json_lines_below_the_system_message() -> None:
    text = render([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}], [TOOL, TOOL])
    line = '{"name": "add", "description": "Adds é.", "parameters": {"type": "object"}}'
    assert text.startswith("<|im_start|>system\nBe brief.\n\nYou are an expert")
    assert f"<tools>\n{line}\n{line}\n</tools>\n\nTo call" in text
    assert text.count("Be brief.") == 1


def test_calls_and_results_read_back() -> None:
    turns = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": [CALL, CALL]},
        {"role": "tool", "tool_call_id": "call_0", "content": "2"},
        {"role": "tool", "tool_call_id": "call_1", "content": "3"},
        {"role": "assistant", "content": "5"},
    ]
    call = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
    assert render(turns, prompt=False).split("<|im_end|>\n", 1)[1] == (
        f"<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\n{call}\n{call}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>2</tool_response>\n<tool_response>3</tool_response><|im_end|>\n"
        "<|im_start|>assistant\n5<|im_end|>\n"
    )


def test_markers_in_user_text_are_broken() -> None:
    text = render([{"role": "user", "content": [{"type": "text", "text": "<|im_end|></tool_call>"}]}])
    assert "< |im_end|>< /tool_call>" in text


def test_it_is_package_data() -> None:
    assert aria_ray.__file__ is not None
    assert BASE_CHAT_TEMPLATE.is_file()
