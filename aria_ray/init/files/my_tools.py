"""Tools of a small library. Replace them with your own.

What counts as a tool: every public function of this file, `async` ones too. Helpers start with an underscore. A tool needs:

- A type for each parameter. Literal, Enum, date, time, lists, dataclasses and pydantic models are understood.
- A docstring whose first line says what the tool does. The model reads it when it chooses, so write it for somebody who has to.
- A description of each parameter under `Args:`, best with an example: such as Spanish.

The functions are really run, once for each row of the dataset. Where that must not happen, because they send, buy or delete,
write `tools: [{source: my_tools.py, simulate: true}]` into the recipe. A tool that cannot do what it is asked raises an
exception whose text says why: the model reads that too.
"""

from datetime import time
from typing import Annotated, Literal

from pydantic import Field

Day = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
CardNumber = Annotated[str, Field(pattern=r"^K-\d{4}$")]

_HOURS = {"saturday": "10:00 to 14:00", "sunday": "closed"}
_SHELVES = ("shelf 3 by the window", "shelf 12 upstairs", "shelf 7 behind the desk")


def opening_hours(day: Day) -> str:
    """Opening hours of the library on a day of the week.

    Args:
        day: Day of the week.
    """
    return _HOURS.get(day, "9:00 to 19:00")


def find_books(language: str) -> str:
    """Tell where the books in a foreign language are.

    Args:
        language: Language of the books, such as Spanish.
    """
    return _SHELVES[len(language) % len(_SHELVES)]


def renew_loan(card: CardNumber, weeks: Annotated[int, Field(ge=1, le=8)] = 2) -> str:
    """Renew everything that is borrowed on a library card.

    Args:
        card: Number of the card, such as K-2041.
        weeks: How many weeks longer.
    """
    return f"{card} is renewed for {weeks} {'week' if weeks == 1 else 'weeks'}"


def reserve_room(room: Literal["red", "blue", "green"], day: Day, start: time, hours: int = 1) -> str:
    """Reserve a study room.

    Args:
        room: Which room.
        day: Day of the week.
        start: Time at which it starts, HH:MM.
        hours: How many hours.
    """
    return f"the {room} room is yours on {day} at {start:%H:%M} for {hours} h"
