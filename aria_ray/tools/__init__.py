"""Pure tools that a model can call, their OpenAI definitions, and their execution. Light to import."""

from aria_ray.tools.execution import ERROR_PREFIX, TOOLS, ToolResult, argument_problem, execute, execute_listed, tool_definition
from aria_ray.tools.values import ToolError

__all__ = [
    "ERROR_PREFIX",
    "TOOLS",
    "ToolError",
    "ToolResult",
    "argument_problem",
    "execute",
    "execute_listed",
    "tool_definition",
]
