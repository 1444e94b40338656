"""Whether another text reads well in the place of one that a request says: of the same kind, number and case."""

import re

from aria_ray.requests.spellings import VERBS, is_plural, verb_of

_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_KINDS = (
    ("email", re.compile(r"[^@\s]+@[^@\s]+\.\w+")),
    ("url", re.compile(r"(https?://|www\.)\S+|[\w-]+(\.[\w-]+)*\.(com|org|net|io|dev|eu|de)(/\S*)?")),
    ("date and time", re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d\S*")),
    ("date", re.compile(r"\d{4}-\d\d-\d\d")),
    ("time", re.compile(r"\d{1,2}:\d\d(:\d\d)?")),
    ("number", re.compile(r"[+-]?\d+([.,]\d+)?%?")),
    ("phone", re.compile(r"\+?[\d() /-]{6,}")),
    ("path", re.compile(r"(~|\.{1,2})?/\S+|[\w-]+\.(txt|pdf|csv|docx?|xlsx?|png|jpe?g|md|json|ya?ml|zip|py|mp3|mp4|pptx?)")),
    ("code", re.compile(r"(?=.*\d)#?[A-Za-z0-9]+([-_/.][A-Za-z0-9]+)*|(?=.*\d)[A-Z0-9]{1,5}( [A-Z0-9]{1,5})+")),
    ("relative day", re.compile(r"today|tomorrow|tonight|yesterday|now|the day after tomorrow", re.I)),
    ("weekday", re.compile(r"(this |next |last )?(mon|tues|wednes|thurs|fri|satur|sun)day", re.I)),
    (
        "day",
        re.compile(rf"{_MONTH} \d{{1,2}}(st|nd|rd|th)?(,? \d{{4}})?|\d{{1,2}}(st|nd|rd|th)?( of)? {_MONTH}( \d{{4}})?", re.I),
    ),
    ("handle", re.compile(r"[@#]\w+")),
)
_NOUNS_TOO = frozenset(
    {"water", "book", "text", "mail", "call", "order", "plan", "mark", "play", "post", "file", "start", "cut", "watch", "open",
     "set", "view", "show", "visit", "move", "block", "hold", "find", "change", "charge", "check", "copy", "cancel", "exit",
     "follow", "message", "name", "pause", "pin", "print", "repeat", "reply", "return", "share", "ship", "sort", "stop",
     "switch", "track", "transfer", "upload", "update", "wash", "help", "light", "lock", "email", "clean", "ask", "try", "warm",
     "dim"}
)  # fmt: skip  # a list reads better in rows
_OBJECT = re.compile(r"(the|a|an|my|our|your|his|her|their|this|that|me|him|them|us|it|back|out|up|in|for|to|at|off|[A-Z]\w+)$")
_CLAUSE = re.compile(
    r"(^|\s)(is|are|was|were|am|will|won't|would|has|have|had|can|can't|could|should|must|don't|doesn't|didn't|isn't|needs?|"
    r"wants?|arrived|stopped|does|did|keeps?|stays?|leaves?|works?|broke|got|went|came|moved|shows?|said|says|forgot|found|"
    r"starts|ends|opens|closes|not|won't|I'm|I'll|I've|we're|it's|that's|there's|he's|she's|you're|they're|we'll)(\s|$)",
    re.I,
)
_QUESTION = re.compile(r"^(who|what|when|where|why|how|which|is|are|do|does|did|can|could|will|would|should)\b|\?$", re.I)
_OWN_ARTICLE = re.compile(r"^(a|an|the|some|my|our|your|this|that|these|those|her|his|their)\s", re.I)
_DETERMINER = re.compile(
    r"\b(a|an|the|my|our|your|his|her|their|this|that|these|those|some|any|another|every|each|no|new|all)\s+$", re.I
)
_TITLE = re.compile(r"(Dr|Prof|Professor)\.? ")
_QUOTE = re.compile(r"[\"'\u201c\u2018\u00ab`(]\s*$")
_PERSON_AFTER = re.compile(r"\s*['\u2019]s\b")


def kind_of(value: str) -> str:
    """What a text is: a technical kind (e-mail address, code, ...), a day, a clause, a question, an order, a name, words."""
    text = value.strip()
    for kind, pattern in _KINDS:
        if pattern.fullmatch(text):
            return kind
    words = text.split()
    if len(words) > 1 and _QUESTION.search(text):
        return "question"
    if len(words) > 2 and _CLAUSE.search(text):
        return "clause"
    if _is_order(words):
        return "order"
    return "name" if words and words[0][:1].isupper() and words[0] != "I" else "words"


def reads_alike(own: str, other: str, before: str, after: str) -> bool:
    """Whether `other` may stand where a request says `own` between these texts."""
    kind, other_kind = kind_of(own), kind_of(other)
    if {kind, other_kind} <= {"name", "words"}:
        return bool(_QUOTE.search(before)) or _nouns_alike(own, other, before, after)
    if {kind, other_kind} <= {"relative day", "weekday", "day"}:
        # `on tomorrow` is wrong, and so is `until what day 14 may`: a day of a month stands where one stood.
        return kind == other_kind or {kind, other_kind} == {"weekday", "day"} or not re.search(r"\b(on|this|next)\s+$", before)
    return kind == other_kind


def _nouns_alike(own: str, other: str, before: str, after: str) -> bool:
    """Whether two names or nouns have the article, the number and the case that the words around ask for."""
    is_name, other_is_name = kind_of(own) == "name", kind_of(other) == "name"
    determined = _DETERMINER.search(before) is not None
    if (determined and is_name != other_is_name) or (is_name and not other_is_name):
        return False
    own_article, other_article = bool(_OWN_ARTICLE.match(own)), bool(_OWN_ARTICLE.match(other))
    if own_article != other_article:
        return False
    if bool(_TITLE.match(own)) != bool(_TITLE.match(other)):
        return False
    if not other_is_name or determined:
        return is_plural(own) == is_plural(other)
    return _PERSON_AFTER.match(after) is None or not other.endswith("s")


def _is_order(words: list[str]) -> bool:
    """Whether a text says what to do. A word that is a noun as well (`water bottle`) needs an object that only a verb has."""
    if len(words) < 2 or words[0] not in VERBS:
        return False
    return words[0] not in _NOUNS_TOO or _OBJECT.match(words[1]) is not None


def is_verb_there(value: str, before: str, after: str) -> bool:
    """Whether a word is what is to be done, as at the start of an order: `open the blinds`."""
    starts = re.search(r"(^|[.!?,:;]\s+|\b(please|you|to|and|then|just|let's|i want|pls|now)\s+)$", before, re.I)
    return bool(starts) and verb_of(value) is not None and bool(re.match(r"\s+\w|\s*$|[.!?]", after))
