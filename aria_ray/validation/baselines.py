"""The keyword baseline: a call without a model. What a fine-tuned model has to beat.

It gets the tools and the request that the model gets, and learns nothing. The tool is the best one by BM25 (Robertson and
Zaragoza 2009, "The Probabilistic Relevance Framework", k1 = 1.2, b = 0.75) over its name, description, names of parameters and
values of enums. It declines a request of which no word stands in the name or the description of any tool; words such as "the"
count for nothing. It makes one call at most. How it finds the arguments is in `keyword_values`.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aria_ray.grammar import Call, ToolDefinition
from aria_ray.validation.keyword_values import arguments

K1, B = 1.2, 0.75
"""BM25: how fast repetitions of a word saturate, and how much long descriptions are discounted."""
DECLINES = "I cannot help with that."
"""The answer of an assistant that never calls a tool."""
_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a an the this that these those some any all each every no not is are was were be been am do does did done have has "
        "had can could will would shall should may might must i me my mine you your we us our he him his she her it its they "
        "them their who whom whose what which when where why how there here of in on at to for from by with without about "
        "into over under as than and or but if then so please just also too very much many more most up out off let get got "
        "give make want need like one tell know new use using used return returns given"
    )
)
"""Words that say nothing of what a request is about, written for this baseline."""


def keyword_call(tools: Sequence[ToolDefinition], request: str) -> Call | None:
    """The call that the words of a request suggest; None where no word fits any tool."""
    asked = set(words(request))
    if not any(asked & set(words(_headline(tool["function"]))) for tool in tools):
        return None
    scores = bm25(asked, [Counter(words(_document(tool["function"]))) for tool in tools])
    best = tools[max(range(len(tools)), key=lambda index: scores[index])]["function"]
    return Call(best["name"], arguments(best.get("parameters") or {}, request))


def bm25(asked: set[str], documents: Sequence[Counter[str]]) -> list[float]:
    """Score of each document for the words asked for."""
    average = sum(document.total() for document in documents) / len(documents) or 1
    rarity = {}
    for word in asked:
        having = sum(word in document for document in documents)
        rarity[word] = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
    # Sorted: a sum of floats depends on its order.
    return [
        sum(
            rarity[word] * document[word] * (K1 + 1) / (document[word] + K1 * (1 - B + B * document.total() / average))
            for word in sorted(asked)
        )
        for document in documents
    ]


def words(text: str) -> list[str]:
    """Words of a text or of a name in snake_case, kebab-case or camelCase, in the singular, without those that say nothing."""
    found = (word.casefold() for word in _WORD.findall(_HUMP.sub(" ", text).replace("_", " ")))
    return [_singular(word) for word in found if word not in _STOP_WORDS]


def _singular(word: str) -> str:
    """A word without the ending of a plural, as the S-stemmer (Harman 1991) takes it off."""
    if word.endswith("ies") and not word.endswith(("aies", "eies")):
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("us", "ss")) and len(word) > 3:
        return word[:-1]
    return word


def _headline(function: Mapping[str, Any]) -> str:
    return f"{function['name']} {function.get('description') or ''}"


def _document(function: Mapping[str, Any]) -> str:
    return " ".join([_headline(function), *_schema_words(function.get("parameters") or {})])


def _schema_words(schema: Any) -> Iterator[str]:
    """Names of the parameters of a schema, also of nested ones, and values of enums."""
    if isinstance(schema, Mapping):
        for name, parameter in (schema.get("properties") or {}).items():
            yield name
            yield from _schema_words(parameter)
        yield from (str(option) for option in schema.get("enum") or ())
        yield from _schema_words(schema.get("items"))
        for part in schema.get("anyOf") or schema.get("oneOf") or ():
            yield from _schema_words(part)
