"""Tools of the support desk of an online shop with some stores."""

import zlib
from enum import StrEnum
from typing import Literal


class Priority(StrEnum):
    """How urgent a ticket is."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


def _draw(*parts: object) -> int:
    """A number that stays the same for the same parts, in place of a database."""
    return zlib.crc32("/".join(str(part).lower() for part in parts).encode())


def get_order_status(order_id: str) -> dict[str, str]:
    """Look up where an order is.

    Args:
        order_id: Number of the order, e.g. "A1042".
    """
    status = ("being packed", "on its way", "at the pickup point", "delivered")[_draw(order_id) % 4]
    return {"order": order_id, "status": status}


def refund_order(
    order_id: str, reason: Literal["damaged", "late", "wrong item", "not needed"], amount: float | None = None
) -> str:
    """Pay money back for an order.

    Args:
        order_id: Number of the order, e.g. "A1042".
        reason: Why the customer gets money back.
        amount: Amount in euros; the full price if left out.
    """
    what = "The full price" if amount is None else f"{amount:.2f} euros"
    return f"{what} of order {order_id} will be paid back ({reason})."


def change_address(order_id: str, street: str, postcode: str, city: str) -> dict[str, str]:
    """Change the delivery address of an order.

    Args:
        order_id: Number of the order, e.g. "A1042".
        street: Street and house number.
        postcode: Postal code.
        city: Town or city.
    """
    return {"order": order_id, "deliver_to": f"{street}, {postcode} {city}"}


def check_stock(
    product: str, size: Literal["S", "M", "L", "XL"] | None = None, store: str | None = None
) -> dict[str, str | int]:
    """Check how many pieces of a product are left.

    Args:
        product: Name of the product, e.g. "rain jacket".
        size: Size of clothing.
        store: City of the store; the online warehouse if left out.
    """
    return {"product": product, "where": store or "warehouse", "pieces": _draw(product, size, store) % 12}


def get_opening_hours(store: str, day: str = "today") -> str:
    """Tell when a store is open.

    Args:
        store: City of the store.
        day: "today", "tomorrow" or a day of the week in lower case, e.g. "saturday".
    """
    closes = 14 if day == "saturday" else 18 + _draw(store) % 3
    return f"{store} {day}: {'closed' if day == 'sunday' else f'9:00 to {closes}:00'}"


def apply_discount(order_id: str, percent: int) -> str:
    """Take a discount off an order.

    Args:
        order_id: Number of the order, e.g. "A1042".
        percent: Discount in percent, at most 50.
    """
    if not 1 <= percent <= 50:
        raise ValueError(f"a discount is 1 to 50 percent, not {percent}")
    return f"Order {order_id} is now {percent} percent cheaper."


def open_ticket(subject: str, email: str, priority: Priority = Priority.NORMAL) -> dict[str, str]:
    """Open a support ticket for a customer.

    Args:
        subject: What the problem is, in a few words.
        email: Email address of the customer.
        priority: How urgent it is.
    """
    return {"ticket": f"T{_draw(subject, email) % 9000 + 1000}", "priority": priority.value, "for": email}


def quote_shipping(country: str, weight_kg: float, express: bool = False) -> str:
    """Quote the price of shipping a parcel.

    Args:
        country: Country to ship to.
        weight_kg: Weight of the parcel in kilograms.
        express: Whether it should go by express.
    """
    price = (4 + _draw(country) % 9 + 1.5 * weight_kg) * (2 if express else 1)
    return f"{price:.2f} euros to {country}, {'1 to 2' if express else '3 to 6'} days"
