"""How people write numbers: digits, words, ordinals, fractions, percentages, and spans of time in another unit.

Each form is a pair (name, words). The name of a form in another unit names both units, so that another value is written alike.
"""

from collections.abc import Iterator

Spelling = tuple[str, str]
"""Name of a form, and the words in it."""
ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip  # a table reads better in rows
_TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip
_NAMED = {
    0.25: "a quarter", 0.5: "half", 0.75: "three quarters", 1.5: "one and a half", 2: "a couple of", 2.5: "two and a half",
    3.5: "three and a half", 6: "half a dozen", 12: "a dozen", 24: "two dozen", 100: "a hundred", 1000: "a thousand",
}  # fmt: skip
_HALF_OF = {500_000: "million", 500_000_000: "billion"}
_TIMES = {1: "once", 2: "twice"}
# A span of time said in a larger unit than the argument's: unit of the argument, unit of the words, how many are in one.
_UNITS = (
    ("minutes", "hour", 60),
    ("seconds", "minute", 60),
    ("seconds", "hour", 3600),
    ("milliseconds", "second", 1000),
    ("milliseconds", "minute", 60_000),
    ("days", "week", 7),
    ("months", "year", 12),
    ("hours", "day", 24),
)
MAX_IN_WORDS = 10_000
"""Whole numbers from here on are not written in words."""


def number_spellings(value: float) -> Iterator[Spelling]:
    """Every spelling of a number, the likeliest first."""
    yield from _in_digits(value)
    if float(value).is_integer() and 0 <= value < MAX_IN_WORDS:
        yield from _in_words(int(value))
    if value in _NAMED:
        yield "named", _NAMED[value]
    if value in _HALF_OF:
        yield "half of", f"half a {_HALF_OF[int(value)]}"
    if value in _TIMES:
        yield "times", _TIMES[int(value)]
    if 0 < value < 1:
        percent = round(value * 100, 2)
        yield "percent", f"{percent:g}%"
        yield "percent word", f"{percent:g} percent"
        if percent.is_integer():
            yield "percent words", f"{number_words(int(percent))} percent"
    for small, large, count in _UNITS:
        yield from _in_larger_unit(value, f"{small} in {large}s", large, count)


def number_words(number: int) -> str:
    """A whole number from 0 to 9999 in words: `twenty-five`, `one hundred and five`."""
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f"-{ONES[ones]}" if ones else "")
    unit, name = (1000, "thousand") if number >= 1000 else (100, "hundred")
    head, rest = divmod(number, unit)
    join = " and " if rest < 100 else " "
    return f"{number_words(head)} {name}" + (f"{join}{number_words(rest)}" if rest else "")


def suffix(number: int) -> str:
    """The ending of an ordinal: `st` of 1st."""
    return "th" if 10 <= number % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def ordinal_words(number: int) -> str:
    """An ordinal in words: `twenty-third`."""
    words = number_words(number)
    at = max(words.rfind("-"), words.rfind(" ")) + 1
    last = words[at:]
    if last in _ORDINALS:
        return words[:at] + _ORDINALS[last]
    return words[:at] + (f"{last[:-1]}ieth" if last.endswith("y") else f"{last}h" if last.endswith("t") else f"{last}th")


def _in_digits(value: float) -> Iterator[Spelling]:
    whole = float(value).is_integer()
    plain = str(int(value)) if whole else str(value)
    yield "digits", plain
    if value < 0:
        yield "minus", f"minus {plain[1:]}"
        yield "below zero", f"{plain[1:]} below zero"
    if abs(value) >= 1000:
        grouped = f"{int(value):,}" if whole else f"{value:,}"
        yield "separators", grouped
        yield "blanks", grouped.replace(",", " ")
        yield "points", grouped.translate(str.maketrans(",.", ".,"))
        yield "two decimals and separators", f"{value:,.2f}"
        yield "two decimals and points", f"{value:,.2f}".translate(str.maketrans(",.", ".,"))
        yield from _rounded(value)
    if not whole:
        yield "decimal comma", plain.replace(".", ",")
        yield "decimal comma of two", f"{value:.2f}".replace(".", ",")
        if abs(value) < 1:
            yield "no zero", plain.replace("0.", ".", 1)
    if round(value, 2) == value:
        yield "two decimals", f"{value:.2f}"
    if round(value, 1) == value:
        yield "one decimal", f"{value:.1f}"


def _rounded(value: float) -> Iterator[Spelling]:
    for size, signs, word in ((1000, "k", "thousand"), (1_000_000, "m", "million"), (1_000_000_000, "bn", "billion")):
        count = value / size
        if abs(count) >= 1 and round(count, 2) == count and abs(count) < 1000:
            yield f"short {word}", f"{count:g}{signs}"
            yield f"digits and {word}", f"{count:g} {word}"
            if count.is_integer() and 0 < count < 100:
                yield f"words and {word}", f"{number_words(int(count))} {word}"
            if count == 1:
                yield f"a {word}", f"a {word}"


def _in_words(number: int) -> Iterator[Spelling]:
    words = number_words(number)
    yield "words", words
    yield "words without hyphen", words.replace("-", " ")
    yield "words without and", words.replace(" and ", " ")
    if number >= 1:
        yield "ordinal", f"{number}{suffix(number)}"
        if number <= 4:
            yield "quarter of a year", f"Q{number}"
        if number < 100:
            yield "ordinal words", ordinal_words(number)


def _in_larger_unit(value: float, form: str, unit: str, count: int) -> Iterator[Spelling]:
    amount = value / count
    if amount < 0.25 or amount * 4 % 1 or amount > 100:
        return
    article = "an" if unit == "hour" else "a"
    several = unit if amount == 1 else f"{unit}s"
    yield f"{form} in digits", f"{amount:g} {several}"
    yield f"{form} short", f"{amount:g}{unit[0]}" if unit != "month" else f"{amount:g} {several}"
    yield f"{form} short word", f"{amount:g} {unit[:3] if unit != 'hour' else 'hr'}{'' if amount == 1 else 's'}"
    whole, rest = int(amount), amount % 1
    said = {0.25: "a quarter", 0.5: "a half", 0.75: "three quarters"}.get(rest)
    if rest == 0:
        yield f"{form} in words", f"{article} {unit}" if amount == 1 else f"{number_words(whole)} {several}"
        if amount == 1:
            yield f"{form} in one", f"one {unit}"
        if amount == 2:
            yield f"{form} couple", f"a couple of {several}"
    elif whole == 0:
        part = {0.25: "a quarter of", 0.5: "half", 0.75: "three quarters of"}[rest]
        yield f"{form} in words", f"{part} {article} {unit}"
        yield f"{form} in words, no article", f"{part.removeprefix('a ')} {article} {unit}"
    elif whole == 1:
        yield f"{form} in words", f"{article} {unit} and {said}"
        yield f"{form} in words of one", f"one and {said} {several}"
    else:
        yield f"{form} in words", f"{number_words(whole)} and {said} {several}"
