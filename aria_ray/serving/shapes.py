"""Shapes in a chat request that vLLM reads before anything has checked them.

vLLM 0.29 walks over `messages` and `tool_calls` before pydantic checks them. OpenAI's types call the parts of a content an
iterable, which pydantic checks only when somebody reads it. So a wrong shape ends as TypeError or AssertionError inside vLLM.

The ingress does not catch those errors: a bug of ours raises them too, and would be answered as the client's mistake. Where the
error was raised does not tell them apart either, since a bug of ours may hand vLLM a wrong value. So these shapes are checked
first, and what vLLM raises after that is a 500, unless it is an error that vLLM itself calls the client's.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class Body(BaseModel):
    """The body of any request for an answer, as far as vLLM takes its shape for granted."""

    model_config = ConfigDict(strict=True)

    structured_outputs: dict[str, Any] | None = None


class Message(BaseModel):
    """One message, as far as vLLM takes its shape for granted."""

    model_config = ConfigDict(strict=True)

    content: Any = None
    tool_calls: list[Any] | None = None

    @field_validator("content")
    @classmethod
    def _check_content(cls, content: Any) -> Any:
        parts = content if isinstance(content, list) else []
        if not (content is None or isinstance(content, str | list)) or not all(isinstance(part, str | dict) for part in parts):
            raise ValueError("must be a text, or a list of texts and content parts")
        if not all(isinstance(part.get("text"), str | None) for part in parts if isinstance(part, dict)):
            raise ValueError("must have a text in each part that has one")
        return content


class ChatBody(Body):
    """The body of a chat request, as far as vLLM takes its shape for granted. All else is checked by vLLM's own types."""

    messages: list[Message]
