"""Arguments of a call checked against the JSON Schema of a tool's definition."""

import functools
import json
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry

from aria_ray.grammar import ToolDefinition


def schema_problem(definition: ToolDefinition, arguments: Mapping[str, Any]) -> str | None:
    """First violation of a tool's JSON Schema by the arguments of a call, as `path: message`; None if there is none."""
    validator = _validator(json.dumps(definition["function"].get("parameters") or {}))
    errors = sorted(validator.iter_errors(dict(arguments)), key=lambda error: [str(part) for part in error.path])
    if not errors:
        return None
    place = ".".join(str(part) for part in errors[0].path)
    return f"{place}: {errors[0].message}" if place else errors[0].message


@functools.lru_cache(maxsize=4096)
def _validator(schema: str) -> Draft202012Validator:
    # With an empty registry, references to other documents are never fetched.
    return Draft202012Validator(json.loads(schema), registry=Registry())
