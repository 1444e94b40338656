"""Tools of a smart home."""

from datetime import time
from enum import Enum
from typing import Literal


class BlindPosition(Enum):
    """How far the blinds are."""

    OPEN = "open"
    HALF = "half"
    CLOSED = "closed"


def switch_light(room: str, on: bool) -> str:
    """Turn the light of a room on or off.

    Args:
        room: The room, e.g. "kitchen" or "living room".
        on: True to turn the light on, False to turn it off.
    """
    return f"The light in the {room} is {'on' if on else 'off'}."


def set_light(room: str, brightness: int, color: Literal["white", "warm", "red", "green", "blue"] = "warm") -> str:
    """Set the brightness and color of the light in a room.

    Args:
        room: The room, e.g. "kitchen" or "living room".
        brightness: Brightness in percent, 1 to 100.
        color: Color of the light.
    """
    if not 1 <= brightness <= 100:
        raise ValueError(f"brightness must be 1 to 100, not {brightness}")
    return f"The light in the {room} is {color} at {brightness} percent."


def set_thermostat(degrees: float, room: str | None = None, until: time | None = None) -> dict[str, str | float]:
    """Set the temperature of the heating.

    Args:
        degrees: Temperature in degrees Celsius.
        room: The room; the whole house if left out.
        until: Time of day, HH:MM, at which the usual plan goes on.
    """
    state: dict[str, str | float] = {"where": room or "whole house", "degrees": degrees}
    if until is not None:
        state["until"] = until.strftime("%H:%M")
    return state


def lock_door(door: Literal["front", "back", "garage", "patio"], action: Literal["lock", "unlock"]) -> str:
    """Lock or unlock a door of the house.

    Args:
        door: Which door.
        action: What to do with it.
    """
    return f"The {door} door is {action}ed."


def set_blinds(room: str, position: BlindPosition) -> str:
    """Move the blinds of a room.

    Args:
        room: The room, e.g. "bedroom".
        position: Where the blinds should be.
    """
    return f"The blinds in the {room} are {position.value}."


def set_timer(minutes: int, label: str | None = None) -> str:
    """Start a timer.

    Args:
        minutes: How long the timer runs, in minutes.
        label: What the timer is for, e.g. "pasta".
    """
    return f"{label.capitalize() if label else 'Timer'}: {minutes} minutes from now."


def play_music(music: str, room: str | None = None, volume: int | None = None) -> dict[str, str | int]:
    """Play music on the speakers.

    Args:
        music: Artist, album, playlist or kind of music.
        room: Room of the speaker; all speakers if left out.
        volume: Loudness from 1 to 10.
    """
    playing: dict[str, str | int] = {"playing": music, "where": room or "all speakers"}
    if volume is not None:
        playing["volume"] = volume
    return playing


def start_vacuum(rooms: list[str]) -> str:
    """Send the robot vacuum to clean rooms.

    Args:
        rooms: The rooms to clean, in order.
    """
    return f"The vacuum cleans the {', then the '.join(rooms)}."
