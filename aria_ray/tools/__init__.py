"""Pure tools that a model can call, their OpenAI definitions, and their execution. Light to import."""

from aria_ray.tools.execution import (
    ERROR_PREFIX,
    TOOLS,
    ToolResult,
    argument_problem,
    execute,
    execute_listed,
)
from aria_ray.tools.schema import schema_problem
from aria_ray.tools.signatures import tool_definition
from aria_ray.tools.simulated import Backend, canonical, reference_exists
from aria_ray.tools.values import ToolError

__all__ = [
    "ERROR_PREFIX",
    "TOOLS",
    "Backend",
    "ToolError",
    "ToolResult",
    "argument_problem",
    "canonical",
    "execute",
    "execute_listed",
    "reference_exists",
    "schema_problem",
    "tool_definition",
]
