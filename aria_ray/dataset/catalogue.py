"""The catalogue: simulated tools of everyday domains, composed from entities and what can be done with them.

A domain file says what an entity is (a flight, a hotel room): how one is made, what is said of each parameter, which states it
has. `actions.yaml` says what can be done with any entity. Entity times action gives a tool and its intents. Nothing is run for
real: the results come from `tools.simulated`, so rows teach which tool to choose and how to fill its arguments.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aria_ray.dataset.slots import Slot
from aria_ray.dataset.templates import CallTemplate, Category, Intent, ListedTool
from aria_ray.tools import Backend

Action = Literal["create", "search", "check", "cancel", "change", "find", "list"]

MAX_LIMIT = 9
_ALSO_SEARCHING: tuple[Action, ...] = ("list", "find")
MORE_PARAMETERS = 2
"""Optional parameters that one request names besides the required ones."""
_SCHEMAS: dict[str, dict[str, Any]] = {
    "integer": {"type": "integer"},
    "decimal": {"type": "number"},
    "list_of": {"type": "array", "items": {"type": "string"}},
    "sample": {"type": "array", "items": {"type": "string"}},
}
"""JSON schema by the kind of slot; the others are strings."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Property(_Part):
    """A simple value within a nested parameter."""

    description: str
    value: Slot


class Parameter(_Part):
    """A parameter of an entity, and the clause that says it."""

    description: str = Field(min_length=1)
    say: str = Field(min_length=1)
    ask: str | None = Field(default=None, pattern=r"\?$")
    """How the assistant asks for it when it is missing."""
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
        """Its JSON schema."""
        if self.properties is None:
            return {**_schema(self.value or Slot()), "description": self.description}
        fields = {name: {**_schema(item.value), "description": item.description} for name, item in self.properties.items()}
        return {"type": "object", "properties": fields, "required": list(fields), "description": self.description}

    def slots(self, name: str) -> dict[str, Slot]:
        """Its slots: one of its own name, or one for each property."""
        if self.properties is None:
            return {name: self.value or Slot()}
        return {f"{name}_{key}": item.value for key, item in self.properties.items()}

    def argument(self, name: str) -> Any:
        """Its argument, with slots for values."""
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
        """The parameters without which none can be made."""
        return [name for name, parameter in self.parameters.items() if not parameter.optional]

    @property
    def optional(self) -> list[str]:
        """The others."""
        return [name for name, parameter in self.parameters.items() if parameter.optional]

    @property
    def reference(self) -> str:
        """The parameter by which tools name one."""
        return f"{self.name}_id"

    @property
    def words(self) -> dict[str, str]:
        """What the sentences of an action may say of it, by placeholder."""
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
        return words | {f"{key[0].upper()}{key[1:]}": _capital(text) for key, text in words.items()}


class Domain(_Part):
    """Entities that belong together: their tools are each other's look-alikes."""

    domain: str = Field(pattern="^[a-z_]+$")
    entities: tuple[Entity, ...] = Field(min_length=1)


class ActionTexts(_Part):
    """A tool that every entity has, and the sentences that ask for it, by what becomes of the request."""

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
    """The tools of a domain by name: one for each entity and action."""
    tools = {}
    for entity in domain.entities:
        for action, texts in actions.actions.items():
            name = _filled(texts.tool, entity.words)
            properties, required = _parameters(entity, action)
            function = {
                "name": name,
                "description": _filled(texts.description, entity.words).removesuffix("."),
                "parameters": {
                    "type": "object",
                    "properties": properties,
                    "required": required,
                    "additionalProperties": False,
                },
            }
            tools[name] = ListedTool({"type": "function", "function": function}, domain.domain, _backend(entity, action))
    return tools


DEALT = ("hit", "missing", "unavailable", "failed")
"""Kinds of sentences that are exchanged between each other; see `_dealt`."""


def _dealt(actions: Actions, entity: Entity) -> Actions:
    """The actions with their sentences dealt anew among what becomes of the request, for this entity.

    So no way of asking gives away that a value is missing or that no tool can do it: over all entities each is used for all.
    Sentences with other placeholders stay where they are.
    """
    dealt = {}
    for action, texts in actions.actions.items():
        changed: dict[str, tuple[str, ...]] = {}
        kinds = [kind for kind in DEALT if getattr(texts, kind) and _placeholders(texts, kind) == _placeholders(texts, "hit")]
        pool = [text for kind in kinds for text in getattr(texts, kind)]
        random.Random(f"deal:{entity.name}:{action}").shuffle(pool)
        for kind in kinds:
            count = len(getattr(texts, kind))
            changed[kind], pool = tuple(pool[:count]), pool[count:]
        dealt[action] = texts.model_copy(update=changed)
    return Actions(actions=dealt)


def _placeholders(texts: ActionTexts, kind: str) -> set[str]:
    """What the sentences of a kind say of the parameters."""
    found = {name.lower() for text in getattr(texts, kind) for name in re.findall(r"\{(\w+)\}", text)}
    return found & {"clauses", "change", "key_clause", "id", "state"}


def catalogue_intents(domain: Domain, actions: Actions) -> Iterator[tuple[Category, Intent]]:
    """The intents of a domain: what goes wrong is of the category of errors, choosing and filling a tool is reasoning."""
    for entity in domain.entities:
        own = _dealt(actions, entity)
        for fields in (*_creates(entity, own), *_searches(entity, own), *_by_reference(entity, own)):
            intent = Intent(**fields, domain=domain.domain)
            yield ("tool_errors" if intent.scenario == "error" else "reasoning"), intent


Fields = dict[str, Any]


def _creates(entity: Entity, actions: Actions) -> Iterator[Fields]:
    texts = actions.actions["create"]
    tool = _filled(texts.tool, entity.words)
    said = {"ask": _filled(texts.topic, entity.words), "answer": _filled(texts.answer, entity.words)}
    optional = entity.optional
    for suffix, names in (
        ("", []),
        ("_more", optional[:MORE_PARAMETERS]),
        ("_full", optional[MORE_PARAMETERS:]),
    ):
        if suffix and not names:
            continue
        chosen = entity.required + names
        yield {
            "name": f"{tool}{suffix}",
            "scenario": "hit",
            **said,
            "slots": _slots(entity, chosen),
            "steps": ((_call(tool, entity, chosen),),),
            "phrasings": _sentences(texts.hit, entity, clauses=_clauses(entity, chosen)),
        }
    yield from _missing_values(entity, tool, texts)
    yield {
        "name": f"no_{tool}",
        "scenario": "error",
        "error": "unavailable",
        "ask": said["ask"],
        "without": (tool,),
        "slots": _slots(entity, entity.required),
        "answer": _filled("No listed tool can {verb} {a_noun}.", entity.words),
        "contains": ("no listed tool",),
        "phrasings": _sentences(texts.unavailable, entity, clauses=_clauses(entity, entity.required)),
    }
    other = {f"other_{name}": slot for name, slot in _slots(entity, entity.required).items()}
    yield {
        "name": f"{tool}_twice",
        "scenario": "multi",
        "ask": _filled("{verb} two {nouns}", entity.words),
        "slots": _slots(entity, entity.required) | other,
        "steps": ((_call(tool, entity, entity.required), _call(tool, entity, entity.required, "other_")),),
        "answer": "Done, the references are {result1} and {result2}.",
        "phrasings": _sentences(
            texts.parallel,
            entity,
            clauses=_clauses(entity, entity.required),
            other_clauses=_clauses(entity, entity.required, "other_"),
        ),
    }


def _missing_values(entity: Entity, tool: str, texts: ActionTexts) -> Iterator[Fields]:
    """Requests that leave out one of the required values, for each of the first two."""
    for name in entity.required[:2]:
        ask = entity.parameters[name].ask or ""
        rest = [other for other in entity.required if other != name]
        yield {
            "name": f"{tool}_without_{name}",
            "scenario": "error",
            "error": "missing",
            "ask": _filled(texts.topic, entity.words),
            "reason": f"{name.replace('_', ' ')} is missing",
            "listed": (tool,),
            "slots": _slots(entity, rest),
            "answer": ask,
            "contains": (" ".join(ask.lower().rstrip("?").split()[:2]),),
            "phrasings": _sentences(texts.missing, entity, clauses=_clauses(entity, rest)),
        }


def _searches(entity: Entity, actions: Actions) -> Iterator[Fields]:
    limit = {"limit": Slot(integer=(2, MAX_LIMIT))}
    state = {"state": Slot(choice=entity.states)}
    required = _slots(entity, entity.required)
    arguments = {name: entity.parameters[name].argument(name) for name in entity.required}
    clauses = _clauses(entity, entity.required)
    for action, slots, given in (("search", required, arguments), ("list", state, {"state": "{state}"})):
        texts = actions.actions["search" if action == "search" else "list"]
        tool = _filled(texts.tool, entity.words)
        said = {"ask": _filled(texts.topic, entity.words), "answer": _filled(texts.answer, entity.words), "scenario": "hit"}
        yield {
            "name": tool,
            **said,
            "slots": slots,
            "steps": ((CallTemplate(tool=tool, arguments=given),),),
            "phrasings": _sentences(texts.hit, entity, clauses=clauses),
        }
        yield {
            "name": f"{tool}_limited",
            **said,
            "slots": slots | limit,
            "steps": ((CallTemplate(tool=tool, arguments=given | {"limit": "{limit}"}),),),
            "phrasings": _sentences(texts.limited, entity, clauses=clauses),
        }
    texts = actions.actions["search"]
    tool = _filled(texts.tool, entity.words)
    yield {
        "name": f"no_{tool}",
        "scenario": "error",
        "error": "unavailable",
        "ask": _filled(texts.topic, entity.words),
        "without": (tool, *(_filled(actions.actions[other].tool, entity.words) for other in _ALSO_SEARCHING)),
        "slots": required,
        "answer": _filled("No listed tool can search {nouns}.", entity.words),
        "contains": ("no listed tool",),
        "phrasings": _sentences(texts.unavailable, entity, clauses=clauses),
    }


def _by_reference(entity: Entity, actions: Actions) -> Iterator[Fields]:
    """What is done with one that is there: find it, check it, change it, cancel it."""
    reference = {"id": Slot(reference=f"{entity.prefix}-####")}
    unknown = {"id": Slot(unknown_reference=f"{entity.prefix}-####")}
    other = {"other_id": Slot(reference=f"{entity.prefix}-####")}
    key_slots, key_clause = _slots(entity, [entity.key]), _clauses(entity, [entity.key])
    find = _filled(actions.actions["find"].tool, entity.words)
    find_call = CallTemplate(tool=find, arguments={entity.key: entity.parameters[entity.key].argument(entity.key)})
    finding = actions.actions["find"]
    yield {
        "name": find,
        "scenario": "hit",
        "ask": _filled(finding.topic, entity.words),
        "slots": key_slots,
        "steps": ((find_call,),),
        "answer": _filled(finding.answer, entity.words),
        "phrasings": _sentences(finding.hit, entity, key_clause=key_clause),
    }
    for action in ("check", "cancel"):
        texts = actions.actions["check" if action == "check" else "cancel"]
        tool = _filled(texts.tool, entity.words)
        ask, answer = _filled(texts.topic, entity.words), _filled(texts.answer, entity.words)
        call = CallTemplate(tool=tool, arguments={entity.reference: "{id}"})
        hit = {"ask": ask, "slots": reference, "steps": ((call,),), "answer": answer}
        yield {"name": tool, "scenario": "hit", **hit, "phrasings": _sentences(texts.hit, entity)}
        yield _failed(tool, entity, {**hit, "slots": unknown}, _sentences(texts.failed, entity))
        yield {
            "name": f"{tool}_without_id",
            "scenario": "error",
            "error": "missing",
            "ask": ask,
            "reason": "reference is missing",
            "listed": (tool,),
            "answer": _filled("Which {noun} do you mean? Please give its reference.", entity.words),
            "contains": ("reference",),
            "phrasings": _sentences(texts.missing, entity),
        }
        then = CallTemplate(tool=tool, arguments={entity.reference: "{result}"})
        yield {
            "name": f"find_and_{tool}",
            "scenario": "multi",
            "ask": ask,
            "slots": key_slots,
            "steps": ((find_call,), (then,)),
            "answer": _filled("The {noun} {result1} is {result2}.", entity.words),
            "phrasings": _sentences(texts.after_find, entity, key_clause=key_clause),
        }
        if texts.parallel:
            both = (call, CallTemplate(tool=tool, arguments={entity.reference: "{other_id}"}))
            yield {
                "name": f"{tool}_twice",
                "scenario": "multi",
                "ask": ask,
                "slots": reference | other,
                "steps": (both,),
                "answer": texts.both_answer,
                "phrasings": _sentences(texts.parallel, entity),
            }
    yield from _changes(entity, actions.actions["change"], reference, unknown)


def _changes(entity: Entity, texts: ActionTexts, reference: dict[str, Slot], unknown: dict[str, Slot]) -> Iterator[Fields]:
    tool = _filled(texts.tool, entity.words)
    for index, name in enumerate(entity.optional):
        call = _call(tool, entity, [name], **{entity.reference: "{id}"})
        sentences = _sentences(texts.hit, entity, change=_clauses(entity, [name]))
        hit: Fields = {
            "ask": _filled(texts.topic, entity.words),
            "slots": reference | _slots(entity, [name]),
            "steps": ((call,),),
            "answer": _filled(texts.answer, entity.words),
        }
        yield {"name": f"{tool}_{name}", "scenario": "hit", **hit, "phrasings": sentences}
        if index == 0:
            failing = hit | {"slots": unknown | _slots(entity, [name])}
            yield _failed(tool, entity, failing, _sentences(texts.failed, entity, change=_clauses(entity, [name])))


def _failed(tool: str, entity: Entity, hit: Fields, phrasings: Sequence[str]) -> Fields:
    answer = _filled("I cannot do that for the {noun}: {result}.", entity.words)
    return {
        **hit,
        "name": f"{tool}_unknown",
        "scenario": "error",
        "error": "failed",
        "answer": answer,
        "phrasings": phrasings,
    }


def _parameters(entity: Entity, action: Action) -> tuple[dict[str, Any], list[str]]:
    """The properties of an action's schema and the required ones."""
    own = {name: parameter.json_schema for name, parameter in entity.parameters.items()}
    reference = {entity.reference: {"type": "string", "description": "Reference"}}
    limit = {"limit": {"type": "integer", "description": "Most to return"}}
    match action:
        case "create":
            return own, entity.required
        case "search":
            return {name: own[name] for name in entity.required} | limit, entity.required
        case "check" | "cancel":
            return reference, [entity.reference]
        case "change":
            return reference | {name: own[name] for name in entity.optional}, [entity.reference]
        case "find":
            return {entity.key: own[entity.key]}, [entity.key]
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


def _call(tool: str, entity: Entity, names: Sequence[str], prefix: str = "", **more: str) -> CallTemplate:
    arguments = {name: _prefixed(entity.parameters[name].argument(name), prefix) for name in names}
    return CallTemplate(tool=tool, arguments={**more, **arguments})


def _prefixed(argument: Any, prefix: str) -> Any:
    if isinstance(argument, dict):
        return {key: _prefixed(item, prefix) for key, item in argument.items()}
    return str(argument).replace("{", f"{{{prefix}")


def _slots(entity: Entity, names: Sequence[str]) -> dict[str, Slot]:
    return {slot: kind for name in names for slot, kind in entity.parameters[name].slots(name).items()}


def _clauses(entity: Entity, names: Sequence[str], prefix: str = "") -> str:
    return str(_prefixed(" ".join(entity.parameters[name].say for name in names), prefix))


def _sentences(texts: Sequence[str], entity: Entity, **clauses: str) -> tuple[str, ...]:
    words = entity.words | clauses | {f"{key[0].upper()}{key[1:]}": _capital(text) for key, text in clauses.items()}
    return tuple(_filled(text, words) for text in texts)


def _filled(text: str, words: Mapping[str, str]) -> str:
    """A sentence with its words put in; what is no word of the entity stays a slot."""
    return re.sub(r"\{(\w+)\}", lambda found: words.get(found[1], found[0]), text)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _schema(slot: Slot) -> dict[str, Any]:
    if slot.kind == "choice":
        return {"type": "string", "enum": list(slot.choice or ())}
    return _SCHEMAS.get(slot.kind, {"type": "string"})
