"""Thirty invented tools, and 150 requests for them (tests/unit/requests/natural_*.yaml)."""

from pathlib import Path

import yaml

from aria_ray.requests.read import read_requests
from aria_ray.requests.understand import understand, values_by_parameter

FOLDER = Path(__file__).parents[1] / "unit" / "requests"


def definition(tool):
    parameters = {"type": "object", "properties": tool["properties"], "required": tool["required"]}
    function = {"name": tool["name"], "description": tool["description"], "parameters": parameters}
    return {"type": "function", "function": function}


TOOLS = {tool["name"]: definition(tool) for tool in yaml.safe_load((FOLDER / "natural_tools.yaml").read_text(encoding="utf-8"))}
PLACED = read_requests(FOLDER / "natural_requests.yaml", "natural")
KNOWN = values_by_parameter(example for _, example in PLACED)
TEMPLATES = {example.request: understand(example, TOOLS, KNOWN) for _, example in PLACED}
