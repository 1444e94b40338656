"""What an endpoint sends, as far as it is read here; every other field is ignored.

Pydantic checks each answer where it comes in and raises ValidationError for one of another shape. So the code after it need not
catch TypeError or KeyError, which a bug of ours would raise too.
"""

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field, ValidationError


def _none_is_empty(value: Any) -> Any:
    return () if value is None else value


def _none_is_default(value: Any) -> Any:
    return {} if value is None else value


class ListedModel(BaseModel):
    """One model of `GET /v1/models`."""

    id: str


class ModelList(BaseModel):
    """The answer to `GET /v1/models`."""

    data: list[ListedModel]


class CompleteChoice(BaseModel):
    """One answer of a chat completion that is not streamed."""

    message: dict[str, Any]
    finish_reason: str | None = None


class ChatCompletion(BaseModel):
    """The answer to a chat completion that is not streamed."""

    choices: list[CompleteChoice] = Field(min_length=1)


class Delta(BaseModel):
    """What a chunk adds to an answer. Servers name the thought `reasoning` (vLLM) or `reasoning_content` (others)."""

    content: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    tool_calls: Any = None


class ChunkChoice(BaseModel):
    """One answer in a chunk."""

    delta: Annotated[Delta, BeforeValidator(_none_is_default)] = Delta()


class Usage(BaseModel):
    """Tokens so far, as the server counts them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Chunk(BaseModel):
    """One event of a streamed chat completion. `error` is set in the event that ends a stream which failed."""

    choices: Annotated[tuple[ChunkChoice, ...], BeforeValidator(_none_is_empty)] = ()
    usage: Annotated[Usage, BeforeValidator(_none_is_default)] = Usage()
    error: Any = None

    @property
    def has_call(self) -> bool:
        """Whether the chunk carries a part of a tool call."""
        return any(choice.delta.tool_calls for choice in self.choices)

    @property
    def has_output(self) -> bool:
        """Whether the chunk carries anything of an answer: text, thought or a call. A role alone is nothing."""
        deltas = [choice.delta for choice in self.choices]
        return self.has_call or any(delta.content or delta.reasoning or delta.reasoning_content for delta in deltas)


class NotJson(Exception):
    """What a server sent is not JSON."""


def parse_json(data: str | bytes) -> Any:
    """JSON as Python reads it. Pydantic's reader refuses halves of surrogate pairs, which some servers send one by one.

    Raises:
        NotJson: it is not JSON.
    """
    try:
        return json.loads(data)
    except ValueError as error:
        raise NotJson(f"body: {error}") from None


def first_problem(error: ValidationError) -> str:
    """The first thing that does not fit, with its place, on one line."""
    (first, *_) = error.errors(include_url=False, include_input=False, include_context=False)
    return f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['msg']}"
