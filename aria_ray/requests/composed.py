"""Requests composed from a tool's definition, where nobody has said how people ask for it. The last resort.

They are short, as people type them: orders, questions, fragments. Values are of fitting kinds only: what the schema names, a
typed pool, or a label such as `sensor 3`; each is said in the words, or the request is not made.
"""

import random
import re
from collections.abc import Mapping
from typing import Any

from aria_ray.grammar import ToolDefinition
from aria_ray.requests.clauses import clause, joined, said, spoken
from aria_ray.requests.drawn import drawn_value, noun_of
from aria_ray.requests.example import ExampleCall, ExampleRequest
from aria_ray.requests.fitting import kind_of
from aria_ray.requests.kin import shifted
from aria_ray.requests.pools import enum_of, split_words
from aria_ray.requests.spellings import VERBS, is_plural
from aria_ray.requests.values import find, leaves

MAX_REQUESTS = 10
"""Most requests of one tool."""
MAX_DRAWS = 10
"""Attempts to draw a value that no other parameter has."""
MAX_HEAD_WORDS = 9
"""A description with more words is no request that somebody types."""
_BASE = {
    "returns": "get", "return": "get", "retrieves": "get", "retrieve": "get", "fetches": "get", "fetch": "get",
    "gets": "get", "obtain": "get", "query": "look up", "queries": "look up", "lookup": "look up",
    "searches": "search for", "calculates": "calculate", "computes": "calculate", "compute": "calculate",
    "generates": "generate", "converts": "convert", "performs": "do", "executes": "run", "execute": "run",
    "lists": "list", "finds": "find", "sends": "send", "creates": "create", "adds": "add", "updates": "update",
    "deletes": "delete", "removes": "remove", "sets": "set", "checks": "check", "estimates": "estimate",
    "translates": "translate", "books": "book", "starts": "start", "stops": "stop", "turns": "turn", "read": "read",
    "reads": "read", "shows": "show", "cancels": "cancel", "moves": "move", "opens": "open", "plays": "play",
}  # fmt: skip  # pairs read better in rows
"""What people say for the verbs of definitions."""
_MORE_VERBS = frozenset(
    {
        "adjust", "analyse", "analyze", "apply", "assess", "borrow", "calculate", "classify", "compare", "convert", "count",
        "decode", "deploy", "describe", "detect", "dispatch", "do", "draw", "encode", "escalate", "estimate", "export", "flip",
        "generate", "hire", "identify", "import", "lend", "list", "locate", "log", "look", "measure", "pick", "ping", "place",
        "prune", "quote", "rank", "rate", "record", "redeem", "refund", "rent", "report", "request", "resize", "roll", "rotate",
        "route", "run", "scale", "scan", "search", "solve", "spell", "summarise", "summarize", "tell", "translate", "vacuum",
        "validate"
    }
)  # fmt: skip  # a list reads better in rows
_ASKING = frozenset(
    {
        "calculate", "check", "compare", "compute", "count", "describe", "estimate", "fetch", "find", "get", "list", "locate",
        "look", "query", "quote", "read", "retrieve", "search", "show", "track"
    }
)  # fmt: skip  # a list reads better in rows
_MAKING = frozenset(
    {"create", "add", "book", "schedule", "start", "make", "open", "write", "reserve", "order", "generate", "draw"}
)
_ORDERS = (
    "{do}", "please {do}", "can you {do}?", "{Do}.", "could you {do}", "{do} please", "i'd like to {do}", "i need to {do}",
)  # fmt: skip
_QUESTIONS = (
    "{what} {thing}?", "{do}", "{thing}", "can you {do}?", "tell me the {thing}", "i need the {thing}", "{Do}, please.",
)  # fmt: skip
_SEARCHES = ("{do}", "can you {do}?", "{thing}", "i'm looking for {thing}", "please {do}", "{Do}.", "could you {do}")
_ASKED = ("{do}?", "{Do}?", "can you tell me {do}?", "{do}")
_FREE_TEXT = re.compile(r"\b(body|message|text|content|comment|note)\b")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d$")
_OBJECT = re.compile(r"((up|down|off|out) )?(an?|the|all|some|my|your)\b")
_STATES = re.compile(r"\b(mode|state|status|level|position|priority|size|colou?r|unit|format|type|kind)$")
_WH = re.compile(r"(how|where|what|when|if|whether|which|who)\b")
_OF = re.compile(r"\b(of|in|for|on|at|between|from|to|about)\b")
_PARENTHESIS = re.compile(r"\s*\([^)]*\)")
_REST = re.compile(
    r"[;:,.].*$|\s+(and (returns?|gives?)|using|via|given|based on|by (its|their|id|name)|with the (given|specified)|from the "
    r"database|in the system|so that|which|that (is|are|was|match)|for (some|a|the) (days?|time)|to another .*|as (a )?json|"
    r"for the (current|given) .*|if .*)\b.*$"
)


def composed_requests(definition: ToolDefinition) -> list[ExampleRequest]:
    """Up to ten requests for a tool, the same every time; none where a required value has no kind."""
    function = definition["function"]
    name, schema = str(function["name"]), function["parameters"]
    properties: Mapping[str, Any] = schema.get("properties") or {}
    required = [key for key in schema.get("required", ()) if key in properties]
    optional = [key for key in properties if key not in required]
    heads = _choosing(_heads(name, str(function.get("description", ""))), required, properties)
    made: dict[str, ExampleRequest] = {}
    for number in range(8 * MAX_REQUESTS):
        rng = random.Random(f"composed:{name}:{number}")
        extra = rng.sample(optional, min(len(optional), rng.choice((0, 0, 1, 1, 2))))
        arguments = _arguments([*required, *extra], required, properties, name, rng)
        if arguments is None:
            continue
        request = _request(heads, number, arguments, properties)
        if _says_all(request, arguments):
            call = ExampleCall(name=name, arguments=arguments)
            made.setdefault(request.lower(), ExampleRequest(request=request, calls=(call,)))
        if len(made) == MAX_REQUESTS or (not properties and number > 2 * MAX_REQUESTS):
            break
    return list(made.values())


def _arguments(
    keys: list[str], required: list[str], properties: Mapping[str, Any], tool: str, rng: random.Random
) -> dict[str, Any] | None:
    """Values of parameters; None where a required one has no kind of values. Dates come in order."""
    arguments: dict[str, Any] = {}
    for key in keys:
        schema = properties[key]
        value = None if key not in required and _is_boolean(schema) else drawn_value(key, schema, tool, rng)
        if value is None and key in required:
            return None
        for _ in range(MAX_DRAWS):  # another value where one stands for two parameters
            if value is None or value not in arguments.values():
                break
            value = drawn_value(key, schema, tool, rng)
        if value is not None and value not in arguments.values():
            arguments[key] = value
    moments = [
        key for key, value in arguments.items() if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\d|\d\d:\d\d$", value)
    ]
    for index, key in enumerate(moments[1:], start=1):
        if kind_of(arguments[key]) == kind_of(arguments[moments[0]]):
            days, minutes = (rng.randint(2, 14), 0) if kind_of(arguments[key]) == "date" else (0, 60 * index)
            arguments[key] = shifted(arguments[moments[0]], days, minutes)
    return arguments if all(key in arguments for key in required) else None


def _is_boolean(schema: Mapping[str, Any]) -> bool:
    return "boolean" in (schema.get("type"), *(option.get("type") for option in schema.get("anyOf", ())))


def _heads(name: str, description: str) -> list[str]:
    """What a tool does in a few words: by its name, and by the first sentence of its description."""
    words = split_words(name.rpartition(".")[2])
    verb, _, rest = words.partition(" ")
    verb = _BASE.get(verb, verb)
    heads = []
    if rest and not re.match(r"(to|from|of|by)\b", rest) and (verb in VERBS or verb in _MORE_VERBS or " " in verb):
        bare = is_plural(rest) or re.match(r"(a|an|the|my|to|for|by|in|all|up|on|off)\b", rest)
        makes = verb in _MAKING or re.search(r"(timer|alarm|reminder)$", rest)
        article = "" if bare else ("an " if rest[0] in "aeiou" else "a ") if makes else "the "
        heads.append(f"{verb} {article}{rest}")
    sentence = _REST.sub("", _PARENTHESIS.sub("", description.strip().split("\n")[0])).strip()
    sentence = re.sub(r"\s+(for|of|in|to|by|on|with|against)?\s*(an?|the)?$", "", sentence)
    first, _, others = sentence.partition(" ")
    first = _BASE.get(first.lower(), first.lower())
    if first.endswith("s") and (first[:-1] in VERBS or first[:-1] in _MORE_VERBS):
        first = first[:-1]
    if others and first != "use" and len(sentence.split()) <= MAX_HEAD_WORDS:
        if first in VERBS or first in _MORE_VERBS or " " in first or _OBJECT.match(others):
            heads.append(f"{first} {others}")
        elif _WH.match(first):
            return [*heads, f"{first} {others}"]
        elif _OF.search(others):
            return [f"get {'' if is_plural(sentence) else 'the '}{first} {others}"]
    words = re.sub(r"\s+(in|on|at|for|to|of|by)$", "", words)
    return heads or [f"get the {words}" if not is_plural(words) else f"get {words}"]


def _choosing(heads: list[str], required: list[str], properties: Mapping[str, Any]) -> list[str]:
    """Those that say a choice (`on or off`) between the values of a required parameter; all where none does."""
    chosen = []
    for head in heads:
        for key in required:
            values = [True] if _is_boolean(properties[key]) else [value for value in enum_of(properties[key]) or ()]
            if any(_choice(head, properties[key], value) is not None for value in values):
                chosen.append(head)
    return chosen or heads


def _request(heads: list[str], number: int, arguments: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    head = heads[number % len(heads)]
    tail = ""
    # A text that is quoted stands at the end.
    for key in sorted(arguments, key=lambda key: _FREE_TEXT.search(split_words(key)) is not None):
        value, schema = arguments[key], properties[key]
        within = _within(head, key, schema, value)
        if within is not None:
            head = within
        else:
            tail += clause(key, schema, value, head)
    verb, _, rest = head.partition(" ")
    thing = re.sub(r"^(up|for|out|me)\s+", "", rest)
    thing = re.sub(r"^(the|a|an|all)\s+", "", thing)
    asks = verb in _ASKING and not re.match(r"(on|off)\b", thing) and not _WH.match(thing) and not tail.startswith(":")
    if _WH.match(head):
        return _worded(_ASKED[(number // len(heads)) % len(_ASKED)], f"{head}{tail}", "", "")
    ways = _SEARCHES if asks and verb in ("search", "find", "look") else _QUESTIONS if asks else _ORDERS
    way = ways[(number // len(heads)) % len(ways)]
    if tail.endswith('"'):
        way = way.rstrip(".?").replace(", please", "").removesuffix(" please")
    what = "what are the" if is_plural(re.split(r" (?:of|for|in) ", thing)[0]) else "what's the"
    return _worded(way, f"{head}{tail}", what, f"{thing}{tail}")


def _worded(way: str, do: str, what: str, thing: str) -> str:
    capital = do[:1].upper() + do[1:]
    return way.replace("{do}", do).replace("{Do}", capital).replace("{what}", what).replace("{thing}", thing)


def _within(head: str, key: str, schema: Mapping[str, Any], value: Any) -> str | None:
    """What a tool does with a value in place of the noun or the choice that stands for it; None where there is none."""
    choice = _choice(head, schema, value)
    if choice is not None or isinstance(value, (bool, dict)):
        return choice
    noun = noun_of(key)
    if isinstance(value, (int, float)):
        return _in_place(head, noun, f"{value:g}" if isinstance(value, float) else str(value))
    if isinstance(value, list):
        if not all(isinstance(item, str) for item in value):
            return None
        one = re.sub(r"(?<=[a-z]{2})s$", "", split_words(key))
        return _in_place(head, one, joined([said(item, one) for item in value]))
    return _text_within(head, key, schema, value)


def _text_within(head: str, key: str, schema: Mapping[str, Any], value: str) -> str | None:
    noun = noun_of(key)
    if noun in ("day", "date") and kind_of(value) in ("date", "day", "weekday", "relative day"):
        on = spoken(value) if kind_of(value) == "relative day" else f"on {spoken(value)}"
        return _in_place(re.sub(rf"\b(of|for|on) (?=(a|the) {noun}\b)", "", head), noun, on)
    if noun != split_words(key) or _is_code(value):
        return _in_place(
            head, noun, f"{noun} {value}" if re.search(r"\b(ids?|numbers?|codes?|references?)$", split_words(key)) else value
        )
    if _FREE_TEXT.search(noun):
        return _in_place(head, noun, f'"{value}"')
    if enum_of(schema) is not None and _STATES.search(noun):
        return None  # `change the mode to cool`
    text = said(value, key, schema)
    if enum_of(schema) is not None and not value.endswith(noun):
        text = f"the {text.removeprefix('the ')} {noun}"
    return _in_place(head, noun, text)


def _is_code(value: str) -> bool:
    """Whether a text is a code such as `A1042`."""
    return re.fullmatch(r"(?=.*\d)[A-Za-z0-9-]+", value) is not None


def _in_place(head: str, noun: str, words: str) -> str | None:
    """`order status` with order A1 is the status of order A1; `a room` with the kitchen is the kitchen."""
    one = re.escape(noun)
    # Not within a longer noun: `a room number` is no room. A verb or a preposition may follow.
    ends = r"(?!\s+(?!(?:is|are|was|to|of|for|in|on|at|and|or|by|with|from|left|up|off|out)\b)\w)"
    before = r"\b(?:an?|the|one|some|any|this|your|my|another|each)\s+(?:(?:given|specific|certain|single|particular)\s+)?"
    replaced, count = re.subn(rf"{before}{one}s?\b{ends}", words.replace("\\", ""), head, count=1)
    if count:
        return replaced
    replaced, count = re.subn(rf"^(\w+(?: up| for)?) {one}s?\b", rf"\1 {words}", head)
    if count:
        return replaced
    modifier = re.match(rf"(\w+(?: up| for)?) (?:an? |the )?{one} (\w+)$", head)
    if modifier is not None:
        return f"{modifier[1]} the {modifier[2]} of {words}"
    replaced, count = re.subn(rf"\b{one}s?$", words, head)
    if words.startswith(noun):  # a feature flag, and feature flag 8
        replaced = re.sub(rf"\ban? ((?:\w+ )?){re.escape(words)}$", rf"\1{words}", replaced)
    return replaced if count and head != replaced else None


def _choice(head: str, schema: Mapping[str, Any], value: Any) -> str | None:
    """`lock or unlock a door` with the chosen one of the two."""
    for match in re.finditer(r"\b(\w+) or (\w+)\b", head):
        pair = (match[1].lower(), match[2].lower())
        if isinstance(value, bool):
            chosen = pair[0] if value else pair[1]
        elif isinstance(value, str) and value.lower() in pair and enum_of(schema) is not None:
            chosen = value.lower()
        else:
            continue
        return head[: match.start()] + chosen + head[match.end() :]
    return None


def _says_all(request: str, arguments: Mapping[str, Any]) -> bool:
    """Whether every value but true and false is in the words."""
    return all(isinstance(value, bool) or find(value, request) for _, value in leaves(dict(arguments)))
