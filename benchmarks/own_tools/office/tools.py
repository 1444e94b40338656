"""Tools of an office assistant: calendar, mail and notes."""

from datetime import date, time
from enum import StrEnum


class Folder(StrEnum):
    """Where notes are kept."""

    WORK = "work"
    PRIVATE = "private"
    IDEAS = "ideas"


def create_event(
    title: str, day: str, start: time, minutes: int = 60, attendees: list[str] | None = None
) -> dict[str, str | int | list[str]]:
    """Put an event into the calendar.

    Args:
        title: Title of the event.
        day: "today", "tomorrow", a weekday such as "friday", or a day such as "12 may", in lower case.
        start: Time at which it starts, HH:MM.
        minutes: How long it takes.
        attendees: First names of the people to invite.
    """
    return {
        "event": title,
        "when": f"{day} {start.strftime('%H:%M')}",
        "minutes": minutes,
        "invited": attendees or [],
    }


def list_events(day: str) -> list[str]:
    """Show the events of a day.

    Args:
        day: "today", "tomorrow", a weekday such as "friday", or a day such as "12 may", in lower case.
    """
    events = ["09:30 standup", "11:00 client call", "13:00 lunch with Sam", "15:30 review"]
    return events[len(day) % 3 :]


def move_event(title: str, day: str, start: time | None = None) -> str:
    """Move an event to another day or time.

    Args:
        title: Title of the event.
        day: The new day: "today", "tomorrow", a weekday such as "friday", or a day such as "12 may", in lower case.
        start: The new time, HH:MM; the same time of day if left out.
    """
    return f"{title} is now {day}{f' at {start:%H:%M}' if start else ', same time'}."


def send_email(to: list[str], subject: str, body: str | None = None) -> dict[str, str | list[str]]:
    """Send an email.

    Args:
        to: First names or addresses of those who get it.
        subject: Subject line.
        body: Text of the email.
    """
    return {"sent_to": to, "subject": subject, "body": body or ""}


def search_mail(query: str, sender: str | None = None, unread: bool = False) -> list[str]:
    """Find emails in the inbox.

    Args:
        query: Words to look for.
        sender: First name or address of the person who sent it.
        unread: Whether to look at unread emails only.
    """
    return [f"{sender or 'Kim'}: {query}{' (unread)' if unread else ''}", f"{sender or 'Noor'}: Re: {query}"]


def add_note(text: str, folder: Folder = Folder.WORK) -> str:
    """Write down a note.

    Args:
        text: What to write down.
        folder: Where to keep it.
    """
    return f"Noted in {folder.value}: {text}"


def find_notes(query: str, limit: int = 5) -> list[str]:
    """Find notes.

    Args:
        query: Words to look for.
        limit: How many notes to show at most.
    """
    return [f"{query} ({number})" for number in range(1, min(limit, 3) + 1)]


def set_out_of_office(first_day: date, last_day: date, message: str | None = None) -> dict[str, str]:
    """Turn on the automatic reply for some days.

    Args:
        first_day: First day away, YYYY-MM-DD.
        last_day: Last day away, YYYY-MM-DD.
        message: Text of the automatic reply.
    """
    return {"away": f"{first_day} to {last_day}", "reply": message or "I am away."}
