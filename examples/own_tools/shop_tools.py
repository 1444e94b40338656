"""Tools of a small web shop. Replace them with your own.

What counts as a tool: every public function of this module. What a tool needs:

- A type for each parameter. `Literal` and `Field` bound the values; requests are made with values within the bounds.
- A docstring whose first line says what the tool does. The model reads it, so write it for somebody who has to choose a tool.

The functions are run once for each row of the dataset, and the result is kept. A tool that cannot do what it is asked raises an
exception whose text says why: the model reads that too. Lines under `Examples:` are example requests, as those in the file
requests.jsonl.
"""

from typing import Annotated, Literal

from pydantic import Field

STATES = ("being packed", "on its way", "delivered")
PRICES_PER_KG = {"Germany": 4.5, "France": 6.0, "Spain": 7.5}

OrderNumber = Annotated[int, Field(ge=1000, le=1999)]


def order_status(order_number: OrderNumber) -> str:
    """Status of the order with a number.

    Args:
        order_number: Number of the order, from 1000 to 1999.

    Examples:
        what's happening with 1420 -> order_number=1420
        Is order 1998 here already? -> order_number=1998
    """
    return STATES[order_number % len(STATES)]


def shipping_cost(
    weight: Annotated[float, Field(gt=0, le=30)],
    country: Literal["Germany", "France", "Spain"],
    express: bool = False,
) -> float:
    """Cost in euros of shipping a parcel of a weight in kilograms to a country.

    Args:
        weight: Weight of the parcel in kilograms, 30 at most.
        country: Where the parcel goes.
        express: Whether it arrives the next day, at twice the price.
    """
    return round(PRICES_PER_KG[country] * weight * (2 if express else 1), 2)


def loyalty_points(amounts: list[int], member: bool) -> int:
    """Points earned by a list of amounts in euros, one per euro, and two for members.

    Args:
        amounts: Amounts of the purchases in euros.
        member: Whether the customer is a member.
    """
    return sum(amounts) * (2 if member else 1)
