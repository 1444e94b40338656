"""Schemas of the tools that clients send, brought into the form in which training lists tools. Plain functions, without Ray."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from aria_ray.serving.guard import Refused
from aria_ray.tools.json_schema import plain_schema


def with_plain_tools(body: dict[str, Any]) -> dict[str, Any]:
    """The body of a chat request with the parameters of its tools in plain form (`tools.json_schema`).

    Tools that are not of OpenAI's shape are left to vLLM, which refuses them.

    Raises:
        Refused: a schema cannot be understood.
    """
    tools = body.get("tools")
    if not isinstance(tools, list):
        return body
    return {**body, "tools": [_plain_tool(index, tool) for index, tool in enumerate(tools)]}


def _plain_tool(index: int, tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(function, Mapping) or function.get("parameters") is None:
        return tool
    place = f"tools.{index}.function.parameters"
    try:
        parameters = json.loads(_plain_text(json.dumps(function["parameters"])))
    except ValueError as error:
        raise Refused(400, "invalid_request", f"{place}: {error}", place) from None
    return {**tool, "function": {**function, "parameters": parameters}}


@functools.lru_cache(maxsize=4096)
def _plain_text(schema: str) -> str:
    """As text, so that clients that send the same tools with each request wait for the checks once."""
    return json.dumps(plain_schema(json.loads(schema)))
