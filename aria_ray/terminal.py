"""What a person sees while a run is going: a progress bar for every long part, one line per finished stage with its time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Update = Callable[[float, float, str], None]
"""update(done, total, what); a total of 0 means that the length is not known."""

PLAIN_INTERVAL_S = 30.0
"""Without a terminal (a log file, a Ray job) progress is a line now and then instead of a bar."""


class Terminal:
    """Prints to one console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.begun: list[tuple[float, str]] = []
        """Each stage that was shown: when it began, by `time.perf_counter`, and its title."""

    def line(self, text: str) -> None:
        """One line of plain text."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, title: str) -> Iterator[Update]:
        """Show progress while the block runs, and one line with the time when it ends well."""
        started = time.perf_counter()
        self.begun.append((started, title))
        with self._bar(title) if self.console.is_terminal else self._plain(title) as update:
            yield update
        self.line(f"{title}: done in {_duration(time.perf_counter() - started)}")

    @contextmanager
    def _bar(self, title: str) -> Iterator[Update]:
        columns = (SpinnerColumn(), TextColumn(title), BarColumn(), TextColumn("{task.fields[what]}"))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=None, what="")
            yield lambda done, total, what: progress.update(task, completed=done, total=total or None, what=what)

    @contextmanager
    def _plain(self, title: str) -> Iterator[Update]:
        last = time.perf_counter()

        def update(done: float, total: float, what: str) -> None:
            nonlocal last
            if time.perf_counter() - last >= PLAIN_INTERVAL_S:
                last = time.perf_counter()
                self.line(f"{title}: {done / total:.0%} {what}" if total else f"{title}: {what}")

        yield update


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
