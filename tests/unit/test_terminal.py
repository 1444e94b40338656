"""What a person sees of a machine at work."""

import io

import pytest
from rich.console import Console

from aria_ray import terminal
from aria_ray.terminal import Terminal


@pytest.fixture
def shown(monkeypatch):
    """A function that gives the terminal, of either kind, and what it has printed."""
    monkeypatch.setattr(terminal, "PLAIN_INTERVAL_S", 0.0)

    def made(is_terminal):
        written = io.StringIO()
        return Terminal(Console(file=written, force_terminal=is_terminal, highlight=False, width=160)), written

    return made


@pytest.mark.parametrize("is_terminal", [False, True])
def test_progress_says_how_busy_the_machine_is(shown, is_terminal):
    ours, written = shown(is_terminal)
    with ours.beside(lambda: "cpu 92 %, gpu 81 %, 412 W"), ours.stage("training") as update:
        update(3, 12, "foundation loss 1.234")
    for word in ("training", "foundation loss 1.234", "cpu 92 %, gpu 81 %, 412 W"):
        assert word in written.getvalue()


def test_without_a_machine_to_speak_of_nothing_is_said(shown):
    ours, written = shown(False)
    with ours.beside(lambda: "cpu 92 %"):
        pass
    with ours.stage("merge") as update:
        update(1, 2, "shards")
        update(0, 0, "")
    assert written.getvalue().splitlines()[:2] == ["merge: 50% shards", "merge: "]
