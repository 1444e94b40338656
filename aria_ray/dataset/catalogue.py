"""The catalogue: simulated tools of everyday domains, composed from entities and what can be done with them.

A domain file describes entities (a flight, a hotel room): their parameters, the clause that states each parameter, and their
states. `actions.yaml` describes what can be done with any entity. Each pair of entity and action gives a tool here, and its
intents in `catalogue_intents`. Results come from `tools.simulated`, so rows teach which tool to choose and how to fill its
arguments.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aria_ray.dataset.slots import Slot
from aria_ray.dataset.templates import ListedTool
from aria_ray.tools import Backend

Action = Literal["create", "search", "check", "cancel", "change", "find", "list"]

_SCHEMAS: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "decimal": {"type": "number"},
    "list_of": {"type": "array", "items": {"type": "string"}},
    "sample": {"type": "array", "items": {"type": "string"}},
}
"""JSON Schema by kind of slot; the other kinds are strings."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Property(_Part):
    """A simple value within a nested parameter."""

    description: str
    value: Slot


class Parameter(_Part):
    """A parameter of an entity, and the clause that states it in a request."""

    description: str = Field(min_length=1)
    say: str = Field(min_length=1)
    ask: str | None = Field(default=None, pattern=r"\?$")
    """Question of the assistant when the value is missing."""
    optional: bool = False
    value: Slot | None = None
    properties: dict[str, Property] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.value is None) == (self.properties is None):
            raise ValueError("a parameter must have exactly one of `value` and `properties`")
        if (self.ask is None) != self.optional:
            raise ValueError("`ask` must be given exactly where the parameter is not optional")
        return self

    @property
    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of the parameter."""
        if self.properties is None:
            return {**_schema(self.value or Slot()), "description": self.description}
        fields = {name: {**_schema(item.value), "description": item.description} for name, item in self.properties.items()}
        return {"type": "object", "properties": fields, "required": list(fields), "description": self.description}

    def slots(self, name: str) -> dict[str, Slot]:
        """Slots of the parameter: one with its name, or one for each property."""
        if self.properties is None:
            return {name: self.value or Slot()}
        return {f"{name}_{key}": item.value for key, item in self.properties.items()}

    def argument(self, name: str) -> Any:
        """Argument of a call, with placeholders for values."""
        return f"{{{name}}}" if self.properties is None else {key: f"{{{name}_{key}}}" for key in self.properties}


class Entity(_Part):
    """A thing of everyday life that tools deal with."""

    name: str = Field(pattern="^[a-z_]+$")
    article: Literal["a", "an"]
    plural: str
    verb: str
    participle: str
    prefix: str = Field(pattern="^[A-Z]{2,3}$")
    key: str
    states: tuple[str, ...] = Field(min_length=2)
    parameters: dict[str, Parameter]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.key not in self.parameters:
            raise ValueError(f"`key` {self.key!r} must be one of the parameters {', '.join(self.parameters)}")
        if len(self.required) < 2 or not self.optional:
            raise ValueError("an entity must have at least two required parameters and an optional one")
        return self

    @property
    def required(self) -> list[str]:
        """Names of the required parameters."""
        return [name for name, parameter in self.parameters.items() if not parameter.optional]

    @property
    def optional(self) -> list[str]:
        """Names of the optional parameters."""
        return [name for name, parameter in self.parameters.items() if parameter.optional]

    @property
    def reference(self) -> str:
        """Name of the parameter that holds a reference to the entity."""
        return f"{self.name}_id"

    @property
    def words(self) -> dict[str, str]:
        """Texts by placeholder for the sentences of an action."""
        noun = self.name.replace("_", " ")
        words = {
            "name": self.name,
            "names": self.plural.replace(" ", "_"),
            "noun": noun,
            "nouns": self.plural,
            "a_noun": f"{self.article} {noun}",
            "verb": self.verb,
            "participle": self.participle,
            "key": self.key.replace("_", " "),
        }
        return words | {f"{key[0].upper()}{key[1:]}": capital(text) for key, text in words.items()}


class Domain(_Part):
    """Entities that belong together, whose tools resemble each other."""

    domain: str = Field(pattern="^[a-z_]+$")
    entities: tuple[Entity, ...] = Field(min_length=1)


class ActionTexts(_Part):
    """A tool that every entity has, and the sentences that ask for it, by outcome of the request."""

    tool: str
    description: str
    topic: str
    answer: str
    both_answer: str | None = None
    hit: tuple[str, ...]
    limited: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unavailable: tuple[str, ...] = ()
    parallel: tuple[str, ...] = ()
    after_find: tuple[str, ...] = ()


class Actions(_Part):
    """The content of `actions.yaml`."""

    actions: dict[Action, ActionTexts]


def catalogue_tools(domain: Domain, actions: Actions) -> dict[str, ListedTool]:
    """The tools of a domain by name, one for each pair of entity and action."""
    tools = {}
    for entity in domain.entities:
        for action, texts in actions.actions.items():
            name = filled(texts.tool, entity.words)
            properties, required = _parameters(entity, action)
            function = {
                "name": name,
                "description": filled(texts.description, entity.words).removesuffix("."),
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": False,
                },
            }
            tools[name] = ListedTool({"type": "function", "function": function}, domain.domain, _backend(entity, action))
    return tools


def _parameters(entity: Entity, action: Action) -> tuple[dict[str, Any], list[str]]:
    """The properties of an action's JSON Schema, and the names of the required ones."""
    schemas = {name: parameter.json_schema for name, parameter in entity.parameters.items()}
    reference = {entity.reference: {"type": "string", "description": "Reference"}}
    limit = {"limit": {"type": "integer", "description": "Most to return"}}
    match action:
        case "create":
            return schemas, entity.required
        case "search":
            return {name: schemas[name] for name in entity.required} | limit, entity.required
        case "check" | "cancel":
            return reference, [entity.reference]
        case "change":
            return reference | {name: schemas[name] for name in entity.optional}, [entity.reference]
        case "find":
            return {entity.key: schemas[entity.key]}, [entity.key]
        case "list":
            return {"state": {"type": "string", "enum": list(entity.states), "description": "State"}} | limit, ["state"]


def _backend(entity: Entity, action: Action) -> Backend:
    match action:
        case "create" | "find":
            return Backend(kind="reference", prefix=entity.prefix)
        case "search":
            return Backend(kind="found", prefix=entity.prefix)
        case "list":
            return Backend(kind="listed", prefix=entity.prefix)
        case "check":
            return Backend(kind="state", states=entity.states, reference_parameter=entity.reference)
        case "cancel":
            return Backend(kind="fixed", text="cancelled", reference_parameter=entity.reference)
        case "change":
            return Backend(kind="fixed", text="changed", reference_parameter=entity.reference)


def filled(text: str, words: Mapping[str, str]) -> str:
    """A sentence with `words` filled in; other placeholders stay, as slots."""
    return re.sub(r"\{(\w+)\}", lambda match: words.get(match[1], match[0]), text)


def capital(text: str) -> str:
    """A text with a capital letter at its start."""
    return text[0].upper() + text[1:]


def _schema(slot: Slot) -> dict[str, Any]:
    if slot.kind == "choice":
        return {"type": "string", "enum": list(slot.choice or ())}
    return _SCHEMAS.get(slot.kind, {"type": "string"})
