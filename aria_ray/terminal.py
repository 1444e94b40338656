"""Progress on the terminal: a bar for every long part of a run, and one line per finished stage with its time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from aria_ray.progress import OnProgress

PLAIN_INTERVAL_S = 30.0
"""Seconds between two lines of progress where there is no terminal for a bar: in a log file, in a Ray job."""


class Terminal:
    """Progress on one console."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.begun: list[tuple[float, str]] = []
        """Start, in seconds of `time.perf_counter`, and title of each stage shown so far."""
        self._machine: Callable[[], str] = lambda: ""

    def line(self, text: str) -> None:
        """Print one line of plain text."""
        self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def beside(self, machine: Callable[[], str]) -> Iterator[None]:
        """Show beside the progress, while the block runs, how busy the machine is, as `machine` words it."""
        before, self._machine = self._machine, machine
        try:
            yield
        finally:
            self._machine = before

    @contextmanager
    def stage(self, title: str) -> Iterator[OnProgress]:
        """Show progress while the block runs, and one line with its duration when it succeeds."""
        started = time.perf_counter()
        self.begun.append((started, title))
        with self._bar(title) if self.console.is_terminal else self._plain(title) as update:
            yield update
        self.line(f"{title}: done in {_duration(time.perf_counter() - started)}")

    @contextmanager
    def _bar(self, title: str) -> Iterator[OnProgress]:
        what = TextColumn("{task.fields[what]}")
        columns = (SpinnerColumn(), TextColumn(title), BarColumn(), what, _MachineColumn(self._machine))
        with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=None, what="")
            yield lambda done, total, what: progress.update(task, completed=done, total=total or None, what=what)

    @contextmanager
    def _plain(self, title: str) -> Iterator[OnProgress]:
        last = time.perf_counter()

        def update(done: float, total: float, what: str) -> None:
            nonlocal last
            if time.perf_counter() - last >= PLAIN_INTERVAL_S:
                last = time.perf_counter()
                told = ", ".join(filter(None, (what, self._machine())))
                self.line(f"{title}: {done / total:.0%} {told}" if total else f"{title}: {told}")

        yield update


class _MachineColumn(ProgressColumn):
    """How busy the machine is."""

    max_refresh = 1.0  # seconds; the machine is not sampled more often

    def __init__(self, machine: Callable[[], str]) -> None:
        super().__init__()
        self._machine = machine

    def render(self, task: Task) -> Text:  # noqa: ARG002 - rich asks for it
        return Text(self._machine(), style="dim")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
