"""Follow a file of JSON lines that another process is writing."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLL_S = 0.5


@contextmanager
def following(path: Path, on_line: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Call `on_line` with each line appended to `path` while the block runs, from a thread of its own."""
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
                    on_line(json.loads(line))
            if last_round:
                return

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
