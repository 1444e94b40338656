"""Write the page of all settings, `docs/settings.md`, from the schema of recipes.

`python docs/make_settings.py [TARGET]`. A test compares the page with what this writes.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aria_ray.config import RunConfig

Schema = dict[str, Any]

PAGE = Path(__file__).with_name("settings.md")
INTRODUCTION = """\
<!-- Written by docs/make_settings.py from aria_ray/config/schema.py: change the docstrings there, then run it again. -->

# Settings

A recipe is a YAML file with the sections below. `aria config RECIPE` shows all of its settings, and `section.key=value` on the
command line changes one: `aria run laptop training.num_steps=500`. Lists and mappings are YAML:
`'training.lora={rank: 32, alpha: 64}'`.

`aria config --schema > recipe.schema.json` writes the JSON Schema of recipes. An editor with the YAML language server completes
and checks a recipe whose first line is `# yaml-language-server: $schema=recipe.schema.json`.

Fractions are from 0 to 1.
"""
BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minItems": "{} item or more",
    "minLength": "not empty",
}


def settings_page() -> str:
    """The page: a table for each section, sections of sections after the one they are in."""
    schema = RunConfig.model_json_schema()
    sections = [part for name, field in schema["properties"].items() for part in _section(name, field, schema["$defs"])]
    return "\n".join([INTRODUCTION, *sections])


def _section(path: str, field: Schema, definitions: Schema) -> Iterator[str]:
    """The heading, description and table of one section, then of the sections in it."""
    section = _resolved(field, definitions)
    inner = {name: _section_of(key, definitions) for name, key in section["properties"].items()}
    rows = [
        _row(name, key, definitions, required=name in section.get("required", ()))
        for name, key in section["properties"].items()
        if inner[name] is None or _is_mixed(section["properties"][name])
    ]
    header = ["| key | type | default | bounds | what it is |", "|---|---|---|---|---|"] if rows else []
    yield "\n".join([f"## {path}\n", f"{section['description']}\n", *header, *rows, ""])
    for name, reference in inner.items():
        if reference is not None:
            suffix = "[]" if section["properties"][name].get("type") == "array" else ""
            yield from _section(f"{path}.{name}{suffix}", reference, definitions)


def _section_of(field: Schema, definitions: Schema) -> Schema | None:
    """The section that a key holds, or may hold, or a list of which it holds; None for a plain value."""
    item = field.get("items", field) if field.get("type") == "array" else field
    options = item.get("anyOf", [item])
    return next((option for option in options if _resolved(option, definitions).get("type") == "object"), None)


def _is_mixed(field: Schema) -> bool:
    """Whether a key is a list whose entries are plain values or sections."""
    return len(field.get("items", {}).get("anyOf", ())) > 1


def _resolved(field: Schema, definitions: Schema) -> Schema:
    reference = field.get("$ref")
    return definitions[reference.rsplit("/", 1)[-1]] if reference else field


def _row(name: str, field: Schema, definitions: Schema, required: bool) -> str:
    options = [_resolved(option, definitions) for option in field.get("anyOf", [field])]
    values = [option for option in options if option.get("type") != "null"]
    default = "required" if required else "none" if field["default"] is None else f"`{json.dumps(field['default'])}`"
    bounds = ", ".join(text.format(value[key]) for value in values for key, text in BOUNDS.items() if key in value)
    cells = (
        f"`{name}`",
        " or ".join(_type(value) for value in values),
        default,
        bounds,
        " ".join(field["description"].split()),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _type(value: Schema) -> str:
    if "enum" in value:
        return ", ".join(f"`{option}`" for option in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value["type"] == "object":
        return "section below"
    if value["type"] == "array":
        items = value["items"]
        return f"list of {' or '.join(_type(option) for option in items.get('anyOf', [items]) if '$ref' not in option)}"
    return str(value["type"])


if __name__ == "__main__":
    (Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE).write_text(settings_page(), encoding="utf-8")
