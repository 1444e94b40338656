"""Text processing. The first line of each docstring is the tool's description and names the arguments in order."""

import base64
import re
from typing import Literal
from urllib.parse import quote

import re2

from aria_ray.tools.values import Integer, Text, ToolError, bounded_result

MAX_PATTERN_CHARACTERS = 200
_MAX_PATTERN_BYTES = 1 << 20
_NUMBER = re.compile(r"(?:(?<![\w.])-)?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?")
"""A minus only where no word ends before it: 10-20 is a range."""


def count_words(text: Text) -> float:
    """Count the words in a text."""
    return len(text.split())


def count_characters(text: Text) -> float:
    """Count the characters in a text, spaces too."""
    return len(text)


def count_letter(text: Text, letter: Text) -> float:
    """Count how often a text has a letter."""
    if len(letter) != 1:
        raise ToolError(f"'{letter}' is not a single letter")
    return text.lower().count(letter.lower())


def reverse_text(text: Text) -> str:
    """Write a text backwards."""
    return text[::-1]


def change_case(text: Text, case: Literal["upper", "lower", "title"]) -> str:
    """Change a text to a letter case."""
    match case:
        case "upper":
            return text.upper()
        case "lower":
            return text.lower()
        case "title":
            return text.title()


def replace_text(text: Text, old: Text, new: Text) -> str:
    """In a text, replace an old word by a new one."""
    if not old or old not in text:
        raise ToolError(f"'{old}' is not in the text")
    return bounded_result(text.replace(old, new))


def sort_words(text: Text) -> str:
    """Sort the words of a text by the alphabet."""
    return " ".join(sorted(text.split(), key=str.casefold))


def slugify(text: Text) -> str:
    """Turn a text into a web address slug."""
    letters = "".join(character if character.isalnum() else " " for character in text.lower())
    return "-".join(letters.split())


def first_words(text: Text, count: Integer) -> str:
    """First words of a text, as many as the count."""
    words = text.split()
    if count < 1:
        raise ToolError("the count must be at least 1")
    if count > len(words):
        raise ToolError(f"the text has only {len(words)} words")
    return " ".join(words[:count])


def extract_pattern(text: Text, pattern: Text) -> list[str]:
    """In a text, find all parts that match a regular expression."""
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ToolError(f"the pattern is longer than {MAX_PATTERN_CHARACTERS} characters")
    # RE2 has no backtracking: the time grows with the text, whatever the pattern.
    options = re2.Options()
    options.max_mem = _MAX_PATTERN_BYTES
    options.log_errors = False
    try:
        matches = re2.compile(pattern, options).finditer(text)
    except re2.error as error:
        reason = error.args[0]
        raise ToolError(f"bad pattern: {reason.decode() if isinstance(reason, bytes) else reason}") from None
    return [match.group() for match in matches if match.group()]


def extract_numbers(text: Text) -> list[str]:
    """Find all numbers in a text."""
    return [number.replace(",", "") for number in _NUMBER.findall(text)]


def encode_base64(text: Text) -> str:
    """Encode a text as base64."""
    return bounded_result(base64.b64encode(text.encode()).decode())


def decode_base64(text: Text) -> str:
    """Decode a base64 text."""
    try:
        return base64.b64decode(text, validate=True).decode()
    # Not base64, not ASCII, or bytes that are no text: all are ValueErrors.
    except ValueError:
        raise ToolError(f"'{text}' is not a text in base64") from None


def url_encode(text: Text) -> str:
    """Encode a text for a web address, with percent signs."""
    return bounded_result(quote(text, safe=""))
