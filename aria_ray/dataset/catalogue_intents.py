"""Intents for the catalogue's tools, composed for every entity from the sentences of `actions.yaml`."""

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from aria_ray.dataset.catalogue import Action, Actions, ActionTexts, Domain, Entity, capital, filled
from aria_ray.dataset.slots import Slot
from aria_ray.dataset.templates import CallTemplate, Category, Intent

MAX_LIMIT = 9
MORE_PARAMETERS = 2
"""Optional parameters in one request beside the required ones."""
_ON_ONE: tuple[Action, ...] = ("check", "cancel")
_ALSO_SEARCHING: tuple[Action, ...] = ("list", "find")
DEALT = ("hit", "missing", "unavailable", "failed")
"""Outcomes whose sentences are exchanged with each other; see `_dealt`."""


def _dealt(actions: Actions, entity: Entity) -> Actions:
    """The actions with their sentences dealt anew among the outcomes of a request, for this entity.

    Over all entities each sentence is used for every outcome. So no wording gives away that a value is missing or that no
    tool can do it. Sentences with other placeholders than those of a hit stay where they are.
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
    """Placeholders for parameters in the sentences of an outcome."""
    names = {name.lower() for text in getattr(texts, kind) for name in re.findall(r"\{(\w+)\}", text)}
    return names & {"clauses", "change", "key_clause", "id", "state"}


def catalogue_intents(domain: Domain, actions: Actions) -> Iterator[tuple[Category, Intent]]:
    """The intents of a domain with their category: `tool_errors` where something goes wrong, else `reasoning`."""
    for entity in domain.entities:
        dealt = _dealt(actions, entity)
        for fields in (*_creates(entity, dealt), *_searches(entity, dealt), *_by_reference(entity, dealt)):
            intent = Intent(**fields, domain=domain.domain)
            yield ("tool_errors" if intent.scenario == "error" else "reasoning"), intent


Fields = dict[str, Any]


def _creates(entity: Entity, actions: Actions) -> Iterator[Fields]:
    texts = actions.actions["create"]
    tool = filled(texts.tool, entity.words)
    common = {"ask": filled(texts.topic, entity.words), "answer": filled(texts.answer, entity.words)}
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
            **common,
            "slots": _slots(entity, chosen),
            "steps": ((_call(tool, entity, chosen),),),
            "phrasings": _sentences(texts.hit, entity, clauses=_clauses(entity, chosen)),
        }
    yield from _missing_values(entity, tool, texts)
    yield from _without_tool_and_twice(entity, tool, texts)


def _without_tool_and_twice(entity: Entity, tool: str, texts: ActionTexts) -> Iterator[Fields]:
    yield {
        "name": f"no_{tool}",
        "scenario": "error",
        "error": "unavailable",
        "ask": filled(texts.topic, entity.words),
        "without": (tool,),
        "slots": _slots(entity, entity.required),
        "answer": filled("No listed tool can {verb} {a_noun}.", entity.words),
        "contains": ("no listed tool",),
        "phrasings": _sentences(texts.unavailable, entity, clauses=_clauses(entity, entity.required)),
    }
    other = {f"other_{name}": slot for name, slot in _slots(entity, entity.required).items()}
    yield {
        "name": f"{tool}_twice",
        "scenario": "multi",
        "ask": filled("{verb} two {nouns}", entity.words),
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
    """Requests that leave out a required value, for each of the first two."""
    for name in entity.required[:2]:
        ask = entity.parameters[name].ask or ""
        rest = [other for other in entity.required if other != name]
        yield {
            "name": f"{tool}_without_{name}",
            "scenario": "error",
            "error": "missing",
            "ask": filled(texts.topic, entity.words),
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
        tool = filled(texts.tool, entity.words)
        common = {"ask": filled(texts.topic, entity.words), "answer": filled(texts.answer, entity.words), "scenario": "hit"}
        yield {
            "name": tool,
            **common,
            "slots": slots,
            "steps": ((CallTemplate(tool=tool, arguments=given),),),
            "phrasings": _sentences(texts.hit, entity, clauses=clauses),
        }
        yield {
            "name": f"{tool}_limited",
            **common,
            "slots": slots | limit,
            "steps": ((CallTemplate(tool=tool, arguments=given | {"limit": "{limit}"}),),),
            "phrasings": _sentences(texts.limited, entity, clauses=clauses),
        }
    texts = actions.actions["search"]
    tool = filled(texts.tool, entity.words)
    yield {
        "name": f"no_{tool}",
        "scenario": "error",
        "error": "unavailable",
        "ask": filled(texts.topic, entity.words),
        "without": (tool, *(filled(actions.actions[other].tool, entity.words) for other in _ALSO_SEARCHING)),
        "slots": required,
        "answer": filled("No listed tool can search {nouns}.", entity.words),
        "contains": ("no listed tool",),
        "phrasings": _sentences(texts.unavailable, entity, clauses=clauses),
    }


def _by_reference(entity: Entity, actions: Actions) -> Iterator[Fields]:
    """Requests about an entity that exists: find, check, cancel and change it."""
    finding = actions.actions["find"]
    find = filled(finding.tool, entity.words)
    find_call = CallTemplate(tool=find, arguments={entity.key: entity.parameters[entity.key].argument(entity.key)})
    yield {
        "name": find,
        "scenario": "hit",
        "ask": filled(finding.topic, entity.words),
        "slots": _slots(entity, [entity.key]),
        "steps": ((find_call,),),
        "answer": filled(finding.answer, entity.words),
        "phrasings": _sentences(finding.hit, entity, key_clause=_clauses(entity, [entity.key])),
    }
    for action in _ON_ONE:
        texts = actions.actions[action]
        yield from _on_one(entity, texts)
        yield from _on_several(entity, texts, find_call)
    yield from _changes(entity, actions.actions["change"])


def _on_one(entity: Entity, texts: ActionTexts) -> Iterator[Fields]:
    """One call with a reference, the same with a reference that does not exist, and a request without one."""
    tool, ask = filled(texts.tool, entity.words), filled(texts.topic, entity.words)
    call = CallTemplate(tool=tool, arguments={entity.reference: "{id}"})
    hit: Fields = {"ask": ask, "steps": ((call,),), "answer": filled(texts.answer, entity.words)}
    yield {"name": tool, "scenario": "hit", **hit, "slots": _known(entity), "phrasings": _sentences(texts.hit, entity)}
    yield _failed(tool, entity, hit | {"slots": _unknown(entity)}, _sentences(texts.failed, entity))
    yield {
        "name": f"{tool}_without_id",
        "scenario": "error",
        "error": "missing",
        "ask": ask,
        "reason": "reference is missing",
        "listed": (tool,),
        "answer": filled("Which {noun} do you mean? Please give its reference.", entity.words),
        "contains": ("reference",),
        "phrasings": _sentences(texts.missing, entity),
    }


def _on_several(entity: Entity, texts: ActionTexts, find_call: CallTemplate) -> Iterator[Fields]:
    """A call with the result of another one, and two calls in parallel."""
    tool, ask = filled(texts.tool, entity.words), filled(texts.topic, entity.words)
    yield {
        "name": f"find_and_{tool}",
        "scenario": "multi",
        "ask": ask,
        "slots": _slots(entity, [entity.key]),
        "steps": ((find_call,), (CallTemplate(tool=tool, arguments={entity.reference: "{result}"}),)),
        "answer": filled("The {noun} {result1} is {result2}.", entity.words),
        "phrasings": _sentences(texts.after_find, entity, key_clause=_clauses(entity, [entity.key])),
    }
    if texts.parallel:
        both = tuple(CallTemplate(tool=tool, arguments={entity.reference: f"{{{slot}}}"}) for slot in ("id", "other_id"))
        yield {
            "name": f"{tool}_twice",
            "scenario": "multi",
            "ask": ask,
            "slots": _known(entity) | {"other_id": Slot(reference=f"{entity.prefix}-####")},
            "steps": (both,),
            "answer": texts.both_answer,
            "phrasings": _sentences(texts.parallel, entity),
        }


def _known(entity: Entity) -> dict[str, Slot]:
    return {"id": Slot(reference=f"{entity.prefix}-####")}


def _unknown(entity: Entity) -> dict[str, Slot]:
    return {"id": Slot(unknown_reference=f"{entity.prefix}-####")}


def _changes(entity: Entity, texts: ActionTexts) -> Iterator[Fields]:
    tool = filled(texts.tool, entity.words)
    for index, name in enumerate(entity.optional):
        call = _call(tool, entity, [name], **{entity.reference: "{id}"})
        sentences = _sentences(texts.hit, entity, change=_clauses(entity, [name]))
        hit: Fields = {
            "ask": filled(texts.topic, entity.words),
            "slots": _known(entity) | _slots(entity, [name]),
            "steps": ((call,),),
            "answer": filled(texts.answer, entity.words),
        }
        yield {"name": f"{tool}_{name}", "scenario": "hit", **hit, "phrasings": sentences}
        if index == 0:
            failing = hit | {"slots": _unknown(entity) | _slots(entity, [name])}
            yield _failed(tool, entity, failing, _sentences(texts.failed, entity, change=_clauses(entity, [name])))


def _failed(tool: str, entity: Entity, hit: Fields, phrasings: Sequence[str]) -> Fields:
    answer = filled("I cannot do that for the {noun}: {result}.", entity.words)
    return {
        **hit,
        "name": f"{tool}_unknown",
        "scenario": "error",
        "error": "failed",
        "answer": answer,
        "phrasings": phrasings,
    }


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
    words = entity.words | clauses | {f"{key[0].upper()}{key[1:]}": capital(text) for key, text in clauses.items()}
    return tuple(filled(text, words) for text in texts)
