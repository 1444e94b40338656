"""The words of a value taken out of a sentence, where that leaves a sentence that a person might say."""

import re

_PREPOSITION = re.compile(
    r"(?:,\s*|\s)(?:(?:leaving|starting|arriving|beginning|ending|due|payable)\s+)?"
    r"(?:(?:in\s+)?(?:under|within)|at around|at most|at least|up to|(?<!put )(?<!turn )(?<!switch )(?<!try )on|in|at|for|to|"
    r"from|with|called|named|by|about|until|till|into|near|of|as|under|titled|saying|before|after|since|around|regarding|via|over|"
    r"through|every|starting|per)(?:\s+(?:the|my|our|a|an|some|next|the next|the last|the past))?\s*$",
    re.I,
)
_UNIT = re.compile(
    r"^\s*(?:%|percent|degrees?|°[CF]?|[CF]\b|minutes?|mins?|min|m\b|hours?|hrs?|seconds?|secs?|days?|weeks?|months?|years?|people|"
    r"persons?|guests?|euros?|dollars?|bucks|pounds?|€|kg|kilos?|grams?|g\b|km|kilometers?|kilometres?|miles?|times|nights?|pieces?|"
    r"servings?|of us|items?|seats?|tickets?)",
    re.I,
)
_ENDS = re.compile(
    r"\s*($|[,.?!;)]|(?:and|at|on|in|for|to|from|please|by|with|until|till|about|thanks|asap|now|before|after|saying|called|as|so|"
    r"because|tomorrow|today|tonight|this|next|every|pls|via)\b)"
)
_DETERMINER = re.compile(r"\b(the|my|our|your|his|her|their)\s+$", re.I)
_NO_NOUN = (
    r"and|or|at|on|in|for|to|from|please|by|with|until|till|about|is|are|was|were|will|has|have|can|could|should|do|does|did|looks|"
    r"needs|feels|seems|smells|hangs|any|so|now|off|up|down|out|of|as|that|which|because|but|when|if|while|again|too|back|forward|"
    r"over|away|instead|there|here|today|tomorrow|tonight|then|just|via|into|than|not|open|close|closed|free|ready|broken|a|one|"
    r"two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|twenty|thirty"
)
_NOUN_AFTER = re.compile(rf"\s+(?!(?:{_NO_NOUN})\b)[a-z]+", re.I)
_NEEDS_MORE = re.compile(
    r"\b(something|anything|nothing|someone|all|couple|I'm|I am|I live|be|been|we're|stay|volume|is|are|was|the|a|an|my|and|or|"
    r"of|from|to|than|not|what|what's|it's|its|go|goes|leave|because|in|at|from \S+ to)\s*$",
    re.I,
)
_ARTICLE = re.compile(r"\b(the|my|our) $", re.I)
MIN_WORDS = 2
"""Fewest words that are left of a request."""


def without_words(text: str) -> str | None:
    """A text without what stands between two NULs, and the words that go with it; None if nothing that a person says is left.

    `in the kitchen`, `for Anna`, `to 80 percent` go with their preposition; `the kitchen lights` becomes `the lights`.
    """
    before, _, after = text.split("\0")
    unit = _UNIT.match(after)
    rest = after[unit.end() :] if unit else after
    preposition = _PREPOSITION.search(before)
    quoted = re.search(r"[\"'\u201c\u2018]$", before)
    if quoted is not None:
        before, rest = before[:-1], re.sub(r"^[\"'\u201d\u2019]", "", rest)
        preposition = _PREPOSITION.search(before)
    if preposition is not None and _ENDS.match(rest):
        before, after = before[: preposition.start()], rest
        if _NEEDS_MORE.search(before) or (" " not in before.strip() and rest.startswith(",")):
            return None
    elif _DETERMINER.search(before) and _NOUN_AFTER.match(after):
        after = after.lstrip()
    else:
        return None
    # What is left of a pair needs both: `to Friday` without `from Monday`, `from Monday` without its end is fine.
    if re.match(r"\s*(to|until|till|-)\b", after) and preposition is not None and "from" in preposition[0].lower():
        return None
    left = re.sub(r"\s+([,.?!;])", r"\1", re.sub(r"\s{2,}", " ", f"{before.rstrip()} {after.lstrip()}")).strip()
    left = re.sub(r",\s*([.?!]|$)", r"\1", left)
    return left if len(left.split()) >= MIN_WORDS else None


def alone(before: str, words: str, after: str) -> str:
    """The words of a value as they stand alone: with the article and the noun or unit that they have between these texts."""
    article = _ARTICLE.search(before)
    noun = re.match(_NOUN_AFTER.pattern + r"(?=[ ,.?!]|$)", after, re.I) if article else None
    unit = _UNIT.match(after) or noun
    return f"{article[0].lower() if article else ''}{words}{unit[0] if unit else ''}"
