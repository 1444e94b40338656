"""Text processing. The first line of each docstring is the tool's description and names the arguments in order."""

from typing import Literal

from aria_ray.tools.values import MAX_TEXT_CHARACTERS, Text, ToolError


def count_words(text: Text) -> float:
    """Count the words in a text."""
    return len(text.split())


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
    replaced = text.replace(old, new)
    if len(replaced) > MAX_TEXT_CHARACTERS:
        raise ToolError(f"the result is longer than {MAX_TEXT_CHARACTERS} characters")
    return replaced


def sort_words(text: Text) -> str:
    """Sort the words of a text by the alphabet."""
    return " ".join(sorted(text.split(), key=str.casefold))


def slugify(text: Text) -> str:
    """Turn a text into a web address slug."""
    letters = "".join(character if character.isalnum() else " " for character in text.lower())
    return "-".join(letters.split())
