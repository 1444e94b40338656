"""vLLM's stock parsers read what our chat template writes: whole, and streamed token by token."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from aria_ray import grammar
from aria_ray.config.schema import ModelConfig
from aria_ray.dataset.loading import library
from aria_ray.dataset.rows import RowMaker
from aria_ray.dataset.sampling import choose_templates
from aria_ray.serving.serve_file import find_config
from aria_ray.training.base_model import prepare_base
from aria_ray.training.model import load_tokenizer

pytestmark = pytest.mark.vllm

ENGINE_KWARGS = yaml.safe_load(find_config("laptop").read_text())["applications"][0]["args"]["engine_kwargs"]
PARAMETERS = {"type": "object", "properties": {"x": {"type": "string"}, "n": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": name, "description": "A tool.", "parameters": PARAMETERS}}
    for name in ("lookup", "now", "search")
]
HARD_TEXT = 'é "quoted" \n\t\\ </tool_call> {"a": 1} <think> 日本 😀'
CALLS = {
    "one call": [grammar.Call("lookup", {"x": "a", "n": 3})],
    "two parallel calls": [grammar.Call("lookup", {"x": "a"}), grammar.Call("search", {"x": "b", "n": 2})],
    "no arguments": [grammar.Call("now", {})],
    "hard text": [grammar.Call("lookup", {"x": HARD_TEXT, "n": -1})],
    "nested": [grammar.Call("lookup", {"x": {"a": [1, {"b": None}], "c": True}})],
}
TURNS = {name: grammar.tool_call_message(grammar.thought_for_calls("math", calls), calls) for name, calls in CALLS.items()}
TURNS["answer"] = grammar.answer_message(grammar.thought_without_call("talk", "no tool"), "It is 5 < 6.\nBye")
TURNS["answer in JSON"] = grammar.answer_message(grammar.thought_without_call("talk", "no tool"), '{"a": 1}')

QUESTION = [{"role": "user", "content": "hi"}]
AFTER_A_RESULT = [*QUESTION, TURNS["one call"], {"role": "tool", "tool_call_id": "call_0", "content": "3"}]

Parsed = tuple[str | None, str, list[tuple[str, Any]]]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(prepare_base(ModelConfig(source="random:tiny")))


@pytest.mark.parametrize("conversation", [QUESTION, AFTER_A_RESULT], ids=["first turn", "after a result"])
@pytest.mark.parametrize("name", TURNS)
def test_parsers_give_the_turn_back(tokenizer: Any, name: str, conversation: list[grammar.Message]) -> None:
    prompt, turn = _rendered(tokenizer, conversation, TURNS[name])
    calls = [(call.name, call.arguments) for call in CALLS.get(name, [])]
    # The template breaks markers in a thought, so the thought to expect is the rendered one.
    thought = turn.removeprefix(grammar.THINK_START).split(grammar.THINK_END)[0]
    expected = (thought, TURNS[name]["content"] or "", calls)
    assert _parse_whole(tokenizer, turn) == expected
    assert _parse_streamed(tokenizer, turn, prompt) == expected


def test_call_without_thought_is_still_a_call(tokenizer: Any) -> None:
    turn = '<tool_call>{"name": "lookup", "arguments": {"x": "a"}}</tool_call>'
    prompt, _ = _rendered(tokenizer, QUESTION, TURNS["answer"])
    expected = (None, "", [("lookup", {"x": "a"})])
    assert _parse_whole(tokenizer, turn) == expected
    assert _parse_streamed(tokenizer, turn, prompt) == expected


@pytest.mark.parametrize("text", ["Hello there", "<think>ask: x; function: none"])
def test_turn_without_end_of_thought_is_all_reasoning(tokenizer: Any, text: str) -> None:
    """Not what we would choose, but what clients see: the answer of a model that does not close its thought is empty."""
    prompt, _ = _rendered(tokenizer, QUESTION, TURNS["answer"])
    expected = (text.removeprefix(grammar.THINK_START), "", [])
    assert _parse_whole(tokenizer, text) == expected
    assert _parse_streamed(tokenizer, text, prompt) == expected


def test_strict_decoding_admits_what_the_data_teaches_and_no_other_tool() -> None:
    """Every tool's schema compiles, every reference call is admitted, and a call of a tool that is not listed is not."""
    for tool in library().tools.values():
        _strict_matcher([tool.definition])
    row_maker = RowMaker(library())
    rows = [row_maker.row(template.id, "none", 0, 0) for template in choose_templates(row_maker.library, 200, 0.5, 0)]
    calls = [(row["tools"], message) for row in rows for message in row["messages"] if message.get("tool_calls")]
    assert len(calls) > 100
    for tools, message in calls:
        text = "<think>ask</think>" + "".join(
            f'<tool_call>{{"name": "{item["function"]["name"]}", "arguments": {item["function"]["arguments"]}}}</tool_call>'
            for item in message["tool_calls"]
        )
        assert _strict_matcher(tools).accept_string(text), text
        assert not _strict_matcher(tools).accept_string('<think>ask</think><tool_call>{"name": "made_up"')


def _strict_matcher(tools: Sequence[grammar.ToolDefinition]) -> Any:
    """What vLLM decodes by when tools are sent as strict, over an alphabet of bytes."""
    import xgrammar
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionToolsParam
    from vllm.tool_parsers.structural_tag_registry import get_model_structural_tag

    strict = [ChatCompletionToolsParam(**{**tool, "function": {**tool["function"], "strict": True}}) for tool in tools]
    tag = get_model_structural_tag(ENGINE_KWARGS["tool_call_parser"], strict, "auto", reasoning=False)
    alphabet = [bytes([value]) for value in range(256)] + [b"<end>"]
    vocabulary = xgrammar.TokenizerInfo(alphabet, vocab_type=xgrammar.VocabType.RAW, vocab_size=257, stop_token_ids=[256])
    return xgrammar.GrammarMatcher(xgrammar.GrammarCompiler(vocabulary).compile_structural_tag(tag))


def _rendered(tokenizer: Any, conversation: Sequence[grammar.Message], turn: grammar.Message) -> tuple[str, str]:
    prompt = tokenizer.apply_chat_template(conversation, tools=TOOLS, tokenize=False, add_generation_prompt=True)
    whole = tokenizer.apply_chat_template([*conversation, turn], tools=TOOLS, tokenize=False)
    assert whole.startswith(prompt)
    return prompt, whole[len(prompt) :].rstrip("\n").removesuffix(grammar.TURN_END)


def _parser(tokenizer: Any) -> tuple[Any, Any]:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.parser.parser_manager import ParserManager

    parser = ParserManager.get_parser(ENGINE_KWARGS["tool_call_parser"], ENGINE_KWARGS["reasoning_parser"], True)
    assert parser is not None
    return parser(tokenizer, TOOLS), ChatCompletionRequest(messages=QUESTION, model="aria", tools=TOOLS, tool_choice="auto")


def _parse_whole(tokenizer: Any, turn: str) -> Parsed:
    parser, request = _parser(tokenizer)
    token_ids = tokenizer(turn, add_special_tokens=False)["input_ids"]
    reasoning, content, calls = parser.parse(turn, request, enable_auto_tools=True, model_output_token_ids=token_ids)
    return reasoning or None, content or "", [(call.name, json.loads(call.arguments)) for call in calls or []]


def _parse_streamed(tokenizer: Any, turn: str, prompt: str) -> Parsed:
    parser, request = _parser(tokenizer)
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    token_ids = tokenizer(turn, add_special_tokens=False)["input_ids"]
    reasoning, content, sent = "", "", ""
    calls: dict[int, list[str]] = {}
    for count, token_id in enumerate(token_ids, start=1):
        text = tokenizer.decode(token_ids[:count], skip_special_tokens=False)
        complete = text if not text.endswith("\ufffd") else sent  # a character may take several tokens
        delta = parser.parse_delta(complete[len(sent) :], [token_id], request, prompt_ids, finished=count == len(token_ids))
        sent = complete
        if delta is None:
            continue
        reasoning += delta.reasoning or ""
        content += delta.content or ""
        for call in delta.tool_calls or []:
            entry = calls.setdefault(call.index, ["", ""])
            entry[0] += call.function.name or ""
            entry[1] += call.function.arguments or ""
    return reasoning or None, content, [(name, json.loads(arguments)) for name, arguments in calls.values()]
