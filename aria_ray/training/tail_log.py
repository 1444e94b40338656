"""Reading a file of JSON lines while another process writes it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLL_S = 0.5
"""Time between two reads."""


def parsed(line: bytes) -> dict[str, Any] | None:
    """The object of a line; None if the line is incomplete, as after a killed process."""
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event


def end_torn_line(path: Path) -> None:
    """End an incomplete last line, so that the next write starts a new line."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("ab") as handle:
            handle.write(b"\n")


@contextmanager
def following(path: Path, on_line: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Call `on_line` with each line appended to `path` while the block runs, from a separate thread."""
    done = threading.Event()
    start = path.stat().st_size if path.exists() else 0

    def follow() -> None:
        position, rest = start, b""
        while True:
            last_round = done.wait(POLL_S)
            if path.exists():
                with path.open("rb") as handle:
                    handle.seek(position)
                    chunk = handle.read()
                position += len(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = parsed(line)
                    if event is not None:
                        on_line(event)
            if last_round:
                return

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
